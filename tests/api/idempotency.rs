//! Requests that are sent again under one `Idempotency-Key` are done once.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Call, Mode, Reply, Setup, TestServer, User, all_at_once};

const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";
const HOURS: u64 = 3_600_000_000;

/// Every POST, each of which would do something if it were done twice, or be refused.
fn posts<'a>(user: &User<'a>) -> Vec<Call<'a>> {
    let said = json!({ "sessionId": "s", "role": "user", "content": "hi" });
    let post = |path: &str, body: &Value| user.posting(path, body.clone());
    vec![
        post("/api/sessions/create", &json!({ "firstMessage": "one more" })),
        post("/api/sessions", &json!({ "firstMessage": "one more" })),
        post("/api/sessions/save-message", &said),
        post("/api/sessions/s/messages", &said),
        post("/api/sessions/update", &json!({ "sessionId": "s", "title": "t" })),
        post("/api/sessions/update", &json!({ "sessionId": "s" })),
        post("/api/sessions/delete", &json!({ "sessionId": "s" })),
    ]
}

/// A server where ann has a session `s`.
async fn server_with_a_session() -> TestServer {
    let server = TestServer::start().await;
    server.user("ann").create(json!({ "sessionId": "s" })).await.expect(201);
    server
}

/// What can be seen of a user's sessions and of the messages in `s`.
async fn everything(user: &User<'_>) -> Value {
    json!([user.sessions().await, user.history("s").await.json().get("messages")])
}

/// Checks that `again` is the answer `first`, given again.
#[track_caller]
fn assert_replayed(first: &Reply, again: &Reply) {
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(first.header(REPLAYED), None, "not the first time");
    assert_eq!(again.header(REPLAYED), Some("true"));
}

/// Begins a session under one key, always the same.
async fn create_once(user: &User<'_>, title: &str) -> Reply {
    user.posting("/api/sessions", json!({ "title": title })).header(KEY, "k").send().await
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_before_and_not_done_again() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");

    for number in 0..posts(&ann).len() {
        let call = || posts(&ann).swap_remove(number).header(KEY, format!("key {number}"));
        let first = call().send().await;
        assert!(first.status.is_success(), "{number}: {}", first.text());
        let after = everything(&ann).await;
        server.clock().fetch_add(1_000_000, Ordering::SeqCst);

        for _ in 0..2 {
            assert_replayed(&first, &call().send().await);
        }
        assert_eq!(everything(&ann).await, after, "{number}");
    }
    ann.session("s").await.assert_error(404, "session_not_found");
}

#[tokio::test]
async fn a_key_is_good_for_one_body_and_path() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let first = ann.posting("/api/sessions", json!({ "title": "t" })).header(KEY, "k");
    let first = first.send().await;
    first.expect(201);
    let after = everything(&ann).await;

    let others = [
        ann.posting("/api/sessions", json!({ "title": "u" })),
        ann.posting("/api/sessions", json!({ "title": "t", "unknown": 1 })),
        ann.posting("/api/sessions/create", json!({ "title": "t" })),
        ann.posting("/api/sessions?x=1", json!({ "title": "t" })),
    ];
    for other in others.into_iter().chain(posts(&ann)) {
        let error = other.header(KEY, "k").send().await.assert_error(422, "idempotency_key_reused");
        assert_eq!(error["error"], "idempotency key k was used for another request");
    }
    assert_eq!(everything(&ann).await, after);
    let again = ann.posting("/api/sessions", json!({ "title": "t" })).header(KEY, "k");
    assert_replayed(&first, &again.send().await);
}

#[tokio::test]
async fn a_key_is_its_users_own() {
    for mode in [Mode::Off, Mode::Jwt] {
        let server = Setup::new(mode).start().await;
        let (ann, bob) = (server.user("ann"), server.user("bob"));

        let anns = create_once(&ann, "ann's").await;
        let bobs = create_once(&bob, "bob's").await;

        assert_eq!(anns.expect(201)["userId"], "ann");
        assert_eq!(bobs.expect(201)["userId"], "bob");
        assert_replayed(&anns, &create_once(&ann, "ann's").await);
        assert_replayed(&bobs, &create_once(&bob, "bob's").await);
        assert_eq!((ann.sessions().await.len(), bob.sessions().await.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept_as_nothing_was_done() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let save = || {
        let body = json!({ "sessionId": "t", "role": "user", "content": "hi" });
        ann.posting("/api/sessions/save-message", body).header(KEY, "k").send()
    };

    save().await.assert_error(404, "session_not_found");
    let bad = ann.posting("/api/sessions", json!({ "sessionId": "" })).header(KEY, "k");
    bad.send().await.assert_error(400, "invalid_session_id");
    let stale = ann.posting("/api/sessions/update", json!({ "sessionId": "s", "title": "t" }));
    let stale = stale.header(KEY, "k").header("if-match", "\"old\"").send().await;
    assert_eq!(stale.status.as_u16(), 412);
    assert_eq!(stale.header(REPLAYED), None);

    ann.create(json!({ "sessionId": "t" })).await.expect(201);
    let saved = save().await;
    assert_eq!(saved.header(REPLAYED), None);
    assert_replayed(&saved, &save().await);
    assert_eq!(ann.texts("t").await, ["hi"]);
}

#[tokio::test]
async fn twins_that_arrive_at_once_are_done_once() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let body = json!({ "role": "user", "content": "once" });
    let twin = || ann.posting("/api/sessions/s/messages", body.clone()).header(KEY, "k");

    let replies = all_at_once((0..40).map(|_| twin())).await;

    let first = replies.iter().filter(|reply| reply.header(REPLAYED).is_none());
    assert_eq!(first.count(), 1);
    for reply in &replies {
        assert_eq!((reply.status.as_u16(), &reply.body), (201, &replies[0].body));
    }
    assert_eq!(ann.texts("s").await, ["once"]);
}

#[tokio::test]
async fn a_key_is_one_header_of_1_to_255_ascii_characters() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let before = everything(&ann).await;
    let call = || ann.posting("/api/sessions", json!({}));

    for key in ["".as_bytes(), "k".repeat(256).as_bytes(), "\u{e9}".as_bytes(), b"a\tb", b"\xff"] {
        let refused = call().header(KEY, key).send().await;
        refused.assert_error(400, "invalid_idempotency_key");
    }
    for second in ["a", "b"] {
        let refused = call().header(KEY, "a").header(KEY, second).send().await;
        refused.assert_error(400, "invalid_idempotency_key");
    }
    assert_eq!(everything(&ann).await, before);

    for key in ["k", "\"quoted\"", &"k".repeat(255), "a b,c"] {
        let first = call().header(KEY, key).send().await;
        first.expect(201);
        assert_replayed(&first, &call().header(KEY, key).send().await);
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_24_hours_over_restarts() {
    let server = server_with_a_session().await;
    let first = create_once(&server.user("ann"), "t").await;
    first.expect(201);

    let server = Setup::new(Mode::Off).folder(server.stop().await).start().await;
    assert_replayed(&first, &create_once(&server.user("ann"), "t").await);
    server.clock().fetch_add(24 * HOURS, Ordering::SeqCst);
    assert_replayed(&first, &create_once(&server.user("ann"), "t").await);
    let folder = server.stop().await;

    let server = Setup::new(Mode::Off).folder(folder).start().await;
    assert_replayed(&first, &create_once(&server.user("ann"), "t").await);
    server.clock().fetch_add(24 * HOURS + 1, Ordering::SeqCst);
    let anew = create_once(&server.user("ann"), "t").await;
    assert_eq!(anew.header(REPLAYED), None);
    assert_ne!(anew.expect(201)["sessionId"], first.json()["sessionId"]);
    assert_replayed(&anew, &create_once(&server.user("ann"), "t").await);
    assert_eq!(server.user("ann").sessions().await.len(), 3);
}
