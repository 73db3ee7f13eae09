//! What no client should send to the routes that name things in their path: each gets its clear
//! error, and nothing is stored.

use serde_json::json;

use crate::bad_input::{everything, server_with_a_session};
use crate::support::{encode, message_path};

const MESSAGES: &str = "/api/sessions/s/messages";

#[tokio::test]
async fn ids_in_a_path_are_ids() {
    let (server, before) = server_with_a_session().await;
    let ann = server.user("ann");

    for id in ["\0", "a\nb", "\u{7f}", "\u{85}", &"\u{e9}".repeat(256)] {
        let session = format!("/api/sessions/{}", encode(id));
        let messages = format!("{session}/messages");
        let said = json!({ "role": "user", "content": "x" });
        for reply in [
            ann.get(&session).await,
            ann.patch(&session, json!({ "title": "x" })).await,
            ann.request("DELETE", &session).send().await,
            ann.get(&messages).await,
            ann.post(&messages, said).await,
            ann.message(id, "m").await,
        ] {
            reply.assert_error(400, "invalid_session_id");
        }
        ann.message("s", id).await.assert_error(400, "invalid_id");
        ann.edit("s", id, json!({ "content": "x" })).await.assert_error(400, "invalid_id");
        ann.delete_message("s", id).await.assert_error(400, "invalid_id");
    }
    for path in ["/api/sessions/%ff", "/api/sessions/s/messages/%ff", "/api/sessions/s%zz"] {
        for method in ["GET", "PATCH", "DELETE"] {
            let call = ann.request(method, path).header("content-type", "application/json");
            call.body("{}").send().await.assert_error(400, "invalid_path");
        }
    }
    ann.get("/api/sessions/%zz/messages").await.assert_error(400, "invalid_path");
    assert_eq!(everything(&ann).await, before);
}

#[tokio::test]
async fn the_longest_ids_are_reached_by_path() {
    let (server, _) = server_with_a_session().await;
    let ann = server.user("ann");
    let longest = "\u{1f600}".repeat(255);

    ann.create(json!({ "sessionId": longest })).await.expect(201);
    ann.say(&longest, &longest, "hi").await.expect(201);
    let edited = ann.edit(&longest, &longest, json!({ "content": "ho" })).await.expect(200);

    assert_eq!(ann.message(&longest, &longest).await.expect(200), edited);
    ann.delete_message(&longest, &longest).await.expect(200);
    assert_eq!(ann.texts(&longest).await, [""; 0]);
}

#[tokio::test]
async fn a_message_that_is_not_well_formed_is_not_saved() {
    let (server, before) = server_with_a_session().await;
    let ann = server.user("ann");
    let message = |member: &str, value| {
        let mut body = json!({ "role": "user", "content": "x" });
        body[member] = value;
        ann.post(MESSAGES, body)
    };

    for (member, value, code) in [
        ("role", json!(null), "missing_role"),
        ("role", json!("bot"), "invalid_role"),
        ("content", json!(null), "missing_content"),
        ("content", json!(""), "invalid_content"),
        ("content", json!("a\0"), "invalid_content"),
        ("content", json!({}), "invalid_json"),
        ("metadata", json!([]), "invalid_metadata"),
        ("id", json!(""), "invalid_id"),
        ("id", json!(7), "invalid_json"),
        ("parentId", json!(""), "invalid_parent_id"),
        ("expectedCount", json!("1"), "invalid_json"),
    ] {
        message(member, value).await.assert_error(400, code);
    }
    assert_eq!(everything(&ann).await, before);
}

#[tokio::test]
async fn a_change_that_is_not_well_formed_is_not_made() {
    let (server, _) = server_with_a_session().await;
    let ann = server.user("ann");
    ann.say("s", "m", "hi").await.expect(201);
    let before = everything(&ann).await;
    let message = message_path("s", "m");

    for (path, body, code) in [
        ("/api/sessions/s", json!({ "title": "" }), "invalid_title"),
        ("/api/sessions/s", json!({ "title": "x".repeat(501) }), "invalid_title"),
        ("/api/sessions/s", json!({ "title": "x", "metadata": 1 }), "invalid_metadata"),
        ("/api/sessions/s", json!({ "title": "x", "archived": "yes" }), "invalid_json"),
        ("/api/sessions/s", json!({ "title": "x", "tags": [""] }), "invalid_tags"),
        ("/api/sessions/s", json!({ "title": "x", "expiresAt": "soon" }), "invalid_expires_at"),
        (
            "/api/sessions/s",
            json!({ "title": "x", "expiresAt": "2001-01-01" }),
            "invalid_expires_at",
        ),
        (
            "/api/sessions/s",
            json!({ "title": "x", "expiresAt": 4_102_444_800_u64 }),
            "invalid_json",
        ),
        (&message, json!({ "content": "" }), "invalid_content"),
        (&message, json!({ "content": "a\0" }), "invalid_content"),
        (&message, json!({ "content": 1 }), "invalid_json"),
        (&message, json!({ "content": "x", "metadata": [] }), "invalid_metadata"),
        (&message, json!({ "content": "x", "parts": {} }), "invalid_parts"),
    ] {
        ann.patch(path, body.clone()).await.assert_error(400, code);
    }
    for path in ["/api/sessions/s", &message] {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "\"x\"",
            "{\"title\":\"x\"}}",
            "{\"title\":\"x\",\"title\":\"y\",\"content\":\"x\",\"content\":\"y\"}",
        ] {
            let call = ann.request("PATCH", path).header("content-type", "application/json");
            call.body(body).send().await.assert_error(400, "invalid_json");
        }
        let call = ann.request("PATCH", path).header("content-type", "application/json");
        let large = format!("{{\"content\":\"{}\"}}", "x".repeat(1 << 20));
        call.body(large).send().await.assert_error(413, "body_too_large");
    }
    assert_eq!(everything(&ann).await, before);
}

#[tokio::test]
async fn a_history_by_path_refuses_what_the_other_does() {
    let (server, _) = server_with_a_session().await;
    let ann = server.user("ann");

    for (query, code) in [
        ("limit=0", "invalid_limit"),
        ("limit=x", "invalid_limit"),
        ("order=up", "invalid_order"),
        ("cursor=x", "invalid_cursor"),
        ("limit=1&limit=2", "invalid_query"),
        ("sessionId=%ff", "invalid_query"),
    ] {
        ann.get(&format!("{MESSAGES}?{query}")).await.assert_error(400, code);
    }
}
