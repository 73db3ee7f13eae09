//! Accepting connections, of which so many are served at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::http;
use crate::metrics::{Counter, Gauge, Present};

use super::connection::{self, Patience};

/// How long accepting pauses when no connection can be had, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What it takes to serve connections.
pub(super) struct Accept {
    pub(super) router: Router,
    pub(super) patience: Patience,
    pub(super) permits: Arc<Semaphore>,
    /// Counts those that are open.
    pub(super) connections: Gauge,
    /// Counts those that were closed since their other end was too slow.
    pub(super) given_up: Counter,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

impl Accept {
    /// Accepts until the server stops.
    pub(super) async fn run(self, listener: TcpListener) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                (stream, peer, permit) = self.accept(&listener) => self.serve(stream, peer, permit),
            }
        }
    }

    /// The next connection, once there is room for it.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr, Permit) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) => {
                    warn!(%error, "cannot accept connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, permit: Permit) {
        let place = Arc::new(http::Connection {
            peer,
            behind: self.patience.behind,
            permit,
            present: Present::of(&self.connections),
            tasks: self.tasks.clone(),
            stopping: self.stopping.clone(),
        });
        let (router, given_up) = (self.router.clone(), self.given_up.clone());
        self.tasks.spawn(connection::serve(stream, router, self.patience, place, given_up));
    }
}

/// The room that a connection takes up. The semaphore is never closed, so it is always there.
type Permit = Option<OwnedSemaphorePermit>;
