//! `health`, as scripts and containers ask for it, and what is told of the command line itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Process, command, server};

/// What a command ended with: its exit code, stdout and stderr.
#[track_caller]
fn ended(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn health(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec!["health"];
    all.extend(arguments);
    ended(command(folder, &all))
}

/// Checks that it is not well, in one line that says each of `texts`.
#[track_caller]
fn assert_unwell((code, stdout, stderr): (i32, String, String), texts: &[&str]) {
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.starts_with("orion-chat: http://") && stderr.lines().count() == 1, "{stderr}");
    for text in texts {
        assert!(stderr.contains(text), "no {text:?} in {stderr}");
    }
}

/// Something that answers the first request with `answer`, and tells what it was asked.
fn stranger(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let request = read_request(&mut stream);
        // It may have heard enough before the end.
        let _gone = stream.write_all(answer.as_bytes());
        request
    });
    (url, answering)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    String::from_utf8(request).unwrap()
}

#[test]
fn a_server_that_is_well_ends_it_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    let url = format!("http://{}", process.address);

    for (arguments, said) in [
        (&["--url", &url][..], format!("{url}/health is healthy\n")),
        (&["--url", &format!("{url}/"), "--ready"], format!("{url}/ready is ready\n")),
        (&["--url", &url, "--ready", "--timeout", "1m", "--quiet"], String::new()),
    ] {
        assert_eq!(health(folder.path(), arguments), (0, said, String::new()));
    }
}

#[test]
fn it_asks_the_server_that_the_environment_configures() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    let port = process.address.rsplit(':').next().unwrap();
    for (name, value) in [
        ("PORT", port.to_owned()),
        ("ORION_CHAT_LISTEN", process.address.clone()),
        ("ORION_CHAT_LISTEN", format!("0.0.0.0:{port}")),
        ("ORION_CHAT_LISTEN", format!("localhost:{port}")),
    ] {
        let mut command = command(folder.path(), &["health"]);
        command.env(name, &value);

        let (code, stdout, stderr) = ended(command);

        assert_eq!(code, 0, "{name}={value}: {stderr}");
        assert_eq!(stdout, format!("http://{}/health is healthy\n", process.address));
    }
    std::fs::write(folder.path().join("env"), format!("# ours\nPORT={port}\n")).unwrap();
    let (code, _, stderr) = health(folder.path(), &["--env-file", "env"]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_server_that_is_gone_ends_it_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    process.kill();
    let url = format!("http://{}", process.address);

    for arguments in [&["--url", &url][..], &["--url", &url, "--ready", "--quiet"]] {
        assert_unwell(health(folder.path(), arguments), &[&url, "refused", "server runs"]);
    }
}

#[test]
fn a_server_that_does_not_answer_in_time_ends_it_with_1() {
    let folder = tempfile::tempdir().unwrap();
    // Connections are made by the system, and nobody takes them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());

    let unwell = health(folder.path(), &["--url", &url, "--timeout", "50ms"]);

    assert_unwell(unwell, &["no answer within 50ms", "--timeout"]);
}

#[test]
fn a_server_that_says_that_it_is_not_ready_ends_it_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let (url, answering) = stranger(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n\
         {\"error\":\"data cannot be written\",\"code\":\"disk_full\",\"message\":\"\"}",
    );

    let unwell = health(folder.path(), &["--url", &url, "--ready"]);

    assert_unwell(unwell, &["503, disk_full: data cannot be written"]);
    let asked = answering.join().unwrap();
    assert!(asked.starts_with("GET /ready HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {}\r\n", url.trim_start_matches("http://"))), "{asked}");
}

#[test]
fn another_service_in_its_place_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, text) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "not orion-chat (it answered 200)"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "(it answered 404)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken", "no answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "no answer in HTTP"),
        ("", "no answer in HTTP"),
    ] {
        let (url, answering) = stranger(answer);

        assert_unwell(health(folder.path(), &["--url", &url]), &[text]);
        answering.join().unwrap();
    }
}

#[test]
fn an_answer_without_an_end_does_not_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut sent = 0_u64;
        while stream.write_all(&[b' '; 1 << 14]).is_ok() {
            sent += 1 << 14;
        }
        sent
    });

    let unwell = health(folder.path(), &["--url", &url, "--timeout", "1m"]);

    assert_unwell(unwell, &["no answer of less than 1048576 bytes"]);
    // What is under way in the buffers of sockets comes on top.
    assert!(answering.join().unwrap() < 64 << 20);
}

#[test]
fn what_cannot_be_asked_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (url, text) in [
        ("https://127.0.0.1", "https is not spoken here"),
        ("127.0.0.1:3002", "no scheme"),
        ("http://127.0.0.1:3002/health", "more than a server"),
        ("http://ann:secret@127.0.0.1:3002", "more than a server"),
        ("http://127.0.0.1:99999", "cannot ask"),
        ("http://", "cannot ask"),
        ("http://[::1", "cannot ask"),
    ] {
        let (code, stdout, stderr) = health(folder.path(), &["--url", url]);

        assert_eq!((code, stdout.as_str()), (78, ""), "{url}: {stderr}");
        assert!(stderr.contains(text) && stderr.contains("http://127.0.0.1:3002"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let mut free = command(folder.path(), &["health"]);
    free.env("PORT", "0");
    let (code, _, stderr) = ended(free);
    assert!(code == 78 && stderr.contains("--url"), "{code}: {stderr}");
    for timeout in ["0s", "2", "-1s", "2h", "soon"] {
        let (code, _, stderr) = health(folder.path(), &["--timeout", timeout]);
        assert_eq!(code, 2, "{timeout}: {stderr}");
    }
}

#[test]
fn each_shell_completes_each_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = ended(command(folder.path(), &["completions", shell]));

        assert_eq!((code, stderr.as_str()), (0, ""), "{shell}");
        for word in ["backup", "restore", "health", "ready", "allow-origin"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let bash = ended(command(folder.path(), &["completions", "bash"])).1;
    let script = folder.path().join("completions");
    std::fs::write(&script, bash).unwrap();
    let completed = r#"source "$0"; COMP_WORDS=(orion-chat --allow); COMP_CWORD=1
        [[ $(complete -p orion-chat) =~ -F\ ([^ ]+) ]]
        "${BASH_REMATCH[1]}" orion-chat --allow orion-chat; echo "${COMPREPLY[*]}""#;
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(completed).arg(&script);
    assert_eq!(ended(shell), (0, "--allow-origin\n".to_owned(), String::new()));
}

#[test]
fn the_manual_has_a_page_for_the_whole_and_one_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let (code, page, stderr) = ended(command(folder.path(), &["man"]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    for text in [".TH orion-chat 1", "ORION_CHAT_DATA", "ORION_SHARED_JWT_SECRET", "Exit codes"] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    let pages = folder.path().join("man1");
    std::fs::create_dir(&pages).unwrap();

    let (code, stdout, stderr) = ended(command(folder.path(), &["man", "man1"]));

    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut written: Vec<_> = stdout.lines().map(str::to_owned).collect();
    written.sort();
    let mut there: Vec<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| format!("man1/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    there.sort();
    assert_eq!(written, there);
    for name in ["orion-chat", "orion-chat-serve", "orion-chat-backup", "orion-chat-health"] {
        assert!(there.contains(&format!("man1/{name}.1")), "no {name} in {there:?}");
    }
    assert_eq!(std::fs::read_to_string(pages.join("orion-chat.1")).unwrap(), page);
    let health = std::fs::read_to_string(pages.join("orion-chat-health.1")).unwrap();
    assert!(health.contains("timeout") && health.contains("500ms"), "{health}");

    let (code, _, stderr) = ended(command(folder.path(), &["man", "missing"]));
    assert_eq!(code, 73, "{stderr}");
    assert!(stderr.starts_with("orion-chat: cannot write missing/orion-chat.1: "), "{stderr}");
}
