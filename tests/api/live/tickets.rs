//! Tickets: listening without a header.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{
    AUDIENCE, By, EITHER, ISSUER, Mode, Reply, SECRET, Setup, TestServer, User, mint,
};

use super::upgrading;

const TICKET: &str = "/api/events/ticket";

async fn take_ticket(user: &User<'_>) -> Value {
    user.post(TICKET, json!({})).await.expect(201)
}

fn path_with(by: By, ticket: &Value) -> String {
    format!("{}?ticket={}", by.path(), ticket["ticket"].as_str().unwrap())
}

async fn ask_with(server: &TestServer, by: By, ticket: &Value) -> Reply {
    upgrading(server.get(&path_with(by, ticket)), by).send().await
}

/// A token of ann's that expires so long after the server's time.
fn token_for(server: &TestServer, secs: i64) -> String {
    let now = i64::try_from(server.clock().load(Ordering::SeqCst) / 1_000_000).unwrap();
    let claims = json!({ "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now + secs });
    mint(r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET)
}

#[tokio::test]
async fn a_ticket_opens_one_stream_of_whoever_took_it() {
    for mode in [Mode::Jwt, Mode::Local, Mode::Off] {
        let server = Setup::new(mode).start().await;
        let ann = server.user("ann");
        for by in EITHER {
            let ticket = take_ticket(&ann).await;

            let mut listener = server.listen_to(by, &path_with(by, &ticket), []).await;
            ann.create(json!({ "title": "mine" })).await.expect(201);

            assert_eq!(listener.hear_of().await, ["session.created mine"]);
            let again = ask_with(&server, by, &ticket).await;
            again.assert_error(401, "invalid_ticket");
            assert!(again.header("www-authenticate").unwrap().starts_with("Bearer "));
        }
    }
}

#[tokio::test]
async fn a_ticket_tells_where_to_begin_so_that_nothing_is_missed() {
    let server = Setup::new(Mode::Jwt).start().await;
    let ann = server.user("ann");
    for by in EITHER {
        ann.create(json!({ "title": "before" })).await.expect(201);
        let ticket = take_ticket(&ann).await;
        ann.create(json!({ "title": "meanwhile" })).await.expect(201);

        let since =
            format!("{}&since={}", path_with(by, &ticket), ticket["cursor"].as_str().unwrap());
        let mut listener = server.listen_to(by, &since, []).await;

        assert_eq!(listener.hear_of().await, ["session.created meanwhile"]);
    }
}

#[tokio::test]
async fn a_ticket_that_is_used_or_too_old_or_made_up_is_refused_in_the_same_words() {
    let server = Setup::new(Mode::Jwt).start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let (used, old) = (take_ticket(&ann).await, take_ticket(&ann).await);
        drop(server.listen_to(by, &path_with(by, &used), []).await);
        server.clock().fetch_add(30_000_000, Ordering::SeqCst);

        let mut refusals = Vec::new();
        for ticket in
            [used, old, json!({ "ticket": "AAAAAAAAAAAAAAAAAAAAAA" }), json!({ "ticket": "" })]
        {
            let mut refusal =
                ask_with(&server, by, &ticket).await.assert_error(401, "invalid_ticket");
            refusal["requestId"] = Value::Null;
            refusals.push(refusal);
        }

        refusals.dedup();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    }
}

#[tokio::test]
async fn a_ticket_does_not_let_its_bearer_be_somebody_else() {
    let server = Setup::new(Mode::Jwt).start().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let session = ann.create_session("hers").await;

    let ticket = path_with(By::Stream, &take_ticket(&bob).await);
    let refused = server.get(&format!("{ticket}&userId=ann")).send().await;
    refused.assert_error(403, "user_mismatch");
    let ticket = path_with(By::Stream, &take_ticket(&bob).await);
    let refused = server.get(&format!("{ticket}&sessionId={session}")).send().await;
    refused.assert_error(404, "session_not_found");
    let refused = server.post(TICKET, "{}").send().await;
    refused.assert_error(401, "missing_token");
}

#[tokio::test]
async fn a_ticket_helps_nobody_who_is_not_on_this_machine_in_local_mode() {
    let server = Setup::new(Mode::Local).start().await;
    let path = path_with(By::Stream, &take_ticket(&server.user("ann")).await);

    let refused = server.get(&path).header("x-forwarded-for", "10.0.0.1").send().await;

    refused.assert_error(403, "local_only");
}

#[tokio::test]
async fn a_request_for_a_ticket_that_is_repeated_gets_the_same_ticket() {
    let server = Setup::new(Mode::Jwt).start().await;
    let ask = || server.user("ann").posting(TICKET, json!({})).header("idempotency-key", "k");
    let first = ask().send().await;
    assert_eq!(first.header("cache-control"), Some("no-store"));

    let again = ask().send().await;

    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201), first.expect(201));
}

#[tokio::test]
async fn listening_ends_when_the_token_expires() {
    let server = Setup::new(Mode::Jwt).start().await;
    for by in EITHER {
        let bearer =
            ("authorization".parse().unwrap(), format!("Bearer {}", token_for(&server, 1)));
        let ticket =
            server.post(TICKET, "{}").bearer(&token_for(&server, 1)).send().await.expect(201);

        let mut with_token = server.listen_to(by, by.path(), [bearer]).await;
        let mut with_ticket = server.listen_to(by, &path_with(by, &ticket), []).await;

        for listener in [&mut with_token, &mut with_ticket] {
            let told = (by == By::Socket).then(|| (4401, "token expired".to_owned()));
            assert_eq!(listener.end().await, told);
        }
    }
}

#[tokio::test]
async fn the_leeway_of_a_token_is_not_enough_to_listen() {
    let server = Setup::new(Mode::Jwt).start().await;
    let token = token_for(&server, 0);
    server.get("/api/sessions/list").bearer(&token).send().await.expect(200);

    for by in EITHER {
        let refused = upgrading(server.get(by.path()).bearer(&token), by).send().await;
        refused.assert_error(401, "invalid_token");
    }
    server.post(TICKET, "{}").bearer(&token).send().await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn a_request_that_opens_nothing_leaves_its_ticket_good() {
    let server = Setup::new(Mode::Jwt).start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let ticket = take_ticket(&ann).await;
        let path = path_with(by, &ticket);
        for (more, status, code) in [
            ("&since=abc", 400, "invalid_since"),
            ("&sessionId=none", 404, "session_not_found"),
            ("&userId=bob", 403, "user_mismatch"),
        ] {
            let refused = upgrading(server.get(&format!("{path}{more}")), by).send().await;
            refused.assert_error(status, code);
        }

        let mut listener = server.listen_to(by, &path, []).await;
        ann.create(json!({ "title": "t" })).await.expect(201);
        assert_eq!(listener.hear_of().await, ["session.created t"]);
    }
}
