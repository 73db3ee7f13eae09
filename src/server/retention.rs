//! Deletes old sessions now and then, and those whose time has come.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::{Clock, Timestamp};
use crate::sessions::{self, Belief, Stuck, Trust};
use crate::store::{ReadTx, Store, StoreError};

/// How long sessions are kept that nobody changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So long.
    pub keep: Duration,
    /// How often it is looked for those that are older.
    pub every: Duration,
}

/// How often it is looked for sessions whose `expiresAt` has come...
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// ...and how soon again where that could not be done.
const EXPIRE_AGAIN: Duration = Duration::from_mins(1);

/// Deletes what is older, until `stopping` is cancelled.
pub(super) async fn retain(
    store: Store,
    clock: Clock,
    retention: Retention,
    stopping: CancellationToken,
) {
    let mut trust = trust(&store, &clock);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(retention.every) => {}
        }
        let now = clock.now();
        let before = now.as_micros().saturating_sub(micros(retention.keep));
        match trust.believes(now, Instant::now()) {
            Belief::Believed => retire(&store, Timestamp::from_micros(before)).await,
            Belief::DoubtedNow => warn!(
                "the clock is days ahead of the newest write: no old session is deleted until it \
                 has been so for a day; set it right if it is wrong"
            ),
            Belief::Doubted => {}
        }
    }
}

async fn retire(store: &Store, before: Timestamp) {
    match sessions::retire(store, before).await {
        Ok(0) => {}
        Ok(retired) => info!("deleted {retired} sessions that nobody had changed for too long"),
        Err(error) => warn!(%error, "old sessions stay for now: {error}"),
    }
}

/// Deletes what expires, until `stopping` is cancelled: at once what did before the start.
pub(super) async fn expire(store: Store, clock: Clock, stopping: CancellationToken) {
    let (mut trust, mut stuck) = (trust(&store, &clock), Stuck::default());
    loop {
        let pause = match expire_due(&store, &clock, (&mut trust, &mut stuck)).await {
            Ok(()) => EXPIRE_EVERY,
            Err(error) => {
                warn!(%error, "sessions stay beyond their time for now: {error}");
                EXPIRE_AGAIN
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn expire_due(
    store: &Store,
    clock: &Clock,
    (trust, stuck): (&mut Trust, &mut Stuck),
) -> Result<(), StoreError> {
    let now = clock.now();
    if sessions::next_expiry(store)?.is_none_or(|next| next > now) {
        return Ok(());
    }
    match trust.believes(now, Instant::now()) {
        Belief::Believed => match sessions::expire(store, now, stuck).await? {
            0 => {}
            expired => info!("deleted {expired} sessions at their expiresAt"),
        },
        Belief::DoubtedNow => warn!(
            "the clock is days ahead of the newest write: no session is deleted at its expiresAt \
             until it has been so for a day; set it right if it is wrong"
        ),
        Belief::Doubted => {}
    }
    Ok(())
}

/// Trust in a clock that should show the time of the newest write, or later.
fn trust(store: &Store, clock: &Clock) -> Trust {
    let newest = store.read(|tx: ReadTx<'_>| tx.newest_at()).unwrap_or_else(|error: StoreError| {
        warn!(%error, "cannot tell when the newest write was: {error}");
        None
    });
    Trust::new(newest.unwrap_or_else(|| clock.now()), Instant::now())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
