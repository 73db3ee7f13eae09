//! WebSocket: the same updates, each a text frame.
//!
//! The other end is pinged, and read from only to learn that it is there and when it goes. Why a
//! socket is closed stands in the close frame: [`Close`] has every reason.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::SinkExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;

use crate::http::{ApiError, App};

use super::{End, Listener, over};

/// The longest message that is read, though it is ignored.
const MESSAGE_MAX_BYTES: usize = 4 * 1024;
/// The longest that is read to its end and then refused. Of a longer one the rest stays unread, by
/// which a connection breaks before the other end knows why.
const REFUSED_MAX_BYTES: usize = 4 * MESSAGE_MAX_BYTES;

/// Thousands of sockets are open and have nothing to tell or to hear.
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// More than the longest event, in which a message of 1 MiB is.
const WRITE_BUFFER_MAX_BYTES: usize = 4 * 1024 * 1024;

/// After this many pings without any sign of life the other end is taken for gone.
const PINGS_UNANSWERED_MAX: u32 = 2;

/// How long the other end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a socket is closed, as the other end is told: codes of RFC 6455, section 7.4.1, and our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Close {
    code: u16,
    reason: &'static str,
}

impl Close {
    /// It is the other end that went. This code is never sent.
    const GONE: Self = Self { code: 1006, reason: "" };
    const STOPPING: Self = Self { code: 1001, reason: "server is stopping" };
    const UNREADABLE: Self = Self { code: 1002, reason: "not a WebSocket frame" };
    const NOT_TEXT: Self = Self { code: 1007, reason: "text is not UTF-8" };
    const TOO_LONG: Self = Self { code: 1009, reason: "message is longer than 4096 bytes" };
    const FAILED: Self = Self { code: 1011, reason: "internal error" };
    const SILENT: Self = Self { code: 1011, reason: "pings went unanswered" };
    const BEHIND: Self = Self { code: 1013, reason: "too slow; resume after the last cursor" };
    const EXPIRED: Self = Self { code: 4401, reason: "token expired" };
    const DELETED: Self = Self { code: 4404, reason: "session deleted" };
}

impl From<End> for Close {
    fn from(end: End) -> Self {
        match end {
            End::Expired => Self::EXPIRED,
            End::Deleted => Self::DELETED,
            End::Stopping => Self::STOPPING,
            End::Failed => Self::FAILED,
        }
    }
}

/// A request that asks for a WebSocket, as is checked before its ticket is used up.
#[derive(Debug)]
pub(in crate::http) struct Upgrade(WebSocketUpgrade);

impl FromRequestParts<App> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, app).await;
        upgrade.map(Self).map_err(|rejection| upgrade_required(&rejection))
    }
}

fn upgrade_required(rejection: &WebSocketUpgradeRejection) -> Response {
    let reason = rejection.to_string().to_lowercase();
    let problem = format!("request does not open a WebSocket: {reason}");
    let message = "open it as a WebSocket of version 13; GET /api/events has the same over HTTP";
    let error = ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", problem, message);
    let headers = [
        (UPGRADE, HeaderValue::from_static("websocket")),
        (CONNECTION, HeaderValue::from_static("upgrade")),
    ];
    (headers, error).into_response()
}

/// `GET /api/ws`
pub(in crate::http) async fn socket(
    State(app): State<App>,
    Upgrade(upgrade): Upgrade,
    listener: Listener,
) -> Response {
    let mut listener = listener.counted(&app, "websocket");
    let ping_every = app.limits.ping_every;
    let task = listener.connection.tasks.token();
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
        .max_message_size(REFUSED_MAX_BYTES)
        .max_frame_size(REFUSED_MAX_BYTES);
    upgrade.on_upgrade(async move |mut socket| {
        let close = talk(&mut socket, &mut listener, ping_every).await;
        say_goodbye(&mut socket, close).await;
        drop(task);
    })
}

/// Tells what happens, until there is a reason to close.
async fn talk(socket: &mut WebSocket, listener: &mut Listener, ping_every: Duration) -> Close {
    let mut pings = interval_at(Instant::now() + ping_every, ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    loop {
        let messages = tokio::select! {
            heard = socket.recv() => match check(heard) {
                Ok(()) => {
                    unanswered = 0;
                    continue;
                }
                Err(close) => return close,
            },
            _ = pings.tick() => {
                if unanswered == PINGS_UNANSWERED_MAX {
                    return Close::SILENT;
                }
                unanswered += 1;
                vec![Message::Ping(Bytes::new())]
            }
            next = listener.next() => match next {
                Ok(events) => {
                    events.into_iter().map(|event| Message::Text(event.json.into())).collect()
                }
                Err(end) => return end.into(),
            },
        };
        if let Err(close) = send(socket, listener, messages).await {
            return close;
        }
    }
}

/// What is heard matters only as a sign of life, and if it is too much.
fn check(heard: Option<Result<Message, axum::Error>>) -> Result<(), Close> {
    match heard {
        Some(Ok(Message::Text(text))) if text.len() > MESSAGE_MAX_BYTES => Err(Close::TOO_LONG),
        Some(Ok(Message::Binary(bytes))) if bytes.len() > MESSAGE_MAX_BYTES => Err(Close::TOO_LONG),
        Some(Ok(Message::Close(_))) | None => Err(Close::GONE),
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(match error.into_inner().downcast_ref() {
            Some(WsError::Capacity(_)) => Close::TOO_LONG,
            Some(WsError::Protocol(_)) => Close::UNREADABLE,
            Some(WsError::Utf8(_)) => Close::NOT_TEXT,
            _ => Close::GONE,
        }),
    }
}

/// Sends all of that, unless the other end is slow to take it.
async fn send(
    socket: &mut WebSocket,
    listener: &Listener,
    messages: Vec<Message>,
) -> Result<(), Close> {
    let sending = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    tokio::select! {
        sent = timeout(listener.connection.behind, sending) => match sent {
            Ok(sent) => sent.map_err(|_| Close::GONE),
            Err(_) => Err(Close::BEHIND),
        },
        end = over(&listener.connection, listener.until) => Err(end.into()),
    }
}

/// Says why, or answers the other end's goodbye, and waits a little for it to have heard that.
async fn say_goodbye(socket: &mut WebSocket, close: Close) {
    let goodbye = async {
        if close != Close::GONE {
            let frame = CloseFrame { code: close.code, reason: close.reason.into() };
            socket.send(Message::Close(Some(frame))).await?;
        }
        while let Some(heard) = socket.recv().await {
            heard?;
        }
        Ok::<_, axum::Error>(())
    };
    // It may have gone without a word.
    let _heard = timeout(GOODBYE, goodbye).await;
}
