//! PostgreSQL as a replica: what is done here is sent there, and what others do there is taken.
//!
//! It is never in the way of a save: one task of the server's follows the change log and sends what
//! it names, whenever PostgreSQL can be reached. Both ways tell *which* rows changed; what is sent
//! or taken is the row as it is now, so that it does not matter how often or in which order.
//!
//! In here: `target` (where PostgreSQL is), `link` (a connection with its statements), `parcel`
//! (what is sent in one transaction), `push` and `statements` (sending it), `notes` (what is kept
//! about it in our own file), `failure` (what a refusal is about), `status`.

mod failure;
mod link;
mod notes;
mod parcel;
mod push;
mod statements;
mod status;
mod target;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::model::{Clock, Role};
use crate::store::{Store, StoreError, WriteTx};

pub use failure::SyncError;
pub use status::{Status, StatusBoard};
pub use target::{BadTarget, Target};

use failure::Kind;
use link::Link;
use notes::Sent;
use push::Sender;

/// How many rows are sent in one transaction.
const BATCH: usize = 1000;

/// How often is looked whether there is something to send.
const LOOK: Duration = Duration::from_millis(100);

/// How long after the first failure it is tried again, and after many.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Steps that need not be sent and after which that is noted, so that the log may be pruned.
const SKIPPED: u64 = 10_000;

/// The replica of a store.
#[derive(Debug)]
pub struct Replica {
    target: Target,
    store: Store,
    board: Arc<StatusBoard>,
    sent: Sent,
    /// The number up to which the log was looked at.
    looked: u64,
    refused_roles: HashMap<Role, (String, String)>,
    failures: u32,
}

impl Replica {
    /// The replica at `target` of `store`, whose log is kept for it from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn new(target: Target, store: Store, clock: Clock) -> Result<Self, StoreError> {
        let sent: Sent = store.read(|tx| notes::read(tx, notes::SENT))?.unwrap_or_default();
        store.hold_log(sent.seq);
        let board = Arc::new(StatusBoard::new(store.clone(), clock));
        board.set_sent(sent.seq);
        let (looked, refused_roles) = (sent.seq, HashMap::new());
        Ok(Self { target, store, board, sent, looked, refused_roles, failures: 0 })
    }

    /// Where is told how it is doing.
    pub fn board(&self) -> Arc<StatusBoard> {
        Arc::clone(&self.board)
    }

    /// Follows, whenever PostgreSQL can be reached, until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            never = self.follow() => match never {},
        }
    }

    async fn follow(&mut self) -> Infallible {
        loop {
            let Err(error) = self.follow_connected().await;
            self.board.fail(&error);
            self.failures += 1;
            let pause = match error.kind() {
                Kind::Moment | Kind::Row => backoff(self.failures),
                Kind::Tables => BACKOFF_MAX,
            };
            let millis = pause.as_millis();
            warn!(%error, "PostgreSQL: {error}; what is done here is kept, again in {millis} ms");
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows for as long as one connection lasts.
    async fn follow_connected(&mut self) -> Result<Infallible, SyncError> {
        let (client, connection) = self.target.connect().await?;
        let link = Link::new(client, format!("{:016x}", self.store.log_id()));
        tokio::select! {
            worked = self.work(&link) => worked,
            ended = connection => match ended {
                Ok(()) => Err(SyncError::Unreachable("PostgreSQL closed the connection".to_owned())),
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn work(&mut self, link: &Link) -> Result<Infallible, SyncError> {
        self.refused_roles.clear();
        let mut connected = false;
        loop {
            while self.push(link).await? {}
            if !std::mem::replace(&mut connected, true) {
                info!("PostgreSQL: connected to {}", self.target);
                self.board.connect();
            }
            self.failures = 0;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends a piece of what was done here; tells whether there may be more.
    async fn push(&mut self, link: &Link) -> Result<bool, SyncError> {
        let (after, newest) =
            (self.looked, self.store.read(|tx| Ok::<_, StoreError>(tx.newest()))?);
        if after == newest {
            self.board.set_sent(after);
            return Ok(false);
        }
        let Some(journal) = self.store.read(|tx| tx.journal(after, BATCH))? else {
            return Err(SyncError::Unable("the log does not reach back far enough".to_owned()));
        };
        self.board.set_oldest(journal.since);
        let any = !journal.touched.is_empty();
        if any {
            let mut sender = Sender {
                link,
                store: &self.store,
                refused_roles: &mut self.refused_roles,
                again: false,
            };
            sender.send(journal.touched).await?;
        }
        self.looked = journal.until;
        if any || self.looked > self.sent.seq + SKIPPED {
            self.save_sent().await?;
        }
        self.board.set_sent(self.looked);
        Ok(self.looked < newest)
    }

    /// Notes how far what was done here has been sent.
    async fn save_sent(&mut self) -> Result<(), StoreError> {
        self.sent = Sent { log: self.store.log_id(), seq: self.looked };
        let sent = self.sent.clone();
        let work = move |tx: &mut WriteTx<'_>| {
            notes::write(tx, notes::SENT, &sent);
            Ok::<_, StoreError>(())
        };
        self.store.write("replica_sent", work).await?;
        self.store.hold_log(self.sent.seq);
        Ok(())
    }
}

/// How long to wait after so many failures: each time twice as long, and not as long as others do.
fn backoff(failures: u32) -> Duration {
    let longest = BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let spread = u32::try_from(random % 1000).unwrap_or(0);
    longest / 2 + longest / 2 * spread / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_after_each_failure_and_never_longer_than_the_limit() {
        for failures in 0..100 {
            assert!(backoff(failures) <= BACKOFF_MAX && backoff(failures) >= BACKOFF / 2);
        }
        assert!(backoff(100) >= BACKOFF_MAX / 2);
    }
}
