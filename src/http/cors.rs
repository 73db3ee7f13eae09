//! Which pages may call: the Fetch standard's CORS protocol, for credentialed requests.
//!
//! Outside every layer that may refuse, so that each refusal can be read by the page that caused
//! it. A page that is not allowed cannot change anything either: what it may send without a
//! preflight is refused here.

mod origin;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, UPGRADE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use crate::model::Timestamp;

use super::{ApiError, App, edge};

pub use origin::{AllowedOrigins, InvalidPattern};

const ALLOW_METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";
const ALLOW_HEADERS: &str = "Content-Type, Authorization, X-Requested-With, X-Request-Id, \
                             Idempotency-Key, If-Match, Last-Event-ID";
const EXPOSE_HEADERS: &str = "Content-Length, X-Request-Id, ETag, Retry-After";
const MAX_AGE_SECS: &str = "86400";
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// One warning for an origin in this time.
const WARN_EVERY_SECS: u64 = 60;
/// How many refused origins are remembered for that; others are warned about together.
const WARNED_MAX: usize = 100;

/// When origins that are not allowed were warned about.
#[derive(Debug, Default)]
pub(super) struct Cors {
    warned: Mutex<HashMap<HeaderValue, Timestamp>>,
}

/// What the `Origin` header of a request says.
enum Caller {
    /// No browser's page, or one of this very server.
    NoOrigin,
    /// A page that may call.
    Allowed(HeaderValue),
    /// A page that may not.
    Refused(HeaderValue),
}

impl Caller {
    fn of(headers: &HeaderMap, allowed: &AllowedOrigins) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Self::NoOrigin,
            (Some(origin), None) if allowed.allows(origin.as_bytes()) => {
                Self::Allowed(origin.clone())
            }
            (Some(origin), _) => Self::Refused(origin.clone()),
        }
    }
}

impl Cors {
    fn warn(&self, origin: HeaderValue, now: Timestamp) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|_, at| now.as_secs().abs_diff(at.as_secs()) < WARN_EVERY_SECS);
        if warned.len() >= WARNED_MAX || warned.contains_key(&origin) {
            return;
        }
        let shown: String =
            origin.as_bytes().escape_ascii().to_string().chars().take(200).collect();
        warn!(
            origin = shown,
            "refused a page of {shown}; ALLOWED_ORIGINS or --allow-origin lets it in"
        );
        warned.insert(origin, now);
    }
}

pub(super) async fn apply(State(app): State<App>, request: Request, next: Next) -> Response {
    let caller = Caller::of(request.headers(), &app.access.load().origins);
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    // A page reads what a WebSocket brings without any leave of ours: CORS is not for these.
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.headers().contains_key(UPGRADE);
    let mut response = match &caller {
        Caller::Allowed(_) if is_preflight => preflight(request.headers()),
        Caller::Refused(_) if !is_safe => ApiError::forbidden(
            "origin_not_allowed",
            "pages of this origin may not call this service",
            "its operator lets them in with ALLOWED_ORIGINS or --allow-origin",
        )
        .into_response(),
        // In here, so that a page can read these refusals too.
        _ => match edge::admit(&app, &request) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    match caller {
        Caller::Allowed(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            let exposed = HeaderValue::from_static(EXPOSE_HEADERS);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        Caller::Refused(origin) => {
            app.store.metrics().http_origins_refused.inc();
            app.cors.warn(origin, app.clock.now());
        }
        Caller::NoOrigin => {}
    }
    response
}

/// The answer to a browser that asks before it sends. What is asked for is not echoed: the
/// answer is the same for every route.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOW_METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOW_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECS));
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}
