//! Updates as they happen: what event streams and WebSockets have in common.
//!
//! A [`Listener`] is a caller who may listen, and where its listening stands. It holds no more than
//! a piece of the log at a time, and takes the next when that was read: a slow one costs nothing.

pub(super) mod sse;
pub(super) mod ticket;
pub(super) mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::error;
use utoipa::IntoParams;

use crate::metrics::{ListenerKind, Present};
use crate::model::{Invalid, SessionId, Timestamp};
use crate::sessions::{self, Followed, Following, SessionError};

use super::auth::{Identity, invalid_ticket};
use super::extract::Params;
use super::{ApiError, App, Connection};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What to listen to.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListenParams {
    /// The only session to listen to; all of the caller's if absent.
    #[param(inline, value_type = SessionId, required = false)]
    session_id: Option<String>,
    /// The cursor of an event, or of a ticket: what came after it is told first. From now on if
    /// absent.
    #[param(value_type = String, required = false)]
    since: Option<String>,
    /// A ticket of `POST /api/events/ticket`, in the place of a token.
    #[param(value_type = String, required = false)]
    ticket: Option<String>,
}

/// A caller who listens.
#[derive(Debug)]
pub(super) struct Listener {
    following: Following,
    /// From where on, if the caller said it.
    since: Option<String>,
    /// When the token expires by which the caller is known.
    until: Option<Instant>,
    connection: Arc<Connection>,
    /// Its place among those who listen.
    #[expect(dead_code, reason = "is kept until it goes")]
    room: OwnedSemaphorePermit,
    present: Option<Present>,
}

/// Why a listener is told no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The token has expired.
    Expired,
    /// The one session that was listened to is deleted.
    Deleted,
    /// The server stops.
    Stopping,
    /// The log cannot be read.
    Failed,
}

impl Listener {
    /// Counts it among those who listen in this way.
    fn counted(mut self, app: &App, kind: &'static str) -> Self {
        let listeners = &app.store.metrics().listeners;
        self.present = Some(Present::of(&listeners.get_or_create(&ListenerKind { kind })));
        self
    }

    /// Waits for what is to be told next. Nothing is lost when it is given up while it waits.
    async fn next(&mut self) -> Result<Vec<Followed>, End> {
        tokio::select! {
            biased;
            end = over(&self.connection, self.until) => Err(end),
            next = self.following.next() => match next {
                Ok(Some(events)) => Ok(events),
                Ok(None) => Err(End::Deleted),
                Err(error) => {
                    error!(%error, "cannot go on telling what happens: {error}");
                    Err(End::Failed)
                }
            },
        }
    }

    /// Where it stands, if nothing waits to be told: to be remembered in a long silence.
    fn cursor_when_idle(&mut self) -> Option<String> {
        self.following.cursor_when_idle()
    }

    /// Where it begins.
    fn cursor(&self) -> String {
        self.since.clone().unwrap_or_else(|| self.following.cursor())
    }
}

/// Waits until listening must end, whatever there is to tell.
async fn over(connection: &Connection, until: Option<Instant>) -> End {
    let expired = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = connection.stopping.cancelled() => End::Stopping,
        () = expired => End::Expired,
    }
}

impl FromRequestParts<App> for Listener {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Params(params): Params<ListenParams> = Params::from_request_parts(parts, app).await?;
        let connection = parts.extensions.get::<Arc<Connection>>().map(Arc::clone);
        let connection =
            connection.ok_or_else(|| ApiError::internal("it came by no connection"))?;
        let identity = match &params.ticket {
            Some(ticket) => Identity::by_ticket(ticket, parts, app).await?,
            None => Identity::from_request_parts(parts, app).await?,
        };
        let now = app.clock.now();
        let (caller, until) = identity.caller_until(None, now)?;
        let session = params.session_id.as_deref().map(SessionId::parse).transpose()?;
        let since = last_event_id(&parts.headers)?.or(params.since);
        let following =
            sessions::follow(&app.store, &app.clock, &caller, session, since.as_deref())
                .map_err(refusal)?;
        let until = until.map(|until| Instant::now() + between(now, until));
        let room = Arc::clone(&app.listeners).try_acquire_owned();
        let room = room.map_err(|_| ApiError::too_many_listeners())?;
        // Last, so that a request that opens nothing leaves it good.
        if let Some(ticket) = params.ticket.filter(|_| parts.method != Method::HEAD) {
            app.tickets.take(&ticket, now).ok_or_else(invalid_ticket)?;
        }
        Ok(Self { following, since, until, connection, room, present: None })
    }
}

/// Where a stream was cut that is asked for again. It is nearer than a cursor in the URL, which a
/// browser repeats as it was.
fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let given = headers.get(LAST_EVENT_ID).map(HeaderValue::to_str).transpose();
    let given = given.map_err(|_| refusal(SessionError::Cursor(sessions::InvalidCursor)))?;
    Ok(given.filter(|id| !id.is_empty()).map(str::to_owned))
}

fn refusal(error: SessionError) -> ApiError {
    match error {
        SessionError::Cursor(_) => {
            let problem = "is no cursor of an event or a ticket; leave it out to begin from now";
            Invalid::wrong("since", problem).into()
        }
        other => other.into(),
    }
}

fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_micros(then.as_micros().saturating_sub(now.as_micros()))
}
