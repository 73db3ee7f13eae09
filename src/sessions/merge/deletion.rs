//! Taking in what was deleted elsewhere.

use std::ops::{Bound, ControlFlow};

use xxhash_rust::xxh3::xxh3_128;

use crate::model::{MessageId, SessionId, Timestamp, UserId};
use crate::sessions::edit_message::find;
use crate::sessions::{parse_message, parse_row, raw, to_json};
use crate::store::{Facts, NewMessage, Row, SessionRef, StoreError, WriteTx, notes};

use super::{TheirSession, recounted};

/// How the deletion of a session is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was this user's, and was deleted at this time, after which its messages live on.
    ByTime(UserId, Timestamp),
    /// Without a word: it was not there any more when it had this number here, and a row with this
    /// [`row_print`]. What was made or changed here since lives.
    ByAbsence(u64, u128),
}

/// Deletes a session that was deleted elsewhere. Gives how many rows are gone.
///
/// # Errors
/// [`StoreError`]
pub fn delete_session(
    tx: &mut WriteTx<'_>,
    id: &SessionId,
    known: &Known,
) -> Result<u64, StoreError> {
    let Some(session) = tx.session(id)? else {
        return Ok(0);
    };
    let row = tx.row(&session)?;
    let at = match known {
        Known::ByTime(user, _) if *user != session.user_id => return Ok(0),
        Known::ByTime(_, at) => *at,
        Known::ByAbsence(number, print) => {
            let is_same = (session.number, row_print(&row.json)) == (*number, *print);
            return if is_same { forget(tx, &session, &row) } else { Ok(0) };
        }
    };
    if row.facts.created_at > at {
        return Ok(0);
    }
    let (before, later) = split(tx, &session, at)?;
    if later.is_empty() {
        // Sent too: what was sent of it since was made there again.
        tx.delete_session(&session, &row, at);
        return Ok(1);
    }
    let gone = delete_places(tx, &session, &before, at)?;
    tx.put_note(&notes::session_gone(id), Some(&notes::deletion(at, &session.user_id)));
    // It lives on, and must be there again with what was said later.
    let row = tx.row(&session)?;
    tx.put_note(&notes::base(session.number), None);
    tx.follow_messages(&session, row);
    for (place, json) in later {
        let row = tx.row(&session)?;
        tx.edit_message(&session, place, json, row);
    }
    Ok(gone)
}

/// Deletes a session that is not there any more.
fn forget(tx: &mut WriteTx<'_>, session: &SessionRef, row: &Row) -> Result<u64, StoreError> {
    tx.mirrored(|tx| {
        tx.delete_session(session, row, row.updated_at);
        Ok::<_, StoreError>(())
    })?;
    // Whoever makes it again there must not meet a deletion of unknown time.
    tx.put_note(&notes::session_gone(&session.id), None);
    Ok(1)
}

/// A fingerprint of a row: another after whatever users did with the session or the message.
pub fn row_print(json: &[u8]) -> u128 {
    xxh3_128(json)
}

/// Deletes messages that somebody deleted elsewhere, each at a time; one that was saved again under its id
/// since lives. Gives how many of them were here.
///
/// # Errors
/// [`StoreError`]
pub fn delete_messages(
    tx: &mut WriteTx<'_>,
    session_id: &SessionId,
    deleted: &[(MessageId, Timestamp)],
) -> Result<u64, StoreError> {
    let Some(session) = tx.session(session_id)? else {
        return Ok(0);
    };
    let mut gone = 0;
    for (id, deleted_at) in deleted {
        let Ok(message) = find(tx.message(&session, id)?, &session, id) else {
            continue;
        };
        if message.place > *deleted_at {
            continue;
        }
        // Sent too, as it may have been sent there again since.
        tx.remove_message(&session, id, &message, *deleted_at);
        gone += 1;
    }
    recount(tx, &session, gone)
}

/// A message that is missing elsewhere: its id, and the place and the [`row_print`] that it had here
/// then.
pub type Missing = (MessageId, Timestamp, u128);

/// Deletes messages that are missing elsewhere, of the session that had this number; what was saved or
/// edited here since lives. Gives how many of them were here.
///
/// # Errors
/// [`StoreError`]
pub fn forget_messages(
    tx: &mut WriteTx<'_>,
    (session_id, number): (&SessionId, u64),
    missing: &[Missing],
) -> Result<u64, StoreError> {
    let Some(session) = tx.session(session_id)?.filter(|session| session.number == number) else {
        return Ok(0);
    };
    let mut gone = 0;
    for (id, place, print) in missing {
        let Ok(message) = find(tx.message(&session, id)?, &session, id) else {
            continue;
        };
        if (message.place, row_print(&message.json)) != (*place, *print) {
            continue;
        }
        let at = tx.now().max(tx.row(&session)?.updated_at.next());
        tx.mirrored(|tx| {
            tx.remove_message(&session, id, &message, at);
            Ok::<_, StoreError>(())
        })?;
        tx.put_note(&notes::message_gone(session_id, id), None);
        gone += 1;
    }
    recount(tx, &session, gone)
}

/// Has the session's row follow from its messages after so many of them are `gone`; gives how many.
fn recount(tx: &mut WriteTx<'_>, session: &SessionRef, gone: u64) -> Result<u64, StoreError> {
    if gone > 0 {
        let at = tx.now().max(tx.row(session)?.updated_at.next());
        let fewer = i64::try_from(gone).unwrap_or(i64::MAX);
        let row = recounted(tx, session, -fewer, at)?;
        // Sent too: nobody there counts what is deleted.
        tx.follow_messages(session, row);
    }
    Ok(gone)
}

/// Has `session` begin when `theirs` does, with those of its messages that come after `since`.
pub(super) fn renew(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    stored: &Row,
    (theirs, since): (&TheirSession, Option<Timestamp>),
) -> Result<SessionRef, StoreError> {
    let (gone, kept) = split(tx, session, since.unwrap_or_default())?;
    let mut stored = stored.clone();
    if !gone.is_empty() {
        // Sent too: some of it may have been sent to the new one before that was known.
        delete_places(tx, session, &gone, stored.updated_at.max(theirs.created_at))?;
        stored = tx.row(session)?;
    }
    let mut row = parse_row(session, &stored)?;
    row.created_at = raw(&theirs.created_at)?;
    (row.message_count, row.first_message, row.last_message) = (0, raw(&())?, raw(&())?);
    let at = stored.updated_at.max(theirs.created_at);
    let facts = Facts { created_at: theirs.created_at, ..stored.facts };
    let row = Row { facts, updated_at: at, json: to_json(&row)? };
    let renewed = tx.mirrored(|tx| {
        tx.delete_session(session, &stored, at);
        tx.create_session(&session.id, &session.user_id, row)
    })?;
    tx.put_note(&notes::session_gone(&session.id), None);
    if kept.is_empty() {
        return Ok(renewed);
    }
    tx.put_messages(&renewed, |tx| {
        let (mut count, mut newest) = (0, Timestamp::default());
        for (at, json) in kept {
            let Some(id) = id_of(session, &json) else {
                continue;
            };
            let id_is_chosen = id.place() != Some(at);
            tx.put_message(&renewed, NewMessage { id, id_is_chosen, at, json });
            (count, newest) = (count + 1, at);
        }
        recounted(tx, &renewed, count, newest)
    })?;
    Ok(renewed)
}

fn id_of(session: &SessionRef, json: &[u8]) -> Option<MessageId> {
    let id = parse_message(session, json).ok()?.id;
    MessageId::parse(&serde_json::from_str::<String>(id.get()).ok()?).ok()
}

/// A message, with its place before it.
type Placed = (Timestamp, Vec<u8>);

/// The session's messages up to `at`, and those after it.
fn split(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    at: Timestamp,
) -> Result<(Vec<Placed>, Vec<Placed>), StoreError> {
    let mut all = Vec::new();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let _shown = tx.messages(session, everything, false, |place, json| {
        all.push((place, json.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(all.into_iter().partition(|(place, _)| *place <= at))
}

fn delete_places(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    gone: &[Placed],
    at: Timestamp,
) -> Result<u64, StoreError> {
    let ids: Vec<_> = gone.iter().filter_map(|(_, json)| id_of(session, json)).collect();
    for id in &ids {
        if let Ok(message) = find(tx.message(session, id)?, session, id) {
            tx.remove_message(session, id, &message, at);
        }
    }
    let fewer = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let row = recounted(tx, session, -fewer, at)?;
    tx.follow_messages(session, row);
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}
