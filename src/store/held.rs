//! What stands between redb and the data file: nothing is written to it until it is known to be
//! ours, and what the disk has no room for waits.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redb::{BackendError, StorageBackend};

use crate::fault::{Fault, is_planted};
use crate::metrics::Metrics;

use super::space::Space;

/// A backend that keeps writes in memory until they are let through, and measures from then on.
///
/// To open a file is to write to it, more so when it was not closed cleanly and is repaired.
/// Holding these writes back until the schema version has been read leaves the file of a newer
/// release as it was, whatever its state.
#[derive(Debug)]
pub(super) struct HeldBackend<B>(Arc<Gate<B>>);

/// Lets the writes of a [`HeldBackend`] through.
#[derive(Debug)]
pub(super) struct Gate<B> {
    inner: B,
    metrics: Arc<Metrics>,
    /// What is waited for when the disk is full, once nothing is held back.
    space: Arc<Space>,
    /// What was done and is held back, in order.
    held: Mutex<Vec<Step>>,
    /// Whether nothing is held back any more; read without the lock on every access.
    through: AtomicBool,
}

#[derive(Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl<B: StorageBackend> HeldBackend<B> {
    /// A backend over `inner`, which waits for room on the disk, and the gate that ends the holding.
    pub(super) fn new(
        inner: B,
        (space, metrics): (Arc<Space>, Arc<Metrics>),
    ) -> (Self, Arc<Gate<B>>) {
        let (held, through) = (Mutex::default(), AtomicBool::new(false));
        let gate = Arc::new(Gate { inner, metrics, space, held, through });
        (Self(Arc::clone(&gate)), gate)
    }
}

impl<B: StorageBackend> Gate<B> {
    /// Does what was held back, in the order in which it was asked for, and holds no more.
    pub(super) fn let_through(&self) -> io::Result<()> {
        let mut held = self.held();
        for step in held.drain(..) {
            match step {
                Step::Write { offset, data } => self.inner.write(offset, &data)?,
                Step::SetLen(len) => self.inner.set_len(len)?,
                Step::Sync => self.inner.sync_data()?,
            }
        }
        self.through.store(true, Ordering::Release);
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Vec<Step>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_through(&self) -> bool {
        self.through.load(Ordering::Acquire)
    }

    fn held_len(&self, held: &[Step]) -> io::Result<u64> {
        let set = held.iter().rev().find_map(|step| match step {
            Step::SetLen(len) => Some(*len),
            Step::Write { .. } | Step::Sync => None,
        });
        set.map_or_else(|| self.inner.len(), Ok)
    }

    /// Reads what the file would hold if nothing were held back.
    fn read_held(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.held();
        out.fill(0);
        let on_disk = self.inner.len()?.min(self.held_len(&held)?).saturating_sub(offset);
        let on_disk = usize::try_from(on_disk).unwrap_or(usize::MAX).min(out.len());
        if let Some(out) = out.get_mut(..on_disk).filter(|out| !out.is_empty()) {
            self.inner.read(offset, out)?;
        }
        for step in held.iter() {
            if let Step::Write { offset: at, data } = step {
                overlay(out, offset, data, *at);
            }
        }
        Ok(())
    }
}

/// Copies into `out`, which stands at `offset`, what overlaps of `data`, which stands at `at`.
fn overlay(out: &mut [u8], offset: u64, data: &[u8], at: u64) {
    let skip = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let out = out.iter_mut().skip(skip(offset, at));
    let data = data.iter().skip(skip(at, offset));
    out.zip(data).for_each(|(out, byte)| *out = *byte);
}

impl<B: StorageBackend> StorageBackend for HeldBackend<B> {
    fn len(&self) -> io::Result<u64> {
        if self.0.is_through() { self.0.inner.len() } else { self.0.held_len(&self.0.held()) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.0.is_through() {
            return self.0.read_held(offset, out);
        }
        self.0.metrics.file_reads.inc();
        self.0.metrics.file_read_bytes.inc_by(out.len() as u64);
        self.0.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.0.is_through() {
            return self.0.space.wait_for(|| self.0.inner.set_len(len));
        }
        self.0.held().push(Step::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.is_through() {
            let began = Instant::now();
            let mut synced = self.0.inner.sync_data();
            if synced.is_err() && is_planted(Fault::FailedSyncRetried) {
                synced = self.0.inner.sync_data();
            }
            self.0.metrics.fsync_duration_seconds.took(began.elapsed());
            return synced;
        }
        self.0.held().push(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.0.is_through() {
            self.0.metrics.file_written_bytes.inc_by(data.len() as u64);
            return self.0.space.wait_for(|| self.0.inner.write(offset, data));
        }
        self.0.held().push(Step::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.query_lock_range(start, end)
    }
}
