//! `doctor`: what it finds on a node, and what it leaves alone.

mod outside;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, command};

const SECRET: &str = "KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVbM3eYpHxZs";
const OTHER: &str = "aTgD1oFiU8kVbM3eYpHxZsKtqBh9yPvQ2mWzR5sXcE7uJnL4";
const SECRET_NAME: &str = "ORION_SHARED_JWT_SECRET";

/// What it said, and how it ended.
struct Report {
    lines: Vec<String>,
    code: Option<i32>,
    stderr: String,
}

impl Report {
    /// Checks that one line begins with `state` and `check` and says `text`.
    #[track_caller]
    fn expect(&self, state: &str, check: &str, text: &str) -> &Self {
        let head = format!("{state:4}  {check:8}  ");
        let is_it = |line: &&String| line.starts_with(&head) && line.contains(text);
        assert!(self.lines.iter().any(|line| is_it(&line)), "no {head}…{text}: {}", self.shown());
        self
    }

    /// Checks that it ended as it must with so many lines that say FAIL.
    #[track_caller]
    fn failing(&self, count: usize) -> &Self {
        let failed = self.lines.iter().filter(|line| line.starts_with("FAIL")).count();
        assert_eq!(failed, count, "{}", self.shown());
        assert_eq!(self.code, Some(i32::from(count > 0)), "{}", self.shown());
        let last = format!("orion-chat: checks that failed: {count}; ");
        assert_eq!(self.stderr.contains(&last), count > 0, "{}", self.shown());
        self
    }

    fn shown(&self) -> String {
        format!("{}\n{}", self.lines.join("\n"), self.stderr)
    }
}

/// What `doctor` says in `folder`, where programs of `folder/bin` are the only ones.
#[track_caller]
fn doctor(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Report {
    let mut command = command(folder, &["doctor"]);
    command.env("PATH", folder.join("bin")).env("TMPDIR", folder).args(arguments);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    for secret in [SECRET, OTHER] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
    }
    let lines = stdout.lines().map(ToOwned::to_owned).collect();
    Report { lines, code: output.status.code(), stderr }
}

/// Makes a program of that name for `doctor` to call.
fn program(folder: &Path, name: &str, script: &str) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let path = bin.join(name);
    fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A port that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn port_of(process: &Process) -> &str {
    process.address.rsplit_once(':').unwrap().1
}

#[test]
fn a_new_node_is_well_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();

    let report = doctor(folder.path(), &[], &[(SECRET_NAME, SECRET), ("PORT", &free_port())]);

    report
        .failing(0)
        .expect("ok", "config", "can be used")
        .expect("ok", "clock", "nobody here tells")
        .expect("ok", "secret", "48 bytes")
        .expect("ok", "port", "is free")
        .expect("ok", "origin", "http://localhost:3000 may call")
        .expect("ok", "origin", "https://an-example.vercel.app may call")
        .expect("ok", "tunnel", "with a token, is answered");
    let origins = report.lines.iter().filter(|line| line.contains("origin")).count();
    assert_eq!(origins, 5, "{}", report.shown());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_with_what_the_node_is_like() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, variables, text) in [
        (&["--allow-origin", "*"][..], &[][..], "name the sites"),
        (&["--auth", "jwt"], &[], "set ORION_SHARED_JWT_SECRET"),
        (&[], &[("ORION_CHAT_LOG", "loud=very")], "write a level such as"),
        (&[], &[(SECRET_NAME, SECRET), ("AUTHORIZED_USER_EMAIL", "a\u{1}")], "AUTHORIZED_USER"),
    ] {
        let report = doctor(folder.path(), arguments, variables);

        report.failing(1).expect("FAIL", "config", text).expect("ok", "space", "MiB free");
    }
}

#[test]
fn secrets_that_can_be_guessed_are_told_without_showing_them() {
    let folder = tempfile::tempdir().unwrap();
    let previous = "ORION_SHARED_JWT_SECRET_PREVIOUS";
    let port = free_port();
    let with = |variables: &[(&str, &str)]| {
        let variables: Vec<_> =
            variables.iter().copied().chain([("PORT", port.as_str())]).collect();
        doctor(folder.path(), &[], &variables)
    };

    let guessed = with(&[(SECRET_NAME, "hunter2"), (previous, SECRET)]);
    guessed.failing(1).expect("FAIL", "secret", "openssl rand").expect("warn", "config", "7 bytes");
    assert!(!guessed.shown().contains("hunter2"), "{}", guessed.shown());
    with(&[(SECRET_NAME, SECRET), (previous, "changemechangemechangeme")]).failing(1).expect(
        "FAIL",
        "secret",
        "the previous secret reads like a placeholder",
    );
    with(&[(SECRET_NAME, SECRET), (previous, SECRET)]).failing(0).expect(
        "warn",
        "secret",
        "unset ORION_SHARED_JWT_SECRET_PREVIOUS",
    );
}

#[test]
fn a_data_file_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.redb");
    let look = |data: &str| {
        let variables = [(SECRET_NAME, SECRET), ("PORT", "0"), ("ORION_CHAT_DATA", data)];
        doctor(folder.path(), &[], &variables)
    };

    look("missing/chat.redb").failing(2).expect("FAIL", "file", "cannot be made");
    fs::write(&file, "Dear diary").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    look("chat.redb").failing(1).expect("FAIL", "file", "restore a backup");
    assert_eq!(fs::read(&file).unwrap(), b"Dear diary");

    fs::remove_file(&file).unwrap();
    let mut serving = command(folder.path(), &["--listen", "127.0.0.1:0", "--data", "chat.redb"]);
    serving.env("ORION_CHAT_AUTH", "off");
    let mut process = Process::start(serving);
    look("chat.redb").failing(0).expect("ok", "file", "in use by a server");
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    look("chat.redb").failing(0).expect("ok", "file", "can be opened");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    look("chat.redb").failing(0).expect("warn", "file", "chmod 600 chat.redb");
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [(SECRET_NAME, SECRET), ("PORT", "0")];
    for (answer, state, text) in [
        ("yes", "ok", "in step with the network"),
        ("no", "warn", "timedatectl set-ntp true"),
        ("", "ok", "nobody here tells"),
    ] {
        program(folder.path(), "timedatectl", &format!("echo {answer}"));
        doctor(folder.path(), &[], &variables).failing(0).expect(state, "clock", text);
    }
    drop(Process::start(crate::support::server(folder.path())));
    let file = fs::File::options().write(true).open(folder.path().join("orion-chat.redb")).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written + Duration::from_hours(2)).unwrap();

    let report = doctor(folder.path(), &[], &variables);

    report.failing(1).expect("FAIL", "clock", "the data file was written at");
}

#[test]
fn a_port_that_another_program_has_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _asked = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });

    let variables = [(SECRET_NAME, SECRET), ("PORT", &port.to_string())];
    let report = doctor(folder.path(), &[], &variables);

    answering.join().unwrap();
    report.failing(1).expect("FAIL", "port", &format!("ss -ltnp 'sport = :{port}'"));
    report.expect("ok", "tunnel", "is answered");
    // TEST-NET-1 of RFC 5737, which is nobody's.
    let listen = ["--listen", "192.0.2.1:80"];
    let elsewhere = doctor(folder.path(), &listen, &[(SECRET_NAME, SECRET)]);
    elsewhere.expect("FAIL", "port", "192.0.2.1:80");
}

#[test]
fn a_server_that_runs_is_asked_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = command(folder.path(), &["--listen", "127.0.0.1:0"]);
    serving.env(SECRET_NAME, SECRET).env("ALLOWED_ORIGINS", "https://*.example.org");
    let process = Process::start(serving);
    let port = port_of(&process);
    let same = [(SECRET_NAME, SECRET), ("ALLOWED_ORIGINS", "https://*.example.org")];

    let alike = doctor(folder.path(), &["--listen", &process.address], &same);
    alike.failing(0).expect("ok", "port", "is served by orion-chat").expect(
        "ok",
        "origin",
        "https://an-example.example.org may call",
    );

    let variables = [(SECRET_NAME, OTHER), ("ALLOWED_ORIGINS", "https://a.org"), ("PORT", port)];
    let other = doctor(folder.path(), &[], &variables);
    other.failing(2).expect("FAIL", "origin", "the server refuses a page of https://a.org").expect(
        "FAIL",
        "tunnel",
        "the server refuses a token by this secret",
    );

    let variables = [("ALLOWED_ORIGINS", "https://*.example.org"), ("PORT", port)];
    let unset = doctor(folder.path(), &[], &variables);
    unset.failing(1).expect("FAIL", "tunnel", "--env-file");

    let file =
        format!("{SECRET_NAME}={SECRET}\nALLOWED_ORIGINS=https://*.example.org\nPORT={port}");
    fs::write(folder.path().join("env"), file).unwrap();
    doctor(folder.path(), &["--env-file", "env"], &[]).failing(0);
}

#[test]
fn what_comes_of_requests_by_a_tunnel_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let local = doctor(folder.path(), &[], &[("PORT", &port)]);
    assert!(local.shown().contains("gets 403 local_only"), "{}", local.shown());
    let off = doctor(folder.path(), &["--auth", "off"], &[("PORT", &port)]);
    off.failing(0).expect("warn", "tunnel", "set ORION_SHARED_JWT_SECRET");

    // It has its name as the programs of that name have.
    program(folder.path(), "cloudflared", "echo; read line");
    let mut connector = Command::new(folder.path().join("bin/cloudflared"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    connector.stdout.take().unwrap().read_exact(&mut [0]).unwrap();

    let report = doctor(folder.path(), &[], &[("PORT", &port)]);

    drop(connector.stdin.take());
    connector.wait().unwrap();
    report.failing(1).expect("FAIL", "tunnel", "as cloudflared runs here");
}
