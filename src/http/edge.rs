//! The outermost layer: names each request, writes the body of each error, and logs. And what is
//! not let in, whatever it asks for.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, HOST, HeaderName, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Level, debug, enabled};
use uuid::{Builder, Uuid};

use crate::model::Timestamp;

use super::{ApiError, App, error};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn apply(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = given_id(&request).unwrap_or_else(|| app.request_ids.mint(app.clock.now()));
    let logged = enabled!(Level::DEBUG).then(|| app.clock.now());
    let begun = app.requests.begin(request.method(), request.uri().path());
    let mut response = next.run(request).await;
    let (method, route) = begun.answered(response.status());
    let shown = id.to_str().unwrap_or_default();
    if response.status().is_client_error() || response.status().is_server_error() {
        response = error::render(response, shown, app.store.metrics());
    }
    // Neither path nor query: they name users, sessions and tickets.
    if let Some(began) = logged {
        let micros = app.clock.now().as_micros().saturating_sub(began.as_micros());
        let status = response.status().as_u16();
        debug!(request.id = shown, method, route, status, micros, "{method} answered {status}");
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // What is here belongs to one user and changes: no cache may answer for us.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Makes ids for requests that bring none: `UUIDv7`, with a counter in the place of most random
/// bits (RFC 9562, section 6.2), as drawing these for each request is a system call.
#[derive(Debug)]
pub(super) struct RequestIds(AtomicU64);

impl RequestIds {
    /// Begins at random, so that two lives of the service do not meet.
    pub(super) fn new() -> Self {
        let (random, _) = Uuid::new_v4().as_u64_pair();
        Self(AtomicU64::new(random))
    }

    fn mint(&self, now: Timestamp) -> HeaderValue {
        let mut counter = [0; 10];
        if let Some(low) = counter.last_chunk_mut() {
            *low = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        }
        let id = Builder::from_unix_timestamp_millis(now.as_micros() / 1000, &counter).into_uuid();
        let mut text = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// Lets a request in, which counts for its address from then on.
///
/// # Errors
/// 400 `invalid_head`, 431 `head_too_large`, 429 `rate_limited`.
pub(super) fn admit(app: &App, request: &Request) -> Result<(), ApiError> {
    if let Some(problem) = unclear(request.headers()) {
        return Err(ApiError::unclear_head(problem));
    }
    if head_bytes(request) > app.limits.head_bytes {
        return Err(ApiError::of_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    app.rates.count_address(request)
}

/// What can be understood in two ways, so that a proxy before us may have understood another: which
/// host is meant, and where the request ends. The connection ends with it.
fn unclear(headers: &HeaderMap) -> Option<&'static str> {
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Some("request has more than one Host");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if is_chunked(coding) => None,
        _ => Some("request has another Transfer-Encoding than chunked"),
    }
}

/// How large the head was on the wire, had it no spaces that may be left out.
fn head_bytes(request: &Request) -> usize {
    let uri = request.uri();
    let target = uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let lines = request.headers().iter();
    let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + lines.sum::<usize>()
}

/// The caller's id for this request, if it is 1 to 128 visible ASCII characters.
fn given_id(request: &Request) -> Option<HeaderValue> {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned()
}
