//! What is fuzzed: each takes any bytes, and panics when what comes of them may not be.
//!
//! `tests/api/fuzz.rs` replays the corpus, with some changes to it, as ordinary tests; cargo-fuzz
//! goes on for as long as it is let: `cargo +nightly fuzz run --fuzz-dir tests/fuzz body`.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use orion_chat::exchange::{Import, OnProblem};
use orion_chat::http::auth::{Auth, TokenConfig};
use orion_chat::http::cors::AllowedOrigins;
use orion_chat::http::{Access, App, Limits, router};
use orion_chat::model::Clock;
use orion_chat::store::{Note, Snapshot, Store, StoreConfig};
use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SECRET: &[u8] = b"a secret of the fuzzer, and of at least 32 bytes";

/// The service without a socket.
struct Service {
    runtime: Runtime,
    router: Router,
}

impl Service {
    fn new(auth: Auth) -> Self {
        let store = Store::in_memory(Clock::system()).unwrap();
        let access = Access { auth, origins: AllowedOrigins::defaults() };
        let limits = Limits { rate: None, ..Limits::default() };
        let app = App::new(store, access, Clock::system(), limits);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let service = Self { runtime, router: router(app, Router::new()) };
        let body = br#"{"userId":"ann","sessionId":"s","firstMessage":"hello"}"#;
        service.post("POST", "/api/sessions", body);
        service
    }

    fn send(&self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
        })
    }

    fn post(&self, method: &str, path: &str, body: &[u8]) -> (StatusCode, Vec<u8>) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_vec())).unwrap())
    }
}

thread_local! {
    static OPEN: Service = Service::new(Auth::Off);
    static GUARDED: Service = Service::new(Auth::jwt(TokenConfig {
        secrets: vec![SECRET.to_vec()],
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        allowed_users: None,
    }));
}

/// Each route that takes a body; the first byte chooses.
const ROUTES: [(&str, &str); 8] = [
    ("POST", "/api/sessions"),
    ("POST", "/api/sessions/update"),
    ("POST", "/api/sessions/save-message"),
    ("POST", "/api/sessions/delete"),
    ("POST", "/api/sessions/s/messages"),
    ("PATCH", "/api/sessions/s"),
    ("PATCH", "/api/sessions/s/messages/m"),
    ("POST", "/api/events/ticket"),
];

/// A body is done or refused, and what is answered is JSON that PostgreSQL can keep too.
pub(crate) fn body(bytes: &[u8]) {
    let Some((route, body)) = bytes.split_first() else { return };
    let (method, path) = ROUTES[usize::from(*route) % ROUTES.len()];
    let (status, answer) = OPEN.with(|service| service.post(method, path, body));
    assert!(status.is_success() || status.is_client_error(), "{status}");
    // Numbers stand there as they were sent, such as 1e999, which is none for many readers.
    let answer: Answer = serde_json::from_slice(&answer).expect("an answer is JSON");
    let Answer { content, title, first_message, session_id, id } = answer;
    for text in [content, title, first_message, session_id, id].into_iter().flatten() {
        assert!(!text.contains('\0') || status.is_client_error(), "{text:?}");
    }
}

/// Texts of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    content: Option<String>,
    title: Option<String>,
    first_message: Option<String>,
    session_id: Option<String>,
    id: Option<String>,
}

/// A token lets somebody in only if it is signed with the secret, as it says itself.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", bytes].concat()) else { return };
    let request = Request::builder().uri("/api/sessions").header("authorization", value);
    let (status, _) = GUARDED.with(|service| service.send(request.body(Body::empty()).unwrap()));
    if status == StatusCode::UNAUTHORIZED {
        return;
    }
    assert_eq!(status, StatusCode::OK);
    let token = std::str::from_utf8(bytes).expect("a token is text").trim();
    let (signed, signature) = token.rsplit_once('.').expect("it is signed");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("its signature is one");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    ring::hmac::verify(&key, signed.as_bytes(), &signature).expect("it is signed with the secret");
    let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "HS256");
}

/// An origin is allowed if it is one of those listed, or whole labels stand before what is.
pub(crate) fn origin(bytes: &[u8]) {
    let is_label = |label: &str| {
        let is_of_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(is_of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let listed = ["http://localhost:3000", "http://localhost:3005", "https://sidekickportal.com"];
    let expected = std::str::from_utf8(bytes).is_ok_and(|origin| {
        let host = origin.strip_prefix("https://").unwrap_or_default();
        let labels = [".sidekickportal.com", ".vercel.app"];
        let labels = labels.iter().find_map(|suffix| host.strip_suffix(suffix));
        let is_below = labels.is_some_and(|labels| labels.split('.').all(is_label));
        listed.contains(&origin) || (is_below && host.len() <= 253)
    });
    let allowed = AllowedOrigins::defaults().allows(bytes);
    assert_eq!(allowed, expected, "{}", bytes.escape_ascii());
}

/// A cursor leads somewhere or is refused, wherever it is sent.
pub(crate) fn cursor(bytes: &[u8]) {
    let mut escaped = String::new();
    for byte in bytes {
        write!(escaped, "%{byte:02X}").unwrap();
    }
    for path in [
        "/api/sessions?",
        "/api/sessions?sortBy=createdAt&sortOrder=asc&sort=pinned&",
        "/api/sessions/s/messages?",
        "/api/sessions/s/messages?order=desc&limit=1&",
        "/api/search?q=hello&",
    ] {
        let request = Request::builder().uri(format!("{path}userId=ann&cursor={escaped}"));
        let (status, answer) =
            OPEN.with(|service| service.send(request.body(Body::empty()).unwrap()));
        let refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::URI_TOO_LONG);
        assert!(status == StatusCode::OK || refused, "{status} to {path}");
        serde_json::from_slice::<IgnoredAny>(&answer).expect("an answer is JSON");
    }
}

/// A small data file, with rows that are settled and rows that are not.
fn image() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fuzz.redb");
    let store = Store::open(&config(path.clone()), Clock::system(), Arc::default()).unwrap();
    lines(&store, include_bytes!("corpus/import/lines"));
    store.close().unwrap();
    std::fs::read(path).unwrap()
}

fn config(path: PathBuf) -> StoreConfig {
    StoreConfig::new(path, 1 << 20)
}

/// Bytes of a data file are overwritten: places and what is put there, one after the other. It is
/// refused, or serves; and verifying it comes to an end.
pub(crate) fn record(bytes: &[u8]) {
    thread_local!(static IMAGE: Vec<u8> = image());
    let mut image = IMAGE.with(Clone::clone);
    for patch in bytes.chunks(8) {
        let Some((place, data)) = patch.split_at_checked(3) else { break };
        let place =
            usize::from(place[0]) << 16 | usize::from(place[1]) << 8 | usize::from(place[2]);
        let place = place % image.len();
        for (byte, with) in image[place..].iter_mut().zip(data) {
            *byte = *with;
        }
    }
    let backend = InMemoryBackend::new();
    backend.set_len(image.len() as u64).unwrap();
    backend.write(0, &image).unwrap();
    let config = config(PathBuf::from("fuzzed"));
    let Ok(store) = Store::open_on(backend, &config, Clock::system(), Arc::default()) else {
        return;
    };
    let _records = store.snapshot().verify(&mut |_| ControlFlow::Continue(()));
    let _closed = store.close();
}

/// Lines are stored or refused, and what is stored is whole.
pub(crate) fn import(bytes: &[u8]) {
    let store = Store::in_memory(Clock::system()).unwrap();
    lines(&store, bytes);
    let mut problems = Vec::new();
    verify(&store.snapshot(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    store.close().unwrap();
}

fn lines(store: &Store, bytes: &[u8]) {
    // What is wrong with them is told, and does not matter here.
    let _tally = Import::new(store, OnProblem::GoOn, &mut |_| ControlFlow::Continue(())).run(bytes);
}

fn verify(snapshot: &Snapshot, problems: &mut Vec<String>) {
    snapshot.verify(&mut |note| {
        if let Note::Problem(what) = note {
            problems.push(what);
        }
        ControlFlow::Continue(())
    });
}
