//! Deleting what was begun or changed to be there for a time only.

use tracing::warn;

use crate::model::{Invalid, SessionId, Timestamp};
use crate::store::{Row, SessionRef, Store, StoreError, WriteTx, notes};

use super::time_after;

/// How many sessions are deleted in one operation, so that those of others have their turn.
const TOGETHER: usize = 50;

/// What became of the sessions whose time had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// How many were deleted.
    pub deleted: usize,
    /// How many stay, as something of them is damaged.
    pub stay: usize,
}

/// When the next session is to be deleted.
///
/// # Errors
/// [`StoreError`] when the file cannot be read or is damaged there.
pub fn next_expiry(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let first = store.read(|tx| tx.notes(notes::EXPIRIES, &[], 1))?;
    Ok(first.first().and_then(|(key, _)| notes::expiry_in(key)).map(|(at, _)| at))
}

/// Deletes every session whose `expiresAt` is `now` or past, a pinned one too.
///
/// Each is deleted as by its user.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, or takes no writes now.
pub async fn expire(store: &Store, now: Timestamp) -> Result<Expired, StoreError> {
    let (mut expired, mut behind) = (Expired::default(), Vec::new());
    loop {
        let noted = store.read(|tx| tx.notes(notes::EXPIRIES, &behind, TOGETHER))?;
        let is_due = |key: &[u8]| notes::expiry_in(key).is_none_or(|(at, _)| at <= now);
        let due: Vec<_> = noted.into_iter().take_while(|(key, _)| is_due(key)).collect();
        let Some((last, _)) = due.last() else {
            return Ok(expired);
        };
        behind.clone_from(last);
        match delete(store, due.clone()).await {
            Err(error) if is_damage(&error) => {
                // One that is damaged must not keep the others.
                for one in due {
                    expired.add(delete(store, vec![one]).await)?;
                }
            }
            outcome => expired.add(outcome)?,
        }
    }
}

impl Expired {
    fn add(&mut self, outcome: Result<usize, StoreError>) -> Result<(), StoreError> {
        match outcome {
            Ok(deleted) => self.deleted += deleted,
            Err(error) if is_damage(&error) => {
                self.stay += 1;
                warn!(%error, "a session stays beyond its time: {error}; restore a backup");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. } | StoreError::Structure(_))
}

/// Deletes the sessions of these notes, if they are still due.
async fn delete(store: &Store, due: Vec<(Vec<u8>, Vec<u8>)>) -> Result<usize, StoreError> {
    let work = move |tx: &mut WriteTx<'_>| {
        let mut deleted = 0;
        for (key, id) in &due {
            // Deleted, or given more time, since it was looked at.
            if tx.note(key)?.is_none() {
                continue;
            }
            match due_session(tx, key, id)? {
                Some((session, row)) => {
                    let at = time_after(tx, &row);
                    tx.delete_session(&session, &row, at);
                    deleted += 1;
                }
                None => tx.put_note(key, None),
            }
        }
        Ok(deleted)
    };
    store.write("expire", work).await
}

/// The session that a note is of.
fn due_session(
    tx: &WriteTx<'_>,
    key: &[u8],
    id: &[u8],
) -> Result<Option<(SessionRef, Row)>, StoreError> {
    let id = std::str::from_utf8(id).ok().and_then(|id| SessionId::parse(id).ok());
    let (Some(id), Some((_, number))) = (id, notes::expiry_in(key)) else {
        return Ok(None);
    };
    match tx.session(&id)?.filter(|session| session.number == number) {
        Some(session) => tx.row(&session).map(|row| Some((session, row))),
        None => Ok(None),
    }
}

/// Refuses to have a session deleted at a time that is `now` or past.
pub(super) fn check_expiry(now: Timestamp, expiry: Option<Timestamp>) -> Result<(), Invalid> {
    match expiry {
        Some(at) if at <= now => {
            let problem =
                format!("is {at}, which is past; delete the session, or name a later time");
            Err(Invalid::wrong("expiresAt", problem))
        }
        _ => Ok(()),
    }
}
