//! What the document says of updates as they happen.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::live::ListenParams;
use crate::http::live::ticket::{Given, TicketBody};
use crate::http::openapi::Doc;
use crate::model::{Message, MessageId, Session, SessionId, Timestamp};

const LIVE: &str = "live";

/// Something that happened to the caller's sessions.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "events are put together from stored rows; this describes them")]
struct Event {
    /// Where it stands: what comes after it is told to who sends this as `since`.
    cursor: String,
    #[schema(inline)]
    r#type: EventType,
    at: Timestamp,
    /// Not with `resync`.
    #[schema(nullable = false)]
    session_id: Option<SessionId>,
    /// The session as it was then; not with `session.deleted` and `resync`.
    #[schema(nullable = false)]
    session: Option<Session<'static>>,
    /// The message, with those that are about one.
    #[schema(nullable = false, inline)]
    message: Option<EventMessage>,
}

/// What happened. `resync`: what came after the given cursor is not kept any more, so what is shown
/// must be read anew.
#[derive(ToSchema)]
#[expect(dead_code, reason = "is only described")]
enum EventType {
    #[schema(rename = "session.created")]
    SessionCreated,
    #[schema(rename = "session.updated")]
    SessionUpdated,
    #[schema(rename = "session.deleted")]
    SessionDeleted,
    #[schema(rename = "message.created")]
    MessageCreated,
    #[schema(rename = "message.updated")]
    MessageUpdated,
    #[schema(rename = "message.deleted")]
    MessageDeleted,
    #[schema(rename = "resync")]
    Resync,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "is only described")]
enum EventMessage {
    /// As it is now.
    There(Message<'static>),
    /// Which one it was.
    Deleted {
        #[schema(value_type = MessageId)]
        id: String,
    },
}

pub(in crate::http) fn ticket() -> Doc {
    Doc::new("createTicket", LIVE, "A ticket that opens one stream or WebSocket")
        .about(
            "For browsers, which send no Authorization header with either. It is good once, for \
             30 s, and stands in the place of the token in the URL.",
        )
        .body::<TicketBody>(json!({ "userId": "ann" }))
        .gives::<Given>(201, "a new ticket", &[])
        .once()
}

pub(in crate::http) fn events() -> Doc {
    Doc::new("events", LIVE, "What happens to the caller's sessions, as Server-Sent Events")
        .about(
            "Each event's data is an Event, and its id the cursor. A browser that connects again \
             by itself sends the ticket again, which is used: take a new one, and send the last \
             cursor as since.",
        )
        .params::<ListenParams>()
        .resumes()
        .streams::<Event>("text/event-stream", "the events, until the caller goes")
        .refuses(&[404])
}

pub(in crate::http) fn socket() -> Doc {
    Doc::new("socket", LIVE, "What happens to the caller's sessions, over a WebSocket")
        .about(
            "Each event is a text frame, an Event. Closed with 4401 when the token expires, 4404 \
             when the one session listened to is deleted, 1001 when the server stops, 1013 when \
             events are read too slowly, 1011 when two pings go unanswered, 1009 on a message of \
             more than 4 KiB; what is sent is ignored.",
        )
        .params::<ListenParams>()
        .switches("the WebSocket is open")
        .refuses(&[404, 426])
}
