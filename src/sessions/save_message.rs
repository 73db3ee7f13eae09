//! Adding to a session.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::model::session::preview;
use crate::model::{Content, Message, MessageId, Metadata, Role, SessionId, Timestamp, UserId};
use crate::store::{NewMessage, SessionRef, Store, StoreError, WriteTx};

use super::{SessionError, Written, owned, parse_message, parse_row, raw, time_after, to_json};

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
    /// The caller's JSON object.
    pub metadata: Option<Metadata>,
}

/// Saves a message as the newest of the caller's session, and returns it as JSON. The session's
/// count, preview and time follow. A message of that id with the same role and content is
/// returned as it is stored, and nothing changes.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no such session;
/// [`SessionError::MessageIdTaken`] if it has a message of that id that says something else;
/// [`SessionError::Store`].
pub async fn save_message(
    store: &Store,
    caller: UserId,
    draft: Draft,
) -> Result<Written, SessionError> {
    // Out here and not in the transaction: there, everybody would wait for it.
    let content = raw(draft.content.as_str())?;
    let shown = raw(&preview(draft.content.as_str()))?;
    let write = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&draft.session_id)?, &caller, &draft.session_id)?;
        if let Some(written) = already_saved(tx, &session, &draft, &content)? {
            return Ok(written);
        }
        let stored = tx.row(&session)?;
        let at = time_after(tx, &stored);
        let mut row = parse_row(&session, &stored)?;
        row.message_count += 1;
        row.updated_at = raw(&at)?;
        row.last_message = Cow::Borrowed(&*shown);
        if row.message_count == 1 {
            row.first_message = row.last_message.clone();
        }
        let row = to_json(&row)?;
        let id = draft.id.clone().unwrap_or_else(|| MessageId::mint(at));
        let said = Said { role: draft.role, content: &content, metadata: draft.metadata.as_ref() };
        let json = message_json(&draft.session_id, &id, said, at)?;
        let id_is_chosen = draft.id.is_some();
        let message = NewMessage { id, id_is_chosen, at, json: json.clone() };
        tx.save_message(&session, message, stored.created_at, row);
        Ok(Written::New(json))
    };
    store.write("save_message", write).await
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
    let Some(stored) = tx.message(session, id)? else {
        return Ok(None);
    };
    let message = parse_message(session, &stored)?;
    if message.id.get() != raw(id.as_str())?.get() {
        return Ok(None);
    }
    if message.role != draft.role || message.content.get() != content.get() {
        return Err(SessionError::MessageIdTaken(id.clone()));
    }
    Ok(Some(Written::Already(stored)))
}

/// What is said in a message, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) role: Role,
    /// A JSON string.
    pub(super) content: &'a RawValue,
    pub(super) metadata: Option<&'a Metadata>,
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
    })
}
