//! What no client should send: each gets its clear error, and nothing is stored.

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{Reply, TestServer, User, encode};

const CREATE: &str = "/api/sessions/create";
const SAVE: &str = "/api/sessions/save-message";
const UPDATE: &str = "/api/sessions/update";
const DELETE: &str = "/api/sessions/delete";

/// A server with one session of ann's, and everything of it.
pub(crate) async fn server_with_a_session() -> (TestServer, Value) {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "hi" })).await.expect(201);
    let before = everything(&ann).await;
    (server, before)
}

pub(crate) async fn everything(ann: &User<'_>) -> Value {
    json!([ann.sessions().await, ann.history("s").await.expect(200)])
}

/// Sends `body` as it is to `path`, as ann.
async fn post(server: &TestServer, path: &str, body: impl Into<Body>) -> Reply {
    server.post(&format!("{path}?userId=ann"), body).send().await
}

#[tokio::test]
async fn ids_have_1_to_255_characters_and_no_control_characters() {
    let (server, before) = server_with_a_session().await;
    let ann = server.user("ann");
    let message = |id: &str| json!({ "sessionId": "s", "role": "user", "content": "x", "id": id });

    for id in ["", "\0", "a\0b", "a\nb", "\u{7f}", "\u{85}", &"\u{e9}".repeat(256)] {
        ann.create(json!({ "sessionId": id })).await.assert_error(400, "invalid_session_id");
        ann.delete(id).await.assert_error(400, "invalid_session_id");
        ann.history(id).await.assert_error(400, "invalid_session_id");
        ann.post(SAVE, message(id)).await.assert_error(400, "invalid_id");
        server.user(id).create(json!({})).await.assert_error(400, "invalid_user_id");
        server.user(id).get("/api/sessions/list").await.assert_error(400, "invalid_user_id");
        if !id.is_empty() {
            ann.session(id).await.assert_error(400, "invalid_session_id");
        }
    }
    assert_eq!(everything(&ann).await, before);

    let longest = "\u{1f600}".repeat(255);
    let user = server.user(&longest);
    let created = user.create(json!({ "sessionId": longest, "firstMessage": "x" })).await;
    assert_eq!(created.expect(201)["userId"], longest.as_str());
    assert_eq!(user.session(&longest).await.expect(200)["sessionId"], longest.as_str());
    ann.post(SAVE, message(&longest)).await.expect(201);
    ann.post(SAVE, message(&longest)).await.expect(200);
}

#[tokio::test]
async fn texts_and_metadata_beyond_their_limits_are_refused() {
    let (server, before) = server_with_a_session().await;
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let wide = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let update = |metadata: String| format!(r#"{{"sessionId":"s","metadata":{metadata}}}"#);

    for metadata in [deep(65), wide(64 * 1024 + 1)] {
        let reply = post(&server, UPDATE, update(metadata.clone())).await;
        assert_eq!(reply.status.as_u16(), 400);
        let create = format!(r#"{{"metadata":{metadata}}}"#);
        assert_eq!(post(&server, CREATE, create).await.status.as_u16(), 400);
    }
    for title in ["a\0b", &"x".repeat(501)] {
        let body = json!({ "sessionId": "s", "title": title }).to_string();
        post(&server, UPDATE, body).await.assert_error(400, "invalid_title");
    }
    let blank = json!({ "sessionId": "s", "title": " " }).to_string();
    post(&server, UPDATE, blank).await.assert_error(400, "invalid_title");
    let nul = json!({ "firstMessage": "a\0b" }).to_string();
    post(&server, CREATE, nul).await.assert_error(400, "invalid_first_message");
    assert_eq!(everything(&server.user("ann")).await, before);

    for metadata in [deep(64), wide(64 * 1024)] {
        post(&server, UPDATE, update(metadata)).await.expect(200);
    }
}

#[tokio::test]
async fn a_query_says_each_thing_once_and_in_utf_8() {
    let (server, before) = server_with_a_session().await;

    for query in [
        "userId=ann&userId=ann",
        "userId=ann&userId=bob",
        "userId=ann&limit=1&limit=2",
        "userId=%ff",
        "userId=ann%c3",
        "userId=ann&x=%c3%28",
        "userId=ann%",
        "userId=ann%2",
        "userId=ann%zz",
        "userId=ann%%32",
        "%zz=1&userId=ann",
    ] {
        let reply = server.get(&format!("/api/sessions/list?{query}")).send().await;
        assert_eq!(reply.status.as_u16(), 400, "{query}: {}", reply.text());
        reply.assert_error(400, "invalid_query");
    }
    for query in ["userId=ann&userId=ann", "userId=%ff", "userId=ann&x=%zz"] {
        let reply = server.post(&format!("{CREATE}?{query}"), "{}").send().await;
        reply.assert_error(400, "invalid_query");
    }
    let raw =
        b"GET /api/sessions/list?userId=\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(server.send_raw(raw).await.starts_with("HTTP/1.1 400 "));
    for path in ["%ff", "%c3%28", "%", "%2", "%zz", "a%00b"] {
        let reply = server.get(&format!("/api/sessions/{path}?userId=ann")).send().await;
        assert_eq!(reply.status.as_u16(), 400, "{path}: {}", reply.text());
    }
    assert_eq!(everything(&server.user("ann")).await, before);

    for query in ["userId=ann&x=1&x=2", "userId=a%6en", "x&&=&userId=ann&", "userId=ann&userid=b"] {
        let list = server.get(&format!("/api/sessions/list?{query}")).send().await;
        assert_eq!(list.expect(200)["count"], 1, "{query}");
    }
    server.user("a+b c").create(json!({})).await.expect(201);
    let list = server.get("/api/sessions/list?userId=a%2Bb+c").send().await;
    assert_eq!(list.expect(200)["count"], 1);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_not_found() {
    let (server, before) = server_with_a_session().await;
    let paths = [
        "/api",
        "/api/sessions/",
        "/api/sessions/s/",
        "/api/sessions/s/x",
        "//api/sessions/list",
        "/api/sessions//list",
        "/API/sessions/list",
        "/health/",
        "/metrics",
        "/api/sessions/../sessions/list",
        "/favicon.ico",
        "/%2e%2e/etc/passwd",
        "/\u{fc}",
    ];

    for path in paths {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let reply = Reply::parse(&server.send_raw(request).await);
            assert_eq!(reply.status.as_u16(), 404, "{method} {path}: {}", reply.text());
            reply.assert_error(404, "not_found");
        }
    }
    assert_eq!(everything(&server.user("ann")).await, before);
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_refused_with_those_that_it_knows() {
    let (server, before) = server_with_a_session().await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

    for (path, allowed) in [
        ("/", "GET,HEAD"),
        ("/health", "GET,HEAD"),
        ("/ready", "GET,HEAD"),
        ("/api/sessions/list", "GET,HEAD"),
        ("/api/sessions/messages", "GET,HEAD"),
        ("/api/sessions/get", "GET,HEAD"),
        ("/api/sessions", "POST,GET,HEAD"),
        ("/api/sessions/s", "GET,HEAD,PATCH,DELETE"),
        ("/api/sessions/s/messages", "GET,HEAD,POST"),
        ("/api/sessions/s/messages/m", "GET,HEAD,PATCH,DELETE"),
        (CREATE, "POST"),
        (SAVE, "POST"),
        (UPDATE, "POST"),
        (DELETE, "POST"),
    ] {
        let unknown = methods.iter().filter(|method| !allowed.split(',').any(|m| m == **method));
        for method in unknown {
            let call = server.request(method, &format!("{path}?userId=ann"));
            let reply = call.header("content-type", "application/json").send().await;
            assert_eq!(reply.status.as_u16(), 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
            // An answer to HEAD has no body.
            assert!(*method == "HEAD" || reply.json()["code"] == "method_not_allowed");
        }
    }
    assert_eq!(everything(&server.user("ann")).await, before);
}

#[tokio::test]
async fn an_error_quotes_a_hostile_value_harmlessly() {
    let server = TestServer::start().await;
    let hostile = format!("\u{1b}[2J\r\n\"<script>{}", "x".repeat(5000));

    let path = format!("/api/sessions/list?userId=ann&limit={}", encode(&hostile));
    let reply = server.get(&path).send().await;

    reply.assert_error(400, "invalid_limit");
    assert!(reply.body.len() < 500, "{}", reply.text());
    assert!(!reply.text().contains('\u{1b}'));
}
