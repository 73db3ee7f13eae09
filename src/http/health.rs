//! Whether the service runs, whether it works, and what it offers. Open to everybody.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;

use crate::model::Timestamp;

use super::{ApiError, App};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /health`: healthy as long as it can answer.
pub(super) async fn health(State(app): State<App>) -> impl IntoResponse {
    let now = app.clock.now();
    Json(Health {
        status: "healthy",
        service: NAME,
        version: VERSION,
        timestamp: now,
        uptime: now.as_micros().saturating_sub(app.started.as_micros()) / 1_000_000,
        database: "redb",
    })
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    timestamp: Timestamp,
    /// Seconds.
    uptime: u64,
    database: &'static str,
}

/// `GET /ready`: whether reads and writes work.
pub(super) async fn ready(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    app.store.check().await?;
    Ok(Json(json!({ "status": "ready" })))
}

/// `GET /`: what there is.
pub(super) async fn index() -> impl IntoResponse {
    Json(Index { name: NAME, version: VERSION, routes: ROUTES })
}

#[derive(Debug, Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    routes: &'static [&'static str],
}

const ROUTES: &[&str] = &[
    "GET /",
    "GET /health",
    "GET /ready",
    "POST /api/sessions/create",
    "GET /api/sessions/list",
    "GET /api/sessions/messages",
    "POST /api/sessions/save-message",
    "POST /api/sessions/delete",
    "POST /api/sessions/update",
    "GET /api/sessions/get",
    "GET /api/sessions/{sessionId}",
];
