//! How often something took how long, or was how large.
//!
//! Our own and not the library's: what each request is measured with takes no lock, and its
//! quantiles can be read.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// What is measured, and in which buckets it is counted.
pub trait Kind: Send + Sync + 'static {
    /// The upper ends of the buckets but the last, which has none.
    const ENDS: &'static [u64];
    /// How many of what is counted make one of what is told.
    const IN_UNIT: f64;
}

/// Time: counted in nanoseconds, told in seconds.
#[derive(Debug)]
pub struct Seconds;

impl Kind for Seconds {
    const ENDS: &'static [u64] = &[
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        10_000_000_000,
    ];
    const IN_UNIT: f64 = 1e9;
}

/// Some, of which there are seldom more than hundreds.
#[derive(Debug)]
pub struct Amounts;

impl Kind for Amounts {
    const ENDS: &'static [u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    const IN_UNIT: f64 = 1.0;
}

/// Steps of the log, of which there may be a million.
#[derive(Debug)]
pub struct Steps;

impl Kind for Steps {
    const ENDS: &'static [u64] = &[10, 100, 1000, 10_000, 100_000, 1_000_000];
    const IN_UNIT: f64 = 1.0;
}

/// How long something took.
pub type Durations = Histogram<Seconds>;

/// How often a value was in which bucket. Clones share it.
pub struct Histogram<K>(Arc<Buckets>, PhantomData<K>);

#[derive(Debug)]
struct Buckets {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// How often a value was in which bucket, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts(Vec<u64>);

impl<K: Kind> Histogram<K> {
    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let bucket = K::ENDS.partition_point(|end| *end < value);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The counts of now.
    pub fn counts(&self) -> Counts {
        Counts(self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

impl Histogram<Seconds> {
    /// Counts a time that something took.
    pub fn took(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Counts {
    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds those of another histogram of the same kind.
    pub fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(count, other)| *count += other);
    }

    /// Those that came since `earlier`, of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().chain(std::iter::repeat(&0));
        Self(self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect())
    }

    /// The value that the share `q` of all were at most, from 0 to 1: as if they lay evenly in
    /// their bucket, and the end of the last but one bucket for those beyond. `None` if there
    /// were none.
    #[expect(clippy::cast_precision_loss, reason = "a share of a bucket is a guess anyway")]
    pub fn quantile<K: Kind>(&self, q: f64) -> Option<f64> {
        let rank = q * self.total() as f64;
        let (mut below, mut start) = (0.0, 0);
        for (count, end) in self.0.iter().map(|count| *count as f64).zip(K::ENDS) {
            if count > 0.0 && below + count >= rank {
                let inside = (rank - below) / count;
                return Some((start as f64 + (end - start) as f64 * inside) / K::IN_UNIT);
            }
            (below, start) = (below + count, *end);
        }
        (self.total() > 0).then_some(start as f64 / K::IN_UNIT)
    }
}

impl<K: Kind> Default for Histogram<K> {
    fn default() -> Self {
        let counts = (0..=K::ENDS.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { counts, sum: AtomicU64::new(0) }), PhantomData)
    }
}

impl<K> Clone for Histogram<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<K> fmt::Debug for Histogram<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K> TypedMetric for Histogram<K> {
    const TYPE: MetricType = MetricType::Histogram;
}

impl<K: Kind> EncodeMetric for Histogram<K> {
    #[expect(clippy::cast_precision_loss, reason = "what is told is a decimal number")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (counts, sum) = (self.counts(), self.0.sum.load(Ordering::Relaxed));
        let ends = K::ENDS.iter().map(|end| *end as f64 / K::IN_UNIT).chain([f64::INFINITY]);
        let buckets: Vec<_> = ends.zip(counts.0.iter().copied()).collect();
        let sum = sum as f64 / K::IN_UNIT;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.total(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
