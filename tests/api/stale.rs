//! Nothing is overwritten that its writer has not seen: `If-Match`.

use serde_json::json;

use crate::bad_input::everything;
use crate::support::{Call, Reply, TestServer, User, all_at_once, message_path};

const SAVE: &str = "/api/sessions/save-message";

/// A server where ann has a session `s` with a message `m`.
pub(crate) async fn server_with_both() -> TestServer {
    let server = TestServer::start().await;
    begin(&server.user("ann")).await;
    server
}

async fn begin(ann: &User<'_>) {
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    ann.say("s", "m", "hi").await.expect(201);
}

/// Every change that can be guarded, and the path of what it changes.
fn changes<'a>(ann: &User<'a>) -> Vec<(Call<'a>, String)> {
    let (session, message) = ("/api/sessions/s".to_owned(), message_path("s", "m"));
    let said = json!({ "sessionId": "s", "role": "user", "content": "more" });
    let deletion = |path: &str| ann.request("DELETE", path);
    vec![
        (
            ann.posting("/api/sessions/update", json!({ "sessionId": "s", "title": "t" })),
            session.clone(),
        ),
        (ann.posting("/api/sessions/update", json!({ "sessionId": "s" })), session.clone()),
        (ann.patching(&session, json!({ "pinned": true })), session.clone()),
        (ann.posting(SAVE, said.clone()), session.clone()),
        (ann.posting("/api/sessions/s/messages", said), session.clone()),
        (ann.patching(&message, json!({ "content": "edited" })), message.clone()),
        (ann.patching(&message, json!({})), message.clone()),
        (deletion(&message), message),
        (ann.posting("/api/sessions/delete", json!({ "sessionId": "s" })), session.clone()),
        (deletion(&session), session),
    ]
}

/// `If-Match` fields that name the tag, or everything.
fn matching(tag: &str) -> [Vec<String>; 5] {
    [
        vec![tag.to_owned()],
        vec![format!("\"other\", {tag} , \"more\"")],
        vec!["\"other\"".to_owned(), tag.to_owned()],
        vec!["*".to_owned()],
        vec![format!("W/{tag},{tag}")],
    ]
}

/// `If-Match` fields that do not: an older version, weak tags, and what is no tag.
fn failing(tag: &str, older: &str) -> [Vec<String>; 7] {
    [
        vec![older.to_owned()],
        vec![format!("W/{tag}")],
        vec![tag.replace('"', "")],
        vec![tag.to_uppercase()],
        vec![format!("\"*\", {older}")],
        vec![String::new()],
        vec![older.to_owned(), format!("W/{tag}")],
    ]
}

fn if_match<'a>(call: Call<'a>, fields: &[String]) -> Call<'a> {
    fields.iter().fold(call, |call, field| call.header("if-match", field))
}

#[tokio::test]
async fn a_change_is_made_when_its_writer_has_seen_what_is_stored() {
    let server = server_with_both().await;
    let ann = server.user("ann");

    for change in 0..changes(&ann).len() {
        for way in 0..5 {
            let (call, path) = changes(&ann).swap_remove(change);
            let stored = ann.get(&path).await;
            let fields = &matching(stored.etag())[way];

            let reply = if_match(call, fields).send().await;

            assert!(reply.status.is_success(), "{change} {fields:?}: {}", reply.text());
            let _deleted = ann.delete("s").await;
            begin(&ann).await;
        }
    }
}

#[tokio::test]
async fn a_stale_change_is_refused_with_what_is_stored() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    let old = [("session", ann.session("s").await), ("message", ann.message("s", "m").await)];
    ann.edit("s", "m", json!({ "content": "changed meanwhile" })).await.expect(200);
    let before = everything(&ann).await;

    for number in 0..changes(&ann).len() {
        for way in 0..7 {
            let (call, path) = changes(&ann).swap_remove(number);
            let stored = ann.get(&path).await;
            let (what, old) = &old[usize::from(path.contains("messages"))];
            let fields = &failing(stored.etag(), old.etag())[way];

            let refused = if_match(call, fields).send().await;

            let error = refused.assert_stale(&stored);
            assert_eq!(error["error"], format!("{what} was changed since it was read"));
            assert_eq!(error["requestId"].as_str(), refused.header("x-request-id"));
            assert_eq!(error.get("messages"), None, "nobody said how many they have seen");
        }
    }
    assert_eq!(everything(&ann).await, before);
}

#[tokio::test]
async fn every_answer_with_a_version_can_be_built_upon() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let patch = |title: &str, tag: &str| {
        let call = ann.patching("/api/sessions/s", json!({ "title": title }));
        call.header("if-match", tag)
    };

    let created = ann.create(json!({ "sessionId": "s" })).await;
    let titled = patch("one", created.etag()).send().await;
    let retitled = patch("two", titled.etag()).send().await;
    retitled.expect(200);
    patch("three", titled.etag()).send().await.assert_stale(&retitled);
    let refused = patch("three", created.etag()).send().await;
    patch("three", refused.etag()).send().await.expect(200);

    let said = ann.say("s", "m", "hi").await;
    let edit = |text: &str, tag: &str| {
        ann.patching(&message_path("s", "m"), json!({ "content": text })).header("if-match", tag)
    };
    let edited = edit("ho", said.etag()).send().await;
    edited.expect(200);
    edit("no", said.etag()).send().await.assert_stale(&edited);
}

#[tokio::test]
async fn of_tabs_that_change_the_same_version_one_wins() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    let tag = ann.session("s").await.etag().to_owned();
    let calls = (0..20).map(|tab| {
        let body = json!({ "title": tab.to_string() });
        ann.patching("/api/sessions/s", body).header("if-match", &tag)
    });

    let replies = all_at_once(calls).await;

    let won: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(ann.session("s").await.body, won[0].body);
    for lost in replies.iter().filter(|reply| reply.status != 200) {
        lost.assert_stale(won[0]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_rather_than_stale() {
    let server = server_with_both().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));

    for (call, _) in changes(&bob) {
        let refused = call.header("if-match", "*").send().await;
        refused.assert_error(404, "session_not_found");
    }
    let edit = ann.patching(&message_path("s", "n"), json!({ "content": "x" }));
    edit.header("if-match", "\"x\"").send().await.assert_error(404, "message_not_found");
}
