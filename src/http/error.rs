//! Errors as clients read them: one table from what is wrong to status and code, one place that
//! writes the body.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinError;
use tracing::error;
use utoipa::ToSchema;

use crate::metrics::{Code, Metrics};
use crate::model::{Invalid, Message};
use crate::sessions::{SessionError, Stale};
use crate::store::StoreError;

use super::Rate;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// When to try again what the disk had no room for: somebody must make some.
const DISK_RETRY_SECS: u64 = 30;

/// A refusal, before it is known which request it answers.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    error: String,
    message: Cow<'static, str>,
    /// Boxed, as few errors have any and every result is as large as its error.
    headers: Option<Box<HeaderMap>>,
    /// For the log alone.
    cause: Option<String>,
    stale: Option<Box<Stale>>,
}

/// What a client reads of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Error)]
pub(super) struct ErrorBody<'a> {
    /// What is wrong, naming the thing.
    error: &'a str,
    /// The same, for programs.
    code: &'a str,
    /// What to do.
    message: &'a str,
    /// Names the request in the server's log.
    request_id: &'a str,
    /// With `stale`: what is stored, a session or a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    current: Option<&'a RawValue>,
    /// With `stale`, for a save with `expectedCount`: the messages that the caller has not seen,
    /// the newest 100 of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Message<'a>>, required = false)]
    messages: Option<&'a RawValue>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        error: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (code, error, message) = (code.into(), error.into(), message.into());
        Self { status, code, error, message, headers: None, cause: None, stale: None }
    }

    /// A 400.
    pub(crate) fn bad_request(
        code: impl Into<Cow<'static, str>>,
        error: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, error, message)
    }

    /// A 400 to a request that can be understood in two ways, with which its connection ends.
    pub(super) fn unclear_head(problem: &'static str) -> Self {
        let message = "send one Host, and a body by Content-Length or in chunks; nothing was done";
        Self::bad_request("invalid_head", problem, message)
            .with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// A 401 with the challenge of RFC 6750, section 3.
    pub(crate) fn unauthorized(
        code: &'static str,
        error: &'static str,
        message: &'static str,
        challenge: &'static str,
    ) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, error, message)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// A 403.
    pub(crate) fn forbidden(
        code: &'static str,
        error: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, error, message)
    }

    /// A 412 with what is stored.
    fn stale(error: String, stale: Box<Stale>) -> Self {
        let message =
            "look at current, and send it again with the ETag of that; nothing was stored";
        let tag = stale.tag.to_string();
        let error = Self::new(StatusCode::PRECONDITION_FAILED, "stale", error, message);
        Self { stale: Some(stale), ..error }.with_text(ETAG, tag)
    }

    /// Work that was handed to another thread panicked there.
    pub(super) fn of_panic(panic: &JoinError) -> Self {
        Self::internal(panic.to_string())
    }

    /// A 429.
    pub(super) fn too_many_searches() -> Self {
        let error = "too many searches of this user are waiting";
        let (status, message) = (StatusCode::TOO_MANY_REQUESTS, "wait for those that were begun");
        Self::new(status, "too_many_searches", error, message).retry_after(1)
    }

    /// A 429 to a user or an address, whichever `policy` is, that may call again after `wait`.
    /// Its headers are those of draft-ietf-httpapi-ratelimit-headers-10.
    pub(super) fn rate_limited(policy: &'static str, rate: Rate, wait: Duration) -> Self {
        let (requests, per) = (rate.requests, rate.per.as_secs());
        let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let error =
            format!("too many requests of this {policy}; the limit is {requests} in {per} s");
        let message = format!("wait {secs} s; nothing was done");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", error, message)
            .retry_after(secs)
            .with_text(RATE_LIMIT, format!(r#""{policy}";r=0;t={secs}"#))
            .with_text(RATE_LIMIT_POLICY, format!(r#""{policy}";q={requests};w={per}"#))
    }

    /// A 507, or the 503 of who asks whether the service is ready.
    pub(super) fn disk_full(status: StatusCode) -> Self {
        let error = "storage is full";
        let message = "nothing was stored; reading and deleting go on, try again later";
        Self::new(status, "disk_full", error, message).retry_after(DISK_RETRY_SECS)
    }

    /// A 503, as too many listen.
    pub(super) fn too_many_listeners() -> Self {
        Self::unavailable("too_many_listeners", "too many streams and WebSockets are open", None)
    }

    /// A 500, of which only the log tells the cause.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        let (error, message) = ("internal error", "the request id names it in the server's log");
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error, message);
        Self { cause: Some(cause.into()), ..error }
    }

    fn unavailable(code: &'static str, error: &'static str, cause: Option<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let message = "try again in a few seconds; a write may have been done, so repeat it by id";
        Self { cause, ..Self::new(status, code, error, message) }.retry_after(2)
    }

    fn retry_after(self, secs: u64) -> Self {
        self.with(RETRY_AFTER, secs.into())
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// The same with a value that is made, and left out if it is none.
    fn with_text(self, name: HeaderName, value: String) -> Self {
        match HeaderValue::try_from(value) {
            Ok(value) => self.with(name, value),
            Err(_) => self,
        }
    }

    /// What a layer that knows only statuses meant.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "body_too_large",
                "request body is too large; the limit is 1 MiB",
                "send less at once",
            ),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::new(
                status,
                "head_too_large",
                "request line and headers are too large; the limit is 32 KiB",
                "send fewer or shorter headers",
            ),
            StatusCode::SERVICE_UNAVAILABLE => {
                Self::unavailable("timeout", "request took too long", None)
            }
            status if status.is_server_error() => Self::internal(status.to_string()),
            status => {
                let reason = status.canonical_reason().unwrap_or("refused").to_lowercase();
                Self::new(status, reason.replace(' ', "_"), reason, "see the API description")
            }
        }
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "session_not_found",
                "session was not found",
                "it does not exist, was deleted, or is not yours",
            ),
            SessionError::IdTaken(_) => Self::new(
                StatusCode::CONFLICT,
                "session_id_taken",
                text,
                "leave sessionId out, or choose another",
            ),
            SessionError::MessageIdTaken(_) => Self::new(
                StatusCode::CONFLICT,
                "message_id_taken",
                text,
                "leave id out, or choose another; the stored message was not changed",
            ),
            SessionError::MessageNotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "message_not_found",
                "message was not found",
                "the session has no message of that id, or none any more",
            ),
            SessionError::Stale(stale) => Self::stale(text, stale),
            SessionError::KeyReused(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                text,
                "use a new key for each request, and the same one only to repeat it",
            ),
            SessionError::Quota { .. } => Self::forbidden(
                "quota_exceeded",
                text,
                "delete what is not needed; nothing was stored",
            ),
            SessionError::Invalid(invalid) => invalid.into(),
            SessionError::Cursor(_) => Self::bad_request(
                "invalid_cursor",
                text,
                "use nextCursor with the parameters of the page that gave it",
            ),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        match error {
            // Told in the log once, and not for each request.
            StoreError::DiskFull { .. } => Self::disk_full(StatusCode::INSUFFICIENT_STORAGE),
            StoreError::Busy => Self::unavailable("busy", "server is busy", Some(cause)),
            StoreError::Closed => Self::unavailable("stopping", "server is stopping", Some(cause)),
            StoreError::Io(_) | StoreError::Unsettled(_) => {
                Self::unavailable("storage_failed", "storage does not work", Some(cause))
            }
            StoreError::Damaged { .. }
            | StoreError::Structure(_)
            | StoreError::TooLarge { .. }
            | StoreError::Panicked => Self::internal(cause),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let mut code = String::from(if invalid.missing { "missing_" } else { "invalid_" });
        for letter in invalid.field.chars() {
            if letter.is_ascii_uppercase() {
                code.push('_');
            }
            code.push(letter.to_ascii_lowercase());
        }
        let message = if invalid.missing { "send it" } else { "correct it; nothing was stored" };
        Self::bad_request(code, invalid.to_string(), message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Writes the body of an error, whichever layer raised it, counts it, and logs a failure of ours.
pub(super) fn render(mut response: Response, request_id: &str, metrics: &Metrics) -> Response {
    let refusal = response.extensions_mut().remove::<Arc<ApiError>>();
    let refusal = refusal.unwrap_or_else(|| Arc::new(ApiError::of_status(response.status())));
    if let Some(cause) = &refusal.cause {
        let (status, code) = (refusal.status.as_u16(), &refusal.code);
        error!(request.id = request_id, status, "answered {status} {code}: {cause}");
    }
    let ApiError { error, code, message, headers: more, stale, .. } = refusal.as_ref();
    metrics.http_errors.get_or_create(&Code { code: code.clone() }).inc();
    let current = stale.as_ref().and_then(|stale| json_of(&stale.current));
    let messages = stale.as_ref().and_then(|stale| json_of(stale.unseen.as_deref()?));
    let text = ErrorBody { error, code, message, request_id, current, messages };
    let body = serde_json::to_vec(&text).unwrap_or_default();
    let headers = response.headers_mut();
    headers.extend(more.as_deref().cloned().unwrap_or_default());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}

/// Rows are JSON.
fn json_of(row: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(row).ok()
}

/// The answer of a handler that panicked; the log has told where, and of what.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}

pub(super) async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    let error = format!("path {path} does not exist");
    ApiError::new(StatusCode::NOT_FOUND, "not_found", error, "GET / lists the routes")
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    let method: String = method.as_str().chars().take(20).collect();
    let error = format!("method {method} is not allowed on {path}");
    let message = "the Allow header names those that are; GET / lists the routes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error, message)
}
