//! What the store must know of the rows that it keeps, which are JSON as clients read it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::model::{MessageId, SessionId};

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

/// How many messages a session's row says that it has.
pub(super) fn message_count(json: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        message_count: u64,
    }

    serde_json::from_slice(json).ok().map(|Counted { message_count }| message_count)
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
