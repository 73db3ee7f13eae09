//! Messages that are there already: read, edited, deleted.

use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

use serde_json::value::RawValue;

use crate::model::session::preview;
use crate::model::{
    Content, ETag, ETags, Message, MessageId, MetadataUpdate, Parts, SessionId, Timestamp, UserId,
};
use crate::store::{SessionRef, Store, StoreError, StoredMessage, WriteTx};

use super::merge::note_edit;
use super::{
    SessionError, Shown, Written, check_match, owned, parse_message, parse_row, raw, row_of,
    time_after, to_json,
};

/// What a deletion answers.
const DELETED: &[u8] = br#"{"success":true,"message":"Message deleted successfully"}"#;

/// What to change of a message; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct MessageEdit {
    /// What it says. Without new parts, it has none from then on: the old ones would not say it.
    pub content: Option<Content>,
    /// Its parts.
    pub parts: Option<Parts>,
    /// Its metadata.
    pub metadata: Option<MetadataUpdate>,
}

/// The caller's message, as JSON.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no such session;
/// [`SessionError::MessageNotFound`] if the session has no such message; [`SessionError::Store`].
pub fn get_message(
    store: &Store,
    caller: &UserId,
    session_id: &SessionId,
    id: &MessageId,
) -> Result<Shown, SessionError> {
    store.read(|tx| {
        let session = owned(tx.session(session_id)?, caller, session_id)?;
        let json = find(tx.message(&session, id)?, &session, id)?.json;
        Ok(Shown { tag: ETag::of(&json), json })
    })
}

/// Edits the caller's message and returns it as JSON. It stays where it stands; its session's
/// previews and time follow. Without anything to change it stays as it is.
///
/// # Errors
/// Those of [`get_message`]; [`SessionError::Stale`] if the message is not among `seen`;
/// [`SessionError::Invalid`] if merged metadata would be too large.
pub async fn edit_message(
    store: &Store,
    caller: UserId,
    (session_id, id): (SessionId, MessageId),
    edit: MessageEdit,
    seen: Option<ETags>,
) -> Result<Written, SessionError> {
    let work = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&session_id)?, &caller, &session_id)?;
        let stored = find(tx.message(&session, &id)?, &session, &id)?;
        check_match(seen.as_ref(), "message", ETag::of(&stored.json), &stored.json)?;
        if edit.is_empty() {
            return Ok(Written::message(stored.json));
        }
        let stored_row = tx.row(&session)?;
        let at = time_after(tx, &stored_row);
        let mut message = parse_message(&session, &stored.json)?;
        let was = message.content.clone();
        edit.apply(&mut message)?;
        message.edited_at = Some(raw(&at)?);
        let json = to_json(&message)?;
        let shown = shown(&session, &json)?;
        let mut row = parse_row(&session, &stored_row)?;
        if end(tx, &session, Side::First, None)?.is_some_and(|(at, _)| at == stored.place) {
            row.first_message = Cow::Borrowed(&*shown);
        }
        if end(tx, &session, Side::Last, None)?.is_some_and(|(at, _)| at == stored.place) {
            row.last_message = Cow::Borrowed(&*shown);
        }
        row.updated_at = raw(&at)?;
        let row = row_of(&row, &stored_row, at)?;
        let more = json.len().saturating_sub(stored.json.len());
        let row_more = row.json.len().saturating_sub(stored_row.json.len());
        super::quota::check(tx, &caller, 0, more + row_more)?;
        note_edit(tx, &session, (stored.place, &was), at)?;
        tx.edit_message(&session, stored.place, json.clone(), row);
        Ok(Written::message(json))
    };
    store.write("edit_message", work).await
}

/// Deletes the caller's message. Its session's previews, count and time follow.
///
/// # Errors
/// Those of [`get_message`]; [`SessionError::Stale`] if the message is not among `seen`.
pub async fn delete_message(
    store: &Store,
    caller: UserId,
    (session_id, id): (SessionId, MessageId),
    seen: Option<ETags>,
) -> Result<Written, SessionError> {
    let work = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&session_id)?, &caller, &session_id)?;
        let message = find(tx.message(&session, &id)?, &session, &id)?;
        check_match(seen.as_ref(), "message", ETag::of(&message.json), &message.json)?;
        let stored = tx.row(&session)?;
        let at = time_after(tx, &stored);
        let mut row = parse_row(&session, &stored)?;
        row.message_count = row.message_count.saturating_sub(1);
        let first = end(tx, &session, Side::First, Some(message.place))?;
        let last = end(tx, &session, Side::Last, Some(message.place))?;
        row.first_message = shown_end(&session, first)?;
        row.last_message = shown_end(&session, last)?;
        row.updated_at = raw(&at)?;
        let row = row_of(&row, &stored, at)?;
        tx.delete_message(&session, &id, &message, row);
        Ok(Written::done(DELETED.to_vec()))
    };
    store.write("delete_message", work).await
}

impl MessageEdit {
    fn is_empty(&self) -> bool {
        let Self { content, parts, metadata } = self;
        content.is_none() && parts.is_none() && metadata.is_none()
    }

    fn apply<'a>(&'a self, message: &mut Message<'a>) -> Result<(), SessionError> {
        if let Some(content) = &self.content {
            message.content = raw(content.as_str())?;
            message.parts = None;
        }
        if let Some(parts) = &self.parts {
            message.parts = Some(Cow::Borrowed(parts.as_raw()));
        }
        if let Some(metadata) = &self.metadata {
            message.metadata = Cow::Owned(metadata.apply(&message.metadata)?);
        }
        Ok(())
    }
}

/// What was found under `id`, if it has that id: an id that was minted elsewhere may tell the
/// place of another message.
pub(super) fn find(
    found: Option<StoredMessage>,
    session: &SessionRef,
    id: &MessageId,
) -> Result<StoredMessage, SessionError> {
    let missing = || SessionError::MessageNotFound(id.clone());
    let found = found.ok_or_else(missing)?;
    let is_this_one = parse_message(session, &found.json)?.id.get() == raw(id.as_str())?.get();
    is_this_one.then_some(found).ok_or_else(missing)
}

/// An end of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Last,
}

/// The message at an end of the session, passing over the one that stands at `without`.
pub(super) fn end(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    side: Side,
    without: Option<Timestamp>,
) -> Result<Option<(Timestamp, Vec<u8>)>, StoreError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let mut found = None;
    let _broken_off = tx.messages(session, all, side == Side::Last, |at, json| {
        if Some(at) == without {
            return ControlFlow::Continue(());
        }
        found = Some((at, json.to_vec()));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// What a session shows of its first message.
pub(super) fn shown_first(
    tx: &WriteTx<'_>,
    session: &SessionRef,
) -> Result<Cow<'static, RawValue>, StoreError> {
    shown_end(session, end(tx, session, Side::First, None)?)
}

/// What a session shows of its last message.
pub(super) fn shown_last(
    tx: &WriteTx<'_>,
    session: &SessionRef,
) -> Result<Cow<'static, RawValue>, StoreError> {
    shown_end(session, end(tx, session, Side::Last, None)?)
}

/// The preview of the message at an end, or `null` where there is none.
fn shown_end(
    session: &SessionRef,
    message: Option<(Timestamp, Vec<u8>)>,
) -> Result<Cow<'static, RawValue>, StoreError> {
    match message {
        Some((_, json)) => shown(session, &json),
        None => Ok(Cow::Borrowed(RawValue::NULL)),
    }
}

/// What a session shows of a message.
fn shown(session: &SessionRef, json: &[u8]) -> Result<Cow<'static, RawValue>, StoreError> {
    let message = parse_message(session, json)?;
    let content: Cow<'_, str> = serde_json::from_str(message.content.get())
        .map_err(|_| StoreError::Damaged { what: "message", key: session.id.to_string() })?;
    raw(&preview(&content))
}
