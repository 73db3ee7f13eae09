//! What no client should send: each gets its clear error, and nothing is stored.

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{Call, Reply, TestServer, User, body_in_chunks, encode};

const CREATE: &str = "/api/sessions/create";
const SAVE: &str = "/api/sessions/save-message";
const UPDATE: &str = "/api/sessions/update";
const DELETE: &str = "/api/sessions/delete";
const MIB: usize = 1024 * 1024;

/// A server with one session of ann's, and everything of it.
async fn server_with_a_session() -> (TestServer, Value) {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "hi" })).await.expect(201);
    let before = everything(&ann).await;
    (server, before)
}

async fn everything(ann: &User<'_>) -> Value {
    json!([ann.sessions().await, ann.history("s").await.expect(200)])
}

/// Sends `body` as it is to `path`, as ann.
async fn post(server: &TestServer, path: &str, body: impl Into<Body>) -> Reply {
    server.post(&format!("{path}?userId=ann"), body).send().await
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let (server, before) = server_with_a_session().await;
    let nested = |depth: usize| {
        format!(r#"{{"sessionId":"s","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    let bodies: Vec<Vec<u8>> = vec![
        b"".into(),
        b" ".into(),
        b"{".into(),
        b"}".into(),
        b"{\"sessionId\":\"s\"".into(),
        b"{\"sessionId\":\"s\",}".into(),
        b"{\"sessionId\":\"s\"} {}".into(),
        b"{\"sessionId\":\"s\"}x".into(),
        b"{sessionId:\"s\"}".into(),
        b"{'sessionId':'s'}".into(),
        b"{\"sessionId\":\"s\",\"n\":01}".into(),
        b"{\"sessionId\":\"s\",\"n\":NaN}".into(),
        b"{\"sessionId\":\"s\",\"sessionId\":\"s\"}".into(),
        b"{\"sessionId\":\"s\n\"}".into(),
        b"{\"sessionId\":\"\\ud800\"}".into(),
        b"{\"sessionId\":\"\xff\"}".into(),
        b"\xef\xbb\xbf{\"sessionId\":\"s\"}".into(),
        b"\xff\xfe{\0}\0".into(),
        b"null".into(),
        b"[]".into(),
        b"[\"s\"]".into(),
        b"\"s\"".into(),
        b"sessionId=s".into(),
        nested(65).into(),
        nested(100_000).into(),
        "[".repeat(MIB).into(),
        "{\"a\":".repeat(100_000).into(),
    ];

    for path in [CREATE, SAVE, UPDATE, DELETE] {
        for body in &bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let reply = post(&server, path, body.clone()).await;
            assert_eq!(reply.status.as_u16(), 400, "{path} {shown}");
            reply.assert_error(400, "invalid_json");
        }
    }
    assert_eq!(everything(&server.user("ann")).await, before);
}

#[tokio::test]
async fn a_member_of_the_wrong_type_is_named() {
    let (server, before) = server_with_a_session().await;
    let good =
        json!({ "sessionId": "s", "role": "user", "content": "hi", "title": "t", "id": "m" });

    for (path, names) in [
        (CREATE, &["userId", "firstMessage", "sessionId", "title"][..]),
        (SAVE, &["userId", "sessionId", "role", "content", "id"]),
        (UPDATE, &["userId", "sessionId", "title"]),
        (DELETE, &["userId", "sessionId"]),
    ] {
        for name in names {
            for value in [json!(7), json!(true), json!(["s"]), json!({ "s": 1 })] {
                let mut body = good.clone();
                body[*name] = value.clone();
                let reply = post(&server, path, body.to_string()).await;
                let error = reply.assert_error(400, "invalid_json");
                let text = error["error"].as_str().unwrap();
                assert!(text.contains(name), "{path} {name} {value}: {text}");
            }
        }
    }
    for path in [CREATE, SAVE, UPDATE] {
        for value in [json!([]), json!("{}"), json!(1), json!(false)] {
            let mut body = good.clone();
            body["metadata"] = value;
            let reply = post(&server, path, body.to_string()).await;
            let error = reply.assert_error(400, "invalid_metadata");
            assert!(error["error"].as_str().unwrap().starts_with("metadata "), "{error}");
        }
    }
    assert_eq!(everything(&server.user("ann")).await, before);
}

#[tokio::test]
async fn a_member_that_is_needed_is_named() {
    let (server, before) = server_with_a_session().await;
    let whole = json!({ "sessionId": "s", "role": "user", "content": "hi" });

    for (path, names) in [
        (SAVE, &[("sessionId", "session_id"), ("role", "role"), ("content", "content")][..]),
        (UPDATE, &[("sessionId", "session_id")]),
        (DELETE, &[("sessionId", "session_id")]),
    ] {
        for (name, code) in names {
            let (mut absent, mut null) = (whole.clone(), whole.clone());
            absent.as_object_mut().unwrap().remove(*name);
            null[*name] = json!(null);
            for body in [absent, null] {
                let reply = post(&server, path, body.to_string()).await;
                let error = reply.assert_error(400, &format!("missing_{code}"));
                assert_eq!(error["error"], format!("{name} is missing"));
            }
        }
    }
    let get = server.user("ann").get("/api/sessions/get").await;
    get.assert_error(400, "missing_session_id");
    assert_eq!(everything(&server.user("ann")).await, before);
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
async fn a_body_may_have_1_mib() {
    let (server, _) = server_with_a_session().await;
    let sized = |bytes: usize| {
        let begin = r#"{"sessionId":"s","role":"user","content":""#;
        format!("{begin}{}\"}}", "x".repeat(bytes - begin.len() - 2))
    };

    post(&server, SAVE, sized(MIB)).await.expect(201);
    let before = everything(&server.user("ann")).await;
    post(&server, SAVE, sized(MIB + 1)).await.assert_error(413, "body_too_large");
    post(&server, SAVE, body_in_chunks(sized(MIB + 1))).await.assert_error(413, "body_too_large");
    post(&server, SAVE, body_in_chunks(sized(8 * MIB))).await.assert_error(413, "body_too_large");
    post(&server, SAVE, sized(8 * MIB)).await.assert_error(413, "body_too_large");

    assert_eq!(everything(&server.user("ann")).await, before);
    post(&server, SAVE, body_in_chunks(sized(MIB))).await.expect(201);
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let (server, before) = server_with_a_session().await;
    let body = r#"{"userId":"ann","sessionId":"s","role":"user","content":"x","title":"x"}"#;
    let call = |path: &str| server.request("POST", path).body(body);

    for path in [CREATE, SAVE, UPDATE, DELETE] {
        call(path).send().await.assert_error(415, "unsupported_media_type");
        let twice = call(path).header("content-type", "application/json");
        let twice = twice.header("content-type", "text/plain").send().await;
        twice.assert_error(415, "unsupported_media_type");
        for kind in [
            "",
            "text/plain",
            "text/plain;charset=UTF-8",
            "text/plain; application/json",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/jsonp",
            "application/json+x",
            "application/merge-patch+json",
            "application/json, text/plain",
            "text/plain, application/json",
            "application/json; charset=utf-7",
            "application/json; charset=utf-16",
            "application/json; charset=latin1",
            "application",
            "*/*",
            "json",
            "\u{fc}",
        ] {
            let reply = call(path).header("content-type", kind).send().await;
            assert_eq!(reply.status.as_u16(), 415, "{path} {kind}");
            reply.assert_error(415, "unsupported_media_type");
        }
    }
    assert_eq!(everything(&server.user("ann")).await, before);

    for kind in ["application/json", "Application/JSON;charset=UTF-8", "application/json ; a=b"] {
        call(SAVE).header("content-type", kind).send().await.expect(201);
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
async fn unknown_members_are_ignored() {
    let (server, _) = server_with_a_session().await;
    let ann = server.user("ann");
    let extra = json!({
        "sessionId": "t", "firstMessage": "hi", "owner": "bob", "user_id": "bob", "role": "admin",
        "createdAt": "2000-01-01T00:00:00.000Z", "messageCount": 9, "_method": "DELETE", "x": [{}],
    });

    let created = ann.create(extra).await.expect(201);

    assert_eq!((&created["userId"], &created["messageCount"]), (&json!("ann"), &json!(1)));
    assert_eq!(created["createdAt"], "2026-11-23T05:32:17.622Z");
    let overridden = server.get("/api/sessions/t?userId=ann&_method=DELETE");
    overridden.header("x-http-method-override", "DELETE").send().await.expect(200);
    ann.session("t").await.expect(200);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_not_found() {
    let (server, before) = server_with_a_session().await;
    let paths = [
        "/api",
        "/api/sessions",
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
    let gets = ["/", "/health", "/ready", "/api/sessions/list", "/api/sessions/messages"];
    let gets = gets.iter().chain(&["/api/sessions/get", "/api/sessions/s"]);
    let allowed = gets.map(|path| (*path, "GET,HEAD"));

    for (path, allowed) in allowed.chain([CREATE, SAVE, UPDATE, DELETE].map(|path| (path, "POST")))
    {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            if allowed.split(',').any(|known| known == method) {
                continue;
            }
            let call: Call<'_> = server.request(method, &format!("{path}?userId=ann"));
            let reply = call.header("content-type", "application/json").send().await;
            assert_eq!(reply.status.as_u16(), 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
            if method != "HEAD" {
                reply.assert_error(405, "method_not_allowed");
            }
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
