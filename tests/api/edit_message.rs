//! Editing and deleting messages: what their session shows follows.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::{Mode, Setup, TestServer, User};

/// A session `s` with the messages `a`, `b` and `c`, saved a second after each other.
async fn server_with_three_messages() -> TestServer {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    for id in ["a", "b", "c"] {
        server.clock().fetch_add(1_000_000, Ordering::SeqCst);
        ann.say("s", id, &format!("text of {id}")).await.expect(201);
    }
    server.clock().fetch_add(1_000_000, Ordering::SeqCst);
    server
}

/// Checks what the session shows of its messages, and how many there are.
async fn assert_shows(user: &User<'_>, first: Option<&str>, last: Option<&str>, texts: &[&str]) {
    let session = user.session("s").await.expect(200);
    assert_eq!(session["firstMessage"], json!(first));
    assert_eq!(session["lastMessage"], json!(last));
    assert_eq!(session["messageCount"], texts.len());
    assert_eq!(user.texts("s").await, texts);
    assert_eq!(user.sessions().await, [session]);
}

#[tokio::test]
async fn an_edited_message_stays_where_it_stands_and_tells_when() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");
    let before = ann.message("s", "b").await.expect(200);

    let edited = ann.edit("s", "b", json!({ "content": "new" })).await;

    let mut expected = before;
    (expected["content"], expected["editedAt"]) = (json!("new"), json!("2026-11-23T05:32:21.622Z"));
    assert_eq!(edited.expect(200), expected);
    assert_eq!(ann.message("s", "b").await.body, edited.body);
    assert_shows(&ann, Some("text of a"), Some("text of c"), &["text of a", "new", "text of c"])
        .await;
    assert_eq!(ann.session("s").await.expect(200)["updatedAt"], expected["editedAt"]);
}

#[tokio::test]
async fn a_session_shows_its_first_and_last_message_as_they_are_now() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");
    let long = "\u{e9}".repeat(2001);
    let cut = "\u{e9}".repeat(2000) + "...";

    ann.edit("s", "a", json!({ "content": long })).await.expect(200);
    assert_shows(&ann, Some(&cut), Some("text of c"), &[&long, "text of b", "text of c"]).await;
    ann.edit("s", "c", json!({ "content": "end" })).await.expect(200);
    assert_shows(&ann, Some(&cut), Some("end"), &[&long, "text of b", "end"]).await;
    ann.edit("s", "a", json!({ "metadata": {"k": 1} })).await.expect(200);
    assert_shows(&ann, Some(&cut), Some("end"), &[&long, "text of b", "end"]).await;
}

#[tokio::test]
async fn what_is_deleted_is_gone_wherever_it_stood() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");

    let deleted = ann.delete_message("s", "b").await;
    let success = json!({ "success": true, "message": "Message deleted successfully" });
    assert_eq!(deleted.expect(200), success);
    assert_eq!(deleted.header("etag"), None, "nothing is left to have a version");
    assert_shows(&ann, Some("text of a"), Some("text of c"), &["text of a", "text of c"]).await;
    ann.message("s", "b").await.assert_error(404, "message_not_found");
    ann.delete_message("s", "b").await.assert_error(404, "message_not_found");
    ann.edit("s", "b", json!({ "content": "x" })).await.assert_error(404, "message_not_found");

    ann.delete_message("s", "a").await.expect(200);
    assert_shows(&ann, Some("text of c"), Some("text of c"), &["text of c"]).await;
    ann.delete_message("s", "c").await.expect(200);
    assert_shows(&ann, None, None, &[]).await;
    assert_eq!(ann.session("s").await.expect(200)["updatedAt"], "2026-11-23T05:32:21.622Z");

    ann.say("s", "d", "again").await.expect(201);
    assert_shows(&ann, Some("again"), Some("again"), &["again"]).await;
}

#[tokio::test]
async fn the_id_of_a_deleted_message_is_free_again() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");
    let minted = ann.save_message("s", "user", "minted").await.expect(201);

    for id in ["a", minted["id"].as_str().unwrap()] {
        ann.delete_message("s", id).await.expect(200);
        let anew = ann.say("s", id, "said anew").await.expect(201);
        assert_eq!((&anew["id"], &anew["content"]), (&json!(id), &json!("said anew")));
        assert_eq!(ann.texts("s").await.last().unwrap(), "said anew");
        ann.say("s", id, "said anew").await.expect(200);
    }
    assert_eq!(ann.texts("s").await, ["text of b", "text of c", "said anew", "said anew"]);
}

#[tokio::test]
async fn edits_and_deletions_are_on_disk() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");
    ann.edit("s", "a", json!({ "content": "edited" })).await.expect(200);
    ann.delete_message("s", "c").await.expect(200);
    let before = ann.history("s").await;

    let server = Setup::new(Mode::Off).folder(server.stop().await).start().await;
    let ann = server.user("ann");

    assert_eq!(ann.history("s").await.body, before.body);
    assert_shows(&ann, Some("edited"), Some("text of b"), &["edited", "text of b"]).await;
    ann.message("s", "c").await.assert_error(404, "message_not_found");
    ann.delete_message("s", "a").await.expect(200);
    assert_shows(&ann, Some("text of b"), Some("text of b"), &["text of b"]).await;
}

#[tokio::test]
async fn an_id_that_tells_another_messages_place_finds_nothing() {
    let server = server_with_three_messages().await;
    let ann = server.user("ann");
    let minted = ann.save_message("s", "user", "minted").await.expect(201);
    let id = minted["id"].as_str().unwrap();
    // Ids made here tell where the message stands: the same but for the random end.
    let forged = format!("{}000000000000", id.split_at(24).0);
    assert_ne!(forged, id);

    ann.message("s", &forged).await.assert_error(404, "message_not_found");
    ann.edit("s", &forged, json!({ "content": "x" })).await.assert_error(404, "message_not_found");
    ann.delete_message("s", &forged).await.assert_error(404, "message_not_found");
    assert_eq!(ann.message("s", id).await.expect(200), minted);
    let saved = ann.say("s", &forged, "mine").await.expect(201);
    assert_eq!(ann.message("s", &forged).await.expect(200), saved);
    assert_eq!(ann.message("s", id).await.expect(200), minted);
}
