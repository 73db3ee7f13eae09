//! How a server is doing: what of it changed within the last minute, and one screen of all that an
//! operator asks first.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::metrics::{Counts, ListenerKind, Metrics, Seconds, Verb};
use crate::model::Timestamp;
use crate::store::{ReadTx, Store, StoreError, notes};

/// How often a [`Pulse`] is to be felt.
pub const BEAT: Duration = Duration::from_secs(5);

/// Rates are of this time.
const WINDOW: Duration = Duration::from_mins(1);

/// With less room than this on the disk, there is something to warn about.
const FREE_MIN_BYTES: u64 = 256 * 1024 * 1024;

/// How a server is doing. Its members are the words of `orion-chat status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The release.
    pub version: String,
    /// Where it listens, as `127.0.0.1:3002`.
    pub address: String,
    /// Where the metrics are, if anywhere.
    pub admin_address: Option<String>,
    /// How long it has run, in seconds.
    pub uptime_secs: u64,
    /// The data file.
    pub data: Data,
    /// What happened of late.
    pub recent: Recent,
    /// Connections that are open.
    pub connections: u64,
    /// Streams of events that are open.
    pub streams: u64,
    /// WebSockets that are open.
    pub web_sockets: u64,
    /// When a backup was last taken of this server, as RFC 3339.
    pub last_backup: Option<String>,
    /// What is wrong, or may become so; one line each.
    pub warnings: Vec<String>,
}

/// The data file, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Room on its disk.
    pub free_bytes: Option<u64>,
    /// How many sessions it holds.
    pub sessions: u64,
    /// How many messages.
    pub messages: u64,
}

/// What happened within the last minute, or since the start. Rates are by the second, times in
/// seconds, and none if nothing happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// Over how many seconds.
    pub secs: f64,
    /// Requests that were answered.
    pub requests_per_sec: f64,
    /// Messages that were saved.
    pub saves_per_sec: f64,
    /// How many requests failed by our fault.
    pub failed: u64,
    /// Half of the requests were answered in this time.
    pub request_p50_secs: Option<f64>,
    /// And 99 of 100 in this.
    pub request_p99_secs: Option<f64>,
    /// Half of the commits were on disk in this time.
    pub commit_p50_secs: Option<f64>,
    /// And 99 of 100 in this.
    pub commit_p99_secs: Option<f64>,
}

/// What is known at the start.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where it listens.
    pub address: String,
    /// Where the metrics are.
    pub admin_address: Option<String>,
    /// The data file.
    pub path: PathBuf,
    /// What was warned about.
    pub warnings: Vec<String>,
}

/// Feels how a server is doing.
#[derive(Debug)]
pub struct Pulse {
    store: Store,
    facts: Facts,
    began: Instant,
    /// The newest last; the first is about as old as [`WINDOW`].
    beats: Mutex<VecDeque<Beat>>,
}

/// What was counted at one moment.
#[derive(Debug, Clone)]
struct Beat {
    at: Instant,
    failed: u64,
    saves: u64,
    requests: Counts,
    commits: Counts,
}

impl Status {
    /// It as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The one that was written so.
    ///
    /// # Errors
    /// What is wrong with `json`.
    pub fn from_json(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}

impl Pulse {
    /// The pulse of the server of `store`.
    pub fn new(store: Store, facts: Facts) -> Self {
        let first = Beat::of(store.metrics());
        // Known from the start, though nobody listens yet.
        for kind in ["sse", "websocket"] {
            drop(store.metrics().listeners.get_or_create(&ListenerKind { kind }));
        }
        let beats = Mutex::new([first].into());
        Self { store, facts, began: Instant::now(), beats }
    }

    /// Keeps what is counted now, to tell rates by; to be called each [`BEAT`].
    pub fn beat(&self) {
        let now = Beat::of(self.store.metrics());
        let mut beats = self.beats();
        while beats.get(1).is_some_and(|second| now.at - second.at >= WINDOW) {
            beats.pop_front();
        }
        beats.push_back(now);
    }

    /// Writes the sizes of now into the metrics.
    pub fn measure(&self) {
        let (data, metrics) = (self.data(), self.store.metrics());
        let set = |gauge: &crate::metrics::Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&metrics.file_bytes, data.bytes);
        set(&metrics.disk_free_bytes, data.free_bytes.unwrap_or(0));
        set(&metrics.sessions, data.sessions);
        set(&metrics.messages, data.messages);
        set(&metrics.last_backup_timestamp_seconds, self.backed_up().map_or(0, Timestamp::as_secs));
        if let Ok(sizes) = self.store.read(|tx: ReadTx<'_>| tx.sizes()) {
            set(&metrics.log_steps, sizes.log_steps);
            set(&metrics.log_unsettled_steps, sizes.unsettled_steps);
            set(&metrics.log_unsettled_bytes, sizes.unsettled_bytes);
        }
    }

    /// How the server is doing.
    pub fn status(&self) -> Status {
        let metrics = self.store.metrics();
        let listening = |kind| count(metrics.listeners.get_or_create(&ListenerKind { kind }).get());
        let (data, recent) = (self.data(), self.recent());
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.facts.address.clone(),
            admin_address: self.facts.admin_address.clone(),
            uptime_secs: self.began.elapsed().as_secs(),
            connections: count(metrics.connections.get()),
            streams: listening("sse"),
            web_sockets: listening("websocket"),
            last_backup: self.backed_up().map(|at| at.to_string()),
            warnings: self.warnings(&data, &recent),
            data,
            recent,
        }
    }

    fn backed_up(&self) -> Option<Timestamp> {
        let noted: Result<_, StoreError> = self.store.read(|tx| tx.note(notes::BACKED_UP));
        noted.ok().flatten().map(notes::time)
    }

    fn data(&self) -> Data {
        let path = &self.facts.path;
        let stored = self.store.stored();
        Data {
            path: path.display().to_string(),
            bytes: path.metadata().map_or(0, |file| file.len()),
            free_bytes: self.store.free_bytes(),
            sessions: stored.sessions,
            messages: stored.messages,
        }
    }

    fn recent(&self) -> Recent {
        let now = Beat::of(self.store.metrics());
        let before = self.beats().front().cloned().unwrap_or_else(|| now.clone());
        now.since(&before)
    }

    /// What was warned about at the start, and what is wrong now.
    fn warnings(&self, data: &Data, recent: &Recent) -> Vec<String> {
        let mut warnings = self.facts.warnings.clone();
        if let Err(error) = self.store.read(|tx: ReadTx<'_>| tx.check()) {
            warnings.push(format!("the data file cannot be read: {error}"));
        }
        let free = data.free_bytes.map_or(String::new(), |free| format!("{} MiB", free >> 20));
        if self.store.is_full() {
            warnings.push(format!("writes are refused: the disk is full, {free} are free"));
        } else if data.free_bytes.is_some_and(|free| free < FREE_MIN_BYTES) {
            warnings.push(format!("the disk is nearly full: {free} are free"));
        }
        if recent.failed > 0 {
            let failed = recent.failed;
            warnings.push(format!("{failed} requests failed of late; the log tells why"));
        }
        warnings
    }

    fn beats(&self) -> MutexGuard<'_, VecDeque<Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    fn of(metrics: &Metrics) -> Self {
        let (requests, failed) = metrics.answered();
        let saves = metrics.writes.get_or_create(&Verb { verb: "save_message" }).get();
        let commits = metrics.commit_duration_seconds.counts();
        Self { at: Instant::now(), failed, saves, requests, commits }
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are shown with few digits")]
    fn since(&self, before: &Self) -> Recent {
        let secs = (self.at - before.at).as_secs_f64().max(0.001);
        let requests = self.requests.since(&before.requests);
        let commits = self.commits.since(&before.commits);
        Recent {
            secs,
            requests_per_sec: requests.total() as f64 / secs,
            saves_per_sec: self.saves.saturating_sub(before.saves) as f64 / secs,
            failed: self.failed.saturating_sub(before.failed),
            request_p50_secs: requests.quantile::<Seconds>(0.5),
            request_p99_secs: requests.quantile::<Seconds>(0.99),
            commit_p50_secs: commits.quantile::<Seconds>(0.5),
            commit_p99_secs: commits.quantile::<Seconds>(0.99),
        }
    }
}

/// What of a gauge of things that are there can be told.
fn count(gauge: i64) -> u64 {
    u64::try_from(gauge).unwrap_or(0)
}
