//! The jwt mode: which tokens let whom in. The table of all malformed tokens is with the verifier;
//! here are samples of it, and what only a request can get wrong.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{
    AUDIENCE, Call, ISSUER, Mode, PREVIOUS_SECRET, Reply, SECRET, START_MICROS, Setup, TestServer,
    mint,
};

const LIST: &str = "/api/sessions/list";
const CREATE: &str = "/api/sessions/create";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOW: u64 = START_MICROS / 1_000_000;

/// Ann's token, with one claim as given; `null` leaves it out.
fn token_with(claim: &str, value: Value) -> String {
    let mut claims = json!({ "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 3600 });
    claims[claim] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    mint(HEADER, &claims.to_string(), SECRET)
}

fn good_token() -> String {
    token_with("iat", json!(NOW))
}

async fn jwt_server() -> TestServer {
    Setup::new(Mode::Jwt).start().await
}

async fn list_with(server: &TestServer, token: &str) -> Reply {
    server.get(LIST).bearer(token).send().await
}

#[tokio::test]
async fn good_tokens_let_their_user_in() {
    let server = jwt_server().await;
    let claims = json!({ "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 3600 });
    let session = server.user("ann").create_session("hello").await;

    for (what, authorization) in [
        ("plain", format!("Bearer {}", good_token())),
        ("scheme in lower case", format!("bearer {}", good_token())),
        (
            "signed before the rotation",
            format!("Bearer {}", mint(HEADER, &claims.to_string(), PREVIOUS_SECRET)),
        ),
        (
            "for several audiences",
            format!("Bearer {}", token_with("aud", json!(["other", AUDIENCE]))),
        ),
        ("valid since now", format!("Bearer {}", token_with("nbf", json!(NOW)))),
    ] {
        let list = server.get(LIST).header("authorization", authorization).send().await;
        assert_eq!(list.expect(200)["sessions"][0]["sessionId"], session.as_str(), "{what}");
    }
}

/// Requests whose token is no good, by what is wrong with it.
fn bad_tokens(server: &TestServer) -> Vec<(&'static str, Call<'_>)> {
    let good = good_token();
    let (unfinished, signature) = good.rsplit_once('.').unwrap();
    let claims = json!({ "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 3600 });
    let by_header = |header: &str| mint(header, &claims.to_string(), SECRET);
    let unsigned = by_header(r#"{"alg":"none"}"#);
    let none = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    let others = token_with("sub", json!("bob"));
    let swapped = format!("{}.{signature}", others.rsplit_once('.').unwrap().0);
    let bearer = |token: &str| server.get(LIST).bearer(token);
    let header = |value: String| server.get(LIST).header("authorization", value);
    vec![
        ("expired", bearer(&token_with("exp", json!(NOW - 30)))),
        ("not valid yet", bearer(&token_with("nbf", json!(NOW + 31)))),
        ("without exp", bearer(&token_with("exp", Value::Null))),
        ("without sub", bearer(&token_with("sub", Value::Null))),
        ("without iss", bearer(&token_with("iss", Value::Null))),
        ("without aud", bearer(&token_with("aud", Value::Null))),
        ("of another issuer", bearer(&token_with("iss", json!("https://evil.com")))),
        ("for another audience", bearer(&token_with("aud", json!("orion")))),
        ("for other audiences", bearer(&token_with("aud", json!(["a", "b"])))),
        ("for a blank user", bearer(&token_with("sub", json!(" ")))),
        ("for a user of 256 characters", bearer(&token_with("sub", json!("x".repeat(256))))),
        ("alg none, signed", bearer(&unsigned)),
        ("alg none, not signed", bearer(&none)),
        ("alg HS512", bearer(&by_header(r#"{"alg":"HS512"}"#))),
        ("alg RS256", bearer(&by_header(r#"{"alg":"RS256"}"#))),
        ("of another secret", bearer(&mint(HEADER, &claims.to_string(), b"another secret"))),
        ("of an empty secret", bearer(&mint(HEADER, &claims.to_string(), b""))),
        ("with another's claims", bearer(&swapped)),
        ("with its signature cut", bearer(&good[..good.len() - 2])),
        ("without a signature", bearer(unfinished)),
        ("no JWT", bearer("hello")),
        ("empty", bearer("")),
        ("a scheme alone", header("Bearer".to_owned())),
        ("of another scheme", header(format!("Basic {good}"))),
        ("without a scheme", header(good.clone())),
        ("not ASCII", header("Bearer \u{fc}".to_owned())),
        ("one of two", bearer(&good).bearer(&others)),
        ("sent twice", bearer(&good).bearer(&good)),
        ("of 16 KiB", bearer(&token_with("x", json!("x".repeat(16 * 1024))))),
    ]
}

#[tokio::test]
async fn bad_tokens_are_refused_in_the_same_words_whatever_is_wrong() {
    let server = jwt_server().await;

    let mut texts = Vec::new();
    for (what, call) in bad_tokens(&server) {
        let reply = call.header("x-request-id", "same").send().await;
        assert_eq!(reply.status.as_u16(), 401, "{what}");
        reply.assert_error(401, "invalid_token");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{what}: {challenge}");
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
        texts.push(reply.text().to_owned());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn a_token_counts_in_the_authorization_header_alone() {
    let server = jwt_server().await;
    let token = good_token();

    for call in [
        server.get(LIST),
        server.get(&format!("{LIST}?userId=ann")),
        server.get(LIST).header("cookie", format!("token={token}; Authorization=Bearer {token}")),
        server.get(&format!("{LIST}?access_token={token}&token={token}")),
        server.get(LIST).header("x-authorization", format!("Bearer {token}")),
        server.get(LIST).header("proxy-authorization", format!("Bearer {token}")),
        server.post(CREATE, json!({ "userId": "ann", "access_token": token }).to_string()),
        server.post(CREATE, "not even JSON"),
    ] {
        let reply = call.send().await;
        reply.assert_error(401, "missing_token");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        // RFC 6750, section 3.1: none, when no token was sent.
        assert!(!challenge.contains("error"), "{challenge}");
    }
    assert!(server.user("ann").sessions().await.is_empty());
}

#[tokio::test]
async fn clocks_may_be_30_seconds_apart_and_no_more() {
    let server = jwt_server().await;
    let times = json!({ "sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW, "nbf": NOW });
    let token = mint(HEADER, &times.to_string(), SECRET);

    for (micros, status) in [
        (START_MICROS / 1_000_000 * 1_000_000 - 30_000_001, 401),
        (START_MICROS / 1_000_000 * 1_000_000 - 30_000_000, 200),
        (START_MICROS / 1_000_000 * 1_000_000 + 29_999_999, 200),
        (START_MICROS / 1_000_000 * 1_000_000 + 30_000_000, 401),
    ] {
        server.clock().store(micros, Ordering::SeqCst);
        assert_eq!(list_with(&server, &token).await.status.as_u16(), status, "{micros}");
    }
}

#[tokio::test]
async fn the_user_is_the_tokens_and_user_id_may_only_repeat_it() {
    let server = jwt_server().await;
    let token = token_with("sub", json!("Ann@Example.org"));
    let create = |query: &str, body: Value| {
        server.post(&format!("{CREATE}{query}"), body.to_string()).bearer(&token)
    };

    for call in [
        create("", json!({})),
        create("", json!({ "userId": null })),
        create("", json!({ "userId": "ann@example.org" })),
        create("?userId=ANN%40example.ORG", json!({ "userId": " ann@example.org " })),
    ] {
        assert_eq!(call.send().await.expect(201)["userId"], "ann@example.org");
    }
    for call in [
        create("", json!({ "userId": "bob@example.org" })),
        create("?userId=bob", json!({})),
        create("?userId=bob", json!({ "userId": "ann@example.org" })),
        create("?userId=ann%40example.org", json!({ "userId": "bob" })),
        server.get(&format!("{LIST}?userId=bob")).bearer(&token),
        server.get("/api/sessions/any?userId=bob").bearer(&token),
    ] {
        call.send().await.assert_error(403, "user_mismatch");
    }
    assert_eq!(list_with(&server, &token).await.expect(200)["count"], 4);
    assert!(server.user("bob").sessions().await.is_empty());
}

#[tokio::test]
async fn users_are_opaque_but_for_e_mail_addresses() {
    let server = jwt_server().await;
    server.user("Ann").create_session("hello").await;

    for other in ["ann", "Ann ", "ANN", "\u{ff21}nn"] {
        assert!(server.user(other).sessions().await.is_empty(), "{other}");
    }
    assert_eq!(server.user("Ann").sessions().await.len(), 1);
}

#[tokio::test]
async fn where_users_are_listed_others_are_refused() {
    let allowed = Setup::new(Mode::Jwt).allow_users(&["Ann@example.org", "bob"]);
    let server = allowed.start().await;

    for allowed in ["ann@example.org", "ANN@Example.Org", "bob"] {
        server.user(allowed).create(json!({})).await.expect(201);
    }
    for other in ["Bob", "ann@example.com", "carol"] {
        let created = server.user(other).create(json!({})).await;
        created.assert_error(403, "user_not_allowed");
        let list = server.get(&format!("{LIST}?userId=bob")).bearer(&server.user(other).token());
        list.send().await.assert_error(403, "user_not_allowed");
    }
    assert_eq!(server.user("ann@example.org").sessions().await.len(), 2);
}

#[tokio::test]
async fn the_service_itself_is_open_to_all() {
    let server = Setup::new(Mode::Jwt).allow_users(&["bob"]).start().await;

    for path in ["/", "/health", "/ready"] {
        server.get(path).send().await.expect(200);
        server.get(path).bearer("nonsense").send().await.expect(200);
    }
}
