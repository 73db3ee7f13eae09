//! Somebody else's session answers as one that does not exist: same status, headers and bytes.

use serde_json::{Value, json};

use crate::support::{Call, Mode, Reply, Setup, TestServer, User, encode, message_path};

const MODES: [Mode; 3] = [Mode::Off, Mode::Local, Mode::Jwt];

/// Each way in which `user` can ask for session `id`.
fn each_route<'a>(user: &User<'a>, id: &str) -> Vec<Call<'a>> {
    let (id, part) = (json!(id), encode(id));
    let get = |path: String| user.request("GET", &path);
    let post = |path: &str, body: Value| user.posting(path, body);
    let said = json!({ "sessionId": id, "role": "user", "content": "hi", "id": "m1" });
    let mut routes = each_route_by_path(user, &format!("/api/sessions/{part}"));
    routes.extend([
        get(format!("/api/sessions/{part}")),
        get(format!("/api/sessions/get?sessionId={part}")),
        get(format!("/api/sessions/messages?sessionId={part}")),
        get(format!("/api/sessions/messages?sessionId={part}&limit=1&order=desc")),
        user.request("HEAD", &format!("/api/sessions/{part}")),
        user.request("HEAD", &format!("/api/sessions/messages?sessionId={part}")),
        post("/api/sessions/save-message", said),
        post("/api/sessions/update", json!({ "sessionId": id, "title": "mine" })),
        post("/api/sessions/update", json!({ "sessionId": id })),
        post("/api/sessions/update", json!({ "sessionId": id, "metadata": {"a": 1} })),
        post("/api/sessions/delete", json!({ "sessionId": id })),
    ]);
    routes
}

/// Those that name the session in their path, and its message `m1`.
fn each_route_by_path<'a>(user: &User<'a>, session: &str) -> Vec<Call<'a>> {
    let (messages, message) = (format!("{session}/messages"), format!("{session}/messages/m1"));
    let said = json!({ "role": "user", "content": "hi", "id": "m1", "parentId": "m1" });
    let merging = ("content-type", "application/merge-patch+json");
    vec![
        user.request("GET", session).header("if-none-match", "*"),
        user.request("GET", &messages),
        user.request("GET", &format!("{messages}?limit=1&order=desc")).header("if-none-match", "*"),
        user.request("GET", &message),
        user.request("HEAD", &message),
        user.posting(&messages, said.clone()),
        user.posting(&messages, said.clone()).header("if-match", "*"),
        user.posting(&messages, said).header("idempotency-key", "k"),
        user.posting(&messages, json!({ "role": "user", "content": "x", "expectedCount": 9 })),
        user.patching(session, json!({ "title": "mine", "pinned": true, "tags": ["x"] })),
        user.patching(session, json!({})).header("if-match", "\"x\""),
        user.request("PATCH", session).header(merging.0, merging.1).body(r#"{"metadata":{}}"#),
        user.patching(&message, json!({ "content": "mine" })),
        user.patching(&message, json!({})).header("if-match", "\"x\""),
        user.request("DELETE", &message),
        user.request("DELETE", &message).header("if-match", "\"x\""),
        user.request("DELETE", session).header("if-match", "\"x\""),
        user.request("DELETE", session),
    ]
}

/// A status, headers and a body.
type Seen = (u16, Vec<(String, String)>, String);

/// What can be told apart of an answer: everything but its date.
fn seen(reply: &Reply) -> Seen {
    let headers = reply.headers.iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (reply.status.as_u16(), headers.collect(), reply.text().to_owned())
}

async fn see_each_route(user: &User<'_>, id: &str) -> Vec<Seen> {
    let mut all = Vec::new();
    for call in each_route(user, id) {
        all.push(seen(&call.header("x-request-id", "same").send().await));
    }
    all
}

/// Each way in which `user` can ask for a message of their session `bobs`.
async fn see_message(user: &User<'_>, id: &str) -> Vec<Seen> {
    let path = message_path("bobs", id);
    let follow = json!({ "role": "user", "content": "hi", "parentId": id });
    let calls = [
        user.request("GET", &path),
        user.patching(&path, json!({ "content": "mine" })).header("if-match", "*"),
        user.request("DELETE", &path),
        user.posting("/api/sessions/bobs/messages", follow),
    ];
    let mut all = Vec::new();
    for call in calls {
        all.push(seen(&call.header("x-request-id", "same").send().await));
    }
    all
}

/// Everything that a user can see of a session.
async fn everything(user: &User<'_>, session: &str) -> (Value, Value, Vec<Value>) {
    let (session, history) = (user.session(session).await, user.history(session).await);
    (session.expect(200), history.expect(200), user.sessions().await)
}

#[tokio::test]
async fn anothers_session_cannot_be_told_from_one_that_never_was_or_was_deleted() {
    for mode in MODES {
        let server = Setup::new(mode).start().await;
        let (ann, bob) = (server.user("ann@example.org"), server.user("bob"));

        let never_was = see_each_route(&bob, "notes").await;
        let body = json!({ "sessionId": "notes", "firstMessage": "secret", "metadata": {"k": 1} });
        ann.create(body).await.expect(201);
        ann.say("notes", "m1", "more").await.expect(201);
        let before = everything(&ann, "notes").await;
        let anothers = see_each_route(&bob, "notes").await;
        assert_eq!(everything(&ann, "notes").await, before);
        ann.delete("notes").await.expect(200);
        let deleted = see_each_route(&bob, "notes").await;
        let deleted_by_oneself = see_each_route(&ann, "notes").await;

        assert!(never_was.iter().all(|(status, ..)| *status == 404), "{never_was:?}");
        assert!(never_was[0].2.contains("session_not_found"), "{}", never_was[0].2);
        assert_eq!(anothers, never_was, "{mode:?}");
        assert_eq!(deleted, never_was, "{mode:?}");
        assert_eq!(deleted_by_oneself, never_was, "{mode:?}");
    }
}

#[tokio::test]
async fn a_session_that_was_saved_long_ago_is_hidden_too() {
    let server = TestServer::start().await;
    server.user("ann").create(json!({ "sessionId": "notes" })).await.expect(201);
    let server = Setup::new(Mode::Off).folder(server.stop().await).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));

    let anothers = see_each_route(&bob, "notes").await;
    let never_was = see_each_route(&bob, "never").await;

    assert_eq!(anothers, never_was);
    ann.session("notes").await.expect(200);
}

#[tokio::test]
async fn a_message_to_someone_elses_session_is_refused_as_not_found() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let session = ann.create_session("notes").await;

    let reply = bob.save_message(&session, "user", "hi").await;

    reply.assert_error(404, "session_not_found");
    assert_eq!(ann.texts(&session).await, ["notes"]);
}

#[tokio::test]
async fn an_id_that_somebody_else_has_can_not_be_chosen_until_it_is_free() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    ann.create(json!({ "sessionId": "notes", "firstMessage": "ann's" })).await.expect(201);
    let before = everything(&ann, "notes").await;

    let body = json!({ "sessionId": "notes", "firstMessage": "bob's" });
    let refused = bob.create(body.clone()).await;
    refused.assert_error(409, "session_id_taken");
    assert!(!refused.text().contains("ann"), "{}", refused.text());
    assert_eq!(everything(&ann, "notes").await, before);
    assert!(bob.sessions().await.is_empty());

    ann.delete("notes").await.expect(200);
    bob.create(body).await.expect(201);
    assert_eq!(bob.texts("notes").await, ["bob's"]);
    ann.session("notes").await.assert_error(404, "session_not_found");
}

#[tokio::test]
async fn message_ids_belong_to_their_session() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let sessions = [
        (&ann, ann.create_session("1").await),
        (&ann, ann.create_session("2").await),
        (&bob, bob.create_session("3").await),
    ];
    let minted = ann.save_message(&sessions[0].1, "user", "minted").await.expect(201);

    for id in ["chosen", minted["id"].as_str().unwrap()] {
        for (user, session) in &sessions[1..] {
            let content = format!("{session} says {id}");
            let body =
                json!({ "sessionId": session, "role": "user", "content": content, "id": id });
            let saved = user.post("/api/sessions/save-message", body).await.expect(201);
            assert_eq!((&saved["id"], &saved["content"]), (&json!(id), &json!(content)));
        }
    }
    assert_eq!(ann.texts(&sessions[0].1).await, ["1", "minted"]);
    assert_eq!(bob.texts(&sessions[2].1).await.len(), 3);
}

#[tokio::test]
async fn anothers_message_cannot_be_told_from_one_that_never_was() {
    for mode in MODES {
        let server = Setup::new(mode).start().await;
        let (ann, bob) = (server.user("ann"), server.user("bob"));
        for (user, session) in [(&ann, "anns"), (&bob, "bobs")] {
            user.create(json!({ "sessionId": session })).await.expect(201);
        }
        let never_was = see_message(&bob, "secret").await;
        ann.say("anns", "secret", "text").await.expect(201);
        let minted = ann.save_message("anns", "user", "text").await.expect(201);
        let before = everything(&ann, "anns").await;

        assert!(never_was.iter().all(|(status, ..)| *status == 404), "{never_was:?}");
        assert!(never_was[0].2.contains("message_not_found"), "{}", never_was[0].2);
        assert_eq!(see_message(&bob, "secret").await, never_was, "{mode:?}");
        assert_eq!(see_message(&bob, minted["id"].as_str().unwrap()).await, never_was, "{mode:?}");
        assert_eq!(everything(&ann, "anns").await, before);
        assert_eq!(bob.texts("bobs").await, [""; 0]);
    }
}

#[tokio::test]
async fn anothers_cursor_leads_to_nothing_of_theirs() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    for text in ["a1", "b1", "a2", "b2", "a3"] {
        let user = if text.starts_with('a') { &ann } else { &bob };
        user.create(json!({ "sessionId": text, "firstMessage": text })).await.expect(201);
    }
    ann.save_message("a1", "user", "more").await.expect(201);

    for order in ["sortOrder=desc", "sortOrder=asc", "sortBy=createdAt"] {
        let list = format!("/api/sessions/list?limit=1&{order}");
        let page = ann.get(&list).await.expect(200);
        let cursor = page["nextCursor"].as_str().unwrap();
        let theirs = bob.get(&format!("{list}&limit2=9&cursor={cursor}")).await.expect(200);
        for session in theirs["sessions"].as_array().unwrap() {
            assert_eq!(session["userId"], "bob", "{theirs}");
        }
    }
    let page = ann.get("/api/sessions/messages?sessionId=a1&limit=1").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let path = |id: &str| format!("/api/sessions/messages?sessionId={id}&limit=9&cursor={cursor}");
    bob.get(&path("a1")).await.assert_error(404, "session_not_found");
    assert!(!bob.get(&path("b1")).await.text().contains("more"));
}
