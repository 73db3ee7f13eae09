//! What happened, as the change log tells it.

use super::{MessageId, SessionId, Timestamp, UserId};

/// One change to a user's data, written with the data it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose data changed.
    pub user_id: UserId,
    /// When: the time that the changed row carries.
    pub at: Timestamp,
    /// The session that changed, or whose message did.
    pub session_id: SessionId,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// The kinds of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A session was created.
    SessionCreated,
    /// A session's title or metadata changed.
    SessionUpdated,
    /// A session was deleted, with its messages.
    SessionDeleted,
    /// A message was saved; its session's preview, count and time followed.
    MessageSaved(MessageId),
}
