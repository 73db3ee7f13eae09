//! Updates as they happen: each once, in order, to whom it concerns, and after a pause too.

mod crowd;
mod endings;
mod slow;
mod tickets;

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{By, Call, EITHER, Mode, Setup, TestServer, encode};

#[tokio::test]
async fn each_change_is_told_with_what_has_become_of_it() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let mut listener = ann.listen(by, "").await;

        let session = ann.create(json!({ "title": "Tides" })).await.expect(201);
        let id = session["sessionId"].as_str().unwrap();
        let message = ann.save_message(id, "user", "How high?").await.expect(201);
        let path = format!("/api/sessions/{id}/messages/{}", message["id"].as_str().unwrap());
        let edit = ann.request("PATCH", &path).header("content-type", "application/json");
        let edited =
            edit.body(json!({ "content": "How low?" }).to_string()).send().await.expect(200);
        ann.request("DELETE", &path).send().await.expect(200);
        let titled = json!({ "sessionId": id, "title": "Moons" });
        let updated = ann.post("/api/sessions/update", titled).await.expect(200);
        ann.delete(id).await.expect(200);

        let created = listener.hear().await;
        assert_eq!(created["type"], "session.created");
        assert_eq!((&created["sessionId"], &created["session"]), (&json!(id), &session));
        assert_eq!(created["at"], session["createdAt"]);
        assert!(created["cursor"].is_string() && created["message"].is_null(), "{created}");
        let saved = listener.hear().await;
        assert_eq!((&saved["type"], &saved["message"]), (&json!("message.created"), &message));
        assert_eq!(saved["session"]["lastMessage"], "How high?");
        let event = listener.hear().await;
        assert_eq!((&event["type"], &event["message"]), (&json!("message.updated"), &edited));
        let event = listener.hear().await;
        assert_eq!(event["type"], "message.deleted");
        assert_eq!(event["message"], json!({ "id": message["id"] }));
        assert_eq!(event["session"]["messageCount"], 0);
        let event = listener.hear().await;
        assert_eq!((&event["type"], &event["session"]), (&json!("session.updated"), &updated));
        let event = listener.hear().await;
        assert_eq!((&event["type"], &event["sessionId"]), (&json!("session.deleted"), &json!(id)));
        assert!(event["session"].is_null() && event["message"].is_null(), "{event}");
    }
}

#[tokio::test]
async fn an_event_stream_is_one_that_browsers_and_proxies_understand() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let mut listener = ann.listen(By::Stream, "").await;
    let stream = listener.stream();

    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-cache, no-transform");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    let began_at = stream.last_id.clone();
    let metadata = serde_json::value::RawValue::from_string("{\"a\":\n1}".to_owned()).unwrap();
    let body = format!(r#"{{"userId":"ann","sessionId":"s","title":"t","metadata":{metadata}}}"#);
    server.post("/api/sessions/create", body).send().await.expect(201);
    assert_eq!(listener.hear().await["session"]["metadata"], json!({ "a": 1 }));

    // Who was cut off before the first event has missed nothing.
    let mut again = ann.resume(By::Stream, &began_at).await;
    assert_eq!(again.hear().await["sessionId"], "s");
}

#[tokio::test]
async fn a_listener_to_one_session_hears_of_that_alone() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let (tides, moons) = (ann.create_session("tides").await, ann.create_session("moons").await);
        let mut listener = ann.listen(by, &format!("sessionId={}", encode(&tides))).await;

        ann.save_message(&moons, "user", "not this").await.expect(201);
        ann.save_message(&tides, "user", "this").await.expect(201);

        assert_eq!(listener.hear_of().await, ["message.created this"]);
    }
}

#[tokio::test]
async fn nobody_hears_of_anothers_sessions() {
    let server = Setup::new(Mode::Jwt).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let session = ann.create_session("hers").await;
    for by in EITHER {
        let mut listener = bob.listen(by, "").await;

        ann.save_message(&session, "user", "hers too").await.expect(201);
        bob.create(json!({ "title": "his" })).await.expect(201);

        assert_eq!(listener.hear_of().await, ["session.created his"]);
        for id in [&session, "none"] {
            let path = format!("{}?sessionId={}", by.path(), encode(id));
            let refused = upgrading(bob.request("GET", &path), by).send().await;
            refused.assert_error(404, "session_not_found");
        }
    }
}

#[tokio::test]
async fn who_was_away_hears_what_happened_meanwhile_and_then_goes_on() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let session = ann.create_session("hi").await;
        let mut listener = ann.listen(by, "").await;
        ann.save_message(&session, "user", "one").await.expect(201);
        let heard = listener.hear().await;
        let cursor = heard["cursor"].as_str().unwrap();
        drop(listener);

        ann.save_message(&session, "user", "two").await.expect(201);
        ann.save_message(&session, "user", "three").await.expect(201);
        let mut listener = ann.resume(by, cursor).await;
        ann.save_message(&session, "user", "four").await.expect(201);

        let expected = ["two", "three", "four"].map(|text| format!("message.created {text}"));
        assert_eq!(listener.hear_of().await, expected);
    }
}

#[tokio::test]
async fn large_messages_are_heard_of_afterwards_too() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let mut cursor = {
        let mut listener = ann.listen(By::Stream, "").await;
        ann.create(json!({ "sessionId": "s" })).await.expect(201);
        listener.hear().await["cursor"].as_str().unwrap().to_owned()
    };
    let texts = ["a", "b", "c"].map(|letter| letter.repeat(300_000));
    for text in &texts {
        ann.save_message("s", "tool", text).await.expect(201);
    }

    for text in texts {
        let event = ann.resume(By::Stream, &cursor).await.hear().await;
        assert_eq!(event["message"]["content"], text);
        event["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
}

#[tokio::test]
async fn a_browsers_last_event_counts_more_than_the_cursor_in_its_url() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let session = ann.create_session("hi").await;
    let mut listener = ann.listen(By::Stream, "").await;
    for text in ["one", "two"] {
        ann.save_message(&session, "user", text).await.expect(201);
    }
    let [first, second] = [listener.hear().await, listener.hear().await];
    let since = format!("since={}", first["cursor"].as_str().unwrap());

    let mut again = ann.listen_after(By::Stream, &since, second["cursor"].as_str()).await;
    ann.save_message(&session, "user", "three").await.expect(201);

    assert_eq!(again.hear_of().await, ["message.created three"]);
}

#[tokio::test]
async fn a_cursor_of_another_file_is_answered_with_resync_and_what_comes() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut elsewhere = other.user("ann").listen(By::Stream, "").await;
    other.user("ann").create_session("hi").await;
    let cursor = elsewhere.hear().await["cursor"].as_str().unwrap().to_owned();
    let ann = server.user("ann");
    for by in EITHER {
        ann.create_session("before").await;

        let mut listener = ann.resume(by, &cursor).await;
        let resync = listener.hear().await;
        ann.create(json!({ "title": "after" })).await.expect(201);

        assert_eq!(resync["type"], "resync");
        assert!(resync["cursor"].is_string() && resync["at"].is_string(), "{resync}");
        assert_eq!(listener.hear_of().await, ["session.created after"]);
    }
}

#[tokio::test]
async fn a_cursor_of_long_ago_is_answered_with_resync() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let mut listener = ann.listen(By::Stream, "").await;
    let session = ann.create_session("hi").await;
    let cursor = listener.hear().await["cursor"].as_str().unwrap().to_owned();
    // The newest changes are kept at hand for those who listen.
    drop(listener);
    server.clock().fetch_add(8 * 24 * 60 * 60 * 1_000_000, Ordering::SeqCst);

    ann.save_message(&session, "user", "again").await.expect(201);

    // The log is cut when there is nothing else to do.
    let resync = loop {
        let mut listener = ann.resume(By::Stream, &cursor).await;
        let first = listener.hear().await;
        if first["type"] == "resync" {
            break first;
        }
    };

    let mut listener = ann.resume(By::Socket, resync["cursor"].as_str().unwrap()).await;
    ann.save_message(&session, "user", "more").await.expect(201);
    assert_eq!(listener.hear_of().await, ["message.created more"]);
}

#[tokio::test]
async fn what_is_no_cursor_is_refused() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for by in EITHER {
        for cursor in ["x", "", "AAAA", "%00"] {
            let path = format!("{}?since={cursor}", by.path());
            let refused = upgrading(ann.request("GET", &path), by).send().await;
            refused.assert_error(400, "invalid_since");
        }
    }
    let call = ann.request("GET", "/api/events").header("last-event-id", b"\xff");
    call.send().await.assert_error(400, "invalid_since");
}

/// What a socket asks for besides, so that its refusal can be read.
pub(crate) fn upgrading(call: Call<'_>, by: By) -> Call<'_> {
    if by == By::Stream {
        return call;
    }
    call.header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn who_only_asks_is_served_when_too_many_listen() {
    let server = Setup::new(Mode::Off).limits(|limits| limits.listeners = 2).start().await;
    let ann = server.user("ann");
    let (_first, second) = (ann.listen(By::Stream, "").await, ann.listen(By::Socket, "").await);

    for by in EITHER {
        let path = format!("{}?userId=ann", by.path());
        let refused = upgrading(server.get(&path), by).send().await;
        refused.assert_error(503, "too_many_listeners");
    }
    ann.create(json!({})).await.expect(201);

    drop(second);
    let path = format!("{}?userId=ann", By::Stream.path());
    while server.request("HEAD", &path).send().await.status.as_u16() == 503 {}
}
