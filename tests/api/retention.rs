//! Sessions that nobody has changed for long, and those that are there for a time only.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orion_chat::model::Timestamp;
use serde_json::json;

use crate::support::{By, Mode, Setup, TestServer, User};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl TestServer {
    /// The server's clock goes on, or jumps.
    fn pass(&self, time: Duration) {
        self.clock().fetch_add(micros(time), Ordering::SeqCst);
    }

    /// What its clock will show then, as clients read it.
    fn later(&self, time: Duration) -> String {
        Timestamp::from_micros(self.clock().load(Ordering::SeqCst) + micros(time)).to_string()
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap()
}

/// Waits until these are the sessions of `user`.
async fn wait_for_sessions(user: &User<'_>, expected: &[&str]) {
    let begun = Instant::now();
    loop {
        let sessions = user.sessions().await;
        let mut ids: Vec<_> =
            sessions.iter().map(|session| session["sessionId"].as_str().unwrap()).collect();
        ids.sort_unstable();
        if ids == expected {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{ids:?} and not {expected:?}");
    }
}

#[tokio::test]
async fn what_nobody_changed_for_long_is_deleted_but_not_what_is_pinned() {
    let server = Setup::new(Mode::Off).keep(DAY).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let mut listener = bob.listen(By::Stream, "").await;
    for id in ["old", "pinned", "used", "renamed"] {
        ann.create(json!({ "sessionId": id, "firstMessage": "hi" })).await.expect(201);
    }
    bob.create(json!({ "sessionId": "bobs", "firstMessage": "hi" })).await.expect(201);
    ann.patch("/api/sessions/pinned", json!({ "pinned": true })).await.expect(200);
    server.pass(23 * HOUR);
    ann.save_message("used", "user", "still here").await.expect(201);
    ann.patch("/api/sessions/renamed", json!({ "title": "new" })).await.expect(200);

    server.pass(2 * HOUR);

    wait_for_sessions(&ann, &["pinned", "renamed", "used"]).await;
    wait_for_sessions(&bob, &[]).await;
    ann.history("old").await.assert_error(404, "session_not_found");
    assert_eq!(ann.texts("used").await, ["hi", "still here"]);
    for expected in ["session.created", "message.created", "session.deleted"] {
        assert_eq!(listener.hear().await["type"], expected);
    }

    server.pass(23 * HOUR);
    wait_for_sessions(&ann, &["pinned"]).await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_deletes_nothing() {
    let server = Setup::new(Mode::Off).keep(DAY).start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s1", "firstMessage": "hi" })).await.expect(201);
    server.pass(400 * DAY);
    // Also not when somebody writes by that clock.
    ann.create(json!({ "sessionId": "s2", "firstMessage": "hi" })).await.expect(201);

    wait_for_sessions(&ann, &["s1", "s2"]).await;

    server.clock().fetch_sub((399 * DAY).as_micros().try_into().unwrap(), Ordering::SeqCst);
    server.pass(HOUR);
    wait_for_sessions(&ann, &["s2"]).await;
}

#[tokio::test]
async fn a_session_is_deleted_when_its_time_has_come() {
    let server = Setup::new(Mode::Off).start().await;
    let ann = server.user("ann");
    let mut listener = ann.listen(By::Stream, "").await;
    for (id, after) in [("first", HOUR), ("longer", HOUR), ("kept", HOUR), ("pinned", HOUR)] {
        let new =
            json!({ "sessionId": id, "firstMessage": "hi", "expiresAt": server.later(after) });
        let created = ann.create(new).await.expect(201);
        assert_eq!(created["expiresAt"], server.later(after));
    }
    ann.create(json!({ "sessionId": "plain" })).await.expect(201);
    ann.patch("/api/sessions/pinned", json!({ "pinned": true })).await.expect(200);
    let longer = json!({ "expiresAt": server.later(2 * HOUR) });
    ann.patch("/api/sessions/longer", longer).await.expect(200);
    let never = ann.request("PATCH", "/api/sessions/kept").body(r#"{"expiresAt":null}"#);
    let never = never.header("content-type", "application/merge-patch+json").send().await;
    let kept = never.expect(200);
    assert_eq!(kept.get("expiresAt"), None);
    ann.save_message("first", "user", "a message gives it no more time").await.expect(201);
    for event in 0..13 {
        assert_ne!(listener.hear().await["type"], "session.deleted", "event {event}");
    }

    server.pass(HOUR);

    assert_eq!(listener.hear().await["type"], "session.deleted");
    wait_for_sessions(&ann, &["kept", "longer", "plain"]).await;
    ann.history("first").await.assert_error(404, "session_not_found");

    server.pass(HOUR);
    wait_for_sessions(&ann, &["kept", "plain"]).await;
}

#[tokio::test]
async fn it_is_known_after_a_restart_what_is_to_go_when() {
    let server = Setup::new(Mode::Off).start().await;
    let ann = server.user("ann");
    for (id, after) in [("short", HOUR), ("long", DAY)] {
        let new = json!({ "sessionId": id, "expiresAt": server.later(after) });
        ann.create(new).await.expect(201);
    }
    let server = Setup::new(Mode::Off).folder(server.stop().await).start().await;

    server.pass(2 * HOUR);

    wait_for_sessions(&server.user("ann"), &["long"]).await;
}

#[tokio::test]
async fn a_session_of_an_id_that_expired_before_is_not_touched() {
    let server = Setup::new(Mode::Off).start().await;
    let ann = server.user("ann");
    let new = json!({ "sessionId": "s", "expiresAt": server.later(HOUR) });
    ann.create(new).await.expect(201);
    ann.delete("s").await.expect(200);
    ann.create(json!({ "sessionId": "s", "title": "another" })).await.expect(201);
    let other = json!({ "sessionId": "other", "expiresAt": server.later(HOUR) });
    ann.create(other).await.expect(201);

    server.pass(2 * HOUR);

    wait_for_sessions(&ann, &["s"]).await;
}
