//! Deleting what nobody has touched for long.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::warn;

use crate::model::{SessionId, Timestamp};
use crate::store::{Facts, ListedRow, Store, StoreError, Walked, WriteTx};

use super::due::{TOGETHER, delete_due};
use super::{pause, time_after};

/// How many runs of sessions are looked at in one go: a millisecond of work.
const RUNS: usize = 16;

/// By how much the clock may be ahead of what it should show...
const AHEAD: Duration = Duration::from_hours(3 * 24);
/// ...unless it has been so for this long, and nobody has set it right.
const DOUBTED: Duration = Duration::from_hours(24);

/// Whether the clock can be believed: else one that jumps ahead would have everything deleted.
///
/// It should show no more than the time of the newest write before the start, and what has passed
/// since; but nobody may have written for a while.
#[derive(Debug)]
pub struct Trust {
    /// What it should have shown...
    expected: Timestamp,
    /// ...then.
    since: Instant,
    /// Since when it is ahead of that.
    doubted: Option<Instant>,
}

/// Whether something is to be deleted by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is right.
    Believed,
    /// It is not, from now on.
    DoubtedNow,
    /// It is not, as before.
    Doubted,
}

impl Trust {
    /// Trust in a clock that showed `expected` or should have, at `since`.
    pub fn new(expected: Timestamp, since: Instant) -> Self {
        Self { expected, since, doubted: None }
    }

    /// Whether to believe the clock, which shows `now` at `at`.
    pub fn believes(&mut self, now: Timestamp, at: Instant) -> Belief {
        let passed = at.saturating_duration_since(self.since) + AHEAD;
        if now <= later(self.expected, passed) {
            self.doubted = None;
            return Belief::Believed;
        }
        let Some(doubted) = self.doubted else {
            self.doubted = Some(at);
            return Belief::DoubtedNow;
        };
        if at.saturating_duration_since(doubted) < DOUBTED {
            return Belief::Doubted;
        }
        *self = Self::new(now, at);
        Belief::Believed
    }
}

/// Deletes every session that is not pinned and has not changed since `before`; tells how many.
///
/// Each is deleted as by its user. One that cannot be, as something of it is damaged, stays.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, or takes no writes now.
pub async fn retire(store: &Store, before: Timestamp) -> Result<usize, StoreError> {
    let (mut walked, mut retired) = (Walked::default(), 0);
    loop {
        let mut due = Vec::new();
        let mut note = |row: ListedRow<'_>| {
            let is_due = is_due(row.facts, row.updated_at, before);
            due.extend(is_due.then(|| id_in(row.json)).flatten().map(|id| (id, before)));
        };
        let next = store.read(|tx| tx.walk_sessions(&walked, RUNS, &mut note))?;
        for ids in due.chunks(TOGETHER) {
            retired += delete_due(store, "retire", ids.to_vec(), delete, tell).await?;
        }
        match next {
            Some(next) => walked = next,
            None => return Ok(retired),
        }
        pause().await;
    }
}

fn tell(_: (SessionId, Timestamp), error: StoreError) {
    warn!(%error, "an old session stays: {error}; restore a backup");
}

/// Deletes a session, unless it has changed since it was looked at.
fn delete(tx: &mut WriteTx<'_>, (id, before): &(SessionId, Timestamp)) -> Result<bool, StoreError> {
    let Some(session) = tx.session(id)? else { return Ok(false) };
    let row = tx.row(&session)?;
    let is_due = is_due(row.facts, row.updated_at, *before);
    if is_due {
        let at = time_after(tx, &row);
        tx.delete_session(&session, &row, at);
    }
    Ok(is_due)
}

fn is_due(facts: Facts, updated_at: Timestamp, before: Timestamp) -> bool {
    !facts.marks.pinned && updated_at < before
}

fn id_in(json: &[u8]) -> Option<SessionId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        session_id: String,
    }

    let named: Named = serde_json::from_slice(json).ok()?;
    SessionId::parse(&named.session_id).ok()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_clock_that_jumps_ahead_is_doubted_for_a_day() {
        let (then, start) = (Timestamp::from_micros(1_800_000_000_000_000), Instant::now());
        let mut trust = Trust::new(then, start);
        let mut believes =
            |shown: Duration, passed: Duration| trust.believes(later(then, shown), start + passed);

        assert_eq!(believes(2 * DAY, Duration::ZERO), Belief::Believed, "nobody wrote for a while");
        assert_eq!(believes(9 * DAY, 7 * DAY), Belief::Believed, "time has passed");
        assert_eq!(believes(5000 * DAY, 7 * DAY), Belief::DoubtedNow);
        assert_eq!(believes(5000 * DAY, 7 * DAY + DAY / 2), Belief::Doubted);
        assert_eq!(believes(8 * DAY, 8 * DAY), Belief::Believed, "it was set right");

        assert_eq!(believes(100 * DAY, 9 * DAY), Belief::DoubtedNow);
        assert_eq!(believes(101 * DAY, 10 * DAY), Belief::Believed, "it has been so for a day");
        assert_eq!(believes(110 * DAY, 19 * DAY), Belief::Believed);
        assert_eq!(
            believes(Duration::ZERO, 19 * DAY),
            Belief::Believed,
            "one that is behind deletes nothing"
        );
    }
}
