//! The server: owns the listener, the store and every task, and the order in which they stop.
//!
//! [`Server::bind`] returns when connections are accepted, so that whoever waits for it can call
//! at once; [`Server::run`] returns when the last request was answered and the file is closed.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::control::Control;
use crate::http::auth::Auth;
use crate::http::cors::{AllowedOrigins, Cors};
use crate::http::{self, App, Limits};
use crate::metrics::{Metrics, Present};
use crate::model::Clock;
use crate::store::{OpenError, Store, StoreConfig, StoreError};
use crate::sync::{Replica, Target};

pub use connection::Patience;

/// How many connections wait to be accepted before the system refuses more.
const BACKLOG: u32 = 1024;

/// How long accepting pauses when no connection can be had, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the data is.
    pub store: StoreConfig,
    /// PostgreSQL, if it is to be kept the same.
    pub postgres: Option<Target>,
    /// How callers are told apart.
    pub auth: Auth,
    /// Which pages may call.
    pub origins: AllowedOrigins,
    /// How much of a request is taken.
    pub limits: Limits,
    /// How long to wait for a connection's other end.
    pub patience: Patience,
    /// How many connections are served at once; more wait.
    pub max_connections: usize,
    /// How long requests may go on after the server was told to stop.
    pub drain: Duration,
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Arc<Metrics>,
    store: Store,
    /// None where it could not be opened, which keeps nobody from being served.
    control: Option<Control>,
    replica: Option<Replica>,
    app: App,
    more: Router<App>,
    patience: Patience,
    max_connections: usize,
    drain: Duration,
}

/// Why a server did not start. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process listens there.
    #[error(
        "cannot listen on {address}: it is in use by another process; stop that one or choose another address with --listen"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The data file cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl Server {
    /// Takes the address, then opens the data file: in this order, so that a server that cannot
    /// serve does not touch the file.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(config: ServerConfig, clock: Clock) -> Result<Self, StartError> {
        let listener = listen(config.listen).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse { address: config.listen },
            _ => StartError::Listen { address: config.listen, source },
        })?;
        let address = listener.local_addr();
        let address =
            address.map_err(|source| StartError::Listen { address: config.listen, source })?;
        let (data, at, opened_by) = (config.store.path.clone(), config.store, clock.clone());
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        let opening = tokio::task::spawn_blocking(move || Store::open(&at, opened_by, counted));
        let store = opening.await.map_err(|error| OpenError::Io(error.to_string()))??;
        let control = Control::open(&data).inspect_err(|error| {
            let data = data.display();
            warn!(%error, "no control socket beside {data}: {error}; backups need a stopped server");
        });
        let replica = config.postgres.map(|target| {
            Replica::new(target, store.clone(), clock.clone())
                .map_err(|error| OpenError::unreadable(&data, error))
        });
        let replica = replica.transpose()?;
        let cors = Cors::new(config.origins);
        Ok(Self {
            listener,
            address,
            app: App::new(store.clone(), config.auth, cors, clock, config.limits),
            metrics,
            store,
            control: control.ok(),
            replica,
            more: Router::new(),
            patience: config.patience,
            max_connections: config.max_connections,
            drain: config.drain,
        })
    }

    /// Serves `routes` too, behind the same layers.
    #[must_use]
    pub fn with_routes(self, routes: Router<App>) -> Self {
        Self { more: self.more.merge(routes), ..self }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled or the store fails; then accepts no more, finishes what
    /// is in flight within the time set for it, and closes the data file.
    ///
    /// # Errors
    /// [`StoreError`] when the data file has failed: it must be opened anew, by a new process.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let (tasks, stopping) = (TaskTracker::new(), stop.child_token());
        let router = http::router(self.app, self.more);
        if let Some(control) = self.control {
            tasks.spawn(control.run(self.store.clone(), tasks.clone(), stopping.clone()));
        }
        if let Some(replica) = self.replica {
            tasks.spawn(replica.run(stopping.clone()));
        }
        let accept = Accept {
            router,
            patience: self.patience,
            permits: Arc::new(Semaphore::new(self.max_connections)),
            metrics: self.metrics,
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        };
        let failed = tokio::select! {
            () = accept.run(self.listener) => None,
            error = self.store.failure() => Some(error),
        };
        stopping.cancel();
        tasks.close();
        if tokio::time::timeout(self.drain, tasks.wait()).await.is_err() {
            let (left, secs) = (tasks.len(), self.drain.as_secs());
            warn!(
                "gave up {left} requests and listeners that did not end within {secs} s of stopping"
            );
        }
        let closing = tokio::task::spawn_blocking(move || self.store.close());
        let closed = closing.await.unwrap_or(Err(StoreError::Panicked));
        failed.map_or(closed, Err)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that a restart need not wait for connections of the past to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What it takes to serve a connection.
struct Accept {
    router: Router,
    patience: Patience,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Accept {
    async fn run(&self, listener: TcpListener) {
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
            present: Present::of(&self.metrics.connections),
            tasks: self.tasks.clone(),
            stopping: self.stopping.clone(),
        });
        let given_up = self.metrics.connections_given_up.clone();
        let (router, patience) = (self.router.clone(), self.patience);
        self.tasks.spawn(connection::serve(stream, router, patience, place, given_up));
    }
}

/// The room that a connection takes up. The semaphore is never closed, so it is always there.
type Permit = Option<OwnedSemaphorePermit>;

/// Tells the log what kind of server this is.
pub fn announce(config: &ServerConfig) {
    let data = std::path::absolute(&config.store.path);
    let data = data.as_ref().unwrap_or(&config.store.path).display();
    match &config.auth {
        Auth::Jwt(_) => info!("auth jwt: callers need a token"),
        Auth::Local => info!("auth local: only callers on this machine, who say who they are"),
        Auth::Off => warn!(
            "auth off: whoever reaches this server can read and change everything; \
             only for a trusted network"
        ),
    }
    info!("data file {data}");
    if let Some(postgres) = &config.postgres {
        info!("PostgreSQL {postgres} is kept the same");
    }
    info!("pages of {} may call", config.origins);
}
