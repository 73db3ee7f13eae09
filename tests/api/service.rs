//! What the service says of itself, and what every answer carries.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{Mode, Reply, Setup, TestServer};

#[tokio::test]
async fn health_is_told_while_the_process_can_answer() {
    let server = TestServer::start().await;
    server.clock().fetch_add(90_500_000, Ordering::SeqCst);

    let health = server.get("/health").send().await.expect(200);

    let expected = json!({
        "status": "healthy",
        "service": "orion-chat",
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": "2026-11-23T05:33:48.122Z",
        "uptime": 90,
        "database": "redb",
    });
    assert_eq!(health, expected);
}

#[tokio::test]
async fn it_is_ready_when_reads_and_writes_work() {
    let server = Setup::new(Mode::Jwt).start().await;

    server.get("/ready").send().await.expect(200);
}

#[tokio::test]
async fn the_index_lists_every_route() {
    let server = TestServer::start().await;

    let index = server.get("/").send().await.expect(200);

    assert_eq!((&index["name"], &index["version"]), (&json!("orion-chat"), &json!("0.1.0")));
    let listed: BTreeSet<_> =
        index["routes"].as_array().unwrap().iter().map(|route| route.as_str().unwrap()).collect();
    let known = [
        "GET /",
        "GET /health",
        "GET /ready",
        "POST /api/sessions/create",
        "GET /api/sessions/list",
        "GET /api/sessions/messages",
        "POST /api/sessions/save-message",
        "POST /api/sessions/delete",
        "POST /api/sessions/update",
        "GET /api/sessions/get",
        "GET /api/sessions/{sessionId}",
    ];
    assert!(known.iter().all(|route| listed.contains(route)), "{listed:?}");
    for route in listed {
        let (method, path) = route.split_once(' ').unwrap();
        let reply = server.request(method, &path.replace(['{', '}'], "")).send().await;
        assert!(!matches!(reply.status.as_u16(), 404 | 405), "{route}: {}", reply.text());
    }
}

/// The request id of the answer to a request with this one, and whether its error names it too.
async fn echoed(server: &TestServer, given: &[u8]) -> String {
    let ok = server.get("/health").header("x-request-id", given).send().await;
    let refused = server.get("/no/such/path").header("x-request-id", given).send().await;
    refused.assert_error(404, "not_found");
    let (ok, refused) = (ok.header("x-request-id").unwrap(), refused.header("x-request-id"));
    if ok.as_bytes() == given {
        assert_eq!(refused, Some(ok));
    }
    ok.to_owned()
}

#[tokio::test]
async fn a_request_keeps_the_id_that_its_caller_gave() {
    let server = TestServer::start().await;

    for given in ["1", "req-42", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &"x".repeat(128)] {
        assert_eq!(echoed(&server, given.as_bytes()).await, given);
    }
}

#[tokio::test]
async fn a_request_without_a_good_id_gets_a_new_one() {
    let server = TestServer::start().await;
    let mut minted = BTreeSet::new();

    let too_long = "x".repeat(129);
    for given in ["", too_long.as_str(), "a b", "\u{fc}", "\t", "a\tb", "\u{a0}"] {
        minted.insert(echoed(&server, given.as_bytes()).await);
    }
    let ok = server.get("/health").send().await;
    minted.insert(ok.header("x-request-id").unwrap().to_owned());

    assert_eq!(minted.len(), 8, "each is another");
    for id in minted {
        assert_eq!(uuid::Uuid::try_parse(&id).unwrap().get_version_num(), 7);
    }
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "hi" })).await.expect(201);

    for path in [
        "/",
        "/health",
        "/ready",
        "/no/such/path",
        "/api/sessions/s",
        "/api/sessions/other",
        "/api/sessions/get?sessionId=s",
        "/api/sessions/list",
        "/api/sessions/list?limit=0",
        "/api/sessions/messages?sessionId=s",
        "/api/sessions/create",
    ] {
        let get = ann.request("GET", path).header("x-request-id", "same").send().await;
        let head = ann.request("HEAD", path).header("x-request-id", "same").send().await;
        assert_eq!((head.status, head.text()), (get.status, ""), "{path}");
        let without_date = |reply: &Reply| {
            let mut headers = reply.headers.clone();
            headers.remove("date");
            headers
        };
        // The error of another method names it, and so has another length.
        if get.status.as_u16() != 405 {
            assert_eq!(without_date(&head), without_date(&get), "{path}");
        }
    }
}

#[tokio::test]
async fn answers_are_json_for_their_caller_alone() {
    let server = TestServer::start().await;
    let ann = server.user("ann");

    for reply in [
        server.get("/health").send().await,
        ann.get("/api/sessions/list").await,
        ann.create(json!({})).await,
        ann.get("/no/such/path").await,
    ] {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
        let length = reply.header("content-length").unwrap();
        assert_eq!(length, reply.body.len().to_string());
        assert!(reply.header("server").is_none());
    }
}
