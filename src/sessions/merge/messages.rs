//! Uniting messages by their ids.

use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

use crate::model::Timestamp;
use crate::sessions::edit_message::find;
use crate::sessions::{parse_message, raw, to_json};
use crate::store::notes;
use crate::store::{NewMessage, SessionRef, StoreError, StoredMessage, WriteTx};

use super::{TheirMessage, message_json, recounted};

/// Takes the messages that are not here, and the text of those that changed there alone; gives how
/// many that were. `mirrored` says that they are there.
pub(super) fn unite(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    said: &[TheirMessage],
    mirrored: bool,
) -> Result<u64, StoreError> {
    let session_gone = tx.note(&notes::session_gone(&session.id))?.map(notes::time);
    let (mut new, mut timeless) = (Vec::new(), Vec::new());
    let mut changed = 0;
    for message in said {
        let gone = notes::message_gone(&session.id, &message.id);
        if let Ok(stored) = find(tx.message(session, &message.id)?, session, &message.id) {
            changed += u64::from(retell(tx, session, message, &stored)?);
        } else if session_gone.is_none_or(|gone| message.at > gone) && tx.note(&gone)?.is_none() {
            if message.is_whole { new.push(message) } else { timeless.push(message) }
        }
    }
    let count = new.len() + timeless.len();
    new.sort_by_key(|message| message.at);
    if !new.is_empty() {
        let work = |tx: &mut WriteTx<'_>| put(tx, session, &new);
        if mirrored { tx.mirrored(work)? } else { work(tx)? }
    }
    if !timeless.is_empty() {
        put(tx, session, &timeless)?;
    }
    Ok(changed + u64::try_from(count).unwrap_or(u64::MAX))
}

/// Puts new messages where their times are, or right behind where others stand; then the row of their session.
fn put(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    new: &[&TheirMessage],
) -> Result<(), StoreError> {
    tx.put_messages(session, |tx| {
        let mut newest = Timestamp::default();
        for message in new {
            let at = free_place(tx, session, message.at)?;
            let json = message_json(session, message, at)?;
            let id_is_chosen = message.id.place() != Some(at);
            let message = NewMessage { id: message.id.clone(), id_is_chosen, at, json };
            tx.put_message(session, message);
            newest = newest.max(at);
        }
        let more = i64::try_from(new.len()).unwrap_or(i64::MAX);
        recounted(tx, session, more, newest)
    })
}

/// The first place from `at` on where no message stands.
fn free_place(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    at: Timestamp,
) -> Result<Timestamp, StoreError> {
    let mut free = at;
    let from = (Bound::Included(at), Bound::Unbounded);
    let _found = tx.messages(session, from, false, |place, _| {
        if place != free {
            return ControlFlow::Break(());
        }
        free = free.next();
        ControlFlow::Continue(())
    })?;
    Ok(free)
}

/// Takes the text that `stored` has there, unless it was edited here; tells whether it did.
fn retell(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirMessage,
    stored: &StoredMessage,
) -> Result<bool, StoreError> {
    let mut message = parse_message(session, &stored.json)?;
    let content = raw(theirs.content.as_str())?;
    let ours: Option<Cow<'_, str>> = serde_json::from_str(message.content.get()).ok();
    let is_same = ours.is_some_and(|ours| ours == theirs.content);
    if is_same || message.edited_at.is_some() {
        return Ok(false);
    }
    let at = tx.now().max(tx.row(session)?.updated_at.next());
    message.content = content;
    message.parts = None;
    let json = to_json(&message)?;
    tx.mirrored(|tx| {
        let row = recounted(tx, session, 0, at)?;
        tx.edit_message(session, stored.place, json, row);
        // The previews as they are with it.
        let row = recounted(tx, session, 0, at)?;
        tx.follow_messages(session, row);
        Ok(true)
    })
}
