//! `status`, and the admin listener of the binary.

use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Connection, Process, command, run, server};

/// What `status` says, and that it went well.
#[track_caller]
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, &[&["status"], arguments].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn as_json(folder: &Path) -> Value {
    serde_json::from_str(&said(folder, &["--json"])).unwrap()
}

fn post(process: &Process, path: &str, body: &Value) {
    let reply = process.connect().post(&format!("/api/sessions/{path}"), body).unwrap();
    assert!((200..300).contains(&reply.status), "{}", reply.body);
}

fn talk(process: &Process, session: &str, messages: usize) {
    post(process, "create", &json!({ "userId": "ann", "sessionId": session }));
    for n in 0..messages {
        let content = n.to_string();
        let message =
            json!({ "userId": "ann", "sessionId": session, "role": "user", "content": content });
        post(process, "save-message", &message);
    }
}

#[test]
fn it_shows_one_screen() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    talk(&process, "s", 3);

    let screen = said(folder.path(), &[]);

    for text in [
        format!("orion-chat {} on http://{}", env!("CARGO_PKG_VERSION"), process.address),
        "1 sessions, 3 messages".to_owned(),
        "orion-chat.redb, ".to_owned(),
        " free on its disk".to_owned(),
        "half answered in ".to_owned(),
        "half on disk in ".to_owned(),
        "backup     none while a server ran".to_owned(),
        "warning    auth off".to_owned(),
    ] {
        assert!(screen.contains(&text), "no {text:?} in {screen}");
    }
    assert!(screen.lines().count() < 24, "{screen}");
}

#[test]
fn it_tells_of_the_last_backup() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    let output = command(folder.path(), &["backup", "nowhere/b.redb"]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(as_json(folder.path())["lastBackup"], Value::Null, "it came to nothing");

    let output = command(folder.path(), &["backup", "b.redb"]).output().unwrap();
    assert!(output.status.success());

    let at = as_json(folder.path())["lastBackup"].as_str().unwrap().to_owned();
    assert!(at.ends_with('Z') && at.starts_with("20"), "{at}");
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    let _next = Process::start(server(folder.path()));
    assert_eq!(as_json(folder.path())["lastBackup"], at);
}

#[test]
fn it_counts_exactly_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    talk(&process, "a", 3);
    talk(&process, "b", 2);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    let mut process = Process::start(server(folder.path()));
    talk(&process, "c", 4);
    post(&process, "delete", &json!({ "userId": "ann", "sessionId": "a" }));
    talk(&process, "d", 1);
    post(&process, "delete", &json!({ "userId": "ann", "sessionId": "d" }));
    talk(&process, "a", 1);
    process.kill();

    let _process = Process::start(server(folder.path()));

    let status = as_json(folder.path());
    assert_eq!(status["data"]["sessions"], 3, "{status}");
    assert_eq!(status["data"]["messages"], 2 + 4 + 1, "{status}");
}

#[test]
fn it_says_so_if_no_server_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    process.signal("TERM");
    process.exit_code();

    let output = command(folder.path(), &["status"]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("orion-chat: no server has the data file "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
}

/// Has the admin listener at `address`.
fn with_admin(folder: &Path, address: &str) -> std::process::Command {
    let mut command = server(folder);
    command.args(["--admin-listen", address]);
    command
}

#[test]
fn the_start_names_the_admin_listener() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(with_admin(folder.path(), "127.0.0.1:0"));

    let log = process.log();
    let (_, rest) = log.split_once("metrics on http://").expect("it is named");
    let (address, _) = rest.split_once("/metrics").unwrap();
    let reply = Connection::open(address).unwrap().get("/ready").unwrap();

    assert_eq!(reply.expect(200)["status"], "ready");
    assert_eq!(as_json(folder.path())["adminAddress"], address);
}

#[test]
fn an_admin_address_that_is_taken_keeps_it_from_starting_if_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let ended = run(with_admin(folder.path(), &address));

    assert_eq!(ended.code, Some(98), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("choose another address with --admin-listen"),
        "{}",
        ended.stderr
    );
}

#[test]
fn without_a_word_of_it_the_admin_listener_is_gone_without_if_its_place_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever has it, if this test cannot.
    let _taken = TcpListener::bind("127.0.0.1:9302");
    let mut command = server(folder.path());
    command.env_remove("ORION_CHAT_ADMIN_LISTEN");

    let process = Process::start(command);

    let log = process.log();
    assert!(log.contains("no metrics: cannot listen on 127.0.0.1:9302"), "{log}");
    let warnings = as_json(folder.path())["warnings"].to_string();
    assert!(warnings.contains("no metrics: cannot listen on 127.0.0.1:9302"), "{warnings}");
}

#[test]
fn a_file_in_the_place_of_the_control_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("orion-chat.redb.sock");
    std::fs::write(&theirs, "notes").unwrap();

    let mut process = Process::start(server(folder.path()));
    process.connect().get("/health").unwrap().expect(200);
    let warning = format!("{} is in its place; move it away", theirs.display());
    assert!(process.log().contains(&warning), "{}", process.log());
    process.signal("TERM");

    assert_eq!(process.exit_code(), Some(0));
    assert_eq!(std::fs::read_to_string(theirs).unwrap(), "notes");
}
