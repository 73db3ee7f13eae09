//! What operators and their tools see, on a listener of its own: metrics, whether it works, and what
//! goes on inside. Never on the public one.
//!
//! It asks for no token, so it answers only those who cannot be a page in somebody's browser or come
//! by a tunnel: see [`refusal`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::Format;
use crate::status::{Pulse, Status};
use crate::store::{ReadTx, StoreSizes};

use super::auth::{is_loopback, names_this_machine, was_passed_on};
use super::{ApiError, App, error, health};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How long it may take until an answer begins.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What there is.
const PATHS: [&str; 7] = [
    "/metrics",
    "/health",
    "/ready",
    "/debug/status",
    "/debug/store",
    "/debug/config",
    "/debug/tasks",
];

/// What it tells beside what an [`App`] knows.
#[derive(Debug)]
pub struct AdminFacts {
    /// Where it listens.
    pub address: SocketAddr,
    /// The configuration that the server was started with, as it is shown.
    pub config: String,
    /// How the server is doing.
    pub pulse: Arc<Pulse>,
}

/// What handlers work with.
#[derive(Debug, Clone)]
struct Admin {
    app: App,
    facts: Arc<AdminFacts>,
}

impl FromRef<Admin> for App {
    fn from_ref(admin: &Admin) -> Self {
        admin.app.clone()
    }
}

/// The routes of the admin listener.
pub fn router(app: App, facts: AdminFacts) -> Router {
    let admin = Admin { app, facts: Arc::new(facts) };
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(admin.clone(), apply))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIME));
    Router::new()
        .route("/", get(|| async { Json(PATHS) }))
        .route("/metrics", get(metrics))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/debug/status", get(status))
        .route("/debug/store", get(tables))
        .route("/debug/config", get(config))
        .route("/debug/tasks", get(tasks))
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(layers)
        .with_state(admin)
}

/// Refuses who must not ask, and writes the body of each error.
async fn apply(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&request, is_loopback(admin.facts.address.ip())) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response = error::render(response, "none", admin.app.store.metrics());
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Why a request is not answered: a page of some site sends it, or it came by a proxy or tunnel, or,
/// where only this machine can ask, under a name that is not this machine's (DNS rebinding).
fn refusal(request: &Request, is_local: bool) -> Option<ApiError> {
    let headers = request.headers();
    let refuse = |error: &'static str| {
        let message = "ask on this machine, as with curl http://127.0.0.1:PORT/metrics";
        Some(ApiError::forbidden("admin_only", error, message))
    };
    if headers.contains_key(ORIGIN) || is_of_other_site(headers) {
        return refuse("pages may not ask the admin listener");
    }
    if was_passed_on(headers) {
        return refuse("nobody may ask the admin listener through a proxy or tunnel");
    }
    if is_local && !names_this_machine(headers, request.uri()) {
        return refuse("the admin listener answers to the name of this machine alone");
    }
    None
}

/// Whether a browser says that some site's page had it ask.
fn is_of_other_site(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none" && site != "same-origin")
}

/// `GET /metrics`
async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    admin.facts.pulse.measure();
    let headers = [(CONTENT_TYPE, format.media_type())];
    (headers, admin.app.store.metrics().text(format)).into_response()
}

/// `GET /debug/status`
async fn status(State(admin): State<Admin>) -> Json<Status> {
    Json(admin.facts.pulse.status())
}

/// `GET /debug/store`
async fn tables(State(admin): State<Admin>) -> Result<Json<StoreSizes>, ApiError> {
    Ok(Json(admin.app.store.read(|tx: ReadTx<'_>| tx.sizes())?))
}

/// `GET /debug/config`
async fn config(State(admin): State<Admin>) -> String {
    // What a reload has replaced since.
    format!("{}in force now: {:#?}\n", admin.facts.config, admin.app.access.load())
}

/// What the runtime works on.
#[derive(Debug, Serialize)]
struct Tasks {
    /// Threads that serve requests.
    workers: usize,
    /// Connections, and what else goes on.
    alive: usize,
    /// Those that wait for a worker.
    waiting: usize,
}

/// `GET /debug/tasks`
async fn tasks() -> Json<Tasks> {
    let runtime = tokio::runtime::Handle::current().metrics();
    Json(Tasks {
        workers: runtime.num_workers(),
        alive: runtime.num_alive_tasks(),
        waiting: runtime.global_queue_depth(),
    })
}
