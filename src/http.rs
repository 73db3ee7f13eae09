//! HTTP: which route calls which verb, and what is done to every request on the way.
//!
//! The only room that knows axum. [`router`] has every route on one screen, then the layers in
//! their order. A handler extracts, parses, calls a verb of [`crate::sessions`] and replies.

pub mod auth;
pub mod cors;

mod body;
mod edge;
mod error;
mod extract;
mod health;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::model::{Clock, Timestamp};
use crate::store::Store;

use auth::Auth;
use cors::Cors;
pub use error::ApiError;

/// What handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    store: Store,
    auth: Arc<Auth>,
    cors: Arc<Cors>,
    clock: Clock,
    started: Timestamp,
    limits: Limits,
}

/// How much of a request is taken, and for how long it may last.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Largest head (request line and headers), in bytes.
    pub head_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long a request may take until its answer begins.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            head_bytes: 32 * 1024,
            // Less than the whole request, so that a slow sender is told that it was slow.
            body_time: Duration::from_secs(25),
            request_time: Duration::from_secs(30),
        }
    }
}

/// The other end of the connection that a request came by, as the server saw it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl App {
    /// What handlers work with, from its parts.
    pub fn new(store: Store, auth: Auth, cors: Cors, clock: Clock, limits: Limits) -> Self {
        let started = clock.now();
        Self { store, auth: Arc::new(auth), cors: Arc::new(cors), clock, started, limits }
    }
}

/// Every route, and `more` behind the same layers.
pub fn router(app: App, more: Router<App>) -> Router {
    let routes = Router::new()
        .route("/", get(health::index))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/api/sessions/create", post(sessions::create))
        .route("/api/sessions/list", get(sessions::list))
        .route("/api/sessions/messages", get(sessions::history))
        .route("/api/sessions/save-message", post(sessions::save_message))
        .route("/api/sessions/delete", post(sessions::delete))
        .route("/api/sessions/update", post(sessions::update))
        .route("/api/sessions/get", get(sessions::get))
        .route("/api/sessions/{session_id}", get(sessions::get_by_path))
        .merge(more)
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::method_not_allowed);
    layer(routes, app)
}

/// The layers, innermost first: each `layer` wraps those above it. CORS is outside whatever may
/// refuse, so that a browser can read every refusal.
fn layer(routes: Router<App>, app: App) -> Router {
    let limits = app.limits;
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits.request_time);
    routes
        .layer(RequestBodyLimitLayer::new(limits.body_bytes))
        .layer(timeout)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::check_head))
        .layer(axum::middleware::from_fn_with_state(app.clone(), cors::apply))
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::apply))
        .with_state(app)
}
