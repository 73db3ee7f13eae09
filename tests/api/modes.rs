//! The modes without tokens: callers say who they are, and `local` believes its own machine alone.

use serde_json::json;

use crate::support::{Mode, Reply, Setup, TestServer};

const BODY: &str = r#"{"userId":"ann"}"#;

/// Every route that acts for a user.
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/sessions/create"),
    ("GET", "/api/sessions/list"),
    ("GET", "/api/sessions/messages?sessionId=x"),
    ("POST", "/api/sessions/save-message"),
    ("POST", "/api/sessions/delete"),
    ("POST", "/api/sessions/update"),
    ("GET", "/api/sessions/get?sessionId=x"),
    ("GET", "/api/sessions/x"),
];

/// Sends a create request with this target and these lines in its head.
async fn create_raw(server: &TestServer, target: &str, lines: &[&str]) -> Reply {
    let own = ["Content-Type: application/json", "Content-Length: 16", "Connection: close"];
    let head = [lines, &own].concat().join("\r\n");
    let request = format!("POST {target} HTTP/1.1\r\n{head}\r\n\r\n{BODY}");
    Reply::parse(&server.send_raw(request).await)
}

const CREATE: &str = "/api/sessions/create";

#[tokio::test]
async fn off_and_local_need_a_user_id_on_every_route() {
    for mode in [Mode::Off, Mode::Local] {
        let server = Setup::new(mode).start().await;
        let message = json!({ "sessionId": "x", "role": "user", "content": "hi" }).to_string();

        for (method, path) in ROUTES {
            let call = server.request(method, path).header("content-type", "application/json");
            call.body(message.clone()).send().await.assert_error(400, "missing_user_id");
        }
        let empty = server.get("/api/sessions/list?userId=").send().await;
        empty.assert_error(400, "invalid_user_id");
    }
}

#[tokio::test]
async fn the_user_id_may_stand_in_query_or_body_but_not_differ() {
    let server = TestServer::start().await;
    let create =
        |query: &str, body: &str| server.post(&format!("{CREATE}{query}"), body.to_owned());

    create("?userId=ann", "{}").send().await.expect(201);
    create("", BODY).send().await.expect(201);
    create("?userId=ann", BODY).send().await.expect(201);
    create("?userId=bob", BODY).send().await.assert_error(403, "user_mismatch");

    assert_eq!(server.user("ann").sessions().await.len(), 3);
    assert!(server.user("bob").sessions().await.is_empty());
}

#[tokio::test]
async fn e_mail_addresses_are_folded_and_other_user_ids_are_not() {
    let server = TestServer::start().await;

    let created = server.user(" Ann@Example.ORG ").create(json!({})).await.expect(201);
    assert_eq!(created["userId"], "ann@example.org");
    assert_eq!(server.user("ANN@example.org").sessions().await.len(), 1);

    let created = server.user(" Bob ").create(json!({})).await.expect(201);
    assert_eq!(created["userId"], " Bob ");
    for other in ["Bob", " bob ", "bob"] {
        assert!(server.user(other).sessions().await.is_empty(), "{other:?}");
    }
}

#[tokio::test]
async fn local_answers_under_each_name_of_this_machine() {
    let server = Setup::new(Mode::Local).start().await;
    let address = server.address.clone();

    for host in ["localhost", "LocalHost:1", "127.0.0.1", &address, "[::1]", "[::1]:3002"] {
        create_raw(&server, CREATE, &[&format!("Host: {host}")]).await.expect(201);
        let target = format!("http://{host}{CREATE}");
        create_raw(&server, &target, &["Host: localhost"]).await.expect(201);
    }
}

#[tokio::test]
async fn local_refuses_whoever_may_come_from_elsewhere_and_stores_nothing() {
    let server = Setup::new(Mode::Local).start().await;
    let mut cases: Vec<(String, Vec<String>)> = vec![
        (CREATE.to_owned(), vec![]),
        (format!("http://evil.com{CREATE}"), vec!["Host: localhost".into()]),
        (format!("http://localhost@evil.com{CREATE}"), vec!["Host: localhost".into()]),
        (format!("http://localhost{CREATE}"), vec!["Host: evil.com".into()]),
        (format!("http://localhost{CREATE}"), vec![]),
    ];
    for host in [
        "",
        "evil.com",
        "evil.com:3002",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "localhost.",
        "localhost, evil.com",
        "evil.com@localhost",
        "localhost@evil.com",
        "0.0.0.0",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "::1",
        "[::]",
        "[::2]",
        "[::ffff:127.0.0.1]",
        "localhost/",
        "http://localhost",
        "l\u{f6}calhost",
    ] {
        cases.push((CREATE.to_owned(), vec![format!("Host: {host}")]));
    }
    for passed_on in [
        "CF-Connecting-IP: 127.0.0.1",
        "cf-connecting-ip:",
        "CF-Ray: 8f1a-VIE",
        "Forwarded: for=127.0.0.1",
        "FORWARDED: for=\"[::1]\"",
        "X-Forwarded-For: 127.0.0.1",
        "x-forwarded-for: ::1",
    ] {
        cases.push((CREATE.to_owned(), vec!["Host: localhost".into(), passed_on.into()]));
    }

    for (target, lines) in cases {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let reply = create_raw(&server, &target, &lines).await;
        assert_eq!(reply.status.as_u16(), 403, "{target} {lines:?}");
        let error = reply.assert_error(403, "local_only");
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("ORION_SHARED_JWT_SECRET") && text.contains("--auth off"), "{text}");
    }
    for second in ["Host: localhost", "Host: evil.com"] {
        let reply = create_raw(&server, CREATE, &["Host: localhost", second]).await;
        reply.assert_error(400, "invalid_head");
    }
    assert!(server.user("ann").sessions().await.is_empty());
}

#[tokio::test]
async fn local_refuses_on_every_route() {
    let server = Setup::new(Mode::Local).start().await;

    for (method, path) in ROUTES {
        let separator = if path.contains('?') { '&' } else { '?' };
        let call = server.request(method, &format!("{path}{separator}userId=ann"));
        call.header("cf-ray", "1").send().await.assert_error(403, "local_only");
    }
}

#[tokio::test]
async fn off_asks_not_where_a_caller_comes_from() {
    let server = TestServer::start().await;

    for line in ["Host: chat.example.org", "X-Forwarded-For: 192.0.2.1"] {
        create_raw(&server, CREATE, &[line]).await.expect(201);
    }
    assert_eq!(server.user("ann").sessions().await.len(), 2);
}
