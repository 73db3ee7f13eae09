//! Answers that hold JSON, with the version that it has.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::model::ETag;
use crate::sessions::Written;

use super::ApiError;
use super::extract::Known;

pub(super) type Reply = Result<Response, ApiError>;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], body.into()).into_response()
}

/// What was asked for, or 304 to a caller who has it.
pub(super) fn shown(known: &Known, text: Vec<u8>) -> Response {
    let tag = ETag::of(&text);
    shown_as(known, tag, || json(StatusCode::OK, text))
}

/// What was asked for, which has this `tag`, or 304 to a caller who has it.
pub(super) fn shown_as(
    Known(known): &Known,
    tag: ETag,
    answer: impl FnOnce() -> Response,
) -> Response {
    let is_known = known.as_ref().is_some_and(|known| known.matches_weakly(tag));
    tagged(tag, if is_known { StatusCode::NOT_MODIFIED.into_response() } else { answer() })
}

/// What was written, as it is stored now.
pub(super) fn written(outcome: Written) -> Response {
    let tag = ETag::of(&outcome.json);
    tagged(tag, done(outcome))
}

/// What was done, of which nothing is left to have a version.
pub(super) fn done(outcome: Written) -> Response {
    let Written { created, replayed, json: text } = outcome;
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, text);
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn tagged(tag: ETag, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::try_from(tag.to_string()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
