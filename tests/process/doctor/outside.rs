//! The server by the way that the world takes. A program in curl's place answers as a tunnel does.

use super::*;

const HEALTHY: &str = r#"{"status":"healthy","service":"orion-chat"}"#;
const HEALTH_HEAD: &str = "Server: cloudflare\r\n\
                           Access-Control-Allow-Origin: https://app.example.org\r\n\
                           Access-Control-Allow-Credentials: true\r\n";

fn answer(status: u16, head: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} As Said\r\n{head}\r\n{body}")
}

fn now() -> String {
    let date = Command::new("date").args(["-u", "-R"]).output().unwrap();
    format!("Date: {}\r\n", String::from_utf8(date.stdout).unwrap().trim())
}

/// What `doctor --url` says if curl shows these answers.
#[track_caller]
fn look(health: &str, list: &str, secret: &str) -> (Report, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"cat > "$0.asked"; echo "$@" > "$0.argv"
        if grep -q '/health"' "$0.asked"; then cat "$0.health"; else mv "$0.asked" "$0.list.asked"
        cat "$0.list"; fi"#;
    program(folder.path(), "curl", script);
    fs::write(folder.path().join("bin/curl.health"), health).unwrap();
    fs::write(folder.path().join("bin/curl.list"), list).unwrap();
    let variables = [(SECRET_NAME, secret), ("PORT", "0"), ("ALLOWED_ORIGINS", ORIGIN)];
    let report = doctor(folder.path(), &["--url", "https://chat.example.org/"], &variables);
    (report, folder)
}

const ORIGIN: &str = "https://app.example.org";

#[test]
fn a_url_that_leads_here_is_well() {
    let health = answer(200, &(HEALTH_HEAD.to_owned() + &now()), HEALTHY);
    let proxied = format!("HTTP/1.1 200 Connection established\r\n\r\n{health}");
    let list = answer(200, "cf-cache-status: DYNAMIC\r\n", r#"{"sessions":[],"count":0}"#);
    for health in [health, proxied] {
        let (report, folder) = look(&health, &list, SECRET);

        report
            .failing(0)
            .expect("ok", "url", "https://chat.example.org leads to orion-chat by cloudflare")
            .expect("ok", "url", "a token is good there");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let asked = read("bin/curl.list.asked");
        assert!(asked.contains("url = \"https://chat.example.org/api/sessions/list\""), "{asked}");
        assert!(asked.contains("authorization: Bearer ey"), "{asked}");
        assert!(!read("bin/curl.argv").contains("ey"), "a token is in an argument");
    }
}

#[test]
fn what_is_wrong_on_the_way_is_told() {
    let healthy = answer(200, HEALTH_HEAD, HEALTHY);
    let late = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let late = answer(200, &(HEALTH_HEAD.to_owned() + late), HEALTHY);
    let list = answer(200, "", "{}");
    let twice = answer(200, &HEALTH_HEAD.repeat(2), HEALTHY);
    for (health, list, secret, check, text) in [
        (&answer(530, "Server: cloudflare\r\n", "error code: 1033"), &list, SECRET, "url", "530"),
        (&answer(502, "", "<html>"), &list, SECRET, "url", "see the port in its service"),
        (&answer(200, "", "<html>hello"), &list, SECRET, "url", "not orion-chat"),
        (&answer(200, "", HEALTHY), &list, SECRET, "url", "CORS headers"),
        (&twice, &list, SECRET, "url", "CORS headers"),
        (&late, &list, SECRET, "clock", "tokens fail"),
        (&healthy, &answer(401, "", "{}"), SECRET, "url", "refuses what this secret signs"),
        (&healthy, &answer(200, "CF-Cache-Status: HIT\r\n", "{}"), SECRET, "url", "from a cache"),
        (&healthy, &answer(403, "", "{}"), "", "url", "set ORION_SHARED_JWT_SECRET"),
        (&healthy, &list, "", "url", "the world can read everything"),
        (&"nonsense".to_owned(), &list, SECRET, "url", "no answer in HTTP"),
    ] {
        look(health, list, secret).0.expect("FAIL", check, text);
    }
}

#[test]
fn a_token_goes_nowhere_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "curl", r#"touch "$0.asked""#);
    for url in ["http://chat.example.org", "http://localhost:80@example.org", "chat.example.org"] {
        let variables = [(SECRET_NAME, SECRET), ("PORT", "0")];
        let report = doctor(folder.path(), &["--url", url], &variables);

        report.failing(1).expect("FAIL", "url", "write https://");
        assert!(!folder.path().join("bin/curl.asked").exists(), "{url}");
    }
}

#[test]
fn without_curl_that_is_what_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [(SECRET_NAME, SECRET), ("PORT", "0")];

    let report = doctor(folder.path(), &["--url", "https://chat.example.org"], &variables);

    report.failing(1).expect("FAIL", "url", "install it");
}
