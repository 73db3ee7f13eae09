//! A server to test against, and what users do with it.
//!
//! Each test starts its own, on a free port and in a folder of its own, and talks to it over real
//! sockets. The listener is bound before `start` returns, so nothing has to wait for it.

mod call;
mod listen;
mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_chat::http::auth::{Auth, TokenConfig};
use orion_chat::http::cors::AllowedOrigins;
use orion_chat::http::{App, Limits};
use orion_chat::model::{Clock, Timestamp, UserId};
use orion_chat::server::{AdminConfig, Patience, Retention, Server, ServerConfig};
use orion_chat::store::{Quota, StoreConfig, StoreError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use call::{Call, Reply, body_in_chunks, body_that_never_comes};
pub(crate) use listen::{By, EITHER, Listener, content_in, cursor_in};
pub(crate) use user::{User, encode, message_path, mint};

/// The time that a test's clock starts with: 2026-11-23T05:32:17.622Z.
pub(crate) const START_MICROS: u64 = 1_795_411_937_622_000;

/// The secret that a test's jwt mode checks tokens with, and what it expects in them.
pub(crate) const SECRET: &[u8] = b"a secret of the tests, and of at least 32 bytes";
pub(crate) const PREVIOUS_SECRET: &[u8] = b"the secret before it, of at least 32 bytes too";
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "orion-test";

/// Which mode of authentication is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Off,
    Local,
    Jwt,
}

/// How a server is to be started.
pub(crate) struct Setup {
    mode: Mode,
    allowed_users: Option<Vec<UserId>>,
    limits: Limits,
    patience: Patience,
    max_connections: usize,
    admin: Option<AdminConfig>,
    routes: Router<App>,
    folder: Option<TempDir>,
    quota: Quota,
    retention: Option<Retention>,
}

impl Setup {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            allowed_users: None,
            limits: Limits::default(),
            patience: Patience::default(),
            max_connections: 1000,
            admin: None,
            routes: Router::new(),
            folder: None,
            quota: Quota::default(),
            retention: None,
        }
    }

    /// Only these users are let in (jwt mode).
    pub(crate) fn allow_users(mut self, users: &[&str]) -> Self {
        self.allowed_users = Some(users.iter().map(|user| UserId::parse(user).unwrap()).collect());
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn patience(mut self, change: impl FnOnce(&mut Patience)) -> Self {
        change(&mut self.patience);
        self
    }

    pub(crate) fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// With an admin listener too.
    pub(crate) fn admin(mut self) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        self.admin = Some(AdminConfig { listen, is_needed: true });
        self
    }

    /// More routes behind the same layers, such as one that panics.
    pub(crate) fn routes(mut self, routes: Router<App>) -> Self {
        self.routes = routes;
        self
    }

    /// The most that a user may store.
    pub(crate) fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// Sessions are kept so long, and it is always looked for those that are older.
    pub(crate) fn keep(mut self, keep: Duration) -> Self {
        self.retention = Some(Retention { keep, every: Duration::from_millis(20) });
        self
    }

    /// The folder of a server that was stopped.
    pub(crate) fn folder(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    pub(crate) async fn start(self) -> TestServer {
        let folder = self.folder.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let auth = match self.mode {
            Mode::Off => Auth::Off,
            Mode::Local => Auth::Local,
            Mode::Jwt => Auth::jwt(TokenConfig {
                secrets: vec![SECRET.to_vec(), PREVIOUS_SECRET.to_vec()],
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                allowed_users: self.allowed_users,
            }),
        };
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: self.admin,
            store: StoreConfig {
                quota: self.quota,
                ..StoreConfig::new(folder.path().join("test.redb"), 8 << 20)
            },
            postgres: None,
            auth,
            origins: AllowedOrigins::defaults(),
            limits: self.limits,
            patience: self.patience,
            max_connections: self.max_connections,
            drain: Duration::from_secs(10),
            retention: self.retention,
        };
        let micros = Arc::new(AtomicU64::new(START_MICROS));
        let shown = Arc::clone(&micros);
        let clock = Clock::new(move || Timestamp::from_micros(shown.load(Ordering::SeqCst)));
        let server = Server::bind(config, clock).await.unwrap().with_routes(self.routes);
        let (address, stop) = (server.address().to_string(), CancellationToken::new());
        let admin = server.admin_address().map(|address| address.to_string());
        let mut running = JoinSet::new();
        running.spawn(server.run(stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        TestServer { address, admin, mode: self.mode, client, micros, stop, running, folder }
    }
}

/// A running server. It is stopped when this goes.
pub(crate) struct TestServer {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    admin: Option<String>,
    pub(crate) mode: Mode,
    client: Client<HttpConnector, Body>,
    micros: Arc<AtomicU64>,
    stop: CancellationToken,
    running: JoinSet<Result<(), StoreError>>,
    folder: TempDir,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestServer {
    /// A server in `off` mode: callers are who they say.
    pub(crate) async fn start() -> Self {
        Setup::new(Mode::Off).start().await
    }

    /// A user of it, who sends whatever this mode asks for.
    pub(crate) fn user(&self, id: &str) -> User<'_> {
        User { server: self, id: id.to_owned() }
    }

    /// The server's clock, to be read and set (microseconds).
    pub(crate) fn clock(&self) -> &AtomicU64 {
        &self.micros
    }

    /// Begins a request; `send` sends it.
    pub(crate) fn request(&self, method: &str, path: &str) -> Call<'_> {
        Call {
            server: self,
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Body::empty(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.request("GET", path)
    }

    /// A POST of a JSON text.
    pub(crate) fn post(&self, path: &str, body: impl Into<Body>) -> Call<'_> {
        self.request("POST", path).header("content-type", "application/json").body(body)
    }

    /// Sends bytes as they are, on a connection of their own, and reads until the server closes.
    pub(crate) async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Asks the admin listener, with these lines in the head, and gives the whole answer.
    pub(crate) async fn ask_admin(&self, path: &str, lines: &str) -> String {
        let mut stream = TcpStream::connect(self.admin.as_ref().unwrap()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Stops the server in good order and gives its folder, for another to start in.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

/// Reads until the other end closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends requests side by side, and gives their answers as they come.
pub(crate) async fn all_at_once<'a>(calls: impl IntoIterator<Item = Call<'a>>) -> Vec<Reply> {
    let tasks: JoinSet<_> = calls.into_iter().map(Call::detached).collect();
    tasks.join_all().await
}
