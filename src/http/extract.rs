//! What handlers take from a request, with refusals in our words.

mod body;

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use crate::model::{ETag, ETags, Invalid};

use super::{ApiError, App};

pub(super) use body::{Patched, Posted};

/// The parameters behind the `?`. Those that `T` does not name are ignored.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

/// The variable parts of a path: a string, or a pair of them.
#[derive(Debug)]
pub(super) struct PathPart<T = String>(pub(super) T);

/// What the caller has of what it asks for, by its `If-None-Match`.
#[derive(Debug)]
pub(super) struct Known(Option<ETags>);

/// What the caller has seen of what it wants to change, by its `If-Match`.
#[derive(Debug)]
pub(super) struct Seen(pub(super) Option<ETags>);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let invalid = |error: String| {
            let message = "send each parameter once, percent-encoded";
            ApiError::bad_request("invalid_query", error, message)
        };
        if !parts.uri.query().is_none_or(is_percent_encoded) {
            return Err(invalid("query is not percent-encoded UTF-8".to_owned()));
        }
        let params = Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params));
        params.map_err(|error| invalid(error.body_text().to_lowercase()))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for PathPart<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if is_percent_encoded(parts.uri.path())
            && let Ok(Path(part)) = Path::from_request_parts(parts, app).await
        {
            return Ok(Self(part));
        }
        let error = "path is not percent-encoded UTF-8";
        Err(ApiError::bad_request("invalid_path", error, "encode the id as a path segment"))
    }
}

impl FromRequestParts<App> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Known {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(tags(headers, IF_NONE_MATCH))
    }

    /// Whether the caller has what has this `tag`.
    pub(super) fn has(&self, tag: ETag) -> bool {
        self.0.as_ref().is_some_and(|known| known.matches_weakly(tag))
    }
}

impl FromRequestParts<App> for Seen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self(tags(&parts.headers, IF_MATCH)))
    }
}

/// The tags that a header lists, be it in several lines. What is not text matches nothing.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<ETags> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let text = |line: &Result<&str, _>| line.as_deref().unwrap_or_default().to_owned();
    (!lines.is_empty()).then(|| ETags::parse(&lines.iter().map(text).collect::<Vec<_>>().join(",")))
}

/// Whether `text` decodes to UTF-8. What does not, the decoders of queries let pass with other
/// characters in its place, by which two ids could become the same.
fn is_percent_encoded(text: &str) -> bool {
    if !text.contains('%') {
        return true;
    }
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits =
            piece.get(..2).filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) else {
            return false;
        };
        decoded.push(byte);
        decoded.extend(piece.bytes().skip(2));
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// A value that must have been sent.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or(Invalid::missing(field))
}
