//! Those who listen by WebSocket, and what they heard.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::client::USER;
use crate::support::PATIENCE;

/// An event: its cursor, and its whole text.
pub(crate) type Event = (String, String);

/// Somebody who listens, and goes on after every end.
pub(crate) struct Listener {
    /// The cursor behind which it goes on.
    pub(crate) since: String,
    /// How much of the whole log it had heard before `heard`.
    pub(crate) from: usize,
    /// What it heard since its events were last compared with the log.
    pub(crate) heard: Vec<Event>,
}

impl Listener {
    pub(crate) fn new(since: &str) -> Self {
        Self { since: since.to_owned(), from: 0, heard: Vec::new() }
    }

    /// Listens until the server ends it, or what it says is in doubt.
    pub(crate) fn listen(&mut self, address: &str, doubt: &AtomicBool) {
        let Ok(mut socket) = open(address, &self.since) else { return };
        while let Ok(event) = next(&mut socket, PATIENCE) {
            if doubt.load(Ordering::SeqCst) {
                return;
            }
            self.since.clone_from(&event.0);
            self.heard.push(event);
        }
    }
}

/// A WebSocket that tells what happened to the user's sessions after `since`.
pub(crate) fn open(address: &str, since: &str) -> io::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    let url = format!("ws://{address}/api/ws?userId={USER}&since={since}");
    let (socket, _) = client(url, stream).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(socket)
}

/// The next event, which must come so soon.
pub(crate) fn next(socket: &mut WebSocket<TcpStream>, patience: Duration) -> io::Result<Event> {
    let began = Instant::now();
    socket.get_ref().set_read_timeout(Some(patience))?;
    while began.elapsed() < patience {
        match socket.read().map_err(io::Error::other)? {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
                let cursor = event["cursor"].as_str().unwrap_or_default();
                return Ok((cursor.to_owned(), text.to_string()));
            }
            Message::Close(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // A ping, which comes more often than that.
            _ => {}
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
