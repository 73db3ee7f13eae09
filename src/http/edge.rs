//! The outermost layer: names each request, writes the body of each error, and logs.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Level, debug, enabled};
use uuid::Uuid;

use super::{App, error};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn apply(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = given_id(&request).unwrap_or_else(|| app.request_ids.mint());
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

/// Makes ids for requests that bring none: unique within the service's life, and among its lives.
#[derive(Debug)]
pub(super) struct RequestIds {
    life: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let (life, _) = Uuid::new_v4().as_u64_pair();
        Self { life, count: AtomicU64::new(1) }
    }

    fn mint(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:016x}-{count:x}", self.life);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// The caller's id for this request, if it is 1 to 128 visible ASCII characters.
fn given_id(request: &Request) -> Option<HeaderValue> {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned()
}
