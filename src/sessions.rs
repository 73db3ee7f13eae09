//! The verbs: what a user can do with sessions and messages.
//!
//! Each verb authorises, applies its rule, and is one transaction of the store: it is the same
//! function for whoever calls it, by whatever route. Somebody else's session is
//! [`SessionError::NotFound`], as one that does not exist.

mod condition;
mod create;
mod cursor;
mod due;
mod edit_message;
mod expire;
mod follow;
mod history;
mod import;
mod list;
pub mod merge;
mod once;
mod quota;
mod retire;
mod save_message;
mod search;
mod update;

use std::borrow::Cow;
use std::task::Poll;

use serde_json::value::{RawValue, to_raw_value};

use crate::model::{
    ETag, ETags, IdempotencyKey, Invalid, Message, MessageId, Session, SessionId, Timestamp, UserId,
};
use crate::store::{Facts, OperationError, Row, SessionRef, Store, StoreError, WriteTx};

pub use condition::Stale;
pub use create::{NewSession, create};
pub use cursor::InvalidCursor;
pub use edit_message::{MessageEdit, delete_message, edit_message, get_message};
pub use expire::{Stuck, expire, next_expiry};
pub use follow::{Followed, Following, cursor_of_now, follow};
pub use history::{History, HistoryQuery, Rest, history};
pub use import::{
    Imported, ImportedMessage, ImportedSession, import_first_message, import_messages,
    import_session,
};
pub use list::{ListQuery, SortBy, SortOrder, list};
pub use once::{Once, answer_once};
pub use retire::{Belief, Trust, retire};
pub use save_message::{Draft, save_message};
pub use search::{SearchQuery, search};
pub use update::{Expires, SessionUpdate, update};

use condition::check_match;
use once::write_once;

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
    MessageIdTaken(MessageId),
    /// The session has no such message.
    #[error("message {0} was not found")]
    MessageNotFound(MessageId),
    /// What was to be changed is not any more what the caller has seen.
    #[error("{} was changed since it was read", .0.what)]
    Stale(Box<Stale>),
    /// The caller used the key for another request.
    #[error("idempotency key {0} was used for another request")]
    KeyReused(IdempotencyKey),
    /// The user would have more than a user may.
    #[error(
        "{what} are limited to {limit} for each user; there are {used}, and {more} would be added"
    )]
    Quota {
        /// What there would be too much of.
        what: &'static str,
        /// How much there is.
        used: u64,
        /// How much would be added.
        more: u64,
        /// How much there may be.
        limit: u64,
    },
    /// What was sent does not go with what is stored.
    #[error(transparent)]
    Invalid(#[from] Invalid),
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

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whether it made something new.
    pub created: bool,
    /// Whether this is the answer that the same request got before.
    pub replayed: bool,
    /// What is stored now, or was when the answer was given, as clients read it.
    pub json: Vec<u8>,
    /// The version of that; `None` of what has none, such as the news of a deletion.
    pub tag: Option<ETag>,
}

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// As clients read it.
    pub json: Vec<u8>,
    /// The version that it has.
    pub tag: ETag,
}

impl Written {
    fn session(row: Row) -> Self {
        let tag = Some(session_tag(&row));
        Self { created: false, replayed: false, json: row.json, tag }
    }

    fn message(json: Vec<u8>) -> Self {
        let tag = Some(ETag::of(&json));
        Self { created: false, replayed: false, json, tag }
    }

    fn done(json: Vec<u8>) -> Self {
        Self { created: false, replayed: false, json, tag: None }
    }
}

/// The version of a session. Not of its JSON alone: a message in its middle may be edited twice in
/// the millisecond that is shown.
fn session_tag(row: &Row) -> ETag {
    ETag::of(&[row.json.as_slice(), &row.updated_at.as_micros().to_be_bytes()].concat())
}

/// What a deletion answers.
const DELETED: &[u8] = br#"{"success":true,"message":"Session deleted successfully"}"#;

/// The caller's session of that id, as JSON.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none; [`SessionError::Store`].
pub fn get(store: &Store, caller: &UserId, id: &SessionId) -> Result<Shown, SessionError> {
    store.read(|tx| {
        let session = owned(tx.session(id)?, caller, id)?;
        let row = tx.row(&session)?;
        Ok(Shown { tag: session_tag(&row), json: row.json })
    })
}

/// Deletes the caller's session with its messages.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none of that id; [`SessionError::Stale`] if it is
/// not among `seen`; [`SessionError::KeyReused`]; [`SessionError::Store`].
pub async fn delete(
    store: &Store,
    caller: UserId,
    id: SessionId,
    seen: Option<ETags>,
    once: Option<Once>,
) -> Result<Written, SessionError> {
    let user = caller.clone();
    let work = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&id)?, &user, &id)?;
        let row = tx.row(&session)?;
        check_match(seen.as_ref(), "session", session_tag(&row), &row.json)?;
        let at = time_after(tx, &row);
        tx.delete_session(&session, &row, at);
        Ok(Written::done(DELETED.to_vec()))
    };
    write_once(store, "delete", caller, once, work).await
}

/// Lets others have their turn: for who works long without waiting for anything.
async fn pause() {
    let mut paused = false;
    let once = std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    once.await;
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

/// The row that `session` has from `at` on, where `stored` was.
fn row_of(session: &Session<'_>, stored: &Row, at: Timestamp) -> Result<Row, StoreError> {
    let facts = Facts { marks: session.marks(), ..stored.facts };
    Ok(Row { facts, updated_at: at, json: to_json(session)? })
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
