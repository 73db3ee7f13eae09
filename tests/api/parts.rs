//! Messages that are more than text, and the messages that they follow.

use serde_json::{Value, json};

use crate::support::{Reply, TestServer, User};

const MESSAGES: &str = "/api/sessions/s/messages";
/// As an AI SDK sends them, but for the spaces and numbers that a parser would not keep.
const PARTS: &str = r#"[ {"type":"step-start"}, {"type":"text","text":"Caf\u00e9 "},
    {"type":"tool-x","toolCallId":"c","input":{"n":1.0e2,"n":12345678901234567890123}},
    {"text":"noir","type":"text","state":"done"} ]"#;

async fn server_with_a_session() -> TestServer {
    let server = TestServer::start().await;
    server.user("ann").create(json!({ "sessionId": "s" })).await.expect(201);
    server
}

/// Saves a message whose other members are `rest`, byte for byte.
async fn save(user: &User<'_>, rest: &str) -> Reply {
    let call = user.request("POST", MESSAGES).header("content-type", "application/json");
    call.body(format!("{{\"role\":\"assistant\",{rest}}}")).send().await
}

#[tokio::test]
async fn parts_are_kept_byte_for_byte_and_their_text_is_the_content() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");

    let saved = save(&ann, &format!(r#""id":"m","parts":{PARTS}"#)).await;

    assert_eq!(saved.expect(201)["content"], "Caf\u{e9} noir");
    for shown in [&saved, &ann.message("s", "m").await, &ann.get(MESSAGES).await] {
        assert!(shown.text().contains(&format!(r#""parts":{PARTS}"#)), "{}", shown.text());
    }
    let session = ann.session("s").await.expect(200);
    assert_eq!(session["lastMessage"], "Caf\u{e9} noir");
    assert_eq!(
        (&session["messageCount"], &session["firstMessage"]),
        (&json!(1), &session["lastMessage"])
    );
}

#[tokio::test]
async fn content_may_stand_beside_parts() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");

    let saved = save(&ann, &format!(r#""content":"a coffee","parts":{PARTS}"#)).await;
    assert_eq!(saved.expect(201)["content"], "a coffee");
    assert_eq!(ann.session("s").await.expect(200)["lastMessage"], "a coffee");
    let plain = save(&ann, r#""content":"hi","parts":null"#).await.expect(201);
    assert_eq!(plain.get("parts"), None, "absent where none were given");
}

#[tokio::test]
async fn parts_may_hold_no_text() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");

    let saved = save(&ann, r#""parts":[{"type":"file","url":"data:,","text":"no"}]"#).await;

    assert_eq!(saved.expect(201)["content"], "");
    assert_eq!(ann.session("s").await.expect(200)["lastMessage"], "");
}

#[tokio::test]
async fn a_retry_has_the_same_parts() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let rest = format!(r#""id":"m","parts":{PARTS}"#);
    let saved = save(&ann, &rest).await;

    let again = save(&ann, &rest).await;
    again.expect(200);
    assert_eq!(again.body, saved.body);
    for other in
        [r#""parts":[{"type":"text","text":"Caf\u00e9 noir"}]"#, "\"content\":\"Caf\u{e9} noir\""]
    {
        let refused = save(&ann, &format!(r#""id":"m",{other}"#)).await;
        refused.assert_error(409, "message_id_taken");
    }
    assert_eq!(ann.message("s", "m").await.body, saved.body);
}

#[tokio::test]
async fn an_edit_of_the_text_drops_the_parts_that_would_not_say_it() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    let parts = json!([{ "type": "text", "text": "tea" }]);
    save(&ann, &format!(r#""id":"m","parts":{PARTS}"#)).await.expect(201);
    let shown = |message: &Value| (message["content"].clone(), message.get("parts").cloned());

    let kept = ann.edit("s", "m", json!({ "metadata": {"a": 1} })).await;
    assert!(kept.text().contains(PARTS), "{}", kept.text());
    for (edit, expected) in [
        (json!({ "parts": parts }), (json!("tea"), Some(parts.clone()))),
        (json!({ "content": "a tea", "parts": parts }), (json!("a tea"), Some(parts.clone()))),
        (json!({ "content": "milk" }), (json!("milk"), None)),
        (json!({ "parts": [{}] }), (json!(""), Some(json!([{}])))),
    ] {
        let edited = ann.edit("s", "m", edit.clone()).await.expect(200);
        assert_eq!(shown(&edited), expected, "{edit}");
        assert_eq!(ann.message("s", "m").await.expect(200), edited);
        assert_eq!(ann.session("s").await.expect(200)["lastMessage"], edited["content"]);
    }
}

#[tokio::test]
async fn parts_are_an_array_of_objects() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    ann.say("s", "m", "hi").await.expect(201);
    let before = (ann.session("s").await.body, ann.get(MESSAGES).await.body);
    let deep = format!("[{}1{}]", "{\"a\":".repeat(64), "}".repeat(64));

    for parts in [
        json!({}),
        json!([]),
        json!("x"),
        json!(1),
        json!([1]),
        json!([{}, null]),
        json!([[]]),
        json!([{"type": "text", "text": "a\0"}]),
    ] {
        save(&ann, &format!(r#""parts":{parts}"#)).await.assert_error(400, "invalid_parts");
        let refused = save(&ann, &format!(r#""content":"x","parts":{parts}"#)).await;
        refused.assert_error(400, "invalid_parts");
        ann.edit("s", "m", json!({ "parts": parts })).await.assert_error(400, "invalid_parts");
    }
    save(&ann, &format!(r#""parts":{deep}"#)).await.assert_error(400, "invalid_json");
    save(&ann, r#""parts":null"#).await.assert_error(400, "missing_content");
    assert_eq!((ann.session("s").await.body, ann.get(MESSAGES).await.body), before);
}

#[tokio::test]
async fn a_message_follows_one_of_its_session() {
    let server = server_with_a_session().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "t" })).await.expect(201);
    ann.say("t", "elsewhere", "hi").await.expect(201);
    let first = ann.save_message("s", "user", "hi").await.expect(201);
    assert_eq!(first.get("parentId"), None, "absent where none was given");
    ann.say("s", "gone", "x").await.expect(201);
    ann.delete_message("s", "gone").await.expect(200);
    let before = ann.get(MESSAGES).await;

    let answer = |parent: &str| format!(r#""content":"ho","parentId":{}"#, json!(parent));
    for none in ["nobody", "elsewhere", "gone", "0198c0de-0000-7000-8000-000000000000"] {
        save(&ann, &answer(none)).await.assert_error(404, "message_not_found");
    }
    for wrong in ["", "a\n", &"x".repeat(256)] {
        save(&ann, &answer(wrong)).await.assert_error(400, "invalid_parent_id");
    }
    let own = save(&ann, r#""content":"ho","id":"m","parentId":"m""#).await;
    own.assert_error(404, "message_not_found");
    assert_eq!(ann.get(MESSAGES).await.body, before.body);

    let parent = first["id"].as_str().unwrap();
    let saved = save(&ann, &answer(parent)).await.expect(201);
    assert_eq!(saved["parentId"], parent);
    ann.delete_message("s", parent).await.expect(200);
    let kept = ann.message("s", saved["id"].as_str().unwrap()).await.expect(200);
    assert_eq!(kept, saved, "it still says what it followed");
}
