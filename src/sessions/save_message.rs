//! Adding to a session.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::model::session::preview;
use crate::model::{
    Content, ETags, Message, MessageId, Metadata, Parts, Role, SessionId, Timestamp, UserId,
};
use crate::store::{NewMessage, Row, SessionRef, Store, StoreError, WriteTx};

use super::condition::{Stale, check_match, newest_messages};
use super::edit_message::find;
use super::{
    Once, SessionError, Written, owned, parse_message, parse_row, quota, raw, row_of, session_tag,
    time_after, to_json, write_once,
};

/// A message to save.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Its id, which makes saving it safe to repeat; one is minted when the caller chose none.
    pub id: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// What is shown of it, if that is more than text.
    pub parts: Option<Parts>,
    /// The message that it follows.
    pub parent_id: Option<MessageId>,
    /// The caller's JSON object.
    pub metadata: Option<Metadata>,
    /// The versions of the session that the caller has seen.
    pub seen: Option<ETags>,
    /// How many messages of the session the caller has seen.
    pub seen_count: Option<u64>,
}

/// Saves a message as the newest of the caller's session, and returns it as JSON. The session's
/// count, preview and time follow. A message of that id with the same role, content and parts is
/// returned as it is stored, and nothing changes.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no such session;
/// [`SessionError::MessageIdTaken`] if it has a message of that id that says something else;
/// [`SessionError::MessageNotFound`] if it has none that it should follow;
/// [`SessionError::Stale`] if the session is none of those that the caller has seen, or has
/// another number of messages; [`SessionError::Quota`]; [`SessionError::KeyReused`]; [`SessionError::Store`].
pub async fn save_message(
    store: &Store,
    caller: UserId,
    draft: Draft,
    once: Option<Once>,
) -> Result<Written, SessionError> {
    // Out here and not in the transaction: there, everybody would wait for it.
    let content = raw(draft.content.as_str())?;
    let shown = raw(&preview(draft.content.as_str()))?;
    let user = caller.clone();
    let work = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&draft.session_id)?, &user, &draft.session_id)?;
        if let Some(written) = already_saved(tx, &session, &draft, &content)? {
            return Ok(written);
        }
        let stored = tx.row(&session)?;
        let mut row = parse_row(&session, &stored)?;
        // The count first, as it tells what was not seen.
        check_count(tx, &session, draft.seen_count, row.message_count, &stored)?;
        check_match(draft.seen.as_ref(), "session", session_tag(&stored), &stored.json)?;
        let at = time_after(tx, &stored);
        if let Some(parent) = &draft.parent_id {
            find(tx.message(&session, parent)?, &session, parent)?;
        }
        row.message_count += 1;
        row.updated_at = raw(&at)?;
        row.last_message = Cow::Borrowed(&*shown);
        if row.message_count == 1 {
            row.first_message = row.last_message.clone();
        }
        let row = row_of(&row, &stored, at)?;
        let id = draft.id.clone().unwrap_or_else(|| MessageId::mint(at));
        let said = Said {
            metadata: draft.metadata.as_ref(),
            parts: draft.parts.as_ref(),
            parent_id: draft.parent_id.as_ref(),
            ..Said::plain(draft.role, &content)
        };
        let json = message_json(&draft.session_id, &id, said, at)?;
        let more = row.json.len().saturating_sub(stored.json.len());
        quota::check(tx, &user, 0, more + json.len())?;
        let id_is_chosen = draft.id.is_some();
        let message = NewMessage { id, id_is_chosen, at, json: json.clone() };
        tx.save_message(&session, message, row);
        Ok(Written { created: true, ..Written::message(json) })
    };
    write_once(store, "save_message", caller, once, work).await
}

/// Checks that the caller has seen as many messages as there are, if it says how many.
fn check_count(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    seen: Option<u64>,
    count: u64,
    stored: &Row,
) -> Result<(), SessionError> {
    let Some(seen) = seen.filter(|seen| *seen != count) else {
        return Ok(());
    };
    let unseen = Some(newest_messages(tx, session, count.saturating_sub(seen))?);
    let (tag, current) = (session_tag(stored), stored.json.clone());
    Err(SessionError::Stale(Box::new(Stale { what: "session", tag, current, unseen })))
}

/// The message that has the id of `draft`, if it says the same.
fn already_saved(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    draft: &Draft,
    content: &RawValue,
) -> Result<Option<Written>, SessionError> {
    let Some(id) = &draft.id else {
        return Ok(None);
    };
    let Ok(stored) = find(tx.message(session, id)?, session, id) else {
        return Ok(None);
    };
    let message = parse_message(session, &stored.json)?;
    let same_parts = message.parts.as_deref().map(RawValue::get)
        == draft.parts.as_ref().map(|parts| parts.as_raw().get());
    if message.role != draft.role || message.content.get() != content.get() || !same_parts {
        return Err(SessionError::MessageIdTaken(id.clone()));
    }
    Ok(Some(Written::message(stored.json)))
}

/// What is said in a message, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    role: Role,
    /// A JSON string.
    content: &'a RawValue,
    metadata: Option<&'a Metadata>,
    parts: Option<&'a Parts>,
    parent_id: Option<&'a MessageId>,
}

impl<'a> Said<'a> {
    /// Text, and nothing more.
    pub(super) fn plain(role: Role, content: &'a RawValue) -> Self {
        Self { role, content, metadata: None, parts: None, parent_id: None }
    }
}

/// The JSON of a message.
pub(super) fn message_json(
    session_id: &SessionId,
    id: &MessageId,
    said: Said<'_>,
    at: Timestamp,
) -> Result<Vec<u8>, StoreError> {
    to_json(&Message {
        id: raw(id.as_str())?,
        session_id: raw(session_id.as_str())?,
        role: said.role,
        content: Cow::Borrowed(said.content),
        timestamp: raw(&at)?,
        metadata: Cow::Borrowed(Metadata::raw_or_empty(said.metadata)),
        parent_id: said.parent_id.map(|id| raw(id.as_str())).transpose()?,
        parts: said.parts.map(|parts| Cow::Borrowed(parts.as_raw())),
        edited_at: None,
    })
}
