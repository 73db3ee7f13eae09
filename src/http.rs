//! HTTP: which route calls which verb, and what is done to every request on the way.
//!
//! The only room that knows axum. [`routes`] is every route on one screen; [`layer`] has the layers
//! in their order. A handler extracts, parses, calls a verb of [`crate::sessions`] and replies.

pub mod auth;
pub mod cors;

mod access;
mod admin;
mod asset;
mod body;
mod docs;
mod edge;
mod error;
mod extract;
mod health;
mod live;
mod messages;
mod openapi;
mod pages;
mod rate;
mod reply;
mod requests;
mod route;
mod search;
mod sessions;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::Present;
use crate::model::{Clock, Timestamp};
use crate::store::{Store, StoreError};

use asset::Asset;
use auth::Tickets;
use cors::Cors;
use docs::Docs;
use edge::RequestIds;
use health::Index;
use live::{sse, ticket, ws};
use openapi::describe;
use pages::Pages;
use rate::Rates;
use requests::Requests;
use route::Route;
use search::Turns;

pub use access::{Access, ModeChanged};
pub use admin::{AdminFacts, router as admin_router};
pub use error::ApiError;
pub use rate::{Proxy, Rate};

/// What handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    store: Store,
    /// Read by each request, and replaced as a whole.
    access: ArcSwap<Access>,
    tickets: Tickets,
    cors: Cors,
    clock: Clock,
    started: Timestamp,
    limits: Limits,
    rates: Rates,
    request_ids: RequestIds,
    /// Where requests are counted.
    requests: Requests,
    pages: Pages,
    /// Room for those who listen.
    listeners: Arc<Semaphore>,
    /// Who may search next.
    searches: Turns,
    index: Index,
    openapi: Asset,
    docs: Docs,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// How much of a request is taken, for how long it may last, and what keeps a long answer alive.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many streams and WebSockets are open at once: fewer than there may be connections, so
    /// that who only asks is always served.
    pub listeners: usize,
    /// How often a user, and an address, may call; as often as they like if `None`.
    pub rate: Option<Rate>,
    /// Whom to believe which address a request comes from.
    pub proxy: Option<Proxy>,
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Largest head (request line and headers), in bytes.
    pub head_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long a request may take until its answer begins.
    pub request_time: Duration,
    /// How long an event stream is silent at most: then a comment is sent.
    pub comment_every: Duration,
    /// How often a WebSocket is pinged.
    pub ping_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            listeners: 6000,
            rate: None,
            proxy: None,
            body_bytes: 1024 * 1024,
            head_bytes: 32 * 1024,
            // Less than the whole request, so that a slow sender is told that it was slow.
            body_time: Duration::from_secs(25),
            request_time: Duration::from_secs(30),
            // Less than any proxy's patience with a silent connection.
            comment_every: Duration::from_secs(15),
            ping_every: Duration::from_secs(20),
        }
    }
}

/// The connection that a request came by, for answers that outlast the request.
#[derive(Debug)]
pub struct Connection {
    /// The other end, as the server saw it.
    pub peer: SocketAddr,
    /// How long the other end may take until it has read what it was sent.
    pub behind: Duration,
    /// The room that the connection takes up, until nobody holds this any more.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Has it counted among the open ones, as long.
    pub present: Present,
    /// What the server waits for when it stops.
    pub tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
}

/// Marks an answer that goes on for as long as its reader keeps up.
#[derive(Debug, Clone, Copy)]
pub struct Endless;

impl App {
    /// What handlers work with, from its parts.
    pub fn new(store: Store, access: Access, clock: Clock, limits: Limits) -> Self {
        let started = clock.now();
        let request_ids = RequestIds::new();
        let routes = routes();
        let requests = Requests::new(&routes, store.metrics());
        let (index, openapi, docs) = (Index::new(&routes), openapi::asset(&routes), Docs::new());
        Self(Arc::new(Parts {
            store,
            access: ArcSwap::from_pointee(access),
            tickets: Tickets::default(),
            cors: Cors::default(),
            clock,
            started,
            limits,
            rates: Rates::new(limits.rate, limits.proxy),
            request_ids,
            requests,
            pages: Pages::new(),
            searches: Turns::new(),
            listeners: Arc::new(Semaphore::new(limits.listeners)),
            index,
            openapi,
            docs,
        }))
    }

    /// Whether reads and writes work.
    ///
    /// # Errors
    /// The [`StoreError`] that keeps them from working.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}

const SESSION: &str = "/api/sessions/{sessionId}";
const MESSAGES: &str = "/api/sessions/{sessionId}/messages";
const MESSAGE: &str = "/api/sessions/{sessionId}/messages/{messageId}";

/// Every route: the method and path, who answers, and what the OpenAPI document says of it.
fn routes() -> Vec<Route> {
    vec![
        Route::get("/", health::index, describe::index),
        Route::get("/health", health::health, describe::health),
        Route::get("/ready", health::ready, describe::ready),
        Route::get("/openapi.json", openapi::document, describe::document),
        Route::post("/api/sessions/create", sessions::create, describe::create),
        Route::get("/api/sessions/list", sessions::list, describe::list),
        Route::get("/api/sessions/messages", messages::history, describe::history),
        Route::post("/api/sessions/save-message", messages::save_message, describe::save_message),
        Route::post("/api/sessions/delete", sessions::delete, describe::delete),
        Route::post("/api/sessions/update", sessions::update, describe::update),
        Route::get("/api/sessions/get", sessions::get, describe::get),
        Route::get(SESSION, sessions::get_by_path, describe::get_by_path),
        Route::post("/api/sessions", sessions::create, describe::create_session),
        Route::get("/api/sessions", sessions::list, describe::list_sessions),
        Route::patch(SESSION, sessions::update_by_path, describe::update_by_path),
        Route::delete(SESSION, sessions::delete_by_path, describe::delete_by_path),
        Route::get(MESSAGES, messages::history_by_path, describe::history_by_path),
        Route::post(MESSAGES, messages::save_message_by_path, describe::save_message_by_path),
        Route::get(MESSAGE, messages::get_message, describe::get_message),
        Route::patch(MESSAGE, messages::edit_message, describe::edit_message),
        Route::delete(MESSAGE, messages::delete_message, describe::delete_message),
        Route::post("/api/events/ticket", ticket::ticket, describe::ticket),
        Route::get("/api/events", sse::events, describe::events),
        Route::get("/api/ws", ws::socket, describe::socket),
        Route::get("/api/search", search::search, describe::search),
        Route::file("/docs", docs::page),
        Route::file("/docs/init.js", docs::init),
        Route::file("/docs/swagger-ui-bundle.js", docs::viewer),
        Route::file("/docs/swagger-ui.css", docs::style),
    ]
}

/// Every route, and `more` behind the same layers.
pub fn router(app: App, more: Router<App>) -> Router {
    let routes = route::fold(routes())
        .merge(more)
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::method_not_allowed);
    layer(routes, app)
}

/// The layers, outermost first. CORS is outside whatever may refuse, so that a browser can read
/// every refusal.
fn layer(routes: Router<App>, app: App) -> Router {
    let Limits { body_bytes, request_time, .. } = app.limits;
    // All in one: a router boxes its routes anew with each layer that it is given.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(app.clone(), edge::apply))
        .layer(from_fn_with_state(app.clone(), cors::apply))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, request_time))
        .layer(RequestBodyLimitLayer::new(body_bytes));
    routes.layer(layers).with_state(app)
}
