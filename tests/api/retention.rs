//! Sessions that nobody has changed for long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{By, Mode, Setup, TestServer, User};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl TestServer {
    /// The server's clock goes on, or jumps.
    fn pass(&self, time: Duration) {
        self.clock().fetch_add(time.as_micros().try_into().unwrap(), Ordering::SeqCst);
    }
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
