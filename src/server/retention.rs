//! Deletes old sessions now and then.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::{Clock, Timestamp};
use crate::sessions::{self, Belief, Trust};
use crate::store::{ReadTx, Store, StoreError};

/// How long sessions are kept that nobody changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So long.
    pub keep: Duration,
    /// How often it is looked for those that are older.
    pub every: Duration,
}

/// Deletes what is older, until `stopping` is cancelled.
pub(super) async fn retain(
    store: Store,
    clock: Clock,
    retention: Retention,
    stopping: CancellationToken,
) {
    let newest = store.read(|tx: ReadTx<'_>| tx.newest_at()).unwrap_or_else(|error: StoreError| {
        warn!(%error, "cannot tell when the newest write was: {error}");
        None
    });
    let mut trust = Trust::new(newest.unwrap_or_else(|| clock.now()), Instant::now());
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
