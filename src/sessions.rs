//! The verbs: what a user can do with sessions and messages.
//!
//! Each verb authorises, applies its rule, and is one transaction of the store: it is the same
//! function for whoever calls it, by whatever route. Somebody else's session is
//! [`SessionError::NotFound`], as one that does not exist.

mod create;
mod cursor;
mod history;
mod list;
mod save_message;

use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};

use crate::model::{Message, Metadata, Session, SessionId, Timestamp, Title, UserId};
use crate::store::{OperationError, Row, SessionRef, Store, StoreError, WriteTx};

pub use create::{NewSession, create};
pub use cursor::InvalidCursor;
pub use history::{History, HistoryQuery, Rest, history};
pub use list::{ListQuery, SortBy, SortOrder, list};
pub use save_message::{Draft, save_message};

/// Why a verb was refused.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The caller has no such session.
    #[error("session {0} was not found")]
    NotFound(SessionId),
    /// Somebody else has a session of that id.
    #[error("session id {0} is taken")]
    IdTaken(SessionId),
    /// The session has a message of that id which says something else.
    #[error("message id {0} is taken by another message")]
    MessageIdTaken(crate::model::MessageId),
    /// The cursor is none that a page of this kind gave.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The data could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperationError for SessionError {
    fn storage(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// What a write that may be repeated did. Both hold JSON as clients read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was done now.
    New(Vec<u8>),
    /// It had been done before, and this is what is stored.
    Already(Vec<u8>),
}

/// What to change of a session; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct SessionUpdate {
    /// Its title.
    pub title: Option<Title>,
    /// Its metadata, which replaces the old.
    pub metadata: Option<Metadata>,
}

/// The caller's session of that id, as JSON.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none; [`SessionError::Store`].
pub fn get(store: &Store, caller: &UserId, id: &SessionId) -> Result<Vec<u8>, SessionError> {
    store.read(|tx| {
        let session = owned(tx.session(id)?, caller, id)?;
        Ok(tx.row(&session)?.json)
    })
}

/// Changes the caller's session and returns it as JSON. Without anything to change it stays as it
/// is, its `updatedAt` too.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none of that id; [`SessionError::Store`].
pub async fn update(
    store: &Store,
    caller: UserId,
    id: SessionId,
    update: SessionUpdate,
) -> Result<Vec<u8>, SessionError> {
    let write = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&id)?, &caller, &id)?;
        let stored = tx.row(&session)?;
        if update.title.is_none() && update.metadata.is_none() {
            return Ok(stored.json);
        }
        let at = time_after(tx, &stored);
        let mut row = parse_row(&session, &stored)?;
        row.updated_at = raw(&at)?;
        if let Some(title) = &update.title {
            row.title = raw(title.as_str())?;
        }
        if let Some(metadata) = &update.metadata {
            row.metadata = Cow::Borrowed(metadata.as_raw());
        }
        let json = to_json(&row)?;
        tx.update_session(&session, at, stored.created_at, json.clone());
        Ok(json)
    };
    store.write("update", write).await
}

/// Deletes the caller's session with its messages.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none of that id; [`SessionError::Store`].
pub async fn delete(store: &Store, caller: UserId, id: SessionId) -> Result<(), SessionError> {
    let write = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&id)?, &caller, &id)?;
        let row = tx.row(&session)?;
        let at = time_after(tx, &row);
        tx.delete_session(&session, &row, at);
        Ok(())
    };
    store.write("delete", write).await
}

/// The session, if it is the caller's.
fn owned(
    session: Option<SessionRef>,
    caller: &UserId,
    id: &SessionId,
) -> Result<SessionRef, SessionError> {
    session
        .filter(|session| session.user_id == *caller)
        .ok_or_else(|| SessionError::NotFound(id.clone()))
}

/// The time of a change to the session with this `row`: now, or just after its last change when
/// the clock has stepped back, so that times within a session strictly increase.
fn time_after(tx: &WriteTx<'_>, row: &Row) -> Timestamp {
    tx.now().max(row.updated_at.next())
}

fn parse_row<'a>(session: &SessionRef, row: &'a Row) -> Result<Session<'a>, StoreError> {
    serde_json::from_slice(&row.json)
        .map_err(|_| StoreError::Damaged { what: "session", key: session.id.to_string() })
}

fn parse_message<'a>(session: &SessionRef, json: &'a [u8]) -> Result<Message<'a>, StoreError> {
    serde_json::from_slice(json)
        .map_err(|_| StoreError::Damaged { what: "message", key: session.id.to_string() })
}

/// A value as JSON text.
fn raw(value: &(impl serde::Serialize + ?Sized)) -> Result<Cow<'static, RawValue>, StoreError> {
    to_raw_value(value).map(Cow::Owned).map_err(unwritable)
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(unwritable)
}

/// Strings and numbers always have a JSON text, so this is a bug; it must not cost more than the
/// one request.
fn unwritable(error: serde_json::Error) -> StoreError {
    tracing::error!(%error, "cannot write JSON: {error}");
    StoreError::Panicked
}
