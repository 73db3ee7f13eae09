//! What the document says of each operation.

mod live;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::link::Link;
use utoipa::openapi::schema::Type;

use crate::http::health::{Health, Index, Ready};
use crate::http::messages::{EditMessageBody, HistoryParams, SaveMessageBody};
use crate::http::search::SearchParams;
use crate::http::sessions::{CreateBody, DeleteBody, GetParams, ListParams, UpdateBody};
use crate::model::{Message, MessageId, Role, Session, SessionId, Timestamp};

use super::Doc;

pub(in crate::http) use live::{events, socket, ticket};

const SERVICE: &str = "service";
const SESSIONS: &str = "sessions";

pub(in crate::http) fn index() -> Doc {
    let doc = Doc::open("index", SERVICE, "What there is").refuses(&[429]);
    doc.gives::<Index>(200, "every route", &[])
}

pub(in crate::http) fn health() -> Doc {
    Doc::open("health", SERVICE, "Whether the process runs").gives::<Health>(200, "it runs", &[])
}

pub(in crate::http) fn ready() -> Doc {
    let doc = Doc::open("ready", SERVICE, "Whether reads and writes work");
    doc.gives::<Ready>(200, "they work", &[])
}

/// The document itself.
#[derive(ToSchema)]
#[schema(value_type = Object)]
struct OpenApiDocument(#[expect(dead_code, reason = "is only described")] Value);

pub(in crate::http) fn document() -> Doc {
    let doc = Doc::open("openapi", SERVICE, "This document").refuses(&[429]);
    doc.gives::<OpenApiDocument>(200, "this document", &[]).unchanged()
}

pub(in crate::http) fn create() -> Doc {
    Doc::new("createSession", SESSIONS, "Begins a session")
        .about("A first message that is not blank is stored as the session's first message.")
        .body::<CreateBody>(json!({ "userId": "ann", "firstMessage": "How do tides work?" }))
        .gives::<Session<'_>>(201, "the new session", &of_session())
        .gives::<Session<'_>>(200, "the caller's session of that id, as it is", &of_session())
        .refuses(&[409])
        .once()
}

pub(in crate::http) fn create_session() -> Doc {
    create().named("createSessionByPath")
}

/// Sessions, and where the next page begins.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "pages are put together from stored rows; this describes them")]
struct SessionPage {
    sessions: Vec<Session<'static>>,
    /// How many there are in this page.
    count: u64,
    /// There while more remain.
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

pub(in crate::http) fn list() -> Doc {
    Doc::new("listSessions", SESSIONS, "The caller's sessions, page by page")
        .params::<ListParams>()
        .gives::<SessionPage>(200, "a page", &[])
        .unchanged()
}

pub(in crate::http) fn list_sessions() -> Doc {
    list().named("listSessionsByPath")
}

/// Messages, and where the next page begins.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "pages are put together from stored rows; this describes them")]
struct MessagePage {
    messages: Vec<Message<'static>>,
    /// How many there are in this page.
    count: u64,
    /// There while more remain.
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

pub(in crate::http) fn history() -> Doc {
    Doc::new("listMessages", SESSIONS, "A session's messages, all or page by page")
        .params::<HistoryParams>()
        .gives::<MessagePage>(200, "a page, or all", &[])
        .refuses(&[404])
        .unchanged()
}

pub(in crate::http) fn history_by_path() -> Doc {
    history().named("listMessagesByPath").in_path::<SessionId>("sessionId", "tides")
}

pub(in crate::http) fn save_message() -> Doc {
    Doc::new("saveMessage", SESSIONS, "Adds a message to a session")
        .about("With an id it is safe to repeat: what is stored already is answered with 200.")
        .body::<SaveMessageBody>(json!({
            "userId": "ann", "sessionId": "tides", "role": "user", "content": "How high?"
        }))
        .either([("content", Type::String), ("parts", Type::Array)])
        .gives::<Message<'_>>(201, "the new message", &[])
        .gives::<Message<'_>>(200, "the stored message of that id, which is the same", &[])
        .refuses(&[404, 409])
        .matching()
        .once()
}

pub(in crate::http) fn save_message_by_path() -> Doc {
    save_message().named("saveMessageByPath").in_path::<SessionId>("sessionId", "tides")
}

pub(in crate::http) fn get_message() -> Doc {
    of_message("getMessage", "A message").gives::<Message<'_>>(200, "the message", &[]).unchanged()
}

pub(in crate::http) fn edit_message() -> Doc {
    of_message("editMessage", "Edits a message, which stays where it stands")
        .patch::<EditMessageBody>(json!({ "userId": "ann", "content": "How high are they?" }))
        .gives::<Message<'_>>(200, "the message as it is now", &[])
        .matching()
}

pub(in crate::http) fn delete_message() -> Doc {
    of_message("deleteMessage", "Deletes a message")
        .gives::<Deleted>(200, "it is gone", &[])
        .refuses(&[507])
        .matching()
}

fn of_message(id: &str, summary: &str) -> Doc {
    Doc::new(id, SESSIONS, summary)
        .path::<SessionId>("sessionId", "tides")
        .path::<MessageId>("messageId", "m1")
        .refuses(&[404])
}

/// What a deletion answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a deletion answers a constant; this describes it")]
struct Deleted {
    success: bool,
    message: String,
}

/// Something that was found.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "is written by the search itself; this describes it")]
struct SearchResult {
    session_id: SessionId,
    /// The session's.
    title: String,
    /// Absent when it is the title that was found.
    #[schema(nullable = false)]
    message_id: Option<MessageId>,
    #[schema(nullable = false)]
    role: Option<Role>,
    /// When the message was saved, or the session created.
    timestamp: Timestamp,
    /// A part of the text around the first of the words.
    snippet: String,
    /// Where the words stand in the snippet: from and to, in UTF-16 code units.
    highlights: Vec<[u64; 2]>,
}

/// What was found, newest first, and where the next page begins.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "pages are put together from rows; this describes them")]
struct SearchPage {
    results: Vec<SearchResult>,
    /// How many there are in this page.
    count: u64,
    /// There while more remain.
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

pub(in crate::http) fn search() -> Doc {
    Doc::new("search", SESSIONS, "The caller's messages and titles that have all the words")
        .about("Letters are compared without case and accents, and words by how they begin.")
        .params::<SearchParams>()
        .gives::<SearchPage>(200, "a page", &[])
        .refuses(&[404])
}

pub(in crate::http) fn delete() -> Doc {
    Doc::new("deleteSession", SESSIONS, "Deletes a session and its messages")
        .body::<DeleteBody>(json!({ "userId": "ann", "sessionId": "tides" }))
        .gives::<Deleted>(200, "it is gone", &[])
        .refuses(&[404])
        .matching()
        .once()
}

pub(in crate::http) fn delete_by_path() -> Doc {
    Doc::new("deleteSessionByPath", SESSIONS, "Deletes a session and its messages")
        .path::<SessionId>("sessionId", "tides")
        .gives::<Deleted>(200, "it is gone", &[])
        .refuses(&[404, 507])
        .matching()
}

pub(in crate::http) fn update() -> Doc {
    Doc::new("updateSession", SESSIONS, "Changes what is a session's own")
        .body::<UpdateBody>(json!({ "userId": "ann", "sessionId": "tides", "title": "Tides" }))
        .gives::<Session<'_>>(200, "the session as it is now", &[])
        .refuses(&[404])
        .matching()
        .once()
}

pub(in crate::http) fn update_by_path() -> Doc {
    Doc::new("updateSessionByPath", SESSIONS, "Changes what is a session's own")
        .path::<SessionId>("sessionId", "tides")
        .patch::<UpdateBody>(json!({ "userId": "ann", "title": "Tides" }))
        .gives::<Session<'_>>(200, "the session as it is now", &[])
        .refuses(&[404])
        .matching()
}

pub(in crate::http) fn get() -> Doc {
    Doc::new("getSession", SESSIONS, "A session")
        .params::<GetParams>()
        .gives::<Session<'_>>(200, "the session", &[])
        .refuses(&[404])
        .unchanged()
}

pub(in crate::http) fn get_by_path() -> Doc {
    Doc::new("getSessionByPath", SESSIONS, "A session")
        .path::<SessionId>("sessionId", "tides")
        .gives::<Session<'_>>(200, "the session", &[])
        .refuses(&[404])
        .unchanged()
}

/// What can be done with the session that was answered.
fn of_session() -> [(&'static str, Link); 6] {
    let (id, user) = ("$response.body#/sessionId", "$response.body#/userId");
    let by_query = |operation: &str| {
        let link = Link::builder().operation_id(operation);
        link.parameter("query.sessionId", id).parameter("query.userId", user).build()
    };
    let by_path = Link::builder()
        .operation_id("getSessionByPath")
        .parameter("path.sessionId", id)
        .parameter("query.userId", user);
    let by_body = |operation: &str, body: Value| {
        Link::builder().operation_id(operation).request_body(Some(body)).build()
    };
    let message =
        json!({ "userId": user, "sessionId": id, "role": "user", "content": "How high?" });
    [
        ("get", by_query("getSession")),
        ("getByPath", by_path.build()),
        ("messages", by_query("listMessages")),
        ("saveMessage", by_body("saveMessage", message)),
        (
            "update",
            by_body("updateSession", json!({ "userId": user, "sessionId": id, "title": "Tides" })),
        ),
        ("delete", by_body("deleteSession", json!({ "userId": user, "sessionId": id }))),
    ]
}
