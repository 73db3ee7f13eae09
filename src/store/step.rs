//! Steps: what a commit did, complete enough to be done again.

use std::sync::Arc;

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};

use super::facts::Facts;
use super::tables::Place;
use super::usage::Usage;

/// One thing that a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A session was created or changed: this is its row now.
    PutSession { cause: Cause, session: Arc<FreshSession> },
    /// A session was deleted at `at`.
    DeleteSession {
        user_id: UserId,
        id: SessionId,
        number: u64,
        created_at: Timestamp,
        at: Timestamp,
    },
    /// A message was saved.
    PutMessage {
        user_id: UserId,
        number: u64,
        at: Timestamp,
        /// Its id, if the caller chose it.
        chosen: Option<MessageId>,
        json: Arc<[u8]>,
    },
    /// The message that stands at `place` was changed at `at`.
    EditMessage { user_id: UserId, number: u64, place: Timestamp, at: Timestamp, json: Arc<[u8]> },
    /// The message that stood at `place` was deleted at `at`.
    DeleteMessage {
        user_id: UserId,
        session_id: SessionId,
        number: u64,
        place: Timestamp,
        at: Timestamp,
        id: MessageId,
        /// Whether the caller chose the id.
        is_chosen: bool,
    },
    /// A request that may be repeated was answered.
    PutAnswer { user_id: UserId, key: IdempotencyKey, answer: Arc<Answer> },
    /// Something was noted under `key`; `None` where it was struck out.
    PutNote { key: Arc<[u8]>, value: Option<Arc<[u8]>> },
    /// The next so many steps do here what was done at the replica before.
    Mirrored { steps: u32 },
    /// The user has stored so much, after the steps before this one.
    PutUsage { user_id: UserId, at: Timestamp, usage: Usage },
}

/// Why a session's row was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was created.
    Created,
    /// Something of its own changed, such as its title.
    Updated,
    /// The next step, or more of them, are about messages of it, which its previews, count and time
    /// follow.
    Message,
}

/// A session's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreshSession {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    pub(super) number: u64,
    pub(super) facts: Facts,
    pub(super) updated_at: Timestamp,
    pub(super) json: Arc<[u8]>,
}

/// How a request was answered, kept for those who repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Tells its request from others under the same key.
    pub fingerprint: [u8; 16],
    /// When it was answered.
    pub at: Timestamp,
    /// Whether it made something new.
    pub created: bool,
    /// The entity tag that was answered.
    pub tag: Option<[u8; 16]>,
    /// What was answered.
    pub json: Arc<[u8]>,
}

impl Step {
    /// How long it is on disk, or a little less.
    pub(super) fn bytes(&self) -> usize {
        let text = |id: Option<&MessageId>| id.map_or(0, |id| id.as_str().len());
        let rest = match self {
            Self::PutSession { session, .. } => session.id.as_str().len() + session.json.len(),
            Self::DeleteSession { id, .. } => id.as_str().len(),
            Self::PutMessage { chosen, json, .. } => text(chosen.as_ref()) + json.len(),
            Self::EditMessage { json, .. } => json.len(),
            Self::DeleteMessage { session_id, id, .. } => {
                session_id.as_str().len() + text(Some(id))
            }
            Self::PutAnswer { key, answer, .. } => key.as_str().len() + answer.json.len(),
            Self::PutNote { key, value } => key.len() + value.as_ref().map_or(0, |it| it.len()),
            Self::Mirrored { .. } | Self::PutUsage { .. } => 0,
        };
        self.user_id().map_or(0, |user| user.as_str().len()) + 30 + rest
    }

    /// Whether it deletes something.
    pub(super) fn deletes(&self) -> bool {
        matches!(self, Self::DeleteSession { .. } | Self::DeleteMessage { .. })
    }

    /// Whether it is the replica's: what it does not need of the log any more may go.
    pub(super) fn is_note(&self) -> bool {
        matches!(self, Self::PutNote { .. } | Self::Mirrored { .. })
    }

    /// When it was done; `None` of what is nobody's.
    pub(super) fn at(&self) -> Option<Timestamp> {
        Some(match self {
            Self::PutSession { session, .. } => session.updated_at,
            Self::DeleteSession { at, .. }
            | Self::PutMessage { at, .. }
            | Self::EditMessage { at, .. }
            | Self::DeleteMessage { at, .. }
            | Self::PutUsage { at, .. } => *at,
            Self::PutAnswer { answer, .. } => answer.at,
            Self::PutNote { .. } | Self::Mirrored { .. } => return None,
        })
    }

    /// Whose data it changed; `None` of what is nobody's.
    pub(super) fn user_id(&self) -> Option<&UserId> {
        Some(match self {
            Self::PutSession { session, .. } => &session.user_id,
            Self::DeleteSession { user_id, .. }
            | Self::PutMessage { user_id, .. }
            | Self::EditMessage { user_id, .. }
            | Self::DeleteMessage { user_id, .. }
            | Self::PutAnswer { user_id, .. }
            | Self::PutUsage { user_id, .. } => user_id,
            Self::PutNote { .. } | Self::Mirrored { .. } => return None,
        })
    }
}

impl FreshSession {
    pub(super) fn place(&self) -> Place {
        Place { at: self.updated_at, number: self.number }
    }

    pub(super) fn created_place(&self) -> Place {
        Place { at: self.facts.created_at, number: self.number }
    }
}
