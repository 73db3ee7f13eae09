//! Deleting what was begun or changed to be there for a time only.

use std::collections::HashSet;

use tracing::warn;

use crate::model::{Invalid, SessionId, Timestamp};
use crate::store::{Noted, Row, SessionRef, Store, StoreError, WriteTx, notes};

use super::due::{TOGETHER, delete_due};
use super::time_after;

/// The sessions that stay beyond their time, as something of them is damaged.
#[derive(Debug, Default)]
pub struct Stuck(HashSet<Noted>);

/// When the next session is to be deleted.
///
/// # Errors
/// [`StoreError`] when the file cannot be read or is damaged there.
pub fn next_expiry(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let first = store.read(|tx| tx.notes(notes::EXPIRIES, &[], 1))?;
    Ok(first.first().and_then(|(key, _)| notes::expiry_in(key)).map(|(at, _)| at))
}

/// Deletes every session whose `expiresAt` is `now` or past, a pinned one too; gives how many were.
///
/// Each is deleted as by its user. One that cannot be, as something of it is damaged, is told in the
/// log and is `stuck` from then on.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, or takes no writes now.
pub async fn expire(store: &Store, now: Timestamp, stuck: &mut Stuck) -> Result<usize, StoreError> {
    let (mut expired, mut behind) = (0, Vec::new());
    loop {
        let noted = store.read(|tx| tx.notes(notes::EXPIRIES, &behind, TOGETHER))?;
        let is_due = |key: &[u8]| notes::expiry_in(key).is_none_or(|(at, _)| at <= now);
        let mut due: Vec<_> = noted.into_iter().take_while(|(key, _)| is_due(key)).collect();
        let Some((last, _)) = due.last() else {
            return Ok(expired);
        };
        behind.clone_from(last);
        due.retain(|noted| !stuck.0.contains(noted));
        if due.is_empty() {
            continue;
        }
        expired += delete_due(store, "expire", due, delete, |noted, error| {
            warn!(%error, "a session stays beyond its time: {error}; restore a backup");
            stuck.0.insert(noted);
        })
        .await?;
    }
}

/// Deletes the session of a note, unless it was deleted or given more time since it was looked at.
fn delete(tx: &mut WriteTx<'_>, (key, id): &Noted) -> Result<bool, StoreError> {
    if tx.note(key)?.is_none() {
        return Ok(false);
    }
    let found = noted_session(tx, key, id)?;
    match &found {
        Some((session, row)) => tx.delete_session(session, row, time_after(tx, row)),
        None => tx.put_note(key, None),
    }
    Ok(found.is_some())
}

/// The session that a note is of.
fn noted_session(
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
