//! The portal's flow, in order, in each mode of authentication.

use serde_json::json;

use crate::support::{Mode, Setup};

#[tokio::test]
async fn the_portals_flow_works_in_each_mode() {
    for mode in [Mode::Off, Mode::Local, Mode::Jwt] {
        let server = Setup::new(mode).start().await;
        let ann = server.user("ann@example.org");
        assert_eq!(ann.sessions().await, Vec::<serde_json::Value>::new());

        let session = ann.create_session("What is a monad?").await;
        let listed = ann.sessions().await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["sessionId"], session.as_str());
        assert_eq!(listed[0]["userId"], "ann@example.org");
        assert_eq!(listed[0]["title"], "What is a monad?");
        assert_eq!(listed[0]["messageCount"], 1);
        assert_eq!(ann.texts(&session).await, ["What is a monad?"]);

        ann.save_message(&session, "assistant", "A monoid, of course.").await.expect(201);
        let listed = ann.sessions().await;
        assert_eq!(listed[0]["lastMessage"], "A monoid, of course.");
        assert_eq!(listed[0]["firstMessage"], "What is a monad?");
        assert_eq!(listed[0]["messageCount"], 2);

        let update = json!({ "sessionId": session, "title": "Monads" });
        let updated = ann.post("/api/sessions/update", update).await.expect(200);
        assert_eq!(updated["title"], "Monads");
        assert_eq!(ann.session(&session).await.expect(200), updated);

        let deleted = ann.delete(&session).await;
        assert_eq!(
            deleted.text(),
            r#"{"success":true,"message":"Session deleted successfully"}"#,
            "{mode:?}"
        );
        ann.session(&session).await.assert_error(404, "session_not_found");
        ann.history(&session).await.assert_error(404, "session_not_found");
        assert!(ann.sessions().await.is_empty());
    }
}
