//! Backups, checks and the way back, as an operator runs them.

mod crash;
mod door;
mod exchange;
mod pace;
mod progress;
mod room;
mod series;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::{Connection, Process, command, server};

const DATA: &str = "orion-chat.redb";
const WRITERS: usize = 8;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// Checks that it did what was asked for, and gives what it said.
#[track_caller]
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Checks that it ended with `code`, with one line that says each of `texts`.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], code: i32, texts: &[&str]) -> Output {
    let output = run(folder, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let last = stderr.lines().last().unwrap();
    for text in ["orion-chat: "].iter().chain(texts) {
        assert!(last.contains(text), "no {text:?} in {last}");
    }
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn create(client: &mut Connection, session: &str, first: &str) {
    let body = json!({ "userId": "ann", "sessionId": session, "firstMessage": first });
    client.post("/api/sessions/create", &body).unwrap().expect(201);
}

fn save(client: &mut Connection, session: &str, content: &str) {
    let body = json!({ "userId": "ann", "sessionId": session, "role": "user", "content": content });
    client.post("/api/sessions/save-message", &body).unwrap().expect(201);
}

/// What was said in `session`; nothing if there is no such session.
fn said(client: &mut Connection, session: &str) -> Vec<String> {
    let path = format!("/api/sessions/messages?userId=ann&sessionId={session}");
    let reply = client.get(&path).unwrap();
    if reply.status == 404 {
        return Vec::new();
    }
    let history = reply.expect(200);
    let messages = history["messages"].as_array().unwrap();
    messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// A folder with a data file that nobody serves, which holds these sessions.
fn folder_with(sessions: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    let mut client = process.connect();
    for (session, first) in sessions {
        create(&mut client, session, first);
    }
    drop(client);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    folder
}

/// Saves one message after the other to a session of its own, until it is told to stop.
fn write(address: &str, session: &str, acknowledged: &AtomicUsize, stop: &AtomicBool) {
    let mut client = Connection::open(address).unwrap();
    create(&mut client, session, "0");
    for n in 1.. {
        acknowledged.store(n, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return;
        }
        save(&mut client, session, &n.to_string());
    }
}

#[test]
fn a_backup_under_eight_writers_holds_all_that_was_acknowledged_before() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = Process::start(server(folder.path()));
    let counts: [AtomicUsize; WRITERS] = Default::default();
    let stop = AtomicBool::new(false);
    let acknowledged = || counts.each_ref().map(|count| count.load(Ordering::SeqCst));
    let backup = elsewhere.path().join("backup.redb");

    let (before, after) = std::thread::scope(|scope| {
        for (n, count) in counts.iter().enumerate() {
            let (address, stop) = (&process.address, &stop);
            scope.spawn(move || write(address, &format!("w{n}"), count, stop));
        }
        while acknowledged().into_iter().min() < Some(20) {
            std::thread::yield_now();
        }
        let before = acknowledged();
        done(folder.path(), &["backup", backup.to_str().unwrap()]);
        let after = acknowledged();
        stop.store(true, Ordering::SeqCst);
        (before, after)
    });

    done(elsewhere.path(), &["restore", "backup.redb"]);
    let restored = Process::start(server(elsewhere.path()));
    let mut client = restored.connect();
    for (n, (before, after)) in before.into_iter().zip(after).enumerate() {
        let said = said(&mut client, &format!("w{n}"));
        let prefix: Vec<_> = (0..said.len()).map(|n| n.to_string()).collect();
        assert_eq!(said, prefix, "in order, and each once");
        assert!(said.len() >= before, "writer {n}: {} of {before}", said.len());
        assert!(said.len() <= after + 1, "writer {n}: {} of {after}", said.len());
    }
}

#[test]
fn a_backup_is_for_its_owner_alone_and_replaces_the_one_before() {
    let folder = folder_with(&[("s", "hello")]);
    let backup = folder.path().join("backup.redb");
    fs::write(&backup, "an older one").unwrap();

    let told = done(folder.path(), &["backup", "backup.redb"]);

    assert!(told.starts_with("backup.redb is a backup of "), "{told}");
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    done(folder.path(), &["verify", "backup.redb"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn a_backup_to_stdout_is_the_same_as_to_a_file() {
    let folder = folder_with(&[("s", "hello")]);
    let bytes = run(folder.path(), &["backup", "-"]).stdout;
    fs::write(folder.path().join("piped.redb"), bytes).unwrap();

    done(folder.path(), &["verify", "piped.redb"]);
    done(folder.path(), &["restore", "piped.redb"]);

    let process = Process::start(server(folder.path()));
    assert_eq!(said(&mut process.connect(), "s"), ["hello"]);
}

#[test]
fn restoring_goes_back_and_keeps_what_was_there() {
    let folder = folder_with(&[("s", "hello")]);
    done(folder.path(), &["backup", "backup.redb"]);
    let mut process = Process::start(server(folder.path()));
    save(&mut process.connect(), "s", "later");
    process.signal("TERM");
    process.exit_code();
    let replaced = fs::read(folder.path().join(DATA)).unwrap();

    let told = done(folder.path(), &["restore", "backup.redb"]);

    let kept = told.lines().last().unwrap().split(' ').next().unwrap();
    assert!(kept.contains("orion-chat.redb.before-restore-2"), "{told}");
    assert!(fs::read(kept).unwrap() == replaced);
    let process = Process::start(server(folder.path()));
    assert_eq!(said(&mut process.connect(), "s"), ["hello"]);
}

#[test]
fn nothing_is_restored_while_a_server_has_the_file() {
    let folder = folder_with(&[("s", "hello")]);
    done(folder.path(), &["backup", "backup.redb"]);
    let process = Process::start(server(folder.path()));

    refused(folder.path(), &["restore", "backup.redb"], 75, &[DATA, "in use"]);

    save(&mut process.connect(), "s", "still here");
    assert_eq!(said(&mut process.connect(), "s").len(), 2);
}

/// Damages what is said in a data file that was closed, wherever it stands there. A server that starts
/// reads of that no more than the last record of the log.
fn flip_a_bit(path: &Path, of: &str) {
    let mut bytes = fs::read(path).unwrap();
    let places: Vec<_> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(of.as_bytes())).collect();
    assert!(places.len() > 1, "{places:?}");
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_reported_and_never_copied() {
    let folder = folder_with(&[("s", "What is a monad?")]);
    done(folder.path(), &["backup", "good.redb"]);
    flip_a_bit(&folder.path().join(DATA), "What is a monad?");
    let damaged = fs::read(folder.path().join(DATA)).unwrap();

    let verified = refused(folder.path(), &["verify"], 74, &[DATA, "damaged", "restore a backup"]);
    refused(folder.path(), &["backup", "bad.redb"], 74, &["no backup was written"]);

    let lines = text(&verified.stdout);
    for table in ["seq_to_steps", "session_and_place_to_messages", "user_and_updated_to_sessions"] {
        assert!(lines.lines().any(|line| line.starts_with(table)), "no {table} in {lines}");
    }
    assert!(!folder.path().join("bad.redb").exists());
    assert!(fs::read(folder.path().join(DATA)).unwrap() == damaged, "it is left as it was");

    fs::rename(folder.path().join(DATA), folder.path().join("bad.redb")).unwrap();
    fs::rename(folder.path().join("good.redb"), folder.path().join(DATA)).unwrap();
    refused(folder.path(), &["restore", "bad.redb"], 74, &["bad.redb", "nothing was restored"]);
    done(folder.path(), &["verify"]);
}

#[test]
fn damage_is_found_while_a_server_has_the_file() {
    let folder = folder_with(&[("s", "What is a monad?"), ("t", "hello")]);
    flip_a_bit(&folder.path().join(DATA), "What is a monad?");
    let _process = Process::start(server(folder.path()));

    let verified = refused(folder.path(), &["verify"], 74, &["damaged"]);

    assert!(text(&verified.stdout).contains("session_and_place_to_messages"));
}

#[test]
fn a_backup_never_takes_the_place_of_the_data_file() {
    let folder = folder_with(&[("s", "hello")]);
    fs::hard_link(folder.path().join(DATA), folder.path().join("same.redb")).unwrap();

    std::os::unix::fs::symlink("same.redb", folder.path().join("link")).unwrap();
    let before = fs::read(folder.path().join(DATA)).unwrap();

    for verb in ["backup", "restore", "export"] {
        for name in ["same.redb", "link"] {
            refused(folder.path(), &[verb, name], 73, &[name, "choose another name"]);
        }
    }
    assert!(fs::read(folder.path().join(DATA)).unwrap() == before);
    let served = folder_with(&[("t", "hello")]);
    let _server = Process::start(server(served.path()));
    let other = served.path().join(DATA);
    for verb in ["backup", "export"] {
        refused(folder.path(), &[verb, other.to_str().unwrap()], 73, &["in use"]);
        refused(folder.path(), &[verb, "/dev/null"], 73, &["/dev/null", "no plain file"]);
        refused(folder.path(), &[verb, "."], 73, &["no plain file"]);
    }
    refused(folder.path(), &["backup", "nowhere/b.redb"], 73, &["nowhere/b.redb"]);
    refused(folder.path(), &["verify", "nothing.redb"], 73, &["nothing.redb"]);
}

#[test]
fn where_a_link_leads_is_where_a_backup_goes() {
    let folder = folder_with(&[("s", "hello")]);
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    fs::write(folder.path().join("elsewhere/b.redb"), "of yesterday").unwrap();
    std::os::unix::fs::symlink("elsewhere/b.redb", folder.path().join("latest")).unwrap();

    done(folder.path(), &["backup", "latest"]);

    assert!(folder.path().join("latest").symlink_metadata().unwrap().is_symlink());
    done(folder.path(), &["verify", "elsewhere/b.redb"]);
}

/// As on a disk of backups, which is mounted read-only.
#[test]
fn a_file_that_can_only_be_read_is_read() {
    let folder = folder_with(&[("s", "hello")]);
    let (backups, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = backups.path().join("b.redb");
    done(folder.path(), &["backup", backup.to_str().unwrap()]);
    let before = fs::read(&backup).unwrap();

    for verb in [&["verify"][..], &["restore"], &["export", "lines", "--data"]] {
        let arguments: Vec<_> = verb.iter().copied().chain(backup.to_str()).collect();
        let output = on_a_read_only_disk(backups.path(), fresh.path(), &arguments);
        assert!(output.status.success(), "{verb:?}: {}", text(&output.stderr));
    }

    assert!(fs::read(&backup).unwrap() == before);
    assert!(fs::read_to_string(fresh.path().join("lines")).unwrap().contains("hello"));
    done(fresh.path(), &["verify"]);
}

/// Runs a command where `disk` is mounted read-only.
fn on_a_read_only_disk(disk: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut unshare = std::process::Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        unshare.arg("--map-root-user");
    }
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    unshare.args(["--mount", "sh", "-c", script]).arg(disk);
    unshare.arg(env!("CARGO_BIN_EXE_orion-chat")).args(arguments);
    unshare.current_dir(folder).output().unwrap()
}
