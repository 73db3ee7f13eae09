//! The command line: what it says, and with which code it ends.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orion_chat::store::SCHEMA_VERSION;
use serde_json::json;

use crate::support::{Connection, Ended, Process, command, run, server, token};

const SECRET: &str = "KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVbM3eYpHxZs";
const PREVIOUS: &str = "aTgD1oFiU8kVbM3eYpHxZsKtqBh9yPvQ2mWzR5sXcE7uJnL4";

/// Checks that it ended with `code`, and that its last words are one line that says each of
/// `texts`.
#[track_caller]
fn assert_ended(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let complaints = ended.stderr.lines().filter(|line| line.starts_with("orion-chat: "));
    let complaint: Vec<_> = complaints.collect();
    assert_eq!(complaint.len(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().last(), complaint.first().copied(), "{}", ended.stderr);
    for text in texts {
        assert!(complaint[0].contains(text), "no {text:?} in {}", complaint[0]);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_tells_its_version() {
    let folder = tempfile::tempdir().unwrap();

    let short = stdout(folder.path(), &["-V"]);
    let version = stdout(folder.path(), &["--version"]);

    assert_eq!(short, format!("orion-chat {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(version, format!("{short}data file format {SCHEMA_VERSION}\n"));
    assert!(names(folder.path()).is_empty(), "it did no more than that");
}

#[test]
fn help_names_each_flag_with_its_variable_and_each_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let help = stdout(folder.path(), arguments);

        for (flag, variable, default) in [
            ("--data <FILE>", "ORION_CHAT_DATA", "orion-chat.redb"),
            ("--listen <ADDR>", "ORION_CHAT_LISTEN", "127.0.0.1:3002"),
            ("--auth <AUTH>", "ORION_CHAT_AUTH", "local"),
            ("--allow-origin <ORIGIN>", "ALLOWED_ORIGINS", "the portal's"),
            ("--cache-mib <MIB>", "ORION_CHAT_CACHE_MIB", "64"),
            ("--admin-listen <ADDR>", "ORION_CHAT_ADMIN_LISTEN", "127.0.0.1:9302"),
            ("--rate-limit <REQUESTS>", "RATE_LIMIT_MAX_REQUESTS", "6000"),
            ("--reserve-mib <MIB>", "ORION_CHAT_RESERVE_MIB", "64"),
            ("--max-sessions <SESSIONS>", "ORION_CHAT_MAX_SESSIONS", "0"),
            ("--max-bytes <BYTES>", "ORION_CHAT_MAX_BYTES", "0"),
            ("--retain-days <DAYS>", "ORION_CHAT_RETAIN_DAYS", "0"),
            ("--trust-proxy <PROXY>", "ORION_CHAT_TRUST_PROXY", "nobody"),
            ("--log-format <LOG_FORMAT>", "ORION_CHAT_LOG_FORMAT", "text"),
        ] {
            let about = help.split(flag).nth(1).unwrap_or_else(|| panic!("no {flag} in {help}"));
            let about = about.split("\n      --").next().unwrap();
            assert!(about.contains(&format!("env: {variable}")), "{flag}: {about}");
            assert!(about.contains("[default:") && about.contains(default), "{flag}: {about}");
        }
        assert!(help.contains("PORT changes the port") && help.contains("STATE_DIRECTORY"));
    }
    let help = stdout(folder.path(), &["--help"]);
    assert!(help.contains("ORION_SHARED_JWT_SECRET"), "{help}");
    for code in ["0 ", "1 ", "2 ", "73 ", "74 ", "75 ", "78 ", "98 "] {
        assert!(help.contains(code), "{code} in {help}");
    }
}

#[test]
fn what_it_does_not_understand_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, text) in [
        (&["--prot", "80"][..], "'--prot'"),
        (&["backwards"], "'backwards'"),
        (&["--auth", "none"], "'none'"),
        (&["--cache-mib", "lots"], "'lots'"),
        (&["--rate-limit", "some"], "'some'"),
        (&["--trust-proxy", "any"], "'any'"),
        (&["--log-format", "xml"], "'xml'"),
        (&["--listen"], "'--listen <ADDR>'"),
        (&["--secret", "hunter2"], "'--secret'"),
        (&["--data", "a", "serve"], "'--data"),
    ] {
        let ended = run(command(folder.path(), arguments));

        assert_eq!(ended.code, Some(2), "{arguments:?}");
        let first = ended.stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && first.contains(text), "{first}");
        assert!(ended.stderr.contains("try '--help'"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_bad_configuration_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap();
    let (secret, secret_file) = ("ORION_SHARED_JWT_SECRET", "ORION_SHARED_JWT_SECRET_FILE");
    for (arguments, variables, texts) in [
        (&["--listen", "here"][..], &[][..], &["cannot listen on \"here\"", "ADDRESS:PORT"][..]),
        (&[], &[("PORT", "http")], &["PORT is \"http\"", "must be a port"]),
        (&[], &[("ORION_CHAT_AUTH", "none")], &["ORION_CHAT_AUTH is \"none\"", "must be jwt"]),
        (&[], &[("ORION_CHAT_CACHE_MIB", "x")], &["ORION_CHAT_CACHE_MIB", "whole number"]),
        (&[], &[("ORION_CHAT_LOG_FORMAT", "x")], &["ORION_CHAT_LOG_FORMAT", "text or json"]),
        (&[], &[("ORION_CHAT_LOG", "loud=very")], &["ORION_CHAT_LOG", "info or debug"]),
        (&["--auth", "jwt"], &[], &["--auth jwt needs a secret", "set ORION_SHARED_JWT_SECRET"]),
        (&["--auth", "off"], &[(secret, SECRET)], &["--auth off", "unset it"]),
        (&["--listen", "0.0.0.0:0"], &[], &["0.0.0.0:0 can be reached by others", "--auth off"]),
        (&["--allow-origin", "*"], &[], &["\"*\""]),
        (&[], &[("ALLOWED_ORIGINS", "https://a.org,b.org")], &["\"b.org\""]),
        (&[], &[(secret, SECRET), (secret_file, "x")], &["both", secret_file, "unset one"]),
        (&[], &[(secret_file, "missing")], &["missing", secret_file, "correct the path"]),
        (&[], &[(secret_file, empty)], &["is empty", secret_file, "write the secret into it"]),
        (&[], &[(secret, SECRET), ("AUTHORIZED_USER_EMAIL", "a\u{1}")], &["AUTHORIZED_USER_EMAIL"]),
    ] {
        let mut command = command(folder.path(), arguments);
        command.envs(variables.iter().copied());

        let ended = run(command);

        assert_ended(&ended, 78, texts);
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    }
    assert_eq!(names(folder.path()), ["empty"], "no data file was made");
}

#[test]
fn an_address_that_is_not_this_machines_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    // TEST-NET-1 of RFC 5737, which is nobody's.
    let ended = run(command(folder.path(), &["--listen", "192.0.2.1:80", "--auth", "off"]));

    assert_ended(&ended, 78, &["cannot listen on 192.0.2.1:80", "--listen"]);
    assert!(names(folder.path()).is_empty(), "no data file was made");
}

#[test]
fn an_address_in_use_ends_with_98() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let ended = run(command(folder.path(), &["--listen", &address]));

    assert_ended(&ended, 98, &[&address, "in use by another process", "--listen"]);
    assert!(names(folder.path()).is_empty(), "no data file was made");
}

#[test]
fn a_data_file_that_cannot_be_created_ends_with_73() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    for path in ["missing/chat.redb", "file/chat.redb"] {
        let mut command = server(folder.path());
        command.args(["--data", path]);

        let ended = run(command);

        assert_ended(&ended, 73, &[path, "--data"]);
        assert_eq!(names(folder.path()), ["file"]);
    }
}

/// As a user that may not do everything, whoever runs this test.
fn unprivileged(folder: &Path) -> Command {
    let mut command = server(folder);
    if std::fs::metadata(folder).unwrap().uid() == 0 {
        // The binary may lie where only root can reach it.
        let copy = folder.join("binary");
        std::fs::copy(env!("CARGO_BIN_EXE_orion-chat"), &copy).unwrap();
        let mut nobody = Command::new(copy);
        nobody.args(command.get_args()).env_clear().current_dir(folder).uid(65534).gid(65534);
        command = nobody;
    }
    command
}

#[test]
fn a_folder_or_file_that_must_not_be_written_ends_with_73() {
    let folder = tempfile::tempdir().unwrap();
    let (locked, file) = (folder.path().join("locked"), folder.path().join("file.redb"));
    std::fs::create_dir(&locked).unwrap();
    std::fs::write(&file, "whatever").unwrap();
    for (path, mode) in [(folder.path(), 0o755), (&locked, 0o555), (&file, 0o444)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    for path in [locked.join("chat.redb"), file] {
        let mut command = unprivileged(folder.path());
        command.arg("--data").arg(&path);

        let ended = run(command);

        let shown = path.display().to_string();
        assert_ended(&ended, 73, &[&shown, "ermission denied", "--data"]);
    }
    assert!(names(&locked).is_empty());
}

#[test]
fn a_damaged_or_foreign_data_file_ends_with_74_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orion-chat.redb");
    drop(Process::start(server(folder.path())));
    let whole = std::fs::read(&path).unwrap();
    let cut = &whole[..whole.len() / 3];
    for bytes in [b"Dear diary".as_slice(), b"", cut, &vec![0; whole.len()]] {
        std::fs::write(&path, bytes).unwrap();

        let ended = run(server(folder.path()));

        assert_ended(&ended, 74, &["orion-chat.redb", "damaged", "restore a backup"]);
        let is_logged =
            |line: &str| line.starts_with("{\"timestamp\":") || line.starts_with("orion-chat: ");
        assert!(ended.stderr.lines().all(is_logged), "{}", ended.stderr);
        assert!(std::fs::read(&path).unwrap() == bytes, "the file was changed");
    }
}

#[test]
fn a_second_process_on_the_same_file_ends_with_75_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(server(folder.path()));
    let mut client = first.connect();
    let session = json!({ "userId": "ann", "sessionId": "s", "firstMessage": "hello" });
    client.post("/api/sessions/create", &session).unwrap().expect(201);
    let link = folder.path().join("link.redb");
    std::os::unix::fs::symlink("orion-chat.redb", &link).unwrap();

    for path in ["orion-chat.redb", "link.redb"] {
        let mut second = server(folder.path());
        second.args(["--data", path]);
        let began = Instant::now();

        let ended = run(second);

        assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
        assert_ended(&ended, 75, &[path, "in use by another process", "--data"]);
    }
    let message = json!({ "userId": "ann", "sessionId": "s", "role": "user", "content": "on" });
    client.post("/api/sessions/save-message", &message).unwrap().expect(201);
    let session = client.get("/api/sessions/s?userId=ann").unwrap().expect(200);
    assert_eq!(session["messageCount"], 2);
}

#[test]
fn without_any_configuration_it_says_where_it_is_and_who_may_call() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &[]);
    command.env("PORT", "0");

    let process = Process::start(command);

    let log = process.log();
    for text in [
        env!("CARGO_PKG_VERSION"),
        "listening on http://127.0.0.1:",
        "data file orion-chat.redb",
        "auth local: only callers on this machine",
        "pages of http://localhost:3000, http://localhost:3005, https://sidekickportal.com, \
         https://*.sidekickportal.com, https://*.vercel.app may call",
    ] {
        assert!(log.contains(text), "no {text:?} in {log}");
    }
    assert!(!log.contains("WARN"), "{log}");
    let mut names = names(folder.path());
    names.sort();
    assert_eq!(names, ["orion-chat.redb", "orion-chat.redb.sock"]);
    process.connect().get("/health").unwrap().expect(200);
    process.connect().get("/ready").unwrap().expect(200);
    process.connect().get("/api/sessions/list?userId=ann").unwrap().expect(200);
}

#[test]
fn what_was_configured_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    for (arguments, variables, texts) in [
        (&["serve", "--auth", "off"][..], &[][..], &["WARN", "auth off: whoever reaches"][..]),
        (&[], &[("ORION_CHAT_AUTH", "off")], &["WARN", "auth off"]),
        (&[], &[("ORION_SHARED_JWT_SECRET", SECRET)], &["auth jwt: callers need a token"]),
        (&[], &[("ORION_SHARED_JWT_SECRET", "short")], &["WARN", "has 5 bytes", "auth jwt"]),
        (&["--data", "other.redb"], &[], &["data file other.redb"]),
        (&[], &[("STATE_DIRECTORY", "state")], &["data file state/orion-chat.redb"]),
        (&["--allow-origin", "https://a.org"], &[], &["pages of https://a.org may call"]),
        (&[], &[], &["{\"timestamp\":", "\"message\":\"listening on http"]),
        (&["--log-format", "text"], &[], &[" INFO listening on http"]),
    ] {
        let mut command = command(folder.path(), arguments);
        command.env("PORT", "0").envs(variables.iter().copied());

        let process = Process::start(command);

        for text in texts {
            assert!(process.log().contains(text), "no {text:?} in {}", process.log());
        }
    }
}

#[test]
fn secrets_of_files_check_tokens_and_are_never_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\r\n")).unwrap();
    let mut command = command(folder.path(), &["--listen", "127.0.0.1:0"]);
    command.env("ORION_SHARED_JWT_SECRET_FILE", "secret").env("ORION_CHAT_LOG", "trace");
    command.env("ORION_SHARED_JWT_SECRET_PREVIOUS", format!("{PREVIOUS}\n"));
    let mut process = Process::start(command);

    let bad = token("another secret, and a long one at that");
    let (good, old) = (token(SECRET), token(PREVIOUS));
    for (token, status) in [(&good, 200), (&old, 200), (&bad, 401)] {
        let mut client: Connection = process.connect();
        let head = "GET /api/sessions/list HTTP/1.1\r\nHost: localhost\r\n";
        client.send(&format!("{head}Authorization: Bearer {token}\r\n\r\n")).unwrap();
        client.read_reply().unwrap().expect(status);
    }
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));

    let log = process.whole_log();
    assert!(log.contains("stopped") && log.contains("DEBUG"), "{log}");
    for secret in [SECRET, PREVIOUS, &good, &old, &bad] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Whoever reads the log may die before the service does.
#[test]
fn a_log_that_nobody_reads_does_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server(folder.path());
    command.env("ORION_CHAT_LOG", "trace");
    let mut process = Process::start_unheard(command);

    for _ in 0..3 {
        process.connect().get("/nowhere").unwrap().expect(404);
    }

    process.connect().get("/ready").unwrap().expect(200);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
}
