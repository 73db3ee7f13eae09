//! A server to test against, and what users do with it.
//!
//! Each test starts its own, on a free port and in a folder of its own, and talks to it over real
//! sockets. The listener is bound before `start` returns, so nothing has to wait for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_chat::http::auth::{Auth, TokenConfig};
use orion_chat::http::cors::AllowedOrigins;
use orion_chat::http::{App, Limits};
use orion_chat::model::{Clock, Timestamp, UserId};
use orion_chat::server::{Patience, Server, ServerConfig};
use orion_chat::store::StoreConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    routes: Router<App>,
    folder: Option<TempDir>,
}

impl Setup {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            allowed_users: None,
            limits: Limits::default(),
            patience: Patience::default(),
            max_connections: 1000,
            routes: Router::new(),
            folder: None,
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

    /// More routes behind the same layers, such as one that panics.
    pub(crate) fn routes(mut self, routes: Router<App>) -> Self {
        self.routes = routes;
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
            store: StoreConfig { path: folder.path().join("test.redb"), cache_bytes: 8 << 20 },
            auth,
            origins: AllowedOrigins::defaults(),
            limits: self.limits,
            patience: self.patience,
            max_connections: self.max_connections,
            drain: Duration::from_secs(10),
        };
        let micros = Arc::new(AtomicU64::new(START_MICROS));
        let shown = Arc::clone(&micros);
        let clock = Clock::new(move || Timestamp::from_micros(shown.load(Ordering::SeqCst)));
        let server = Server::bind(config, clock).await.unwrap().with_routes(self.routes);
        let (address, stop) = (server.address().to_string(), CancellationToken::new());
        let running = tokio::spawn(server.run(stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        TestServer { address, mode: self.mode, client, micros, stop, running, folder }
    }
}

/// A running server. It is stopped when this goes.
pub(crate) struct TestServer {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    pub(crate) mode: Mode,
    client: Client<HttpConnector, Body>,
    micros: Arc<AtomicU64>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), orion_chat::store::StoreError>>,
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

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Stops the server in good order and gives its folder, for another to start in.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

/// A request that is being put together.
#[must_use]
pub(crate) struct Call<'a> {
    server: &'a TestServer,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
}

impl Call<'_> {
    /// Adds a header; one that is there stays there too.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub(crate) fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Reply {
        self.detached().await
    }

    /// What sends it, wherever that is awaited.
    pub(crate) fn detached(self) -> impl Future<Output = Reply> + Send + 'static {
        let uri = format!("http://{}{}", self.server.address, self.path);
        let mut request = Request::builder().method(self.method).uri(uri).body(self.body).unwrap();
        *request.headers_mut() = self.headers;
        let answering = self.server.client.request(request);
        async move {
            let (parts, body) = answering.await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: parts.status, headers: parts.headers, body }
        }
    }
}

/// An answer, read whole.
#[must_use]
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The one answer in `text`, as it came over the wire with a `Content-Length` or none.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("cut: {text:?}"));
        let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {line}"));
        let headers = head.lines().map(|line| line.split_once(": ").unwrap());
        Self {
            status: status.split(' ').next().unwrap().parse().unwrap(),
            headers: headers
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The one value of a header.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands there more than once: {self:?}");
        value
    }

    /// Checks the status, and gives the JSON.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// Checks that it is an error of the contract's shape, with this status and code.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) -> Value {
        let error = self.expect(status);
        assert_eq!(error["code"], code, "{error}");
        let mut members: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["code", "error", "message", "requestId"], "{error}");
        assert_eq!(error["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header(CONTENT_TYPE.as_str()), Some("application/json"));
        error
    }
}

/// Somebody who uses the service.
#[derive(Clone)]
pub(crate) struct User<'a> {
    server: &'a TestServer,
    pub(crate) id: String,
}

impl<'a> User<'a> {
    /// Begins a request without a body as this user; `send` sends it.
    pub(crate) fn request(&self, method: &str, path: &str) -> Call<'a> {
        if self.server.mode == Mode::Jwt {
            return self.server.request(method, path).bearer(&self.token());
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        self.server.request(method, &format!("{path}{separator}userId={}", encode(&self.id)))
    }

    /// Begins a POST of a JSON object as this user; `send` sends it.
    pub(crate) fn posting(&self, path: &str, mut body: Value) -> Call<'a> {
        if self.server.mode == Mode::Jwt {
            return self.server.post(path, body.to_string()).bearer(&self.token());
        }
        body["userId"] = json!(self.id);
        self.server.post(path, body.to_string())
    }

    /// A GET as this user.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send().await
    }

    /// A POST of a JSON object as this user.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.posting(path, body).send().await
    }

    /// Begins a session with what `body` says of it.
    pub(crate) async fn create(&self, body: Value) -> Reply {
        self.post("/api/sessions/create", body).await
    }

    /// Begins a session with a first message, and gives its id.
    pub(crate) async fn create_session(&self, first_message: &str) -> String {
        let session = self.create(json!({ "firstMessage": first_message })).await.expect(201);
        session["sessionId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn save_message(&self, session: &str, role: &str, content: &str) -> Reply {
        let body = json!({ "sessionId": session, "role": role, "content": content });
        self.post("/api/sessions/save-message", body).await
    }

    /// The first page of this user's sessions.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let list = self.get("/api/sessions/list").await.expect(200);
        list["sessions"].as_array().unwrap().clone()
    }

    pub(crate) async fn session(&self, session: &str) -> Reply {
        self.get(&format!("/api/sessions/{}", encode(session))).await
    }

    pub(crate) async fn history(&self, session: &str) -> Reply {
        self.get(&format!("/api/sessions/messages?sessionId={}", encode(session))).await
    }

    /// The texts of a session, oldest first.
    pub(crate) async fn texts(&self, session: &str) -> Vec<String> {
        let history = self.history(session).await.expect(200);
        let messages = history["messages"].as_array().unwrap();
        assert_eq!(history["count"], messages.len());
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn delete(&self, session: &str) -> Reply {
        self.post("/api/sessions/delete", json!({ "sessionId": session })).await
    }

    /// A token of this user, good for an hour.
    pub(crate) fn token(&self) -> String {
        let now = self.server.micros.load(Ordering::SeqCst) / 1_000_000;
        let claims = json!({ "sub": self.id, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 3600 });
        mint(&json!({ "alg": "HS256", "typ": "JWT" }).to_string(), &claims.to_string(), SECRET)
    }
}

/// A token of any header and payload, signed by HMAC-SHA256.
pub(crate) fn mint(header: &str, payload: &str, secret: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Reads until the other end closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A body of which nothing ever comes.
pub(crate) fn body_that_never_comes() -> Body {
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    Body::new(Silent)
}

/// A body that is sent in chunks, as if its length were not known.
pub(crate) fn body_in_chunks(text: String) -> Body {
    struct Chunks(Bytes);

    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let chunk = self.0.len().min(64 * 1024);
            Poll::Ready((chunk > 0).then(|| Ok(Frame::data(self.0.split_to(chunk)))))
        }
    }

    Body::new(Chunks(text.into()))
}

/// Percent-encodes everything but letters and digits.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
