//! Saving messages.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Reply, START_MICROS, TestServer, User};

const SAVE: &str = "/api/sessions/save-message";

async fn save(user: &User<'_>, body: Value) -> Reply {
    user.post(SAVE, body).await
}

#[tokio::test]
async fn a_saved_message_is_the_last_of_its_session() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "hi" })).await.expect(201);
    server.clock().store(START_MICROS + 1_000_000, Ordering::SeqCst);

    let body = json!({ "sessionId": "s", "role": "assistant", "content": "hello" });
    let saved = save(&ann, body).await.expect(201);

    let id = saved["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::try_parse(id).unwrap().get_version_num(), 7);
    let shown = json!({
        "id": id,
        "sessionId": "s",
        "role": "assistant",
        "content": "hello",
        "timestamp": "2026-11-23T05:32:18.622Z",
        "metadata": {},
    });
    assert_eq!(saved, shown);
    assert_eq!(ann.history("s").await.expect(200)["messages"][1], shown);
    let session = ann.session("s").await.expect(200);
    assert_eq!(session["messageCount"], 2);
    assert_eq!(session["firstMessage"], "hi");
    assert_eq!(session["lastMessage"], "hello");
    assert_eq!(session["updatedAt"], "2026-11-23T05:32:18.622Z");
    assert_eq!(session["createdAt"], "2026-11-23T05:32:17.622Z");
}

#[tokio::test]
async fn any_text_but_none_and_nul_is_content() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    let long = "\u{1f600}\\\"\n".repeat(50_000);
    let good = [" ", "\n", "<script>", "\u{202e}abc", "\u{1}\u{1f}\u{7f}", "\u{2028}", "A", &long];

    for text in good {
        assert_eq!(ann.save_message("s", "user", text).await.expect(201)["content"], text);
    }
    for text in ["", "\0", "a\0b"] {
        ann.save_message("s", "user", text).await.assert_error(400, "invalid_content");
    }
    assert_eq!(ann.texts("s").await, good);
}

#[tokio::test]
async fn there_are_four_roles() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);

    for role in ["user", "assistant", "system", "tool"] {
        assert_eq!(ann.save_message("s", role, "hi").await.expect(201)["role"], role);
    }
    for role in ["", "User", "function", "user ", "user\0"] {
        ann.save_message("s", role, "hi").await.assert_error(400, "invalid_role");
    }
    assert_eq!(ann.texts("s").await.len(), 4);
}

#[tokio::test]
async fn a_message_with_an_id_may_be_sent_again() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "1" })).await.expect(201);
    let body = |role: &str, content: &str| {
        let metadata = json!({ "sent": content });
        json!({ "sessionId": "s", "id": "m", "role": role, "content": content, "metadata": metadata })
    };
    let saved = save(&ann, body("user", "once")).await.expect(201);
    assert_eq!(saved["id"], "m");
    let before = ann.session("s").await.expect(200);
    server.clock().fetch_add(1_000_000, Ordering::SeqCst);

    assert_eq!(save(&ann, body("user", "once")).await.expect(200), saved);
    let mut other_metadata = body("user", "once");
    other_metadata["metadata"] = json!(null);
    assert_eq!(save(&ann, other_metadata).await.expect(200), saved);
    for (role, content) in [("user", "twice"), ("assistant", "once"), ("user", "once ")] {
        save(&ann, body(role, content)).await.assert_error(409, "message_id_taken");
    }

    assert_eq!(ann.session("s").await.expect(200), before);
    assert_eq!(ann.texts("s").await, ["1", "once"]);
}

#[tokio::test]
async fn a_minted_id_may_be_sent_again_too() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let session = ann.create_session("first").await;
    ann.save_message(&session, "user", "second").await.expect(201);
    let history = ann.history(&session).await.expect(200);

    for message in history["messages"].as_array().unwrap() {
        assert_eq!(save(&ann, message.clone()).await.expect(200), *message);
        let mut other = message.clone();
        other["content"] = json!("third");
        save(&ann, other).await.assert_error(409, "message_id_taken");
    }
    assert_eq!(ann.history(&session).await.expect(200), history);
}

#[tokio::test]
async fn metadata_is_returned_byte_for_byte() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for metadata in [
        r#"{ "b":1.0e2 , "a":"\u00e9\/", "a":[ ],"n":-0 }"#,
        "{\n\t\"big\" : 123456789012345678901234567890.10,\r\n\"\":{}}",
        r#"{"z":1,"y":{"x":null,"w":[true,false]},"emoji":"😀\ud83d\ude00"}"#,
        "{}",
    ] {
        let whole = |reply: &Reply| reply.text().contains(&format!("\"metadata\":{metadata}"));
        let create = format!(r#"{{"userId":"ann","metadata":{metadata}}}"#);
        let created = server.post("/api/sessions/create", create).send().await;
        let session = created.expect(201)["sessionId"].as_str().unwrap().to_owned();
        assert!(whole(&created), "{}", created.text());
        let save = format!(
            r#"{{"userId":"ann","sessionId":"{session}","role":"tool","content":"x","metadata":{metadata}}}"#
        );
        assert!(whole(&server.post(SAVE, save).send().await));
        assert!(whole(&ann.history(&session).await));
        assert!(whole(&ann.session(&session).await));
        assert!(whole(&ann.get("/api/sessions/list").await));
        let update = format!(r#"{{"userId":"ann","sessionId":"{session}","metadata":{metadata}}}"#);
        assert!(whole(&server.post("/api/sessions/update", update).send().await));
    }
}

#[tokio::test]
async fn times_strictly_increase_when_the_clock_stands_still_or_steps_back() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s", "firstMessage": "0" })).await.expect(201);

    for (number, micros) in [0, 0, 5_000_000, 4_000_000, 1].into_iter().enumerate() {
        server.clock().store(START_MICROS - 3_600_000_000 + micros, Ordering::SeqCst);
        ann.save_message("s", "user", &(number + 1).to_string()).await.expect(201);
    }
    assert_eq!(ann.texts("s").await, ["0", "1", "2", "3", "4", "5"]);
    let path = "/api/sessions/messages?sessionId=s&order=desc&limit=9";
    let newest_first = ann.get(path).await.expect(200);
    let messages = newest_first["messages"].as_array().unwrap();
    let texts: Vec<_> = messages.iter().map(|message| &message["content"]).collect();
    assert_eq!(texts, ["5", "4", "3", "2", "1", "0"]);
    let session = ann.session("s").await.expect(200);
    assert_eq!(session["updatedAt"], messages[0]["timestamp"]);
    assert!(session["updatedAt"].as_str() >= session["createdAt"].as_str());

    server.clock().store(START_MICROS + 1_000_000, Ordering::SeqCst);
    let saved = ann.save_message("s", "user", "6").await.expect(201);
    assert_eq!(saved["timestamp"], "2026-11-23T05:32:18.622Z", "the clock is right again");
}
