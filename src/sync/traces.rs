//! Forgetting deletions of long ago. Traces of them keep what was deleted here from coming back from
//! there; once they have been told there, only a dump of before could bring it back.

use std::time::Duration;

use crate::model::{MessageId, SessionId, Timestamp};
use crate::store::{StoreError, WriteTx, notes as keys};

use super::notes;
use super::{Replica, SyncError};

/// How long they are kept: longer than dumps are, as a rule.
const KEPT: Duration = Duration::from_hours(90 * 24);

/// How many are looked at in one go.
const PIECE: usize = 500;

impl Replica {
    /// Forgets old deletions, of which all were told there.
    pub(super) async fn forget_deletions(&self) -> Result<(), SyncError> {
        let kept = u64::try_from(KEPT.as_micros()).unwrap_or(u64::MAX);
        let before = self.clock.now().as_micros().saturating_sub(kept);
        let before = Timestamp::from_micros(before);
        for prefix in [keys::SESSIONS_GONE, keys::MESSAGES_GONE] {
            let mut after = Some(Vec::new());
            while let Some(from) = after {
                after = self.forget_some(prefix, &from, before).await?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Forgets those of the next traces behind `after` that are older than `before`; gives the last
    /// of those it looked at.
    async fn forget_some(
        &self,
        prefix: &[u8],
        after: &[u8],
        before: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let traces = self.store.read(|tx| tx.notes(prefix, after, PIECE))?;
        let last = traces.last().map(|(key, _)| key.clone());
        let mut old = Vec::new();
        for (key, at) in traces {
            if keys::time(at) < before && !self.is_refused(&key)? {
                old.push(key);
            }
        }
        self.forget(old).await?;
        Ok(last)
    }

    /// Whether a deletion was refused there: what was to be deleted is there still.
    fn is_refused(&self, trace: &[u8]) -> Result<bool, StoreError> {
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).ok();
        let session = |id: &str| SessionId::parse(id).ok();
        let letter = if let Some(id) = trace.strip_prefix(keys::SESSIONS_GONE) {
            text(id).and_then(|id| session(&id)).map(|id| notes::letter(&id, None))
        } else {
            let ids = trace.strip_prefix(keys::MESSAGES_GONE).and_then(text);
            ids.and_then(|ids| {
                let (id, message) = ids.split_once('\0')?;
                let message = MessageId::parse(message).ok()?;
                Some(notes::letter(&session(id)?, Some(&message)))
            })
        };
        match letter {
            Some(letter) => Ok(self.store.read(|tx| tx.note(&letter))?.is_some()),
            None => Ok(false),
        }
    }

    async fn forget(&self, old: Vec<Vec<u8>>) -> Result<(), StoreError> {
        if old.is_empty() {
            return Ok(());
        }
        let work = move |tx: &mut WriteTx<'_>| {
            for key in &old {
                tx.put_note(key, None);
            }
            Ok::<_, StoreError>(())
        };
        self.store.write_patiently("replica_traces", work).await
    }
}
