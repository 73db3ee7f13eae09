//! Beginning a session.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::model::session::{no_tags, preview};
use crate::model::{
    Content, MessageId, Metadata, Role, Session, SessionId, Tags, Timestamp, Title, UserId,
};
use crate::store::{Facts, NewMessage, Row, Store, StoreError, WriteTx};

use super::expire::check_expiry;
use super::save_message::{Said, message_json};
use super::{Once, SessionError, Written, owned, quota, raw, to_json, write_once};

/// A session to begin.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// Its id; one is minted when the caller chose none.
    pub id: Option<SessionId>,
    /// Its title; derived from the first message when the caller chose none.
    pub title: Option<Title>,
    /// What the user says first: stored as the session's first message.
    pub first_message: Option<Content>,
    /// The caller's JSON object.
    pub metadata: Option<Metadata>,
    /// Words to find it by.
    pub tags: Tags,
    /// When it is to be deleted, if it is.
    pub expires_at: Option<Timestamp>,
}

/// Begins a session of the caller's, and returns it as JSON. One of that id which the caller has
/// already is returned as it is, so that a retry is harmless.
///
/// # Errors
/// [`SessionError::IdTaken`] if somebody else has a session of that id;
/// [`SessionError::Invalid`] if it would be to be deleted already; [`SessionError::Quota`]; [`SessionError::KeyReused`]; [`SessionError::Store`].
pub async fn create(
    store: &Store,
    caller: UserId,
    new: NewSession,
    once: Option<Once>,
) -> Result<Written, SessionError> {
    let id = new.id.clone().unwrap_or_else(SessionId::mint);
    let user = caller.clone();
    let work = move |tx: &mut WriteTx<'_>| {
        if let Some(session) = tx.session(&id)? {
            let session =
                owned(Some(session), &user, &id).map_err(|_| SessionError::IdTaken(id.clone()))?;
            return Ok(Written::session(tx.row(&session)?));
        }
        let at = tx.now();
        check_expiry(at, new.expires_at)?;
        let row = first_row(&id, &user, &new, at)?;
        let message = new.first_message.as_ref().map(|content| first_message(&id, content, at));
        let message = message.transpose()?;
        let said = message.as_ref().map_or(0, |message| message.json.len());
        quota::check(tx, &user, 1, row.json.len() + said)?;
        let session = tx.create_session(&id, &user, row.clone())?;
        if let Some(message) = message {
            tx.put_message(&session, message);
        }
        Ok(Written { created: true, ..Written::session(row) })
    };
    write_once(store, "create", caller, once, work).await
}

fn first_message(
    id: &SessionId,
    content: &Content,
    at: Timestamp,
) -> Result<NewMessage, StoreError> {
    let message_id = MessageId::mint(at);
    let content = raw(content.as_str())?;
    let json = message_json(id, &message_id, Said::plain(Role::User, &content), at)?;
    Ok(NewMessage { id: message_id, id_is_chosen: false, at, json })
}

fn first_row(
    id: &SessionId,
    user_id: &UserId,
    new: &NewSession,
    at: Timestamp,
) -> Result<Row, StoreError> {
    let first_message = match &new.first_message {
        Some(content) => raw(&preview(content.as_str()))?,
        None => Cow::Borrowed(RawValue::NULL),
    };
    let title = new.title.clone().unwrap_or_else(|| Title::derive(new.first_message.as_ref()));
    let shown_at = raw(&at)?;
    let tags = new.tags.as_slice();
    let session = Session {
        session_id: raw(id.as_str())?,
        user_id: raw(user_id.as_str())?,
        title: raw(title.as_str())?,
        last_message: first_message.clone(),
        first_message,
        message_count: u64::from(new.first_message.is_some()),
        created_at: shown_at.clone(),
        updated_at: shown_at,
        metadata: Cow::Borrowed(Metadata::raw_or_empty(new.metadata.as_ref())),
        archived: false,
        pinned: false,
        tags: if tags.is_empty() { no_tags() } else { raw(tags)? },
        expires_at: new.expires_at.map(|at| raw(&at)).transpose()?,
    };
    let facts = Facts { created_at: at, marks: session.marks() };
    Ok(Row { facts, updated_at: at, json: to_json(&session)? })
}
