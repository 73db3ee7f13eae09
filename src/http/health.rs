//! Whether the service runs, whether it works, and what it offers. Open to everybody.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{ApiError, App};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /health`: healthy as long as it can answer.
pub(super) async fn health(State(app): State<App>) -> Json<Value> {
    let now = app.clock.now();
    let uptime = now.as_micros().saturating_sub(app.started.as_micros());
    Json(json!({
        "status": "healthy",
        "service": NAME,
        "version": VERSION,
        "timestamp": now.to_string(),
        "uptime": uptime / 1_000_000,
        "database": "redb",
    }))
}

/// `GET /ready`: whether reads and writes work.
pub(super) async fn ready(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    app.store.check().await?;
    Ok(Json(json!({ "status": "ready" })))
}

/// `GET /`: what there is.
pub(super) async fn index() -> Json<Value> {
    Json(json!({
        "name": NAME,
        "version": VERSION,
        "routes": [
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
        ],
    }))
}
