//! A WebSocket that says again what it hears, for the conformance suite of `scripts/check-suites.sh`:
//! `GET /echo` of our very server, its accept loop, connections and layers, and of the WebSocket stack
//! that `http/live/ws.rs` has, with its buffers. Only the limit of a message is that of the suite.
//!
//! It serves on a free port until its stdin ends, and names that on stdout.

#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::io::Read as _;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use orion_chat::http::auth::Auth;
use orion_chat::http::cors::AllowedOrigins;
use orion_chat::http::{App, Limits};
use orion_chat::model::Clock;
use orion_chat::server::{Patience, Server, ServerConfig};
use orion_chat::store::StoreConfig;
use tokio_util::sync::CancellationToken;

/// The longest message of the suite.
const MESSAGE_MAX_BYTES: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse()?,
        admin: None,
        store: StoreConfig::new(folder.path().join("echo.redb"), 1 << 20),
        postgres: None,
        auth: Auth::Off,
        origins: AllowedOrigins::defaults(),
        limits: Limits { rate: None, ..Limits::default() },
        patience: Patience::default(),
        max_connections: 100,
        drain: Duration::from_secs(1),
        retention: None,
    };
    let routes = Router::<App>::new().route("/echo", get(echo));
    let server = Server::bind(config, Clock::system()).await?.with_routes(routes);
    println!("listening on http://{}", server.address());
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    std::thread::spawn(move || {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.cancel();
    });
    server.run(stop).await?;
    Ok(())
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(1024)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(2 * MESSAGE_MAX_BYTES)
        .max_message_size(MESSAGE_MAX_BYTES)
        .max_frame_size(MESSAGE_MAX_BYTES)
        .on_upgrade(say_again)
}

async fn say_again(mut socket: WebSocket) {
    while let Some(Ok(heard)) = socket.recv().await {
        // Pings and closes are answered by the stack itself.
        if matches!(heard, Message::Text(_) | Message::Binary(_))
            && socket.send(heard).await.is_err()
        {
            return;
        }
    }
}
