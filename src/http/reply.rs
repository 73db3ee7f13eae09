//! Answers that hold JSON, with the version that it has.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::model::ETag;
use crate::sessions::{Shown, Written};

use super::ApiError;
use super::extract::Known;

pub(super) type Reply = Result<Response, ApiError>;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], body.into()).into_response()
}

/// What was asked for, or 304 to a caller who has it.
pub(super) fn shown(known: &Known, Shown { json: text, tag }: Shown) -> Response {
    shown_as(known, tag, || json(StatusCode::OK, text))
}

/// What was asked for, which has this `tag`, or 304 to a caller who has it.
pub(super) fn shown_as(known: &Known, tag: ETag, answer: impl FnOnce() -> Response) -> Response {
    if known.has(tag) { unchanged(tag) } else { tagged(tag, answer()) }
}

/// The answer to a caller who has what has this `tag`.
pub(super) fn unchanged(tag: ETag) -> Response {
    tagged(tag, StatusCode::NOT_MODIFIED.into_response())
}

/// What was written, as it is stored now; or the news of a deletion.
pub(super) fn written(outcome: Written) -> Response {
    let Written { created, replayed, json: text, tag } = outcome;
    let mut response = json(if created { StatusCode::CREATED } else { StatusCode::OK }, text);
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    match tag {
        Some(tag) => tagged(tag, response),
        None => response,
    }
}

fn tagged(tag: ETag, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::try_from(tag.to_string()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
