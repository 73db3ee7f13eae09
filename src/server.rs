//! The server: owns the listener, the store and every task, and the order in which they stop.
//!
//! [`Server::bind`] returns when connections are accepted, so that whoever waits for it can call
//! at once; [`Server::run`] returns when the last request was answered and the file is closed.

mod accept;
mod admin;
mod connection;
mod retention;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::control::Control;
use crate::http::auth::Auth;
use crate::http::cors::AllowedOrigins;
use crate::http::{self, Access, AdminFacts, App, Limits};
use crate::metrics::{Gauge, Metrics};
use crate::model::Clock;
use crate::status::{self, Facts, Pulse};
use crate::store::{OpenError, Repair, Store, StoreConfig, StoreError};
use crate::sync::{Replica, Target};

use accept::Accept;
use admin::Admin;
pub use admin::AdminConfig;
pub use connection::Patience;
pub use retention::Retention;

/// How many connections wait to be accepted before the system refuses more.
const BACKLOG: u32 = 1024;

const AUTH_OFF: &str = "auth off: whoever reaches this server can read and change everything; \
                        only for a trusted network";

/// What a server is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where operators and their tools ask, if anywhere.
    pub admin: Option<AdminConfig>,
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
    /// How long sessions are kept that nobody changes; for ever if `None`.
    pub retention: Option<Retention>,
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<Admin>,
    metrics: Arc<Metrics>,
    store: Store,
    /// None where it could not be opened, which keeps nobody from being served.
    control: Option<Control>,
    replica: Option<Replica>,
    app: App,
    more: Router<App>,
    clock: Clock,
    data: PathBuf,
    /// What it was made of, as it is shown.
    shown: String,
    /// What works and is no good.
    warnings: Vec<String>,
    patience: Patience,
    max_connections: usize,
    drain: Duration,
    retention: Option<Retention>,
}

/// Why a server did not start. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process listens there.
    #[error(
        "cannot listen on {address}: it is in use by another process; stop that one or choose another address with {flag}"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// What chooses it.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What chooses it.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The data file cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl Server {
    /// Takes the addresses, then opens the data file: in this order, so that a server that cannot
    /// serve does not touch the file.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(config: ServerConfig, clock: Clock) -> Result<Self, StartError> {
        Self::on(listen(config.listen)?, config, clock, |_| {}).await
    }

    /// Takes the address of `listener`, whatever that of `config` is, then opens the data file;
    /// tells `on_repair` how far it has come if that needs a repair.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn on(
        listener: std::net::TcpListener,
        config: ServerConfig,
        clock: Clock,
        on_repair: impl Fn(Repair) + Send + 'static,
    ) -> Result<Self, StartError> {
        let shown = format!("{config:#?}\n");
        let (address, flag) = (config.listen, "--listen");
        let failed = |source| StartError::Listen { address, flag, source };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut warnings = Vec::new();
        let admin = config.admin.map(|admin| Admin::bind(admin, &mut warnings)).transpose()?;
        let (data, at, opened_by) = (config.store.path.clone(), config.store, clock.clone());
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        let opening = tokio::task::spawn_blocking(move || {
            Store::open_telling(&at, opened_by, counted, on_repair)
        });
        let store = opening.await.map_err(|error| OpenError::Io(error.to_string()))??;
        let control = Control::open(&data).map_err(|error| {
            let data = data.display();
            warnings.push(format!(
                "no control socket beside {data}: {error}; backups need a stopped server"
            ));
        });
        let replica = config.postgres.map(|target| {
            Replica::new(target, store.clone(), clock.clone())
                .map_err(|error| OpenError::unreadable(&data, error))
        });
        let replica = replica.transpose()?;
        for warning in &warnings {
            warn!("{warning}");
        }
        if matches!(config.auth, Auth::Off) {
            warnings.push(AUTH_OFF.to_owned());
        }
        let access = Access { auth: config.auth, origins: config.origins };
        Ok(Self {
            listener,
            address,
            admin: admin.flatten(),
            app: App::new(store.clone(), access, clock.clone(), config.limits),
            metrics,
            store,
            control: control.ok(),
            replica,
            more: Router::new(),
            clock,
            data,
            shown,
            warnings,
            patience: config.patience,
            max_connections: config.max_connections,
            drain: config.drain,
            retention: config.retention,
        })
    }

    /// Serves `routes` too, behind the same layers.
    #[must_use]
    pub fn with_routes(self, routes: Router<App>) -> Self {
        Self { more: self.more.merge(routes), ..self }
    }

    /// What its handlers work with.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators and their tools ask, if anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Shows `warnings` too to who asks how it is doing.
    #[must_use]
    pub fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Serves until `stop` is cancelled or the store fails; then accepts no more, finishes what
    /// is in flight within the time set for it, and closes the data file.
    ///
    /// # Errors
    /// [`StoreError`] when the data file has failed: it must be opened anew, by a new process.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let (tasks, stopping) = (TaskTracker::new(), stop.child_token());
        let facts = Facts {
            address: self.address.to_string(),
            admin_address: self.admin.as_ref().map(|admin| admin.address.to_string()),
            path: std::path::absolute(&self.data).unwrap_or(self.data),
            warnings: self.warnings,
        };
        if let Some(retention) = self.retention {
            let (store, clock) = (self.store.clone(), self.clock.clone());
            tasks.spawn(retention::retain(store, clock, retention, stopping.clone()));
        }
        let (store, clock) = (self.store.clone(), self.clock.clone());
        tasks.spawn(retention::expire(store, clock, stopping.clone()));
        let pulse = Arc::new(Pulse::new(self.store.clone(), facts));
        tasks.spawn(feel(Arc::clone(&pulse), stopping.clone()));
        let accept = |router, max, connections| Accept {
            router,
            patience: self.patience,
            permits: Arc::new(Semaphore::new(max)),
            connections,
            given_up: self.metrics.connections_given_up.clone(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        };
        if let Some(Admin { listener, address }) = self.admin {
            let facts = AdminFacts { address, config: self.shown, pulse: Arc::clone(&pulse) };
            let router = http::admin_router(self.app.clone(), facts);
            let accept = accept(router, admin::MAX_CONNECTIONS, Gauge::default());
            tasks.spawn(accept.run(listener));
        }
        if let Some(control) = self.control {
            let replica = self.replica.as_ref().map(Replica::handle);
            let asked = (self.store.clone(), pulse, replica);
            tasks.spawn(control.run(asked, tasks.clone(), stopping.clone()));
        }
        if let Some(replica) = self.replica {
            tasks.spawn(replica.run(Arc::clone(&self.metrics), stopping.clone()));
        }
        let router = http::router(self.app, self.more);
        let accept = accept(router, self.max_connections, self.metrics.connections.clone());
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

/// Listens on `address`, as `--listen` asks for.
///
/// # Errors
/// [`StartError::AddressInUse`], [`StartError::Listen`].
pub fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let flag = "--listen";
    try_listen(address).and_then(TcpListener::into_std).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address, flag },
        _ => StartError::Listen { address, flag, source },
    })
}

fn try_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that a restart need not wait for connections of the past to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Keeps what is counted now and then, until `stopping` is cancelled.
async fn feel(pulse: Arc<Pulse>, stopping: CancellationToken) {
    let mut beats = tokio::time::interval(status::BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = beats.tick() => pulse.beat(),
        }
    }
}

/// Tells the log what kind of server this is.
pub fn announce(config: &ServerConfig) {
    let data = std::path::absolute(&config.store.path);
    let data = data.as_ref().unwrap_or(&config.store.path).display();
    info!("data file {data}");
    if let Some(postgres) = &config.postgres {
        info!("PostgreSQL {postgres} is kept the same");
    }
    announce_access(&config.auth, &config.origins);
}

/// Tells the log who may call.
pub fn announce_access(auth: &Auth, origins: &AllowedOrigins) {
    match auth {
        Auth::Jwt(tokens) if tokens.secrets() > 1 => {
            info!("auth jwt: callers need a token, signed with the secret or the previous one");
        }
        Auth::Jwt(_) => info!("auth jwt: callers need a token"),
        Auth::Local => info!("auth local: only callers on this machine, who say who they are"),
        Auth::Off => warn!("{AUTH_OFF}"),
    }
    info!("pages of {origins} may call");
}
