//! Bodies that no client should send: each gets its clear error, and nothing is stored.

use axum::body::Body;
use serde_json::json;

use crate::bad_input::{everything, server_with_a_session};
use crate::support::{Reply, TestServer, body_in_chunks};

const CREATE: &str = "/api/sessions/create";
const SAVE: &str = "/api/sessions/save-message";
const UPDATE: &str = "/api/sessions/update";
const DELETE: &str = "/api/sessions/delete";
const MIB: usize = 1024 * 1024;

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
        let wrong = [json!(7), json!(true), json!(["s"]), json!({ "s": 1 })];
        for (name, value) in names.iter().flat_map(|name| wrong.iter().map(move |v| (name, v))) {
            let mut body = good.clone();
            body[*name] = value.clone();
            let reply = post(&server, path, body.to_string()).await;
            let error = reply.assert_error(400, "invalid_json");
            let text = error["error"].as_str().unwrap();
            assert!(text.contains(name), "{path} {name} {value}: {text}");
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

    for (path, name, code) in [
        (SAVE, "sessionId", "missing_session_id"),
        (SAVE, "role", "missing_role"),
        (SAVE, "content", "missing_content"),
        (UPDATE, "sessionId", "missing_session_id"),
        (DELETE, "sessionId", "missing_session_id"),
    ] {
        let (mut absent, mut null) = (whole.clone(), whole.clone());
        absent.as_object_mut().unwrap().remove(name);
        null[name] = json!(null);
        for body in [absent, null] {
            let error = post(&server, path, body.to_string()).await.assert_error(400, code);
            assert_eq!(error["error"], format!("{name} is missing"), "{path}");
        }
    }
    let get = server.user("ann").get("/api/sessions/get").await;
    get.assert_error(400, "missing_session_id");
    assert_eq!(everything(&server.user("ann")).await, before);
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
