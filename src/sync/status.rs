//! How the replica is doing, for those who ask.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::model::{Clock, Timestamp};
use crate::store::{Store, StoreError};

use super::SyncError;
use super::notes;

/// How the replica is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// How many steps of the log are not sent.
    pub push_lag: u64,
    /// How long ago all that was committed there was here, in milliseconds.
    pub pull_lag_ms: Option<u64>,
    /// How many steps wait to be sent.
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

/// Where is told how the replica is doing.
#[derive(Debug)]
pub struct StatusBoard {
    store: Store,
    clock: Clock,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    connected: bool,
    installed: Option<bool>,
    last_error: Option<String>,
    sent: u64,
    oldest: Option<Timestamp>,
}

impl StatusBoard {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, told: Mutex::default() }
    }

    /// How it is doing now.
    ///
    /// # Errors
    /// [`StoreError`] when our file cannot be read.
    pub fn status(&self) -> Result<Status, StoreError> {
        let newest = self.store.read(|tx| Ok::<_, StoreError>(tx.newest()))?;
        let dead_letters = count(&self.store, notes::LETTERS)?;
        let now = self.clock.now();
        let told = self.told();
        let queue = newest.saturating_sub(told.sent);
        let waiting = |since: Timestamp| now.as_secs().saturating_sub(since.as_secs());
        Ok(Status {
            configured: true,
            connected: told.connected,
            installed: told.installed,
            last_error: told.last_error.clone(),
            push_lag: queue,
            pull_lag_ms: None,
            queue,
            oldest_pending_secs: told.oldest.filter(|_| queue > 0).map(waiting),
            dead_letters,
            conflicts: 0,
            paused: None,
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

    pub(super) fn set_oldest(&self, oldest: Option<Timestamp>) {
        self.told().oldest = oldest;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many notes have keys that begin with `prefix`.
fn count(store: &Store, prefix: &[u8]) -> Result<u64, StoreError> {
    const PIECE: usize = 1000;
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
