//! What the store must know of the rows that it keeps, which are JSON as clients read it.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use crate::model::{MessageId, Role, SessionId, Timestamp, UserId};

/// The id in a session's row, or that of its session in a message's.
pub(super) fn session_id(json: &[u8]) -> Option<SessionId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named<'a> {
        #[serde(borrow)]
        session_id: Cow<'a, str>,
    }

    let named: Named<'_> = serde_json::from_slice(json).ok()?;
    SessionId::parse(&named.session_id).ok()
}

/// What a session's row says of what is kept of it elsewhere.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    message_count: u64,
    #[serde(borrow, default)]
    expires_at: Option<&'a str>,
}

/// How many messages a session's row says that it has.
pub(super) fn message_count(json: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Told<'_>>(json).ok().map(|told| told.message_count)
}

/// When the session of a row is to be deleted, if it is.
pub(super) fn expires_at(json: &[u8]) -> Option<Timestamp> {
    // Few are, and the others are not parsed.
    memmem::find(json, b"\"expiresAt\":\"")?;
    let told: Told<'_> = serde_json::from_slice(json).ok()?;
    Timestamp::parse_start("expiresAt", told.expires_at?).ok()
}

/// The id in a message's row.
pub(super) fn message_id(json: &[u8]) -> Option<MessageId> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }

    let named: Named<'_> = serde_json::from_slice(json).ok()?;
    MessageId::parse(&named.id).ok()
}

/// What tells a row of a session from one of a message, and the newer of two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named<'a> {
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    edited_at: Option<Cow<'a, str>>,
    #[serde(default)]
    role: Option<Role>,
}

/// What a row says of itself, if it is one of a session or a message.
pub(super) fn named(json: &[u8]) -> Option<Named<'_>> {
    let named: Named<'_> = serde_json::from_slice(json).ok()?;
    Some(named).filter(|named| named.user_id.is_some() != named.role.is_some())
}

impl Named<'_> {
    pub(super) fn is_session(&self) -> bool {
        self.user_id.is_some()
    }

    pub(super) fn user_id(&self) -> Option<UserId> {
        UserId::parse(self.user_id.as_ref()?).ok()
    }

    /// When it was edited last, in microseconds: the last of the millisecond that is shown; 0 if it never was.
    pub(super) fn edited_at(&self) -> u64 {
        let at = self.edited_at.as_ref();
        let at = at.and_then(|at| Timestamp::parse_end("editedAt", at).ok());
        at.map_or(0, Timestamp::as_micros)
    }
}
