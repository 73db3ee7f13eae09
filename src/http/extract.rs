//! What handlers take from a request, with refusals in our words.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::de::DeserializeOwned;

use crate::model::{Invalid, Metadata, metadata};

use super::{ApiError, App};

/// Deepest nesting of a body: metadata of the deepest kind as a member of it.
const MAX_DEPTH: usize = Metadata::MAX_DEPTH + 1;

/// The parameters behind the `?`. Those that `T` does not name are ignored.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

/// A JSON object from the body. Members that `T` does not name are ignored.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

/// The one variable part of a path.
#[derive(Debug)]
pub(super) struct PathPart(pub(super) String);

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

impl FromRequestParts<App> for PathPart {
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

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        let collecting = tokio::time::timeout(app.limits.body_time, body.collect());
        let collected = collecting.await.map_err(|_| body_is_late())?;
        let bytes = collected.map_err(|error| unreadable(&error))?.to_bytes();
        parse(&bytes).map(Self)
    }
}

/// Only JSON, so that a body cannot come from a form of another site, for which browsers ask no
/// permission (Fetch, CORS-safelisted request-header).
fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let given = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        _ => "",
    };
    let (kind, parameters) = given.split_once(';').unwrap_or((given, ""));
    // JSON is UTF-8 (RFC 8259, section 8.1); a body in another charset would be misread.
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    if kind.trim().eq_ignore_ascii_case("application/json")
        && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "request body is not declared as JSON",
        "send it with Content-Type: application/json",
    ))
}

fn body_is_late() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "request body took too long to arrive",
        "send it again; nothing was stored",
    )
}

fn unreadable(error: &axum::Error) -> ApiError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return ApiError::of_status(StatusCode::PAYLOAD_TOO_LARGE);
        }
        source = error.source();
    }
    let message = "send the body whole, as its Content-Length or chunks say";
    ApiError::bad_request("invalid_body", "request body could not be read", message)
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let invalid = |error: String| {
        let message = "send one JSON object; nothing was stored";
        ApiError::bad_request("invalid_json", error, message)
    };
    let text =
        std::str::from_utf8(bytes).map_err(|_| invalid("request body is not UTF-8".into()))?;
    // Measured before it is parsed, as parsers of nested text need stack.
    let depth = metadata::depth(text);
    if depth > MAX_DEPTH {
        let error = format!("request body is nested {depth} levels deep; the limit is {MAX_DEPTH}");
        return Err(invalid(error));
    }
    if !text.trim_ascii_start().starts_with('{') {
        return Err(invalid("request body is not a JSON object".into()));
    }
    serde_json::from_str(text).map_err(|error| {
        // A second reading, only to name the member that the first one tripped over.
        let mut reader = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(at) if at.path().iter().len() > 0 => {
                invalid(format!("request body has a wrong value: {at}"))
            }
            _ => invalid(format!("request body is not what is expected: {error}")),
        }
    })
}

/// A value that must have been sent.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or(Invalid::missing(field))
}
