//! Bodies of requests: one JSON object, read within limits.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_128;

use crate::http::{ApiError, App};
use crate::model::{IdempotencyKey, Invalid, Metadata, metadata};
use crate::sessions::Once;

/// Deepest nesting of a body: metadata of the deepest kind as a member of it.
const MAX_DEPTH: usize = Metadata::MAX_DEPTH + 1;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The JSON object that was posted, and by what the request is known if it may come again.
/// Members that `T` does not name are ignored.
#[derive(Debug)]
pub(in crate::http) struct Posted<T> {
    pub(in crate::http) body: T,
    pub(in crate::http) once: Option<Once>,
}

/// The JSON object of a PATCH. Members that `T` does not name are ignored.
#[derive(Debug)]
pub(in crate::http) struct Patched<T> {
    pub(in crate::http) body: T,
    /// Whether objects in it are merged into what is stored (RFC 7396), and do not replace it.
    pub(in crate::http) merges: bool,
}

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        content_type(request.headers(), &[JSON])?;
        let key = key(request.headers())?;
        let target = format!("{} {}\n", request.method(), request.uri());
        let bytes = read(request, app).await?;
        let once = key.map(|key| {
            let hashed = [target.as_bytes(), &bytes].concat();
            Once { key, fingerprint: xxh3_128(&hashed).to_be_bytes() }
        });
        Ok(Self { body: parse(&bytes)?, once })
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Patched<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let merges = content_type(request.headers(), &[JSON, MERGE_PATCH])? == MERGE_PATCH;
        Ok(Self { body: parse(&read(request, app).await?)?, merges })
    }
}

/// The request's `Idempotency-Key`, if it has one.
fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Invalid> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let wrong =
        || Invalid::wrong("idempotencyKey", "must be one line of 1 to 255 ASCII characters");
    let key = key.and_then(|key| IdempotencyKey::parse(key).ok());
    key.map(Some).ok_or_else(wrong)
}

async fn read(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let collecting = tokio::time::timeout(app.limits.body_time, request.into_body().collect());
    let collected = collecting.await.map_err(|_| body_is_late())?;
    Ok(collected.map_err(|error| unreadable(&error))?.to_bytes())
}

/// Only JSON, so that a body cannot come from a form of another site, for which browsers ask no
/// permission (Fetch, CORS-safelisted request-header).
fn content_type<'a>(headers: &HeaderMap, taken: &[&'a str]) -> Result<&'a str, ApiError> {
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
    let kind = taken.iter().find(|taken| kind.trim().eq_ignore_ascii_case(taken));
    if let Some(kind) = kind
        && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    {
        return Ok(kind);
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
