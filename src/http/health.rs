//! Whether the service runs, whether it works, and what it offers. Open to everybody.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Timestamp;
use crate::store::StoreError;

use super::route::Route;
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

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
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
    app.check().await.map_err(|error| match error {
        StoreError::DiskFull { .. } => ApiError::disk_full(StatusCode::SERVICE_UNAVAILABLE),
        error => error.into(),
    })?;
    Ok(Json(Ready { status: "ready" }))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    status: &'static str,
}

/// `GET /`: what there is.
pub(super) async fn index(State(app): State<App>) -> Response {
    Json(&app.index).into_response()
}

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Index {
    name: &'static str,
    version: &'static str,
    /// Each as method and path.
    routes: Vec<String>,
}

impl Index {
    pub(super) fn new(routes: &[Route]) -> Self {
        let described = routes.iter().filter(|route| route.doc().is_some());
        Self { name: NAME, version: VERSION, routes: described.map(Route::name).collect() }
    }
}
