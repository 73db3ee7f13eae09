//! What happened, as the log tells it.

use std::sync::Arc;

use super::{MessageId, SessionId, Timestamp};

/// One change to a user's data, written with the data it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number: of two changes, the later has the greater one.
    pub seq: u64,
    /// When: the time that the changed row carries.
    pub at: Timestamp,
    /// The session that changed, or whose message did.
    pub session_id: SessionId,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The session's row since then, as clients read it; `None` once it is deleted.
    pub session: Option<Arc<[u8]>>,
}

/// The kinds of changes. Messages come as clients read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A session was created.
    SessionCreated,
    /// Something of a session's own changed, such as its title.
    SessionUpdated,
    /// A session was deleted, with its messages.
    SessionDeleted,
    /// A message was saved; its session's preview, count and time followed.
    MessageCreated(Arc<[u8]>),
    /// A message was edited.
    MessageUpdated(Arc<[u8]>),
    /// A message was deleted.
    MessageDeleted(MessageId),
}
