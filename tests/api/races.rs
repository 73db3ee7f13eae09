//! Requests that arrive at once: each is done whole, and one after the other.

use serde_json::json;

use crate::support::{Reply, TestServer, User, all_at_once, message_path};

const CREATE: &str = "/api/sessions/create";
const SAVE: &str = "/api/sessions/save-message";

/// How many of `replies` have each of these statuses; none has another.
#[track_caller]
fn counts<const N: usize>(replies: &[Reply], statuses: [u16; N]) -> [usize; N] {
    let of = |status| replies.iter().filter(|reply| reply.status.as_u16() == status).count();
    let counts = statuses.map(of);
    assert_eq!(counts.iter().sum::<usize>(), replies.len(), "{replies:?}");
    counts
}

async fn assert_counted(user: &User<'_>, session: &str, count: usize) {
    assert_eq!(user.session(session).await.expect(200)["messageCount"], count);
    assert_eq!(user.texts(session).await.len(), count);
}

#[tokio::test]
async fn a_message_that_is_sent_many_times_at_once_is_saved_once() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let session = ann.create_session("hi").await;
    let body = json!({ "sessionId": session, "role": "user", "content": "once", "id": "m" });

    let replies = all_at_once((0..40).map(|_| ann.posting(SAVE, body.clone()))).await;

    assert_eq!(counts(&replies, [201, 200]), [1, 39]);
    assert!(replies.iter().all(|reply| reply.body == replies[0].body));
    assert_counted(&ann, &session, 2).await;
}

#[tokio::test]
async fn of_messages_that_take_the_same_id_one_is_saved() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let session = ann.create_session("hi").await;
    let body = |number: usize| json!({ "sessionId": session, "role": "user", "content": number.to_string(), "id": "m" });

    let replies = all_at_once((0..40).map(|number| ann.posting(SAVE, body(number)))).await;

    assert_eq!(counts(&replies, [201, 409]), [1, 39]);
    assert_counted(&ann, &session, 2).await;
}

#[tokio::test]
async fn a_session_that_is_created_many_times_at_once_is_created_once() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let body = json!({ "sessionId": "s", "firstMessage": "hi" });

    let calls = (0..40).map(|number| if number % 2 == 0 { &ann } else { &bob });
    let replies = all_at_once(calls.map(|user| user.posting(CREATE, body.clone()))).await;

    assert_eq!(counts(&replies, [201, 200, 409]), [1, 19, 20]);
    let sessions = [ann.sessions().await, bob.sessions().await].concat();
    assert_eq!(sessions.len(), 1);
    let owner = if sessions[0]["userId"] == "ann" { &ann } else { &bob };
    assert_counted(owner, "s", 1).await;
}

#[tokio::test]
async fn messages_that_are_saved_at_once_are_all_counted() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let session = ann.create_session("0").await;
    let body = |number: usize| json!({ "sessionId": session, "role": "user", "content": number.to_string() });

    let replies = all_at_once((1..=100).map(|number| ann.posting(SAVE, body(number)))).await;

    assert_eq!(counts(&replies, [201]), [100]);
    assert_counted(&ann, &session, 101).await;
    let last = ann.texts(&session).await.pop().unwrap();
    assert_eq!(ann.session(&session).await.expect(200)["lastMessage"], last);
}

#[tokio::test]
async fn a_session_shows_what_is_left_of_messages_that_were_edited_and_deleted_at_once() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);

    for round in 0..10 {
        let said = format!("said in {round}");
        let save = |id| json!({ "sessionId": "s", "role": "user", "content": said, "id": id });
        let call = |number: usize| {
            let id = (number / 3).to_string();
            let path = message_path("s", &id);
            match number % 3 {
                0 => ann.posting(SAVE, save(id)),
                1 => ann.patching(&path, json!({ "content": format!("edited in {round}") })),
                _ => ann.request("DELETE", &path),
            }
        };
        let replies = all_at_once((0..60).map(call)).await;
        counts(&replies, [200, 201, 404, 409]);

        let (session, texts) = (ann.session("s").await.expect(200), ann.texts("s").await);
        assert_eq!(session["messageCount"], texts.len());
        assert_eq!(session["firstMessage"], json!(texts.first()));
        assert_eq!(session["lastMessage"], json!(texts.last()));
    }
}

#[tokio::test]
async fn a_session_that_is_deleted_and_created_anew_keeps_nothing_of_the_old() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let call = |number: usize| match number % 3 {
        0 => ann.posting(CREATE, json!({ "sessionId": "s", "firstMessage": "hi" })),
        1 => ann
            .posting(SAVE, json!({ "sessionId": "s", "role": "user", "content": "x", "id": "m" })),
        _ => ann.posting("/api/sessions/delete", json!({ "sessionId": "s" })),
    };

    for _ in 0..10 {
        let replies = all_at_once((0..60).map(call)).await;
        counts(&replies, [200, 201, 404]);
        let created = ann.create(json!({ "sessionId": "s", "firstMessage": "hi" })).await;
        assert!(matches!(created.status.as_u16(), 200 | 201));
        let count = ann.session("s").await.expect(200)["messageCount"].as_u64().unwrap();
        let texts = ann.texts("s").await;
        assert_eq!(texts, ["hi", "x"][..usize::try_from(count).unwrap()]);
        assert_eq!(ann.sessions().await.len(), 1);
    }
}
