//! No message is saved behind others that its writer has not seen: `expectedCount`.

use serde_json::{Value, json};

use crate::bad_input::everything;
use crate::stale::server_with_both;
use crate::support::{Reply, TestServer, User};

const SAVE: &str = "/api/sessions/save-message";

/// Saves `text` for who has seen `count` messages.
async fn save_having_seen(ann: &User<'_>, text: &str, id: &str, count: &Value) -> Reply {
    let body = json!({ "sessionId": "s", "role": "user", "content": text, "id": id, "expectedCount": count });
    ann.post(SAVE, body).await
}

#[tokio::test]
async fn a_save_is_refused_with_the_messages_that_its_writer_has_not_seen() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    ann.say("s", "n", "ho").await.expect(201);
    let before = everything(&ann).await;
    let stored = ann.session("s").await;
    let all = [ann.message("s", "m").await.expect(200), ann.message("s", "n").await.expect(200)];

    for (seen, unseen) in [(0, &all[..]), (1, &all[1..]), (3, &[]), (u64::MAX, &[])] {
        let refused = save_having_seen(&ann, "new", "o", &json!(seen)).await;
        assert_eq!(refused.assert_stale(&stored)["messages"], json!(unseen), "{seen}");
    }
    for wrong in [json!(-1), json!("2"), json!(1.5)] {
        save_having_seen(&ann, "new", "o", &wrong).await.assert_error(400, "invalid_json");
    }
    assert_eq!(everything(&ann).await, before);

    save_having_seen(&ann, "new", "o", &json!(2)).await.expect(201);
    save_having_seen(&ann, "newer", "p", &Value::Null).await.expect(201);
    assert_eq!(ann.texts("s").await, ["hi", "ho", "new", "newer"]);
}

#[tokio::test]
async fn a_retry_is_not_stale_for_what_it_did_itself() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    let tag = ann.session("s").await.etag().to_owned();
    let body =
        json!({ "sessionId": "s", "role": "user", "content": "x", "id": "n", "expectedCount": 1 });
    let save = || ann.posting(SAVE, body.clone()).header("if-match", &tag);

    let saved = save().send().await;
    saved.expect(201);
    ann.say("s", "o", "and one more").await.expect(201);
    let again = save().send().await;

    again.expect(200);
    assert_eq!((&again.body, again.etag()), (&saved.body, saved.etag()));
    assert_eq!(ann.texts("s").await, ["hi", "x", "and one more"]);
}

#[tokio::test]
async fn of_many_unseen_messages_the_newest_100_are_told() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    for number in 0..103 {
        ann.save_message("s", "user", &number.to_string()).await.expect(201);
    }

    let refused = save_having_seen(&ann, "x", "x", &json!(1)).await.expect(412);

    let told = refused["messages"].as_array().unwrap();
    let texts: Vec<_> = told.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(texts, (3..103).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_is_behind_in_both_ways_is_told_the_messages_too() {
    let server = server_with_both().await;
    let ann = server.user("ann");
    let tag = ann.session("s").await.etag().to_owned();
    ann.say("s", "n", "ho").await.expect(201);
    let unseen = ann.message("s", "n").await.expect(200);

    let body = json!({ "sessionId": "s", "role": "user", "content": "x", "expectedCount": 1 });
    let refused = ann.posting(SAVE, body).header("if-match", &tag).send().await;

    let stored = ann.session("s").await;
    assert_eq!(refused.assert_stale(&stored)["messages"], json!([unseen]));
}
