//! SIGHUP: secrets and origins change while requests are served.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Connection, Process, Reply, command, token};

const LIST: &str = "/api/sessions/list";

/// The `n`th secret.
fn secret(n: usize) -> String {
    format!("secret {n}, which nobody guesses, as it is long enough")
}

/// A server whose secrets and origins are in files.
struct Server {
    process: Process,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        replace(&folder.path().join("secret"), &secret(0));
        replace(&folder.path().join("previous"), "");
        replace(&folder.path().join("origins"), "https://a.org");
        let process = Process::start(Self::command(folder.path()));
        Self { process, folder }
    }

    fn command(folder: &Path) -> Command {
        let mut command = command(folder, &["--listen", "127.0.0.1:0", "--log-format", "text"]);
        command.env("ORION_SHARED_JWT_SECRET_FILE", "secret");
        command.env("ORION_SHARED_JWT_SECRET_PREVIOUS_FILE", "previous");
        command.env("ALLOWED_ORIGINS_FILE", "origins");
        command
    }

    fn write(&self, file: &str, text: &str) {
        replace(&self.folder.path().join(file), text);
    }

    /// Makes the `n`th secret the one, and the one before it the previous one.
    fn rotate_to(&self, n: usize) {
        self.write("previous", &secret(n - 1));
        self.write("secret", &secret(n));
    }

    /// Has it reload, the `n`th time, and waits until that is in force.
    fn reload(&self, n: usize) {
        self.process.signal("HUP");
        self.process.wait_for_lines(n, "reloaded secrets and origins");
    }

    /// Lists as a page of `origin` with a token of the `n`th secret.
    fn list(&self, n: usize, origin: &str) -> Reply {
        list(&mut self.process.connect(), n, origin)
    }
}

fn list(client: &mut Connection, n: usize, origin: &str) -> Reply {
    client.get_with(LIST, &format!("{}Origin: {origin}\r\n", bearer(n))).unwrap()
}

fn bearer(n: usize) -> String {
    format!("Authorization: Bearer {}\r\n", token(&secret(n)))
}

/// Puts a new file in the place of the old one, so that there is always a whole one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn allows(reply: &Reply, origin: &str) -> bool {
    reply.head.contains(&format!("access-control-allow-origin: {origin}"))
}

/// Calls with the newest secret that is in force, again and again, until it has with the `last`.
fn call_until(server: &Server, in_force: &AtomicUsize, called: &AtomicUsize, last: usize) {
    let mut client = server.process.connect();
    while called.load(Ordering::SeqCst) < last {
        let n = in_force.load(Ordering::SeqCst);
        let reply = list(&mut client, n, "https://a.org");
        assert_eq!(reply.status, 200, "by secret {n}: {reply:?}");
        assert!(allows(&reply, "https://a.org"), "{reply:?}");
        called.store(n, Ordering::SeqCst);
    }
}

#[test]
fn secrets_rotate_under_load_and_nobody_is_refused() {
    const ROTATIONS: usize = 12;
    let server = Server::start();
    // The newest secret that is certain to be in force; and for each caller, by which it last called.
    let (in_force, called) = (AtomicUsize::new(0), [const { AtomicUsize::new(0) }; 3]);

    std::thread::scope(|scope| {
        for called in &called {
            scope.spawn(|| call_until(&server, &in_force, called, ROTATIONS));
        }
        for n in 1..=ROTATIONS {
            server.rotate_to(n);
            server.reload(n);
            in_force.store(n, Ordering::SeqCst);
            // Nobody signs with a secret any more that the next rotation forgets.
            while called.iter().any(|called| called.load(Ordering::SeqCst) < n) {
                std::thread::yield_now();
            }
        }
    });

    assert_eq!(server.list(ROTATIONS - 1, "https://a.org").status, 200, "the previous one");
    assert_eq!(server.list(ROTATIONS - 2, "https://a.org").status, 401, "the one before it");
}

#[test]
fn origins_change_by_a_reload() {
    let server = Server::start();
    assert!(allows(&server.list(0, "https://a.org"), "https://a.org"));
    assert!(!allows(&server.list(0, "https://b.org"), "https://b.org"));

    server.write("origins", "# moved\nhttps://b.org\n");
    server.reload(1);

    assert!(!allows(&server.list(0, "https://a.org"), "https://a.org"));
    assert!(allows(&server.list(0, "https://b.org"), "https://b.org"));
    assert!(server.process.log().contains("pages of https://b.org may call"));
}

#[test]
fn a_reload_that_is_no_good_leaves_what_is_in_force() {
    let server = Server::start();
    for (nth, (file, text, complaint)) in [
        ("origins", "https://b.org, *", "origin pattern \"*\""),
        ("secret", "", "the file secret that ORION_SHARED_JWT_SECRET_FILE names is empty"),
    ]
    .into_iter()
    .enumerate()
    {
        // What is good of it is not taken either.
        server.write("secret", &secret(7));
        server.write("origins", "https://b.org");
        server.write(file, text);
        server.process.signal("HUP");
        server.process.wait_for_lines(nth + 1, "did not reload: ");

        assert!(server.process.log().contains(complaint), "{}", server.process.log());
        assert!(allows(&server.list(0, "https://a.org"), "https://a.org"));
        assert_eq!(server.list(7, "https://a.org").status, 401);
    }

    server.write("secret", &secret(7));
    server.write("origins", "https://b.org");
    server.reload(1);

    assert!(allows(&server.list(7, "https://b.org"), "https://b.org"));
    assert!(!server.process.log().contains(&secret(7)), "{}", server.process.log());
}

#[test]
fn who_listens_goes_on_when_the_secret_is_gone() {
    let server = Server::start();
    let mut listener = server.process.connect();
    let head = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n";
    listener.send(&format!("{head}{}\r\n", bearer(0))).unwrap();
    listener.read_until("HTTP/1.1 200 OK").unwrap();

    for n in 1..=2 {
        server.rotate_to(n);
        server.reload(n);
    }
    assert_eq!(server.list(0, "https://a.org").status, 401);
    let session = json!({ "sessionId": "told-of" });
    let mut client = server.process.connect();
    let created = client.request("POST", "/api/sessions/create", &session, &bearer(2)).unwrap();

    created.expect(201);
    listener.read_until("told-of").unwrap();
}
