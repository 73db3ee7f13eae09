//! Export and import, as an operator runs them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use super::{DATA, create, done, folder_with, fs, refused, run, said, save, text};
use crate::support::{Process, command, server};

/// Lines of so many sessions of each of three users, each with so many messages.
fn lines(sessions: usize, messages: usize) -> String {
    let mut text = "{\"type\":\"orion-chat\",\"version\":1}\n".to_owned();
    for user in ["ann", "bob", "zoe"] {
        for session in 0..sessions {
            let id = format!("{user}-{session:05}");
            let (begun, second) = (format!("2026-01-01T00:00:{:02}", session % 60), session / 60);
            let created = format!("{begun}.{second:06}Z");
            let times =
                format!(r#""createdAt":"{created}","updatedAt":"2026-01-02T00:00:00.000000Z""#);
            let marks = r#""metadata":{"n":1.50},"archived":false,"pinned":false,"tags":[]"#;
            writeln!(
                text,
                r#"{{"type":"session","sessionId":"{id}","userId":"{user}","title":"t","#
            )
            .unwrap();
            text.pop();
            writeln!(text, "{times},{marks}}}").unwrap();
            for n in 0..messages {
                writeln!(
                    text,
                    r#"{{"type":"message","sessionId":"{id}","id":"m{n}","role":"user","content":"{n} \"é\"","timestamp":"2026-01-01T12:00:00.{n:06}Z","metadata":{{}}}}"#
                )
                .unwrap();
            }
        }
    }
    let (sessions, messages) = (3 * sessions, 3 * sessions * messages);
    writeln!(text, r#"{{"type":"end","sessions":{sessions},"messages":{messages}}}"#).unwrap();
    text
}

/// The sessions' order is that of their creation.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn feed(folder: &Path, arguments: &[&str], lines: &str) -> std::process::Output {
    let mut command = command(folder, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It need not read all.
        scope.spawn(move || drop(stdin.write_all(lines.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

#[test]
fn what_a_server_exports_another_imports_and_answers_the_same() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (Process::start(server(here.path())), Process::start(server(there.path())));
    let mut client = one.connect();
    create(&mut client, "s", "hello");
    save(&mut client, "s", "how are you?");
    let file = there.path().join("lines.ndjson");

    let told = done(here.path(), &["export", file.to_str().unwrap()]);
    assert!(told.ends_with("holds 1 sessions with 2 messages\n"), "{told}");
    let told = done(there.path(), &["import", "lines.ndjson"]);
    assert_eq!(told, "1 sessions and 2 messages were added, 0 were there already\n");

    for path in ["/api/sessions/list?userId=ann", "/api/sessions/messages?userId=ann&sessionId=s"] {
        let (one, other) = (client.get(path).unwrap(), other.connect().get(path).unwrap());
        assert_eq!(one.body, other.body);
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    save(&mut other.connect(), "s", "after it");
    assert_eq!(done(there.path(), &["export", "-", "--user", "ann"]).lines().count(), 6);
}

#[test]
fn an_import_makes_the_data_file_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(3, 5);

    let output = feed(folder.path(), &["import", "-"], &lines);

    assert!(output.status.success(), "{output:?}");
    assert_eq!(sorted(&done(folder.path(), &["export", "-"])), sorted(&lines));
    assert_eq!(folder.path().join(DATA).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    done(folder.path(), &["verify"]);
}

#[test]
fn a_hundred_thousand_messages_slowly_moved_are_the_same_byte_for_byte() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = feed(here.path(), &["import", "-"], &lines(56, 600));
    assert!(output.status.success(), "{output:?}");
    done(here.path(), &["export", "once"]);
    let _server = Process::start(server(there.path()));

    let from = here.path().join("once");
    done(there.path(), &["import", from.to_str().unwrap()]);
    done(there.path(), &["export", "again"]);

    let once = fs::read_to_string(from).unwrap();
    assert_eq!(once.lines().count(), 2 + 3 * 56 * 601);
    assert!(once == fs::read_to_string(there.path().join("again")).unwrap());
    let told = done(there.path(), &["import", "again"]);
    assert_eq!(told, "0 sessions and 0 messages were added, 100968 were there already\n");
}

#[test]
fn a_line_that_cannot_be_stored_stops_an_import_or_is_left_out() {
    let folder = folder_with(&[("mine", "hello")]);
    let good = json!({"type": "session", "sessionId": "one", "userId": "bob",
        "createdAt": "2026-01-01T00:00:00Z"});
    let stolen = good.to_string().replace("one", "mine");
    let last = good.to_string().replace("one", "two");
    fs::write(folder.path().join("lines"), format!("{good}\n{stolen}\n{last}\n")).unwrap();

    let stopped = refused(
        folder.path(),
        &["import", "lines"],
        65,
        &["1 problems", "1 sessions and 0 messages were added", "--keep-going"],
    );
    assert!(text(&stopped.stderr).starts_with("line 2: session id mine is taken"));
    let texts = ["1 problems", "1 sessions and 0 messages were added, 1 were there already"];
    refused(folder.path(), &["import", "lines", "--keep-going"], 65, &texts);

    refused(folder.path(), &["import", "nothing"], 66, &["nothing", "0 sessions"]);
    let process = Process::start(server(folder.path()));
    refused(folder.path(), &["import", "lines"], 65, &["0 sessions", "1 were there already"]);
    assert_eq!(said(&mut process.connect(), "mine"), ["hello"]);
}

#[test]
fn tables_of_the_predecessor_are_imported_by_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/fixtures");
    let [messages, sessions] = ["chat_messages.csv", "chat_sessions.csv"]
        .map(|name| fixtures.join(name).to_str().unwrap().to_owned());

    let told = done(folder.path(), &["import", "--csv", &messages, "--csv", &sessions]);

    assert_eq!(told, "3 sessions and 5 messages were added, 1 were there already\n");
    let list = process.connect().get("/api/sessions/list?userId=bob").unwrap().expect(200);
    assert_eq!(list["count"], 2);
    refused(folder.path(), &["import", "--csv", "nothing.csv"], 66, &["nothing.csv"]);
}

#[test]
fn nothing_but_lines_is_written_to_a_pipe() {
    let folder = folder_with(&[("s", "hello")]);

    let output = run(folder.path(), &["export", "-"]);

    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 4);
    refused(folder.path(), &["export", "nowhere/x"], 73, &["nowhere/x"]);
    let mut full = command(folder.path(), &["export", "-"]);
    full.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(full.output().unwrap().status.code(), Some(73));
}
