//! How the replica is doing, for those who ask.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::metrics::{Gauge, Metrics};
use crate::model::{Clock, Timestamp};
use crate::sessions::merge::{CONFLICTS, Conflict, Loser};
use crate::store::{Store, StoreError};

use super::SyncError;
use super::notes::{self, Followed, Letter, Sent};
use super::queue::Queue;

/// How often metrics are set.
const MEASURE: Duration = Duration::from_secs(1);

/// How many notes are read in one go.
const PIECE: usize = 1000;

/// How the replica is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether PostgreSQL was told to us.
    pub configured: bool,
    /// Whether there is a connection that works.
    pub connected: bool,
    /// Whether the extra schema is there; unknown before the first connection.
    pub installed: Option<bool>,
    /// What went wrong last, if nothing has gone well since.
    pub last_error: Option<String>,
    /// How many rows that were touched here are not sent: the same as `queue`.
    pub push_lag: u64,
    /// How long ago all that was committed there was here, in milliseconds.
    pub pull_lag_ms: Option<u64>,
    /// How many rows wait to be sent, each as often as it was touched.
    pub queue: u64,
    /// How long the oldest of them has been waiting, in seconds.
    pub oldest_pending_secs: Option<u64>,
    /// How many rows were refused.
    pub dead_letters: u64,
    /// How many changes lost against others.
    pub conflicts: u64,
    /// Why nothing is taken from there until somebody says so.
    pub paused: Option<String>,
}

impl Status {
    fn measure(&self, metrics: &Metrics) {
        let set =
            |gauge: &Gauge, value: u64| _ = gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&metrics.postgres_connected, self.connected.into());
        set(&metrics.postgres_queue_rows, self.queue);
        set(&metrics.postgres_oldest_pending_seconds, self.oldest_pending_secs.unwrap_or(0));
        set(&metrics.postgres_pull_lag_seconds, self.pull_lag_ms.unwrap_or(0) / 1000);
        set(&metrics.postgres_dead_letters, self.dead_letters);
        set(&metrics.postgres_conflicts, self.conflicts);
        set(&metrics.postgres_paused, self.paused.is_some().into());
    }

    /// What people want to know, a line each.
    pub fn for_people(&self) -> Vec<String> {
        if !self.configured {
            let how = "set DB_HOST and what belongs to it, or use --postgres";
            return vec![format!("no PostgreSQL is configured; {how}")];
        }
        let mut lines = vec![
            format!("connected      {}", if self.connected { "yes" } else { "no" }),
            match self.installed {
                Some(true) => "extra schema   installed".to_owned(),
                Some(false) => "extra schema   not installed".to_owned(),
                None => "extra schema   unknown".to_owned(),
            },
            format!("waiting        {} rows", self.queue),
        ];
        lines.extend(self.oldest_pending_secs.map(|secs| format!("oldest         {secs} s")));
        lines.extend(self.pull_lag_ms.map(|millis| format!("looked there   {millis} ms ago")));
        lines.push(format!("conflicts      {}", self.conflicts));
        lines.push(format!("refused        {}", self.dead_letters));
        lines.extend(self.paused.iter().map(|why| format!("paused         {why}")));
        lines.extend(self.last_error.iter().map(|why| format!("last error     {why}")));
        lines
    }
}

/// Where is told how the replica is doing.
#[derive(Debug)]
pub struct SyncStatus {
    store: Store,
    clock: Clock,
    told: Mutex<Told>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Told {
    connected: bool,
    installed: Option<bool>,
    last_error: Option<String>,
    sent: u64,
    pulled: Option<Timestamp>,
    paused: Option<String>,
}

impl SyncStatus {
    /// The status of the replica of `store`, of which nothing is known but what `store` has.
    pub fn new(store: Store, clock: Clock) -> Self {
        let noted = store.read(|tx| notes::read::<Sent>(tx, notes::SENT)).ok().flatten();
        let sent = noted.filter(|sent| sent.log == store.log_id()).map_or(0, |sent| sent.seq);
        let followed = store.read(|tx| notes::read::<Followed>(tx, notes::FOLLOWED)).ok().flatten();
        let pulled = followed.filter(|it| it.log == store.log_id() && it.pulled_at > 0);
        let pulled = pulled.map(|it| Timestamp::from_micros(it.pulled_at));
        let told = Mutex::new(Told { sent, pulled, ..Told::default() });
        Self { store, clock, told, queue: Mutex::default() }
    }

    /// How it is doing now.
    ///
    /// # Errors
    /// [`StoreError`] when our file cannot be read.
    pub fn status(&self) -> Result<Status, StoreError> {
        let sent = self.told().sent;
        let (queue, oldest) = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.count(&self.store, sent)?
        };
        let dead_letters = count(&self.store, notes::LETTERS)?;
        let conflicts = count(&self.store, CONFLICTS)?;
        let now = self.clock.now();
        let lag = |at: Timestamp| now.as_micros().saturating_sub(at.as_micros()) / 1000;
        let told = self.told();
        let secs = |since: Timestamp| now.as_secs().saturating_sub(since.as_secs());
        Ok(Status {
            configured: true,
            connected: told.connected,
            installed: told.installed,
            last_error: told.last_error.clone(),
            push_lag: queue,
            pull_lag_ms: told.pulled.map(lag),
            queue,
            oldest_pending_secs: oldest.map(secs),
            dead_letters,
            conflicts,
            paused: told.paused.clone(),
        })
    }

    pub(super) fn connect(&self) {
        let mut told = self.told();
        (told.connected, told.last_error) = (true, None);
    }

    pub(super) fn fail(&self, error: &SyncError) {
        let mut told = self.told();
        (told.connected, told.last_error) = (false, Some(error.to_string()));
    }

    pub(super) fn set_sent(&self, seq: u64) {
        self.told().sent = seq;
    }

    pub(super) fn set_installed(&self, installed: bool) {
        self.told().installed = Some(installed);
    }

    pub(super) fn pulled(&self) {
        let now = self.clock.now();
        self.told().pulled = Some(now);
    }

    /// When everything was taken last, if it ever was.
    pub(super) fn pulled_at(&self) -> Option<Timestamp> {
        self.told().pulled
    }

    pub(super) fn pause(&self, why: Option<String>) {
        self.told().paused = why;
    }

    pub(super) fn paused(&self) -> Option<String> {
        self.told().paused.clone()
    }

    /// Sets what `metrics` tell of it, again and again.
    pub(super) async fn measure(&self, metrics: &Metrics) -> Infallible {
        loop {
            // What cannot be read is told where it is used.
            if let Ok(status) = self.status() {
                status.measure(metrics);
            }
            tokio::time::sleep(MEASURE).await;
        }
    }

    /// How it is doing, in a line of JSON, and the first refused rows, each in a line.
    ///
    /// # Errors
    /// [`StoreError`] when our file cannot be read.
    pub fn lines(&self) -> Result<Vec<String>, StoreError> {
        /// As many as fit a screen or two.
        const LETTERS: usize = 100;
        let status = self.status()?;
        let mut lines = vec![serde_json::to_string(&status).unwrap_or_default()];
        lines.extend(self.letters(LETTERS)?);
        Ok(lines)
    }

    /// Refused rows, each in a line, at most `limit` of them.
    ///
    /// # Errors
    /// [`StoreError`] when our file cannot be read.
    fn letters(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let found = self.store.read(|tx| tx.notes(notes::LETTERS, &[], limit))?;
        let line = |(key, letter): (Vec<u8>, Vec<u8>)| {
            let (session, message) = notes::letter_about(&key)?;
            let Letter { state, message: why, .. } = serde_json::from_slice(&letter).ok()?;
            let message = message.map_or(String::new(), |id| format!("message {id} of "));
            Some(format!("{message}session {session}: {why} ({state})"))
        };
        Ok(found.into_iter().filter_map(line).collect())
    }

    /// Shows `each` of what lost against other changes, oldest first, in a line of JSON, until it says
    /// that it is enough.
    ///
    /// # Errors
    /// [`StoreError`] when our file cannot be read.
    pub fn conflicts(&self, each: &mut dyn FnMut(&str) -> bool) -> Result<(), StoreError> {
        let mut after = Vec::new();
        loop {
            let found = self.store.read(|tx| tx.notes(CONFLICTS, &after, PIECE))?;
            let Some((last, _)) = found.last() else {
                return Ok(());
            };
            after.clone_from(last);
            let mut shown = found.iter().map(|(_, json)| each(&String::from_utf8_lossy(json)));
            if !shown.all(|goes_on| goes_on) {
                return Ok(());
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conflict, as JSON, in words; `None` of what is none.
pub fn conflict_for_people(json: &str) -> Option<String> {
    let Conflict { session_id, message_id, lost, what, at } = serde_json::from_str(json).ok()?;
    let message = message_id.map_or(String::new(), |id| format!("message {id} of "));
    let when = match at {
        0 => "at an unknown time".to_owned(),
        at => format!("at {}", Timestamp::from_micros(at)),
    };
    // As JSON, so that each stays in its line.
    let what = match what {
        Loser::Own { title, metadata } => {
            format!("title {}, metadata {metadata}", serde_json::Value::from(title))
        }
        Loser::Text { content } => serde_json::Value::from(content).to_string(),
    };
    Some(format!("{message}session {session_id}: changed {lost} {when}, and lost: {what}"))
}

/// How many notes have keys that begin with `prefix`.
fn count(store: &Store, prefix: &[u8]) -> Result<u64, StoreError> {
    let (mut count, mut after) = (0, Vec::new());
    loop {
        let found = store.read(|tx| tx.notes(prefix, &after, PIECE))?;
        count += u64::try_from(found.len()).unwrap_or(u64::MAX);
        match found.into_iter().nth(PIECE - 1) {
            Some((last, _)) => after = last,
            None => return Ok(count),
        }
    }
}
