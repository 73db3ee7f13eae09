//! Versions: what a client has already is not sent again.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Reply, TestServer, User, message_path};

const ORIGIN: &str = "https://www.sidekickportal.com";
const HISTORY: &str = "/api/sessions/s/messages";

/// A server where ann has a session `s` with a message `m`, and another session.
async fn server_with_both() -> TestServer {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    ann.say("s", "m", "hi").await.expect(201);
    ann.create(json!({ "sessionId": "t", "firstMessage": "other" })).await.expect(201);
    server
}

/// Every path that has a version.
fn paths() -> Vec<String> {
    let mut paths: Vec<_> = [
        "/api/sessions/list",
        "/api/sessions?limit=1",
        "/api/sessions?sort=pinned",
        "/api/sessions/s",
        "/api/sessions/get?sessionId=s",
        "/api/sessions/messages?sessionId=s",
        HISTORY,
        "/api/sessions/s/messages?limit=1&order=desc",
    ]
    .map(str::to_owned)
    .into();
    paths.push(message_path("s", "m"));
    paths
}

/// Makes the history of `s` too long for one piece.
async fn lengthen(ann: &User<'_>) {
    for number in 0..4 {
        ann.say("s", &format!("long{number}"), &"x".repeat(50_000)).await.expect(201);
    }
}

async fn ask_knowing(ann: &User<'_>, path: &str, field: &str) -> Reply {
    ann.request("GET", path).header("if-none-match", field).send().await
}

#[track_caller]
fn assert_not_modified(known: &Reply, reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.text()), (304, ""));
    assert_eq!(reply.etag(), known.etag());
    assert_eq!(reply.header("content-type"), None);
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let server = server_with_both().await;
    let ann = server.user("ann");

    for path in paths() {
        assert_sent_once(&ann, &path).await;
    }
    lengthen(&ann).await;
    for path in paths() {
        assert_sent_once(&ann, &path).await;
    }
}

/// Checks that `path` is sent to those alone who do not know its version.
async fn assert_sent_once(ann: &User<'_>, path: &str) {
    let whole = ann.get(path).await;
    whole.expect(200);
    let tag = whole.etag();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "strong: {tag}");

    for field in [tag, &format!("W/{tag}"), &format!("\"a\", W/\"b\",{tag}"), "*"] {
        assert_not_modified(&whole, &ask_knowing(ann, path, field).await);
    }
    for field in ["\"a\"", "", &tag.replace('"', ""), "\"*\""] {
        let again = ask_knowing(ann, path, field).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &whole.body), "{field}");
        assert_eq!(again.etag(), tag);
    }
    let head = ann.request("HEAD", path).header("if-none-match", tag).send().await;
    assert_not_modified(&whole, &head);
}

#[tokio::test]
async fn what_is_not_there_has_no_version() {
    let server = server_with_both().await;
    let bob = server.user("bob");

    for path in paths().iter().filter(|path| !path.starts_with("/api/sessions?")).skip(1) {
        let missing = ask_knowing(&bob, path, "*").await;
        missing.assert_error(404, "session_not_found");
        assert_eq!(missing.header("etag"), None);
    }
    let missing = ask_knowing(&server.user("ann"), &message_path("s", "n"), "*").await;
    missing.assert_error(404, "message_not_found");
}

/// Lists of two users have the same path, and the same version only if they say the same.
#[tokio::test]
async fn what_one_user_knows_is_not_what_another_is_shown() {
    let server = server_with_both().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    bob.create(json!({ "sessionId": "b" })).await.expect(201);
    let path = "/api/sessions/list";
    let (anns, bobs) = (ann.get(path).await, bob.get(path).await);

    for _ in 0..2 {
        let of_bob = ask_knowing(&bob, path, anns.etag()).await;
        assert_eq!((of_bob.status.as_u16(), &of_bob.body), (200, &bobs.body));
        assert_not_modified(&bobs, &ask_knowing(&bob, path, bobs.etag()).await);
        assert_not_modified(&anns, &ask_knowing(&ann, path, anns.etag()).await);
    }
    bob.request("DELETE", "/api/sessions/b").send().await.expect(200);
    let empty = ask_knowing(&bob, path, "*").await;
    assert_eq!(empty.etag(), bob.get(path).await.etag());
    assert_ne!(empty.etag(), bobs.etag());
    ask_knowing(&bob, "/api/sessions/b/messages", "*").await.assert_error(404, "session_not_found");
}

/// The versions of the session, of the message `m`, of the history and of the list.
async fn versions(ann: &User<'_>) -> [String; 4] {
    let mut tags = Vec::new();
    for path in ["/api/sessions/s", &message_path("s", "m"), HISTORY, "/api/sessions/list"] {
        let reply = ann.get(path).await;
        reply.expect(200);
        assert_eq!(ann.get(path).await.etag(), reply.etag(), "the same twice");
        tags.push(reply.etag().to_owned());
    }
    tags.try_into().unwrap()
}

#[tokio::test]
async fn a_version_changes_when_and_only_when_its_thing_does() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    let of_session = |body: Value| ann.patching("/api/sessions/s", body);
    let of_message = |body: Value| ann.patching(&message_path("s", "m"), body);
    let said = json!({ "role": "user", "content": "x", "id": "n" });
    let mut before = versions(&ann).await;

    // Whether the session, the message, the history and the list change.
    for (what, call, changed) in [
        ("reading", ann.request("GET", HISTORY), [false; 4]),
        ("nothing", of_session(json!({})), [false; 4]),
        ("title", of_session(json!({ "title": "t" })), [true, false, false, true]),
        ("metadata", of_session(json!({ "metadata": {"a": 1} })), [true, false, false, true]),
        ("tags", of_session(json!({ "tags": ["x"] })), [true, false, false, true]),
        ("pinned", of_session(json!({ "pinned": true })), [true, false, false, true]),
        ("save", ann.posting(HISTORY, said.clone()), [true, false, true, true]),
        ("save again", ann.posting(HISTORY, said), [false; 4]),
        ("edit", of_message(json!({ "content": "y" })), [true; 4]),
        ("edit of metadata", of_message(json!({ "metadata": {"a": 1} })), [true; 4]),
        ("edit of nothing", of_message(json!({})), [false; 4]),
        ("deletion", ann.request("DELETE", &message_path("s", "n")), [true, false, true, true]),
        ("another session", ann.posting("/api/sessions", json!({})), [false, false, false, true]),
        ("archiving", of_session(json!({ "archived": true })), [true, false, false, true]),
        ("archived one", of_session(json!({ "title": "u" })), [true, false, false, false]),
    ] {
        server.clock().fetch_add(1_000_000, Ordering::SeqCst);
        let done = call.send().await;
        assert!(done.status.is_success(), "{what}: {}", done.text());
        let after = versions(&ann).await;
        let differs: Vec<_> = before.iter().zip(&after).map(|(old, new)| old != new).collect();
        assert_eq!(differs, changed, "{what}");
        before = after;
    }
}

#[tokio::test]
async fn the_version_of_a_long_history_changes_with_it() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    lengthen(&ann).await;
    let edited = message_path("s", "long3");
    let mut seen = vec![ann.get(HISTORY).await.etag().to_owned()];

    // The last message is far behind the first piece; the clock stands still.
    for call in [
        ann.patching(&edited, json!({ "metadata": {"a": 1} })),
        ann.patching(&edited, json!({ "metadata": {"a": 2} })),
        ann.request("DELETE", &edited),
        ann.posting(HISTORY, json!({ "role": "user", "content": "x" })),
    ] {
        assert!(call.send().await.status.is_success());
        let tag = ann.get(HISTORY).await.etag().to_owned();
        assert!(!seen.contains(&tag), "{tag}");
        let downwards = ann.get(&format!("{HISTORY}?order=desc")).await;
        assert_ne!(downwards.etag(), tag, "another order is another answer");
        seen.push(tag);
    }
}

#[tokio::test]
async fn a_page_reads_answers_without_a_body_and_refusals() {
    let server = server_with_both().await;
    let ann = server.user("ann");

    for path in paths() {
        let tag = ann.get(&path).await.etag().to_owned();
        let known = ann.request("GET", &path).header("if-none-match", tag).origin(ORIGIN);
        let known = known.send().await;
        assert_eq!(known.status.as_u16(), 304);
        assert_readable(&known);
    }
    let stale = ann.patching("/api/sessions/s", json!({ "title": "t" }));
    let stale = stale.header("if-match", "\"old\"").origin(ORIGIN).send().await;
    assert_eq!(stale.status.as_u16(), 412);
    assert_readable(&stale);
    let foreign = ann.request("GET", "/api/sessions/s").header("if-none-match", "*");
    let foreign = foreign.origin("https://evil.example").send().await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(foreign.header("vary"), Some("Origin"));
}

/// Checks that a page may read the answer, its version too.
#[track_caller]
fn assert_readable(reply: &Reply) {
    assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    let exposed = reply.header("access-control-expose-headers").unwrap();
    assert!(exposed.split(", ").any(|name| name == "ETag"), "{exposed}");
    assert_eq!(reply.header("vary"), Some("Origin"));
    assert!(reply.header("x-request-id").is_some());
}

#[tokio::test]
async fn two_changes_in_one_millisecond_are_two_versions() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    for (id, content) in [("a", "first"), ("b", "middle"), ("c", "last")] {
        ann.say("s", id, content).await.expect(201);
    }
    ann.edit("s", "b", json!({ "content": "other" })).await.expect(200);
    let before = ann.session("s").await;

    ann.edit("s", "b", json!({ "content": "another" })).await.expect(200);

    let after = ann.session("s").await;
    assert_eq!(after.body, before.body, "the clock of this test stands still");
    assert_ne!(after.etag(), before.etag());
}
