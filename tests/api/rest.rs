//! Paths that name what they are about: each does what the older route for the same verb does.

use serde_json::{Value, json};

use crate::support::{Call, Reply, TestServer, User, encode, message_path};

/// With what a path segment cannot hold as it is.
const ID: &str = "a/b c?\u{e9}";

/// What a client sees of an answer.
fn seen(reply: &Reply) -> (u16, Option<&str>, &str) {
    (reply.status.as_u16(), reply.header("etag"), reply.text())
}

/// The same deeds by the older routes and by the newer ones.
fn deeds<'a>(user: &User<'a>) -> Vec<(Call<'a>, Call<'a>)> {
    let path = format!("/api/sessions/{}", encode(ID));
    let messages = format!("{path}/messages");
    let of_session = |mut body: Value| {
        body["sessionId"] = json!(ID);
        body
    };
    let new = json!({ "sessionId": ID, "title": "notes", "metadata": {"k": [1.0]}, "tags": ["a"] });
    let said = json!({ "role": "user", "content": "hi", "id": "m" });
    let more = json!({ "role": "tool", "content": "ho", "id": "n", "metadata": {"n": 1} });
    let change = json!({ "title": "more", "archived": true });
    let old_messages = format!("/api/sessions/messages?sessionId={}", encode(ID));
    let get = |path: &str| user.request("GET", path);
    let post = |path: &str, body: &Value| user.posting(path, body.clone());
    let save = |body: &Value| {
        let old = post("/api/sessions/save-message", &of_session(body.clone()));
        (old, post(&messages, body))
    };
    vec![
        (post("/api/sessions/create", &new), post("/api/sessions", &new)),
        (post("/api/sessions/create", &new), post("/api/sessions", &new)),
        save(&said),
        save(&said),
        save(&more),
        (get("/api/sessions/list"), get("/api/sessions")),
        (
            get("/api/sessions/list?limit=1&sortOrder=asc"),
            get("/api/sessions?limit=1&sortOrder=asc"),
        ),
        (get(&format!("/api/sessions/get?sessionId={}", encode(ID))), get(&path)),
        (get(&old_messages), get(&messages)),
        (
            get(&format!("{old_messages}&limit=1&order=desc")),
            get(&format!("{messages}?limit=1&order=desc")),
        ),
        (post("/api/sessions/update", &of_session(change.clone())), user.patching(&path, change)),
        (post("/api/sessions/update", &of_session(json!({}))), user.patching(&path, json!({}))),
        (post("/api/sessions/delete", &of_session(json!({}))), user.request("DELETE", &path)),
        (post("/api/sessions/delete", &of_session(json!({}))), user.request("DELETE", &path)),
        (get("/api/sessions/list?archived=any"), get("/api/sessions?archived=any")),
    ]
}

#[tokio::test]
async fn either_route_of_a_verb_does_the_same() {
    let (old_server, new_server) = (TestServer::start().await, TestServer::start().await);
    let olds = deeds(&old_server.user("ann")).into_iter().map(|(old, _)| old);
    let news = deeds(&new_server.user("ann")).into_iter().map(|(_, new)| new);
    let mut statuses = Vec::new();

    for (number, (old, new)) in olds.zip(news).enumerate() {
        let old = old.header("x-request-id", "same").send().await;
        let new = new.header("x-request-id", "same").send().await;
        assert_eq!(seen(&old), seen(&new), "deed {number}");
        statuses.push(old.status.as_u16());
    }
    let expected = [201, 200, 201, 200, 201, 200, 200, 200, 200, 200, 200, 200, 200, 404, 200];
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn what_a_patch_does_not_name_stays_as_it_is() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let all = json!({ "title": "t", "metadata": {"a": 1}, "archived": true, "pinned": true, "tags": ["x", "y"] });
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    let mut expected = ann.patch("/api/sessions/s", all).await.expect(200);

    for (member, value) in [
        ("title", json!("u")),
        ("metadata", json!({ "b": [] })),
        ("metadata", json!({})),
        ("archived", json!(false)),
        ("pinned", json!(false)),
        ("tags", json!(["z"])),
        ("tags", json!([])),
        ("expiresAt", json!("2099-01-01T00:00:00.000Z")),
        ("expiresAt", json!("2098-01-01T00:00:00.000Z")),
    ] {
        let change = json!({ member: value, "title2": 1, "messageCount": 7, "createdAt": "x" });
        let changed = ann.patch("/api/sessions/s", change).await;

        expected[member] = value;
        let mut changed = changed.expect(200);
        assert_eq!(ann.session("s").await.expect(200), changed);
        changed["updatedAt"] = expected["updatedAt"].clone();
        assert_eq!(changed, expected, "{member}");
    }
}

#[tokio::test]
async fn a_patch_of_nothing_changes_nothing() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "tags": ["x"] })).await.expect(201);
    ann.say("s", "m", "hi").await.expect(201);
    let (session, message) = (ann.session("s").await, ann.message("s", "m").await);

    for nothing in [
        json!({}),
        json!({ "unknown": 1 }),
        json!({ "title": null, "content": null, "metadata": null, "tags": null, "archived": null, "pinned": null, "expiresAt": null, "parts": null }),
    ] {
        let patched = ann.patch("/api/sessions/s", nothing.clone()).await;
        assert_eq!(seen(&patched), seen(&session), "{nothing}");
        let edited = ann.edit("s", "m", nothing.clone()).await;
        assert_eq!(seen(&edited), seen(&message), "{nothing}");
    }
    assert_eq!(ann.session("s").await.body, session.body);
}

#[tokio::test]
async fn a_request_names_one_session() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    ann.create(json!({ "sessionId": "t" })).await.expect(201);
    let before = ann.sessions().await;
    let message = |session: &str| json!({ "sessionId": session, "role": "user", "content": "x" });

    for refused in [
        ann.patch("/api/sessions/s", json!({ "sessionId": "t", "title": "x" })).await,
        ann.post("/api/sessions/s/messages", message("t")).await,
        ann.get("/api/sessions/s/messages?sessionId=t").await,
    ] {
        let error = refused.assert_error(400, "invalid_session_id");
        assert!(error["error"].as_str().unwrap().contains("path"), "{error}");
    }
    assert_eq!(ann.sessions().await, before);

    ann.patch("/api/sessions/s", json!({ "sessionId": "s", "title": "x" })).await.expect(200);
    ann.post("/api/sessions/s/messages", message("s")).await.expect(201);
    ann.get("/api/sessions/s/messages?sessionId=s").await.expect(200);
}

#[tokio::test]
async fn a_session_with_the_name_of_a_route_is_reached_by_a_parameter() {
    let server = TestServer::start().await;
    let ann = server.user("ann");

    for id in ["list", "messages", "get", "create", "update", "delete", "save-message"] {
        ann.create(json!({ "sessionId": id })).await.expect(201);
        let renamed = json!({ "sessionId": id, "title": id });
        ann.post("/api/sessions/update", renamed).await.expect(200);
        ann.say(id, "m", "hi").await.expect(201);
        assert_eq!(ann.message(id, "m").await.expect(200)["sessionId"], id);
        let got = ann.get(&format!("/api/sessions/get?sessionId={id}")).await.expect(200);
        assert_eq!((&got["title"], &got["lastMessage"]), (&json!(id), &json!("hi")));
        ann.delete(id).await.expect(200);
    }
}

#[tokio::test]
async fn a_patch_says_that_it_is_json() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    ann.say("s", "m", "hi").await.expect(201);
    let before = (ann.session("s").await.body, ann.message("s", "m").await.body);
    let patch = |path: &str| ann.request("PATCH", path).body(r#"{"title":"x","content":"x"}"#);

    for path in ["/api/sessions/s", &message_path("s", "m")] {
        patch(path).send().await.assert_error(415, "unsupported_media_type");
        for kind in [
            "text/plain",
            "application/json-patch+json",
            "application/merge-patch",
            "application/json; charset=latin1",
        ] {
            let refused = patch(path).header("content-type", kind).send().await;
            refused.assert_error(415, "unsupported_media_type");
        }
    }
    let merge = "application/merge-patch+json";
    let posted = ann.request("POST", "/api/sessions/update").header("content-type", merge);
    let posted = posted.body(r#"{"sessionId":"s","title":"x"}"#).send().await;
    posted.assert_error(415, "unsupported_media_type");
    assert_eq!((ann.session("s").await.body, ann.message("s", "m").await.body), before);

    for kind in [
        "application/json",
        "APPLICATION/JSON; charset=\"UTF-8\"",
        "application/merge-patch+json;charset=utf-8",
    ] {
        patch("/api/sessions/s").header("content-type", kind).send().await.expect(200);
    }
}
