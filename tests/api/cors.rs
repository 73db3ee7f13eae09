//! Which pages may call: seen on every kind of answer, as a browser would see it.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use axum::routing::get;
use orion_chat::http::App;
use serde_json::{Value, json};

use crate::origins::{ALLOWED, REFUSED};
use crate::support::{Call, Mode, Reply, Setup, TestServer, body_that_never_comes};

const PORTAL: &str = "https://www.sidekickportal.com";
const LIST: &str = "/api/sessions/list?userId=ann";
const CREATE: &str = "/api/sessions/create";
const ASKS: &str = "access-control-request-method";

/// Checks that pages of `origin` may read `reply`, with credentials.
#[track_caller]
fn assert_open_to(origin: &str, reply: &Reply) {
    for (name, value) in [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Content-Length, X-Request-Id, ETag, Retry-After"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{reply:?}");
    }
}

/// Checks that no page may read `reply`, and that no cache takes it for another page's.
#[track_caller]
fn assert_closed(reply: &Reply) {
    let mut names = reply.headers.keys().map(HeaderName::as_str);
    assert!(names.all(|name| !name.starts_with("access-control-")), "{reply:?}");
    assert_eq!(reply.header("vary"), Some("Origin"), "{reply:?}");
}

#[track_caller]
fn assert_preflight_granted(origin: &str, reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.text()), (204, ""), "{origin}");
    assert_open_to(origin, reply);
    for (name, value) in [
        ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        (
            "access-control-allow-headers",
            "Content-Type, Authorization, X-Requested-With, X-Request-Id, Idempotency-Key, \
             If-Match, Last-Event-ID",
        ),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{origin}");
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_read_ask_and_write() {
    let server = TestServer::start().await;

    for (done, origin) in ALLOWED.iter().enumerate() {
        let read = server.get(LIST).origin(origin).send().await;
        assert_eq!(read.expect(200)["count"], done, "{origin}");
        assert_open_to(origin, &read);

        let asked = server.request("OPTIONS", CREATE).origin(origin).header(ASKS, "PUT");
        assert_preflight_granted(origin, &asked.send().await);

        let written = server.post(CREATE, r#"{"userId":"ann"}"#).origin(origin).send().await;
        written.expect(201);
        assert_open_to(origin, &written);
    }
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_and_change_nothing() {
    let server = TestServer::start().await;

    for origin in REFUSED {
        let read = server.get(LIST).origin(origin).send().await;
        read.expect(200);
        assert_closed(&read);

        for method in ["OPTIONS", "PUT", "PATCH", "DELETE"] {
            let asked = server.request(method, CREATE).origin(origin).header(ASKS, "PUT");
            let asked = asked.send().await;
            asked.assert_error(403, "origin_not_allowed");
            assert_closed(&asked);
        }

        let written = server.post(CREATE, r#"{"userId":"ann"}"#).origin(origin).send().await;
        written.assert_error(403, "origin_not_allowed");
        assert_closed(&written);
    }
    assert!(server.user("ann").sessions().await.is_empty());
}

#[tokio::test]
async fn two_origin_headers_are_none_that_a_browser_sends() {
    let server = TestServer::start().await;

    for [first, second] in [
        [PORTAL, "https://evil.com"],
        ["https://evil.com", PORTAL],
        [PORTAL, PORTAL],
        [PORTAL, "http://localhost:3000"],
    ] {
        let read = server.get(LIST).origin(first).origin(second).send().await;
        assert_closed(&read);
        let asked = server.request("OPTIONS", CREATE).header(ASKS, "POST");
        let asked = asked.origin(first).origin(second).send().await;
        asked.assert_error(403, "origin_not_allowed");
        assert_closed(&asked);
    }
}

/// Routes that fail in ways in which no route of ours should.
fn failing_routes() -> Router<App> {
    Router::new()
        .route("/test/panic", get(async || -> &str { panic!("the secret of the inside") }))
        .route("/test/never", get(pending::<&str>))
}

async fn failing_server() -> TestServer {
    let limits = Setup::new(Mode::Jwt).routes(failing_routes()).limits(|limits| {
        limits.body_time = Duration::from_millis(200);
        limits.request_time = Duration::from_secs(1);
    });
    let server = limits.start().await;
    let taken = server.user("bob").create(json!({ "sessionId": "bobs" })).await;
    taken.expect(201);
    server
}

/// A request for each kind of error, with its status and code.
fn each_error(server: &TestServer) -> Vec<(u16, &'static str, Call<'_>)> {
    let token = server.user("ann").token();
    let get = |path: &str| server.get(path).bearer(&token);
    let post = |body: Value| server.post(CREATE, body.to_string()).bearer(&token);
    vec![
        (400, "invalid_limit", get("/api/sessions/list?limit=0")),
        (401, "missing_token", server.get("/api/sessions/list")),
        (401, "invalid_token", server.get("/api/sessions/list").bearer("x")),
        (403, "user_mismatch", get("/api/sessions/list?userId=bob")),
        (404, "not_found", get("/no/such/path")),
        (404, "session_not_found", get("/api/sessions/bobs")),
        (405, "method_not_allowed", server.request("DELETE", CREATE).bearer(&token)),
        (405, "method_not_allowed", server.request("OPTIONS", CREATE)),
        (408, "request_timeout", post(json!({})).body(body_that_never_comes())),
        (409, "session_id_taken", post(json!({ "sessionId": "bobs" }))),
        (413, "body_too_large", post(json!({})).body("x".repeat(1024 * 1024 + 1))),
        (415, "unsupported_media_type", server.request("POST", CREATE).bearer(&token).body("{}")),
        (431, "head_too_large", get("/health").header("x-long", "x".repeat(32 * 1024))),
        (500, "internal", get("/test/panic")),
        (503, "timeout", get("/test/never")),
    ]
}

#[tokio::test]
async fn an_allowed_page_can_read_each_kind_of_error() {
    let server = failing_server().await;

    for (status, code, call) in each_error(&server) {
        let reply = call.origin(PORTAL).send().await;
        reply.assert_error(status, code);
        assert_open_to(PORTAL, &reply);
    }
}

#[tokio::test]
async fn no_other_page_can_read_any_kind_of_error() {
    let server = failing_server().await;

    for (_, _, call) in each_error(&server) {
        let reply = call.origin("https://evil.com").send().await;
        assert!(reply.status.is_client_error() || reply.status.is_server_error());
        assert_closed(&reply);
    }
}

#[tokio::test]
async fn whoever_sends_no_origin_is_served_without_cors_headers() {
    let server = failing_server().await;
    for (status, code, call) in each_error(&server) {
        let reply = call.send().await;
        reply.assert_error(status, code);
        assert_closed(&reply);
    }

    for path in ["/", "/health", "/ready"] {
        let reply = server.get(path).send().await;
        reply.expect(200);
        assert_closed(&reply);
    }
    assert_closed(&server.user("ann").create(json!({})).await);
}

#[tokio::test]
async fn a_panic_tells_nothing_of_the_inside() {
    let server = Setup::new(Mode::Off).routes(failing_routes()).start().await;

    let reply = server.get("/test/panic").send().await;

    reply.assert_error(500, "internal");
    assert!(!reply.text().contains("secret"));
    server.get("/health").send().await.expect(200);
}

#[tokio::test]
async fn a_preflight_needs_neither_a_token_nor_a_path_that_exists() {
    let server = Setup::new(Mode::Jwt).start().await;

    for path in [CREATE, "/api/sessions/list", "/health", "/no/such/path"] {
        for asked in ["POST", "PUT", "TRACE", ""] {
            let call = server.request("OPTIONS", path).origin(PORTAL).header(ASKS, asked);
            let reply = call.header("access-control-request-headers", "x-evil").send().await;
            assert_preflight_granted(PORTAL, &reply);
        }
    }
}

#[tokio::test]
async fn the_private_network_is_granted_only_when_asked_for() {
    let server = TestServer::start().await;
    let asks = "access-control-request-private-network";
    let preflight = || server.request("OPTIONS", CREATE).header(ASKS, "POST");

    for (call, granted) in [
        (preflight().origin(PORTAL).header(asks, "true"), Some("true")),
        (preflight().origin(PORTAL).header(asks, "false"), None),
        (preflight().origin(PORTAL), None),
        (preflight().origin("https://evil.com").header(asks, "true"), None),
        (server.get(LIST).origin(PORTAL).header(asks, "true"), None),
    ] {
        let reply = call.send().await;
        assert_eq!(reply.header("access-control-allow-private-network"), granted);
    }
}

#[tokio::test]
async fn a_preflight_without_an_origin_is_a_plain_options_request() {
    let server = TestServer::start().await;

    let reply = server.request("OPTIONS", CREATE).header(ASKS, "POST").send().await;

    reply.assert_error(405, "method_not_allowed");
    assert_closed(&reply);
}

#[tokio::test]
async fn head_shows_the_headers_of_get() {
    let server = TestServer::start().await;

    let reply = server.request("HEAD", LIST).origin(PORTAL).send().await;

    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    assert_open_to(PORTAL, &reply);
    let foreign = server.request("HEAD", LIST).origin("null").send().await;
    assert_eq!(foreign.status.as_u16(), 200);
    assert_closed(&foreign);
}
