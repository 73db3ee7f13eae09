//! How often a user and an address may call.

use std::num::NonZeroU32;
use std::time::Duration;

use orion_chat::http::{Proxy, Rate};
use serde_json::json;

use crate::support::{Call, Mode, Reply, Setup, TestServer};

const PORTAL: &str = "https://www.sidekickportal.com";
const QUARTER: Duration = Duration::from_mins(15);

/// A server where each may call `requests` times in `per`.
async fn limited(mode: Mode, requests: u32, per: Duration) -> TestServer {
    let rate = Rate { requests: NonZeroU32::new(requests).unwrap(), per };
    Setup::new(mode).limits(|limits| limits.rate = Some(rate)).start().await
}

/// The same behind a Cloudflare tunnel.
async fn limited_behind_cloudflare(mode: Mode, requests: u32) -> TestServer {
    let rate = Rate { requests: NonZeroU32::new(requests).unwrap(), per: QUARTER };
    let setup = Setup::new(mode).limits(|limits| {
        (limits.rate, limits.proxy) = (Some(rate), Some(Proxy::Cloudflare));
    });
    setup.start().await
}

/// The same request as if it came by the tunnel from one address.
fn from(call: Call<'_>) -> Call<'_> {
    call.header("cf-connecting-ip", "192.0.2.7")
}

/// What `server` answers to a list asked for by `user` at `address`.
async fn list_from(server: &TestServer, user: &str, address: &str) -> Reply {
    let call = server.user(user).request("GET", "/api/sessions/list");
    call.header("cf-connecting-ip", address).send().await
}

#[track_caller]
fn assert_limited(reply: &Reply, policy: &str, requests: u32) {
    reply.assert_error(429, "rate_limited");
    assert_eq!(
        reply.header("ratelimit-policy"),
        Some(format!(r#""{policy}";q={requests};w=900"#).as_str())
    );
    let secs: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(secs > 0 && secs <= 900 / requests, "{secs} s");
    assert_eq!(reply.header("ratelimit"), Some(format!(r#""{policy}";r=0;t={secs}"#).as_str()));
    let error = &reply.json()["error"];
    assert_eq!(
        *error,
        format!("too many requests of this {policy}; the limit is {requests} in 900 s")
    );
}

#[tokio::test]
async fn a_user_who_calls_too_often_is_told_when_to_come_back() {
    for mode in [Mode::Off, Mode::Local, Mode::Jwt] {
        let server = limited(mode, 5, QUARTER).await;
        let (ann, bob) = (server.user("ann"), server.user("bob"));
        for _ in 0..5 {
            ann.get("/api/sessions/list").await.expect(200);
        }

        let reply = ann.request("GET", "/api/sessions/list").origin(PORTAL).send().await;

        assert_limited(&reply, "user", 5);
        assert_eq!(reply.header("access-control-allow-origin"), Some(PORTAL));
        assert_eq!(
            reply.header("access-control-expose-headers"),
            Some("Content-Length, X-Request-Id, ETag, Retry-After")
        );
        bob.get("/api/sessions/list").await.expect(200);
    }
}

#[tokio::test]
async fn whatever_a_user_calls_counts_and_nothing_is_done_when_it_is_too_much() {
    let server = limited(Mode::Jwt, 6, QUARTER).await;
    let ann = server.user("ann");
    let session = ann.create_session("hi").await;
    ann.say(&session, "m1", "one").await.expect(201);
    ann.get("/api/search?q=one").await.expect(200);
    ann.get("/api/sessions/none").await.assert_error(404, "session_not_found");
    ann.post("/api/events/ticket", json!({})).await.expect(201);
    ann.message(&session, "m1").await.expect(200);

    for refused in [
        ann.say(&session, "m2", "two").await,
        ann.post("/api/sessions/delete", json!({ "sessionId": session })).await,
        ann.get("/api/events").await,
        ann.post("/api/sessions/create", json!({ "userId": "bob" })).await,
    ] {
        assert_limited(&refused, "user", 6);
    }

    let server = Setup::new(Mode::Jwt).folder(server.stop().await).start().await;
    assert_eq!(server.user("ann").texts(&session).await, ["hi", "one"]);
}

#[tokio::test]
async fn who_waits_may_call_again() {
    let server = limited(Mode::Off, 3, Duration::from_millis(600)).await;
    let ann = server.user("ann");

    let (mut done, mut refused) = (0, 0);
    while done < 6 {
        match ann.get("/api/sessions/list").await.status.as_u16() {
            200 => done += 1,
            429 => refused += 1,
            other => panic!("answered {other}"),
        }
    }

    assert!(refused > 0, "six calls took no longer than three");
}

#[tokio::test]
async fn an_address_is_limited_whoever_calls_from_there() {
    let server = limited_behind_cloudflare(Mode::Off, 4).await;
    for user in ["ann", "bob", "cid", "dan"] {
        list_from(&server, user, "192.0.2.7").await.expect(200);
    }

    assert_limited(&list_from(&server, "eve", "192.0.2.7").await, "address", 4);
    list_from(&server, "eve", "192.0.2.8").await.expect(200);

    for host in 1..=4 {
        list_from(&server, &format!("u{host}"), &format!("2001:db8:1:2::{host}")).await.expect(200);
    }
    assert_limited(&list_from(&server, "eve", "2001:db8:1:2:ffff::9").await, "address", 4);
    list_from(&server, "fay", "2001:db8:1:3::1").await.expect(200);
}

#[tokio::test]
async fn tokens_cannot_be_guessed_at_will() {
    let server = limited_behind_cloudflare(Mode::Jwt, 3).await;
    let guess = || {
        let call = server.get("/api/sessions/list").bearer("a.b.c").origin(PORTAL);
        call.header("cf-connecting-ip", "192.0.2.7").send()
    };
    for _ in 0..3 {
        guess().await.assert_error(401, "invalid_token");
    }

    let reply = guess().await;

    assert_limited(&reply, "address", 3);
    assert_eq!(reply.header("access-control-allow-origin"), Some(PORTAL));
}

#[tokio::test]
async fn probes_and_preflights_are_not_limited() {
    let server = &limited_behind_cloudflare(Mode::Off, 1).await;
    let preflight = || {
        let call = from(server.request("OPTIONS", "/api/sessions/list")).origin(PORTAL);
        call.header("access-control-request-method", "GET").send()
    };
    list_from(server, "ann", "192.0.2.7").await.expect(200);

    for _ in 0..3 {
        from(server.get("/health")).send().await.expect(200);
        from(server.get("/ready")).send().await.expect(200);
        assert_eq!(preflight().await.status, 204);
    }

    assert_limited(&list_from(server, "ann", "192.0.2.7").await, "address", 1);
    from(server.get("/nowhere")).send().await.assert_error(429, "rate_limited");
}

#[tokio::test]
async fn an_address_that_nobody_vouches_for_does_not_count() {
    let server = limited(Mode::Off, 2, QUARTER).await;

    for host in 0..2 {
        list_from(&server, "ann", &format!("192.0.2.{host}")).await.expect(200);
    }

    assert_limited(&list_from(&server, "ann", "192.0.2.9").await, "user", 2);
    for user in ["bob", "cid", "dan"] {
        list_from(&server, user, "192.0.2.7").await.expect(200);
    }
}

#[tokio::test]
async fn a_stream_is_one_request_and_its_ticket_another() {
    let server = limited(Mode::Jwt, 2, QUARTER).await;
    let ann = server.user("ann");
    let ticket = ann.post("/api/events/ticket", json!({})).await.expect(201);
    let path = |ticket: &serde_json::Value| {
        format!("/api/events?ticket={}", ticket["ticket"].as_str().unwrap())
    };

    let opened = server.request("HEAD", &path(&ticket)).send().await;
    assert_eq!(opened.status, 200);

    assert_limited(&server.get(&path(&ticket)).send().await, "user", 2);
}
