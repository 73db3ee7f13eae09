//! Limits as operators set them.

use serde_json::json;

use crate::support::{Process, command};

const LIST: &str = "/api/sessions/list?userId=ann";

#[test]
fn requests_are_limited_as_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--auth", "off"];
    let mut by_variable = command(folder.path(), &arguments);
    by_variable.env("RATE_LIMIT_MAX_REQUESTS", "2");
    let mut by_flag = command(folder.path(), &arguments);
    by_flag.args(["--rate-limit", "3"]).env("RATE_LIMIT_MAX_REQUESTS", "2");

    for (command, limit) in [(by_variable, 2), (by_flag, 3)] {
        let mut process = Process::start(command);
        let mut ann = process.connect();
        for _ in 0..limit {
            ann.get(LIST).unwrap().expect(200);
        }
        let refusal = ann.get(LIST).unwrap().expect(429);
        assert_eq!(refusal["code"], "rate_limited");
        process.signal("TERM");
        assert_eq!(process.exit_code(), Some(0));
    }
}

#[test]
fn who_is_behind_a_tunnel_that_is_not_trusted_is_told_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let process =
        Process::start(command(folder.path(), &["--listen", "127.0.0.1:0", "--auth", "off"]));
    let mut connector = process.connect();

    for _ in 0..3 {
        let told = "CF-Connecting-IP: 192.0.2.7\r\n";
        connector.request("GET", LIST, &json!({}), told).unwrap().expect(200);
    }

    process.wait_for_line("--trust-proxy cloudflare");
    assert_eq!(process.log().matches("--trust-proxy").count(), 1);
}
