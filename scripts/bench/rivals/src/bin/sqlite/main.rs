//! SQLite behind the same routes: what one could write in an afternoon, as quick as that gets.
//! Reads on the threads that serve, each with a connection of its own and its statements prepared;
//! one thread that writes, with group commit, in WAL mode with `synchronous=FULL`; tokens and CORS.
//!
//! sqlite ADDRESS FILE

mod read;
mod write;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ring::hmac;
use rivals::token::{SECRET, user_of};
use serde::Deserialize;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use write::{Save, Writer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct App {
    key: hmac::Key,
    file: String,
    writer: Writer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    session_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    session_id: String,
    role: String,
    content: String,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file] = arguments.first_chunk().expect("an address and a file");
    let app = Arc::new(App {
        key: hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()),
        file: file.clone(),
        writer: Writer::start(file),
    });
    let allowed = |origin: &str| {
        origin == "http://localhost:3000"
            || origin.strip_prefix("https://").is_some_and(|host| {
                host.ends_with(".sidekickportal.com") || host.ends_with(".vercel.app")
            })
    };
    let cors = CorsLayer::new()
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_origin(AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(allowed)));
    let router = Router::new()
        .route("/api/sessions/list", get(list))
        .route("/api/sessions/messages", get(history))
        .route("/api/sessions/save-message", post(save_message))
        .layer(cors)
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(address).await.expect("listens");
    axum::serve(listener, router).await.expect("serves");
}

async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let Some(user) = app.caller(&headers) else { return refused(StatusCode::UNAUTHORIZED) };
    json(StatusCode::OK, read::list(&app.file, &user))
}

async fn history(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(Named { session_id }): Query<Named>,
) -> Response {
    let Some(user) = app.caller(&headers) else { return refused(StatusCode::UNAUTHORIZED) };
    match read::history(&app.file, &user, &session_id) {
        Some(body) => json(StatusCode::OK, body),
        None => refused(StatusCode::NOT_FOUND),
    }
}

async fn save_message(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(Said { session_id, role, content }): Json<Said>,
) -> Response {
    let Some(user) = app.caller(&headers) else { return refused(StatusCode::UNAUTHORIZED) };
    let now_ms = now().as_millis() as u64;
    match app.writer.save(Save { user, session_id, role, content, now_ms }).await {
        Some(body) => json(StatusCode::CREATED, body),
        None => refused(StatusCode::NOT_FOUND),
    }
}

impl App {
    fn caller(&self, headers: &HeaderMap) -> Option<String> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        user_of(token, &self.key, now().as_secs())
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970")
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn refused(status: StatusCode) -> Response {
    json(status, r#"{"error":"refused"}"#.to_owned())
}
