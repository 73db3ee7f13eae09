//! What was found, and how it is shown.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Role, SessionId, Timestamp};
use crate::search::Found;
use crate::sessions::to_json;
use crate::store::{Place, StoreError};

/// Where something that was found stands among all: the later in time, the earlier it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sessions) struct Spot {
    pub(in crate::sessions) place: Place,
    /// A title stands before the message of its session that has the same time.
    pub(in crate::sessions) is_message: bool,
}

/// Something that was found.
pub(super) struct Hit {
    pub(super) spot: Spot,
    pub(super) session_id: SessionId,
    /// The message's id, a JSON string, and who speaks in it; `None` for a title.
    pub(super) message: Option<(Box<RawValue>, Role)>,
    pub(super) found: Found,
}

impl Hit {
    pub(super) fn json(&self, title: &str) -> Result<Vec<u8>, StoreError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            session_id: &'a str,
            title: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message_id: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            role: Option<Role>,
            timestamp: Timestamp,
            snippet: &'a str,
            highlights: &'a [[usize; 2]],
        }

        to_json(&Json {
            session_id: self.session_id.as_str(),
            title,
            message_id: self.message.as_ref().map(|(id, _)| &**id),
            role: self.message.as_ref().map(|(_, role)| *role),
            timestamp: self.spot.place.at,
            snippet: &self.found.snippet,
            highlights: &self.found.highlights,
        })
    }
}

/// What a search must know of a session.
pub(super) struct Named {
    pub(super) session_id: SessionId,
    pub(super) title: String,
}

pub(super) fn named(row: &[u8]) -> Result<Named, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Json {
        session_id: String,
        title: String,
    }

    let damaged = || StoreError::Damaged { what: "session row", key: String::new() };
    let Json { session_id, title } = serde_json::from_slice(row).map_err(|_| damaged())?;
    let session_id = SessionId::parse(&session_id).map_err(|_| damaged())?;
    Ok(Named { session_id, title })
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.spot == other.spot
    }
}

impl Eq for Hit {}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        self.spot.cmp(&other.spot)
    }
}
