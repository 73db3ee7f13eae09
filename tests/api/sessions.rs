//! Creating, reading, updating and deleting sessions.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{START_MICROS, TestServer, User};

const UPDATE: &str = "/api/sessions/update";

#[track_caller]
fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Checks that a session's `messageCount` is the number of messages that are stored.
async fn assert_counted(user: &User<'_>, session: &str, count: usize) {
    assert_eq!(user.session(session).await.expect(200)["messageCount"], count);
    assert_eq!(user.texts(session).await.len(), count);
}

#[tokio::test]
async fn a_session_that_was_told_nothing_is_empty() {
    let server = TestServer::start().await;

    let created = server.user("ann").create(json!({})).await.expect(201);

    let id = created["sessionId"].as_str().unwrap();
    assert_eq!(uuid::Uuid::try_parse(id).unwrap().get_version_num(), 7);
    let shown = json!({
        "sessionId": id,
        "userId": "ann",
        "title": "New Chat",
        "firstMessage": null,
        "lastMessage": null,
        "messageCount": 0,
        "createdAt": "2026-11-23T05:32:17.622Z",
        "updatedAt": "2026-11-23T05:32:17.622Z",
        "metadata": {},
        "archived": false,
        "pinned": false,
        "tags": [],
    });
    assert_eq!(created, shown);
    assert_counted(&server.user("ann"), id, 0).await;
}

#[tokio::test]
async fn the_first_message_is_stored_and_said_by_the_user() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let text = "  What is \"a\u{1f600}\"?\n";

    let created = ann.create(json!({ "firstMessage": text })).await.expect(201);

    assert_eq!(created["firstMessage"], text);
    assert_eq!(created["lastMessage"], text);
    assert_eq!(created["messageCount"], 1);
    let session = created["sessionId"].as_str().unwrap();
    let history = ann.history(session).await.expect(200);
    assert_eq!(members(&history), ["count", "messages"]);
    let message = &history["messages"][0];
    let known = ["content", "id", "metadata", "role", "sessionId", "timestamp"];
    assert_eq!(members(message), known);
    assert_eq!((&message["role"], &message["content"]), (&json!("user"), &json!(text)));
    assert_eq!((&message["sessionId"], &message["metadata"]), (&json!(session), &json!({})));
    assert_eq!(message["timestamp"], created["createdAt"]);
    assert_counted(&ann, session, 1).await;
}

#[tokio::test]
async fn a_blank_first_message_is_none() {
    let server = TestServer::start().await;
    let ann = server.user("ann");

    for blank in [json!(""), json!(" \n\t"), json!("\u{3000}"), json!(null)] {
        let created = ann.create(json!({ "firstMessage": blank })).await.expect(201);
        assert_eq!(created["firstMessage"], json!(null), "{blank}");
        assert_eq!(created["title"], "New Chat");
        assert_counted(&ann, created["sessionId"].as_str().unwrap(), 0).await;
    }
}

#[tokio::test]
async fn a_title_is_given_or_the_start_of_the_first_message() {
    let server = TestServer::start().await;
    let fifty = "\u{1f600}".repeat(50);

    for (body, title) in [
        (json!({ "title": "Notes", "firstMessage": "hi" }), "Notes"),
        (json!({ "title": "Notes" }), "Notes"),
        (json!({ "firstMessage": " hi \n" }), "hi"),
        (json!({ "title": null, "firstMessage": "hi" }), "hi"),
        (json!({ "title": "", "firstMessage": "hi" }), "hi"),
        (json!({ "title": " ", "firstMessage": " " }), "New Chat"),
        (json!({ "firstMessage": fifty }), &fifty),
        (json!({ "firstMessage": format!(" {fifty} ") }), &fifty),
        (json!({ "firstMessage": format!("{fifty}x") }), &format!("{fifty}...")),
    ] {
        let created = server.user("ann").create(body.clone()).await.expect(201);
        assert_eq!(created["title"], title, "{body}");
    }
}

#[tokio::test]
async fn creating_a_session_again_returns_it_as_it_is() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let body = json!({ "sessionId": "session_1759299395565_p0vtcs0b9f", "firstMessage": "hi" });
    let created = ann.create(body.clone()).await.expect(201);
    let session = created["sessionId"].as_str().unwrap();

    server.clock().fetch_add(1_000_000, Ordering::SeqCst);
    assert_eq!(ann.create(body.clone()).await.expect(200), created);

    ann.save_message(session, "assistant", "hello").await.expect(201);
    let now = ann.session(session).await.expect(200);
    let other = json!({ "sessionId": session, "firstMessage": "else", "title": "else" });
    assert_eq!(ann.create(other).await.expect(200), now);
    assert_counted(&ann, session, 2).await;
}

#[tokio::test]
async fn previews_are_whole_up_to_2000_characters_and_histories_always() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let whole = "\u{e9}".repeat(2000);
    let longer = format!("{whole}x");

    let session = ann.create_session(&longer).await;
    ann.save_message(&session, "assistant", &whole).await.expect(201);
    let shown = ann.session(&session).await.expect(200);
    assert_eq!(shown["firstMessage"], format!("{whole}..."));
    assert_eq!(shown["lastMessage"], whole);

    ann.save_message(&session, "assistant", &longer).await.expect(201);
    assert_eq!(ann.sessions().await[0]["lastMessage"], format!("{whole}..."));
    assert_eq!(ann.texts(&session).await, [longer.clone(), whole, longer]);
}

#[tokio::test]
async fn the_first_message_of_a_session_created_empty_is_the_first_that_is_saved() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let created = ann.create(json!({ "sessionId": "s" })).await.expect(201);

    ann.save_message("s", "system", "one").await.expect(201);
    ann.save_message("s", "user", "two").await.expect(201);

    let shown = ann.session("s").await.expect(200);
    assert_eq!((&shown["firstMessage"], &shown["lastMessage"]), (&json!("one"), &json!("two")));
    assert_eq!(shown["title"], created["title"]);
    assert_counted(&ann, "s", 2).await;
}

#[tokio::test]
async fn both_routes_give_the_same_session_whatever_its_id() {
    let server = TestServer::start().await;
    let ann = server.user("ann");

    for id in ["s", "a/b", "a b+c%20", "..", "%", "list", "\u{e9}\u{1f600}", "a?b#c&d=e", "\""] {
        let created = ann.create(json!({ "sessionId": id })).await.expect(201);
        assert_eq!(created["sessionId"], id);
        let query = format!("/api/sessions/get?sessionId={}", crate::support::encode(id));
        assert_eq!(ann.get(&query).await.expect(200), created, "{id}");
        // The names of other routes are taken in the path.
        if id != "list" {
            assert_eq!(ann.session(id).await.expect(200), created, "{id}");
        }
        ann.save_message(id, "user", "hi").await.expect(201);
        assert_counted(&ann, "s", 1).await;
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let body = json!({ "sessionId": "s", "firstMessage": "hi", "metadata": { "a": 1, "b": 2 } });
    let mut expected = ann.create(body).await.expect(201);

    for (seconds, update) in [
        (1, json!({ "title": "Notes" })),
        (2, json!({ "metadata": { "c": 3 } })),
        (3, json!({ "title": "More", "metadata": {} })),
        (4, json!({ "title": "Again", "metadata": null })),
    ] {
        server.clock().store(START_MICROS + seconds * 1_000_000, Ordering::SeqCst);
        for name in ["title", "metadata"].iter().filter(|name| !update[**name].is_null()) {
            expected[*name] = update[*name].clone();
        }
        expected["updatedAt"] = json!(format!("2026-11-23T05:32:{}.622Z", 17 + seconds));
        let mut body = update.clone();
        body["sessionId"] = json!("s");
        assert_eq!(ann.post(UPDATE, body).await.expect(200), expected, "{update}");
        assert_eq!(ann.session("s").await.expect(200), expected);
    }
    assert_counted(&ann, "s", 1).await;
}

#[tokio::test]
async fn an_update_of_nothing_changes_nothing() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let created = ann.create(json!({ "sessionId": "s", "title": "Notes" })).await.expect(201);
    server.clock().fetch_add(5_000_000, Ordering::SeqCst);

    for body in [
        json!({ "sessionId": "s" }),
        json!({ "sessionId": "s", "title": null, "metadata": null }),
        json!({ "sessionId": "s", "messageCount": 7, "createdAt": "x", "firstMessage": "y" }),
    ] {
        assert_eq!(ann.post(UPDATE, body).await.expect(200), created);
    }
    assert_eq!(ann.session("s").await.expect(200), created);
}

#[tokio::test]
async fn a_deleted_session_is_gone_with_its_messages() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "old" })).await.expect(201);
    ann.create(json!({ "sessionId": "kept", "firstMessage": "kept" })).await.expect(201);

    ann.delete("s").await.expect(200);

    ann.delete("s").await.assert_error(404, "session_not_found");
    ann.save_message("s", "user", "hi").await.assert_error(404, "session_not_found");
    assert_eq!(ann.sessions().await.len(), 1);
    assert_eq!(ann.texts("kept").await, ["kept"]);

    let again = ann.create(json!({ "sessionId": "s" })).await.expect(201);
    assert_eq!(again["messageCount"], 0);
    assert_counted(&ann, "s", 0).await;
}
