//! How much a user may store.

use std::num::NonZeroU64;

use orion_chat::store::Quota;
use serde_json::json;

use crate::support::{Mode, Reply, Setup, TestServer, User, message_path};

fn of_sessions(sessions: u64) -> Setup {
    Setup::new(Mode::Off).quota(Quota { sessions: NonZeroU64::new(sessions), bytes: None })
}

fn of_bytes(bytes: usize) -> Setup {
    let bytes = NonZeroU64::new(bytes.try_into().unwrap());
    Setup::new(Mode::Off).quota(Quota { sessions: None, bytes })
}

#[track_caller]
fn assert_exceeded(reply: &Reply, text: &str) {
    reply.assert_error(403, "quota_exceeded");
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(text), "{error}");
}

/// How many bytes of sessions and messages a user is sent in all.
async fn bytes_of(user: &User<'_>) -> usize {
    let mut bytes = 0;
    for session in user.sessions().await {
        let id = session["sessionId"].as_str().unwrap();
        bytes += user.get(&format!("/api/sessions/{id}")).await.body.len();
        for message in user.history(id).await.expect(200)["messages"].as_array().unwrap() {
            let id = message["id"].as_str().unwrap();
            let path = message_path(session["sessionId"].as_str().unwrap(), id);
            bytes += user.get(&path).await.body.len();
        }
    }
    bytes
}

#[tokio::test]
async fn a_user_has_no_more_sessions_than_there_may_be() {
    let server = of_sessions(3).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    for id in ["s1", "s2", "s3"] {
        ann.create(json!({ "sessionId": id, "firstMessage": "hi" })).await.expect(201);
    }

    let refused = ann.create(json!({ "sessionId": "s4" })).await;

    assert_exceeded(
        &refused,
        "sessions are limited to 3 for each user; there are 3, and 1 would be added",
    );
    ann.create(json!({ "sessionId": "s3" })).await.expect(200);
    ann.save_message("s3", "user", "more").await.expect(201);
    bob.create(json!({})).await.expect(201);

    ann.delete("s2").await.expect(200);
    ann.create(json!({ "sessionId": "s4" })).await.expect(201);
    assert_exceeded(&ann.create(json!({})).await, "there are 3");
}

#[tokio::test]
async fn a_user_has_no_more_bytes_than_there_may_be() {
    let limit = 6000;
    let server = of_bytes(limit).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let text = "x".repeat(300);
    ann.create(json!({ "sessionId": "s1", "metadata": { "a": "b" } })).await.expect(201);
    ann.create(json!({ "sessionId": "s2", "firstMessage": "hi" })).await.expect(201);
    let mut saved = 0;
    let refused = loop {
        let reply = ann.say("s1", &format!("m{saved}"), &text).await;
        if reply.status != 201 {
            break reply;
        }
        saved += 1;
    };

    let used = bytes_of(&ann).await;
    assert_exceeded(
        &refused,
        &format!("bytes are limited to 6000 for each user; there are {used}"),
    );
    let more: usize = {
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        let more = error.split(", and ").nth(1).unwrap().split(' ').next().unwrap();
        more.parse().unwrap()
    };
    assert!(used <= limit && used + more > limit, "{used} and {more}");
    assert_eq!(saved, ann.texts("s1").await.len());

    // What grows is refused, be it new or not; what shrinks and what is a repetition is not.
    let long = "y".repeat(limit);
    for refused in [
        ann.patch(&message_path("s1", "m0"), json!({ "content": long })).await,
        ann.patch("/api/sessions/s1", json!({ "metadata": { "a": long } })).await,
        ann.create(json!({ "firstMessage": long })).await,
    ] {
        assert_exceeded(&refused, &format!("there are {used}"));
    }
    ann.say("s1", "m0", &text).await.expect(200);
    bob.create(json!({ "firstMessage": "hi" })).await.expect(201);
    ann.patch(&message_path("s1", "m0"), json!({ "content": "short" })).await.expect(200);
    ann.patch("/api/sessions/s1", json!({ "title": "t", "metadata": {} })).await.expect(200);
    ann.patch(&message_path("s1", "m0"), json!({ "content": text })).await.expect(200);

    ann.request("DELETE", &message_path("s1", "m1")).send().await.expect(200);
    ann.request("DELETE", &message_path("s1", "m2")).send().await.expect(200);
    ann.say("s1", "m1", &text).await.expect(201);
    ann.delete("s1").await.expect(200);
    for id in 1..saved {
        ann.say("s2", &format!("m{id}"), &text).await.expect(201);
    }
}

#[tokio::test]
async fn a_quota_counts_what_was_stored_before_it_and_while_there_was_none() {
    let text = "x".repeat(2000);
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s1", "firstMessage": text })).await.expect(201);

    let server = of_bytes(13_000).folder(server.stop().await).start().await;
    let ann = server.user("ann");
    ann.say("s1", "m1", &text).await.expect(201);
    let server = Setup::new(Mode::Off).folder(server.stop().await).start().await;
    let ann = server.user("ann");
    ann.say("s1", "m2", &text).await.expect(201);

    let server = of_bytes(13_000).folder(server.stop().await).start().await;
    let ann = server.user("ann");
    let used = bytes_of(&ann).await;
    assert!((9000..13_000).contains(&used), "{used}");
    assert_exceeded(&ann.say("s1", "m3", &text.repeat(2)).await, &format!("there are {used}"));
    ann.say("s1", "m4", "short").await.expect(201);
    let used = bytes_of(&ann).await;

    let server = of_bytes(13_000).folder(server.stop().await).start().await;
    let ann = server.user("ann");
    assert_exceeded(&ann.say("s1", "m3", &text.repeat(2)).await, &format!("there are {used}"));
}
