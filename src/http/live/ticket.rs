//! Tickets for browsers, whose `EventSource` and `WebSocket` send no headers of ours.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::Identity;
use crate::http::extract::Posted;
use crate::http::reply::{Reply, written};
use crate::http::{ApiError, App};
use crate::model::{Timestamp, UserId};
use crate::sessions::{self, Written};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TicketBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
}

/// A ticket that was given: it opens one stream or WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ticket)]
pub(in crate::http) struct Given {
    /// To be sent as `ticket`, once.
    ticket: String,
    /// Until when it is good.
    expires_at: Timestamp,
    /// Where the log stands: who sends it as `since` misses nothing that came meanwhile.
    cursor: String,
}

/// `POST /api/events/ticket`
pub(in crate::http) async fn ticket(
    State(app): State<App>,
    identity: Identity,
    Posted { body, once }: Posted<TicketBody>,
) -> Reply {
    let now = app.clock.now();
    let (caller, until) = identity.caller_until(body.user_id.as_deref(), now)?;
    let cursor = sessions::cursor_of_now(&app.store);
    let given = app.tickets.give(caller.clone(), until, now);
    let (ticket, expires_at) = given.map_err(|error| ApiError::internal(error.to_string()))?;
    let json = serde_json::to_vec(&Given { ticket, expires_at, cursor }).unwrap_or_default();
    let outcome = match once {
        Some(once) => sessions::answer_once(&app.store, caller, once, json).await?,
        None => Written { created: true, replayed: false, json, tag: None },
    };
    let mut response = written(outcome);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
