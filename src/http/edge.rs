//! The outermost layer: names each request, writes the body of each error, and logs. And the
//! limit of a request's head.

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Level, debug, enabled};
use uuid::Uuid;

use super::{ApiError, App, error};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn apply(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let logged = enabled!(Level::DEBUG)
        .then(|| (app.clock.now(), request.method().clone(), request.uri().path().to_owned()));
    let mut response = next.run(request).await;
    let shown = id.to_str().unwrap_or_default();
    if response.status().is_client_error() || response.status().is_server_error() {
        response = error::render(response, shown);
    }
    if let Some((began, method, path)) = logged {
        let micros = app.clock.now().as_micros().saturating_sub(began.as_micros());
        let status = response.status().as_u16();
        debug!(request.id = shown, %method, path, status, micros, "{method} answered {status}");
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // What is here belongs to one user and changes: no cache may answer for us.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Refuses a head that is too large. Inside the CORS layer, so that a page can read the refusal.
pub(super) async fn check_head(State(app): State<App>, request: Request, next: Next) -> Response {
    if head_bytes(&request) > app.limits.head_bytes {
        return ApiError::of_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).into_response();
    }
    next.run(request).await
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

/// The caller's id for this request, if it is 1 to 128 visible ASCII characters; else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let minted = Uuid::now_v7().to_string();
        HeaderValue::try_from(minted).unwrap_or(HeaderValue::from_static("none"))
    })
}
