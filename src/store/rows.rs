//! What the store must know of the rows that it keeps, which are JSON as clients read it.

use std::borrow::Cow;

use serde::Deserialize;

use crate::model::{MessageId, SessionId};

/// The id in a session's row.
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

/// The ids in a message's row: its session's and its own.
pub(super) fn message_ids(json: &[u8]) -> Option<(SessionId, MessageId)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        session_id: Cow<'a, str>,
    }

    let named: Named<'_> = serde_json::from_slice(json).ok()?;
    Some((SessionId::parse(&named.session_id).ok()?, MessageId::parse(&named.id).ok()?))
}
