//! What operators see, on a listener of its own: and nobody else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Mode, SECRET, Setup, TestServer};

const LOCAL: &str = "Host: localhost\r\n";

async fn ask(server: &TestServer, path: &str) -> String {
    let answer = server.ask_admin(path, LOCAL).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    answer
}

/// The JSON that is asked for, by its path.
async fn ask_json(server: &TestServer, path: &str) -> Value {
    let answer = ask(server, path).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// The value of a metric, by its name and labels.
fn value(metrics: &str, name: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in {metrics}")).trim().parse().unwrap()
}

#[tokio::test]
async fn metrics_tell_what_happened_and_not_to_whom() {
    let server = Setup::new(Mode::Off).admin().start().await;
    let ann = server.user("ann@example.org");
    ann.create(json!({ "sessionId": "secret-session", "firstMessage": "hi" })).await.expect(201);
    for content in ["one", "two"] {
        ann.save_message("secret-session", "user", content).await.expect(201);
    }
    ann.get("/api/sessions/secret-session").await.expect(200);
    ann.get("/api/sessions/secret-other").await.assert_error(404, "session_not_found");
    ann.get("/secret/path").await.assert_error(404, "not_found");
    server.get("/health").origin("https://evil.example").send().await.expect(200);

    let metrics = ask(&server, "/metrics").await;

    assert!(metrics.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{metrics}");
    let route = |method: &str, route: &str, status: &str| {
        let name = "orion_chat_http_requests_total";
        format!("{name}{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")
    };
    for (name, expected) in [
        (route("POST", "/api/sessions/create", "2xx"), 1.0),
        (route("POST", "/api/sessions/save-message", "2xx"), 2.0),
        (route("GET", "/api/sessions/{sessionId}", "2xx"), 1.0),
        (route("GET", "/api/sessions/{sessionId}", "4xx"), 1.0),
        (route("other", "unknown", "4xx"), 1.0),
        (r#"orion_chat_http_errors_total{code="session_not_found"}"#.to_owned(), 1.0),
        ("orion_chat_http_origins_refused_total".to_owned(), 1.0),
        (r#"orion_chat_writes_total{verb="save_message"}"#.to_owned(), 2.0),
        ("orion_chat_writes_waiting".to_owned(), 0.0),
        ("orion_chat_http_requests_in_flight".to_owned(), 0.0),
        ("orion_chat_sessions".to_owned(), 1.0),
        ("orion_chat_messages".to_owned(), 3.0),
        ("orion_chat_commit_duration_seconds_count".to_owned(), 3.0),
        ("orion_chat_commit_operations_sum".to_owned(), 3.0),
    ] {
        assert!((value(&metrics, &name) - expected).abs() < 0.5, "{name} in {metrics}");
    }
    for name in ["file_bytes", "disk_free_bytes", "log_steps", "fsync_duration_seconds_count"] {
        assert!(value(&metrics, &format!("orion_chat_{name}")) > 0.0, "{name} in {metrics}");
    }
    for hidden in ["secret", "ann", "example.org", "evil"] {
        assert!(!metrics.contains(hidden), "{hidden} in {metrics}");
    }
}

#[tokio::test]
async fn metrics_tell_why_tokens_were_refused() {
    let server = Setup::new(Mode::Jwt).admin().start().await;
    for token in ["a.b.c", "nonsense"] {
        let reply = server.get("/api/sessions").header("authorization", format!("Bearer {token}"));
        reply.send().await.assert_error(401, "invalid_token");
    }

    let metrics = ask(&server, "/metrics").await;

    let refused = value(&metrics, r#"orion_chat_tokens_refused_total{reason="malformed"}"#);
    assert!((refused - 2.0).abs() < 0.5, "{metrics}");
}

#[tokio::test]
async fn a_client_that_asks_for_openmetrics_gets_it() {
    let server = Setup::new(Mode::Off).admin().start().await;

    let lines = format!("{LOCAL}Accept: application/openmetrics-text;version=1.0.0\r\n");
    let metrics = server.ask_admin("/metrics", &lines).await;

    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn an_operator_sees_what_goes_on_inside() {
    let server = Setup::new(Mode::Jwt).admin().start().await;
    let ann = server.user("ann");
    for id in ["s1", "s2"] {
        ann.create(json!({ "sessionId": id, "firstMessage": "hi" })).await.expect(201);
    }
    ann.delete("s1").await.expect(200);

    assert_eq!(ask_json(&server, "/health").await["status"], "healthy");
    assert_eq!(ask_json(&server, "/ready").await["status"], "ready");
    let status = ask_json(&server, "/debug/status").await;
    assert_eq!((&status["data"]["sessions"], &status["data"]["messages"]), (&json!(1), &json!(1)));
    assert_eq!(status["address"], server.address);
    let store = ask_json(&server, "/debug/store").await;
    let names: Vec<_> = store["tables"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(names.contains(&&json!("seq_to_steps")), "{store}");
    assert_eq!((&store["sessions"], &store["messages"]), (&json!(1), &json!(1)));
    assert!(ask_json(&server, "/debug/tasks").await["workers"].as_u64() >= Some(1));
    for path in ask_json(&server, "/").await.as_array().unwrap() {
        ask(&server, path.as_str().unwrap()).await;
    }

    let config = ask(&server, "/debug/config").await;
    assert!(config.contains("max_connections: 1000") && config.contains("Jwt"), "{config}");
    assert!(!config.contains(std::str::from_utf8(SECRET).unwrap()), "{config}");
}

#[tokio::test]
async fn nothing_of_it_is_on_the_public_listener() {
    let server = Setup::new(Mode::Off).admin().start().await;

    for path in ["/metrics", "/debug", "/debug/status", "/debug/store", "/debug/config"] {
        server.get(path).send().await.assert_error(404, "not_found");
    }
}

#[tokio::test]
async fn pages_tunnels_and_foreign_names_are_refused() {
    let server = Setup::new(Mode::Off).admin().start().await;

    for lines in [
        "Host: localhost\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        "Host: rebound.example\r\n",
        "Host: localhost.rebound.example:9302\r\n",
        "Host: user@localhost\r\n",
        "Host: \r\n",
        "Host: localhost\r\nCF-Connecting-IP: 203.0.113.1\r\n",
        "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n",
    ] {
        for path in ["/metrics", "/health", "/debug/config", "/no/such/path"] {
            let answer = server.ask_admin(path, lines).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{lines}{path}: {answer}");
            assert!(answer.contains("\"code\":\"admin_only\""), "{answer}");
            assert!(!answer.contains("access-control-"), "{answer}");
        }
    }
    for lines in [
        "Host: 127.0.0.1:9302\r\n",
        "Host: [::1]\r\n",
        // Typed into a browser.
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
    ] {
        let answer = server.ask_admin("/metrics", lines).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{lines}: {answer}");
        assert!(answer.contains("cross-origin-resource-policy: same-origin"), "{answer}");
    }
    assert!(server.ask_admin("/no/such/path", LOCAL).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn it_answers_when_the_public_listener_is_full() {
    let server = Setup::new(Mode::Off).admin().max_connections(1).start().await;
    let held = server.connect().await;
    let waits = server.connect().await;

    ask(&server, "/ready").await;
    let metrics = ask(&server, "/metrics").await;

    assert!(value(&metrics, "orion_chat_connections") <= 1.0, "{metrics}");
    drop((held, waits));
}

const DASHBOARD: &str = include_str!("../../packaging/grafana/orion-chat.json");
const ALERTS: &str = include_str!("../../packaging/prometheus/alerts.yml");

/// The names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_name(c));
    words.filter(|word| word.starts_with("orion_chat_") || word.starts_with("process_")).collect()
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_are_about_metrics_that_there_are() {
    let server = Setup::new(Mode::Jwt).admin().start().await;
    server.user("ann").create(json!({ "firstMessage": "hi" })).await.expect(201);
    server.get("/api/sessions").bearer("nonsense").send().await.assert_error(401, "invalid_token");

    let metrics = ask(&server, "/metrics").await;

    let told: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.trim_start_matches("# TYPE ").split(['{', ' ']).next())
        .collect();
    for (text, at_least) in [(DASHBOARD, 20), (ALERTS, 7)] {
        let named = names_in(text);
        assert!(named.len() >= at_least, "{named:?}");
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(unknown.is_empty(), "{unknown:?} are not in {metrics}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();

    assert!(dashboard["schemaVersion"].as_u64() >= Some(38), "of Grafana 10 or newer");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["type"] == "datasource" && v["name"] == "datasource"));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each has an id of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(!names_in(target["expr"].as_str().unwrap()).is_empty(), "{target}");
        }
    }
}
