//! The control socket: whose it is, and how long it stands there.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{DATA, create, done, fs, text};
use crate::support::{self, Process, server};

const SOCKET: &str = "orion-chat.redb.sock";

#[test]
fn only_its_own_user_may_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let _process = Process::start(server(folder.path()));
    let socket = folder.path().join(SOCKET);
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();

    // Only root can be somebody else.
    if folder.path().metadata().unwrap().uid() == 0 {
        // The binary may lie where only root can reach it.
        let copy = folder.path().join("binary");
        fs::copy(env!("CARGO_BIN_EXE_orion-chat"), &copy).unwrap();
        let mut nobody = Command::new(copy);
        nobody.args(["backup", "-"]).env_clear().current_dir(folder.path()).uid(65534).gid(65534);

        let output = nobody.output().unwrap();

        assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains("cannot ask the server"));
    }
}

#[test]
fn it_goes_with_its_server_and_one_that_was_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join(SOCKET);
    let mut killed = Process::start(server(folder.path()));
    create(&mut killed.connect(), "s", "hello");
    killed.kill();
    assert!(socket.exists(), "it was left");

    done(folder.path(), &["backup", "without-a-server.redb"]);
    let mut stopped = Process::start(server(folder.path()));
    done(folder.path(), &["backup", "with-a-server.redb"]);
    stopped.wait_for_line("answered backup");
    stopped.signal("TERM");
    stopped.exit_code();

    assert!(!socket.exists());
}

#[test]
fn a_second_server_does_not_take_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));

    let second = support::run(server(folder.path()));

    assert_eq!(second.code, Some(75), "{}", second.stderr);
    done(folder.path(), &["backup", "backup.redb"]);
    process.wait_for_line("answered backup");
}

#[test]
fn it_is_found_by_every_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    let link = folder.path().join("link.redb");
    std::os::unix::fs::symlink(DATA, &link).unwrap();

    done(folder.path(), &["backup", "b.redb", "--data", link.to_str().unwrap()]);

    process.wait_for_line("answered backup");
}

/// Somebody who asks for everything and reads nothing must not keep it from stopping.
#[test]
fn a_server_stops_while_a_backup_is_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    let mut client = process.connect();
    // More than a socket takes up.
    (0..20).for_each(|n| create(&mut client, &format!("s{n}"), &"x".repeat(60_000)));
    let mut reader = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
    reader.write_all(b"backup\n").unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();

    process.signal("TERM");

    assert_eq!(process.exit_code(), Some(0), "{}", process.whole_log());
    let rest = reader.read_to_end(&mut Vec::new());
    assert!(rest.is_ok(), "it ends: {rest:?}");
    assert!(!process.whole_log().contains("gave up"), "{}", process.whole_log());
}

#[test]
fn an_unknown_verb_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let _process = Process::start(server(folder.path()));
    let mut stream = UnixStream::connect(folder.path().join(SOCKET)).unwrap();

    stream.write_all(b"dance\n").unwrap();

    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("of another release"));
}
