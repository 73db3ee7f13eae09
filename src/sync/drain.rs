//! Following our own log: what was done here is sent, a piece at a time and in the order of commits.

use std::time::Instant;

use tracing::warn;

use crate::fault::{Fault, is_planted};
use crate::store::{Journal, Store, StoreError, WriteTx};

use super::link::Link;
use super::notes::{self, Followed, Sent};
use super::pull::Wanted;
use super::push::Outcome;
use super::{Replica, SyncError};

/// How many rows are sent in one transaction.
const BATCH: usize = 1000;
/// How many reads of the log they are put together from, at most.
const READS: usize = 50;

/// Steps that need not be sent and after which that is noted, so that the log may be pruned.
const SKIPPED: u64 = 10_000;

impl Replica {
    /// Sends everything that was done here until now.
    pub(super) async fn push_all(&mut self, link: &Link) -> Result<(), SyncError> {
        let newest = self.store.read(|tx| Ok::<_, StoreError>(tx.newest()))?;
        while self.push(link).await? && self.looked < newest {}
        Ok(())
    }

    /// Sends a piece of what was done here; tells whether there may be more.
    pub(super) async fn push(&mut self, link: &Link) -> Result<bool, SyncError> {
        let (after, newest) =
            (self.looked, self.store.read(|tx| Ok::<_, StoreError>(tx.newest()))?);
        if after == newest {
            self.status.set_sent(after);
            return Ok(false);
        }
        let Some(journal) = batch(&self.store, after).await? else {
            // The log does not reach back so far: both sides are compared as a whole instead.
            warn!(
                "PostgreSQL: what was done here is too long ago; comparing both sides as a whole"
            );
            self.followed = Followed { log: self.store.log_id(), ..Followed::default() };
            // First, so that whoever is interrupted knows too that what is missing there may never have
            // been sent.
            self.note_followed().await?;
            self.looked = newest;
            self.next_pull = Instant::now();
            return Ok(false);
        };
        let any = !journal.touched.is_empty();
        if any && is_planted(Fault::SentBeforeCommit) {
            self.looked = journal.until;
            self.save_sent().await?;
        }
        if any {
            let outcome = self.hands(link).sender.send(journal.touched).await?;
            // However much is left: this connection works.
            self.status.connect();
            self.settle(link, outcome).await?;
        }
        self.looked = journal.until;
        if any || self.looked > self.sent.seq + SKIPPED {
            self.save_sent().await?;
        }
        self.status.set_sent(self.looked);
        Ok(self.looked < newest)
    }

    /// Looks at what was changed on both sides.
    async fn settle(&mut self, link: &Link, outcome: Outcome) -> Result<(), SyncError> {
        let Outcome { unclear, unclear_messages, .. } = outcome;
        if unclear.is_empty() && unclear_messages.is_empty() {
            return Ok(());
        }
        let sessions = unclear.iter().map(ToString::to_string).collect();
        let messages = unclear_messages.iter().map(ToString::to_string).collect();
        let wanted = Wanted { sessions, messages };
        let mut hands = self.hands(link);
        let outcome = hands.taker.take(wanted).await?;
        if !outcome.again.is_empty() {
            hands.sender.send(outcome.again).await?;
        }
        Ok(())
    }

    /// Notes how far what was done here has been sent.
    pub(super) async fn save_sent(&mut self) -> Result<(), StoreError> {
        self.sent = Sent { log: self.store.log_id(), seq: self.looked };
        let sent = self.sent.clone();
        let work = move |tx: &mut WriteTx<'_>| {
            notes::write(tx, notes::SENT, &sent);
            Ok::<_, StoreError>(())
        };
        self.store.write_patiently("replica_sent", work).await?;
        self.store.hold_log(self.sent.seq);
        Ok(())
    }
}

/// What is sent together of what was done here after number `after`. A read of the log is short, and there
/// may be little to send in each.
async fn batch(store: &Store, after: u64) -> Result<Option<Journal>, StoreError> {
    let read = |after, enough| store.read(|tx| tx.journal(after, enough));
    let Some(mut batch) = read(after, BATCH)? else {
        return Ok(None);
    };
    for _ in 1..READS {
        if !(1..BATCH).contains(&batch.touched.len()) {
            break;
        }
        let next = read(batch.until, BATCH - batch.touched.len())?;
        let Some(next) = next.filter(|next| !next.touched.is_empty()) else {
            break;
        };
        batch.append(next);
        tokio::task::yield_now().await;
    }
    Ok(Some(batch))
}
