//! What must never stand in the log: what was said, what lets somebody in, and whose address it is.

use serde_json::{Map, Value, json};

use crate::support::{Process, command};

/// In all that callers send here, and in nothing that the server says by itself.
const SECRET: &str = "hush";

#[test]
fn the_log_has_no_message_no_token_and_no_address() {
    for format in ["text", "json"] {
        for tokens in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mode = if tokens { "jwt" } else { "off" };
            let arguments = ["--listen", "127.0.0.1:0", "--auth", mode, "--log-format", format];
            let mut command = command(folder.path(), &arguments);
            command.env("ORION_CHAT_LOG", "trace");
            if tokens {
                command.env("ORION_SHARED_JWT_SECRET", "hush-hush-hush-hush-hush-hush-hush-hush");
            }
            let mut process = Process::start(command);

            ordinary(&process);
            hostile(&process);
            process.signal("TERM");
            process.exit_code();

            let log = process.whole_log();
            assert!(log.contains("POST answered "), "each request has a line: {log}");
            assert!(log.contains("stopping on SIGTERM"), "{log}");
            for line in log.lines() {
                assert!(!line.contains(SECRET), "{line}");
                assert!(!line.contains('@') && !line.contains("%40"), "{line}");
                assert!(!line.contains(breaks_lines), "{line:?}");
                let is_json = serde_json::from_str::<Map<String, Value>>(line).is_ok();
                assert_eq!(is_json, format == "json", "{line:?}");
            }
        }
    }
}

/// What a terminal, or who reads the log line by line, takes for more than text.
fn breaks_lines(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

fn send(process: &Process, head: &str, body: &str) {
    let mut client = process.connect();
    let length = body.len();
    let lines = "Host: localhost\r\nContent-Type: application/json";
    client.send(&format!("{head}\r\n{lines}\r\nContent-Length: {length}\r\n\r\n{body}")).unwrap();
    // It may be refused by closing the connection.
    let _reply = client.read_reply();
}

/// What a client does all day.
fn ordinary(process: &Process) {
    let bearer = "Authorization: Bearer hush.hush.hush";
    let user = "hush@example.org";
    let created = json!({
        "userId": user, "sessionId": "s", "title": "hush", "firstMessage": "hush",
        "metadata": { "hush": 1 }, "tags": ["hush"],
    });
    let saved = json!({ "userId": user, "role": "user", "content": "hush", "id": "hush" });
    let head = |line: &str| format!("{line} HTTP/1.1\r\n{bearer}");
    send(process, &head("POST /api/sessions"), &created.to_string());
    send(process, &head("POST /api/sessions/s/messages"), &saved.to_string());
    let again = format!(
        "{}\r\nIdempotency-Key: hush\r\nIf-Match: \"hush\"",
        head("POST /api/sessions/s/messages")
    );
    send(process, &again, &saved.to_string());
    for path in [
        "/api/sessions?userId=hush%40example.org",
        "/api/sessions/hush%40example.org?userId=hush@example.org",
        "/api/search?userId=hush@example.org&q=hush",
        "/api/events?ticket=hush&userId=hush@example.org",
        "/api/sessions/list?userId=hush@example.org&cursor=hush",
    ] {
        send(process, &head(&format!("GET {path}")), "");
    }
    let ticket = json!({ "userId": user }).to_string();
    send(process, &head("POST /api/events/ticket"), &ticket);
    send(process, &head("DELETE /api/sessions/s?userId=hush@example.org"), "");
}

/// What somebody sends who looks for a leak.
fn hostile(process: &Process) {
    for (head, body) in [
        ("POST /api/sessions HTTP/1.1", "{\"userId\":\"hush@example.org\",\"hush"),
        (
            "POST /api/sessions HTTP/1.1",
            "{\"userId\":[\"hush\"],\"firstMessage\":{\"hush\":\"hush\"}}",
        ),
        (
            "POST /api/sessions/save-message HTTP/1.1",
            "{\"role\":\"hush\",\"content\":\"hush\\u0000\"}",
        ),
        ("POST /api/sessions/hush%00/messages HTTP/1.1", "{}"),
        ("GET /hush@example.org/hush?hush=hush HTTP/1.1", ""),
        ("HUSH-hush /api/sessions HTTP/1.1", ""),
        ("GET /health HTTP/1.1\r\nOrigin: https://user@example.org", ""),
        ("GET /api/sessions HTTP/1.1\r\nAuthorization: hush hush", ""),
        ("GET /api/sessions HTTP/1.1\r\nAuthorization: Bearer eyJhbGciOiJIUzI1NiJ9.hush.hush", ""),
        ("GET /api/sessions HTTP/1.1\r\nX-Forwarded-For: hush@example.org", ""),
        ("GET /api/ws?ticket=hush HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade", ""),
        (
            "GET /health HTTP/1.1\r\nOrigin: https://a\u{2028}{\"level\":\"ERROR\"}\u{1b}[31m.org",
            "",
        ),
        ("GET /health HTTP/1.1\r\nOrigin: https://a\u{2028}\u{85}{\"level\":\"ERROR\"}.org", ""),
        ("GET /api/sessions/%0d%0a%1b[31m%e2%80%a8 HTTP/1.1\r\nX-Request-Id: a\u{2028}b", ""),
        ("G\u{2028}T / HTTP/1.1", ""),
        ("hush", ""),
        ("GET hush@example.org HTTP/1.1", ""),
        ("GET /health HTTP/hush", ""),
    ] {
        send(process, head, body);
    }
}
