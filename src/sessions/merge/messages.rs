//! Uniting messages by their ids.

use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

use md5::{Digest as _, Md5};
use serde_json::value::RawValue;

use crate::model::{Message, Timestamp};
use crate::sessions::edit_message::find;
use crate::sessions::{parse_message, raw, to_json};
use crate::store::notes::{self, Base};
use crate::store::{NewMessage, SessionRef, StoreError, StoredMessage, WriteTx};

use super::conflict::{Loser, Side, keep};
use super::{TheirMessage, gone_at, message_json, recounted};

/// Takes the messages that are not here, and the text of those that changed there alone; gives how
/// many that were. `mirrored` says that they are there.
pub(super) fn unite(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    said: &[TheirMessage],
    mirrored: bool,
) -> Result<u64, StoreError> {
    let session_gone = gone_at(tx, &session.id, &session.user_id)?;
    let (mut new, mut timeless) = (Vec::new(), Vec::new());
    let mut changed = 0;
    for message in said {
        let gone = tx.note(&notes::message_gone(&session.id, &message.id))?.map(notes::time);
        // Nobody knows when one was put there that has no time.
        let is_later = gone.is_none_or(|gone| message.is_whole && message.at > gone)
            && session_gone.is_none_or(|gone| message.at > gone);
        if let Ok(stored) = find(tx.message(session, &message.id)?, session, &message.id) {
            // What took the place of one that was deleted here goes there with the deletion.
            let is_older = gone.is_some_and(|gone| stored.place > gone && message.at <= gone);
            changed += u64::from(!is_older && retell(tx, session, message, &stored)?);
        } else if is_later {
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

/// Takes the text that `stored` has there, unless it was edited here later; tells whether it did.
fn retell(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirMessage,
    stored: &StoredMessage,
) -> Result<bool, StoreError> {
    let message = parse_message(session, &stored.json)?;
    let ours: String = serde_json::from_str(message.content.get()).unwrap_or_default();
    if ours == theirs.content {
        return Ok(false);
    }
    let key = notes::edit(session.number, stored.place);
    let base = tx.note(&key)?.and_then(|note| Base::of(&note));
    if let Some(ours_at) = edited_here(&message, base) {
        let there = print(&theirs.content);
        if base.is_some_and(|base| base.print == there) {
            // Nothing happened there meanwhile: ours is on its way.
            return Ok(false);
        }
        let about = (session, Some(&theirs.id));
        if theirs.put_at.is_none_or(|put_at| put_at <= ours_at) {
            let lost = Loser::Text { content: theirs.content.clone() };
            keep(tx, about, (Side::There, lost), theirs.put_at.unwrap_or_default());
            let base = Base { own_at: ours_at.as_micros(), print: there };
            tx.put_note(&key, Some(&base.to_bytes()));
            // So that it is sent.
            let row = tx.row(session)?;
            tx.edit_message(session, stored.place, stored.json.clone(), row);
            return Ok(false);
        }
        keep(tx, about, (Side::Here, Loser::Text { content: ours }), ours_at);
    }
    take_text(tx, session, theirs, (stored, message))?;
    Ok(true)
}

/// Whether `stored`, which was found in `session` under the id of `theirs`, is that message and says
/// the same.
pub fn is_same(session: &SessionRef, theirs: &TheirMessage, stored: &StoredMessage) -> bool {
    let is_text = |raw: &RawValue, text: &str| {
        serde_json::from_str::<Cow<'_, str>>(raw.get()).is_ok_and(|it| it == text)
    };
    parse_message(session, &stored.json).is_ok_and(|ours| {
        is_text(&ours.id, theirs.id.as_str()) && is_text(&ours.content, &theirs.content)
    })
}

/// When the message was edited here since both sides were the same, if it was; of one that was edited
/// before there was a replica, nobody knows what is there.
pub fn edited_here(message: &Message<'_>, base: Option<Base>) -> Option<Timestamp> {
    if let Some(base) = base {
        return (base.own_at > 0).then(|| Timestamp::from_micros(base.own_at));
    }
    let at: String = serde_json::from_str(message.edited_at.as_ref()?.get()).ok()?;
    Some(Timestamp::parse_start("editedAt", &at).unwrap_or_default())
}

fn take_text(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirMessage,
    (stored, mut message): (&StoredMessage, Message<'_>),
) -> Result<(), StoreError> {
    let at = tx.now().max(tx.row(session)?.updated_at.next());
    message.content = raw(theirs.content.as_str())?;
    message.parts = None;
    if message.edited_at.is_some() {
        message.edited_at = Some(raw(&at)?);
        let base = Base { own_at: 0, print: print(&theirs.content) };
        let key = notes::edit(session.number, stored.place);
        tx.put_note(&key, Some(&base.to_bytes()));
    }
    let json = to_json(&message)?;
    tx.mirrored(|tx| {
        let row = recounted(tx, session, 0, at)?;
        tx.edit_message(session, stored.place, json, row);
        // The previews as they are with it.
        let row = recounted(tx, session, 0, at)?;
        tx.follow_messages(session, row);
        Ok(())
    })
}

/// Notes for the replica that the message at `place`, which said `was`, is edited here.
pub(in crate::sessions) fn note_edit(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    (place, was): (Timestamp, &RawValue),
    at: Timestamp,
) -> Result<(), StoreError> {
    if !tx.leaves_traces() {
        return Ok(());
    }
    let key = notes::edit(session.number, place);
    let base = tx.note(&key)?.and_then(|note| Base::of(&note));
    let was = || serde_json::from_str::<Cow<'_, str>>(was.get()).unwrap_or_default();
    let print = base.map_or_else(|| print(&was()), |base| base.print);
    let base = Base { own_at: at.as_micros(), print };
    tx.put_note(&key, Some(&base.to_bytes()));
    Ok(())
}

/// A fingerprint of a message's text, which PostgreSQL can make too.
pub fn print(text: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(text.as_bytes()).into())
}
