//! Every refusal that the document knows: its status, its codes, and when it comes.

use axum::http::StatusCode;
use utoipa::ToSchema as _;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, Response, ResponseBuilder, Schema};

use crate::http::error::ErrorBody;

use super::doc::answer;

/// The codes of a status.
enum Codes {
    /// One of these.
    Known(&'static [&'static str]),
    /// Too many to tell: all that match this.
    Like(&'static str),
}

use Codes::{Known, Like};

const REFUSALS: [(u16, Codes, &str); 16] = [
    (400, Like("^(missing|invalid)_[a-z_]+$"), "a value is missing or breaks a rule"),
    (
        401,
        Known(&["missing_token", "invalid_token", "invalid_ticket"]),
        "no token or ticket, or not a good one",
    ),
    (
        403,
        Known(&[
            "user_mismatch",
            "user_not_allowed",
            "local_only",
            "origin_not_allowed",
            "quota_exceeded",
        ]),
        "the caller may not do this",
    ),
    (
        404,
        Known(&["session_not_found", "message_not_found"]),
        "does not exist, was deleted, or is not the caller's",
    ),
    (408, Known(&["request_timeout"]), "the body took too long to arrive"),
    (409, Known(&["session_id_taken", "message_id_taken"]), "the id is taken"),
    (412, Known(&["stale"]), "it has changed since the caller read it; current is what it is now"),
    (413, Known(&["body_too_large"]), "the body is larger than 1 MiB"),
    (415, Known(&["unsupported_media_type"]), "the body is not declared as JSON"),
    (422, Known(&["idempotency_key_reused"]), "the key was used for another request"),
    (426, Known(&["upgrade_required"]), "it is no request for a WebSocket of version 13"),
    (
        429,
        Known(&["rate_limited", "too_many_searches"]),
        "the caller sent too much of late, or other searches of the caller's are waiting",
    ),
    (431, Known(&["head_too_large"]), "request line and headers are larger than 32 KiB"),
    (500, Known(&["internal"]), "a fault of the server, whose log has more by the request id"),
    (
        503,
        Known(&[
            "busy",
            "disk_full",
            "stopping",
            "storage_failed",
            "timeout",
            "too_many_listeners",
        ]),
        "try again later",
    ),
    (507, Known(&["disk_full"]), "the disk has no room; reading and deleting go on"),
];

/// Those as responses that operations refer to by [`name`].
pub(super) fn responses() -> impl Iterator<Item = (String, Response)> {
    REFUSALS.iter().map(|(status, codes, description)| {
        let mut response = answer(description);
        response = match status {
            401 => response.header("WWW-Authenticate", text_header("the challenge of RFC 6750")),
            429 => response
                .header("Retry-After", text_header("seconds to wait"))
                .header("RateLimit-Policy", text_header("with rate_limited: what the limit is"))
                .header("RateLimit", text_header("with rate_limited: what is left of it")),
            503 | 507 => response.header("Retry-After", text_header("seconds to wait")),
            _ => response,
        };
        (name(*status), body(response, codes).build())
    })
}

/// `NotFound` for 404. A status that is not in the table has a name all the same, which then leads
/// nowhere: a test finds it.
pub(super) fn name(status: u16) -> String {
    let status = StatusCode::from_u16(status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    reason.replace(' ', "")
}

fn body(response: ResponseBuilder, codes: &Codes) -> ResponseBuilder {
    let code = ObjectBuilder::new().schema_type(Type::String);
    let code = match codes {
        Known(codes) => code.enum_values(Some(codes.iter().copied())),
        Like(pattern) => code.pattern(Some(*pattern)),
    };
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(ErrorBody::name()))
        .item(ObjectBuilder::new().property("code", code))
        .build();
    response.content(
        "application/json",
        ContentBuilder::new().schema(Some(Schema::from(schema))).build(),
    )
}

fn text_header(description: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).build());
    header.description = Some(description.to_owned());
    header
}
