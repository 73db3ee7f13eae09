//! A disk that fills up and is given room again.
//!
//! The disk is a small one in memory, in a mount namespace of its own, which goes with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Connection, Process};

/// How long to wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

const SESSION: &str = "s1";
const MIB: usize = 1 << 20;

/// A disk of 24 MiB.
struct Disk {
    folder: tempfile::TempDir,
    /// Keeps the namespace.
    holder: Child,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut holder = Command::new("unshare");
        if !is_root() {
            holder.arg("--map-root-user");
        }
        // It ends when the test does, with whom its stdin goes.
        let script = r#"mount -t tmpfs -o size=24m none "$0" && echo mounted && exec cat"#;
        holder.args(["--mount", "sh", "-c", script]).arg(folder.path());
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n", "a mount needs root, or user namespaces");
        Self { folder, holder }
    }

    /// A server whose data is on it.
    fn serve(&self) -> Process {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string()]);
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(env!("CARGO_BIN_EXE_orion-chat")).arg("--data");
        command.arg(self.folder.path().join("orion-chat.redb"));
        command.args(["--listen", "127.0.0.1:0", "--auth", "off", "--rate-limit", "0"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Process::start(command)
    }

    /// A file on it, by a path that leads there from outside.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.folder.path().strip_prefix("/").unwrap()).join(name)
    }

    /// Others fill it: up to so many bytes, or all that is left. Tells how many it were.
    fn fill(&self, name: &str, bytes: usize) -> usize {
        let mut file = File::create(self.path(name)).unwrap();
        let (mut filled, block) = (0, vec![7; 4096]);
        while filled < bytes && file.write_all(&block).is_ok() {
            filled += block.len();
        }
        filled
    }

    /// ...and others make room again.
    fn empty(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _killed = self.holder.kill();
        let _waited = self.holder.wait();
    }
}

/// Ann, and what the server has acknowledged to her.
struct Ann {
    connection: Connection,
    saved: Vec<String>,
    tried: usize,
}

impl Ann {
    fn new(process: &Process) -> Self {
        Self { connection: process.connect(), saved: Vec::new(), tried: 0 }
    }

    fn create(&mut self, session: &str) -> u16 {
        let body = json!({ "userId": "ann", "sessionId": session });
        self.connection.post("/api/sessions", &body).unwrap().status
    }

    /// Saves a message of 16 KB, and gives the answer if it is a refusal.
    fn save(&mut self) -> Option<(u16, Value)> {
        self.tried += 1;
        let id = format!("m{}", self.tried);
        let body = json!({
            "userId": "ann", "sessionId": SESSION, "id": id, "role": "user",
            "content": id.repeat(16_000 / id.len()),
        });
        let reply = self.connection.post("/api/sessions/save-message", &body).unwrap();
        if reply.status == 201 {
            self.saved.push(id);
            return None;
        }
        Some((reply.status, serde_json::from_str(&reply.body).unwrap()))
    }

    /// Saves until that is refused, which must be because the disk is full.
    #[track_caller]
    fn save_until_refused(&mut self) {
        for _ in 0..3000 {
            if let Some((status, refusal)) = self.save() {
                assert_eq!((status, &refusal["code"]), (507, &json!("disk_full")), "{refusal}");
                return;
            }
        }
        panic!("48 MB fit on a disk of 24");
    }

    /// Saves one once that is possible.
    #[track_caller]
    fn save_when_possible(&mut self) {
        let begun = Instant::now();
        while let Some(refusal) = self.save() {
            assert!(begun.elapsed() < PATIENCE, "{refusal:?}");
        }
    }

    fn delete(&mut self, session: &str) -> u16 {
        let body = json!({ "userId": "ann", "sessionId": session });
        self.connection.post("/api/sessions/delete", &body).unwrap().status
    }

    /// Checks that all that was acknowledged is there, and no more.
    #[track_caller]
    fn check_history(&mut self) {
        let path = format!("/api/sessions/messages?userId=ann&sessionId={SESSION}");
        let history = self.connection.get(&path).unwrap().expect(200);
        let messages = history["messages"].as_array().unwrap();
        let ids: Vec<_> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
        assert_eq!(ids, self.saved);
        for message in messages {
            let (id, content) = (message["id"].as_str().unwrap(), message["content"].as_str());
            assert_eq!(content, Some(id.repeat(16_000 / id.len()).as_str()));
        }
    }

    fn is_ready(&mut self) -> bool {
        let reply = self.connection.get("/ready").unwrap();
        if reply.status != 200 {
            assert_eq!(reply.expect(503)["code"], "disk_full");
        }
        reply.status == 200
    }
}

#[test]
fn a_full_disk_refuses_writes_until_it_has_room_and_loses_nothing() {
    let disk = Disk::new();
    disk.fill("others", 8 * MIB);
    let mut process = disk.serve();
    let mut ann = Ann::new(&process);
    assert_eq!((ann.create(SESSION), ann.create("s2")), (201, 201));
    assert!(ann.is_ready());

    ann.save_until_refused();

    process.wait_for_line("writes are refused");
    assert!(!ann.is_ready());
    ann.check_history();
    ann.connection.get("/health").unwrap().expect(200);
    ann.connection.get("/api/search?userId=ann&q=m1m1m1").unwrap().expect(200);
    assert_eq!(ann.create("s3"), 507);
    assert_eq!(ann.delete("s2"), 200);
    assert_eq!(process.log().matches("writes are refused").count(), 1, "{}", process.log());

    disk.empty("others");
    ann.save_when_possible();
    assert!(ann.is_ready());
    ann.save_until_refused();
    ann.check_history();

    // What is full stays readable over restarts, be they clean or not.
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0), "{}", process.whole_log());
    for _ in 0..2 {
        let mut process = disk.serve();
        ann.connection = process.connect();
        ann.check_history();
        assert_eq!(ann.delete("s2"), 404);
        process.kill();
    }
}

#[test]
fn deletions_make_room() {
    let disk = Disk::new();
    disk.fill("others", 12 * MIB);
    let process = disk.serve();
    let mut ann = Ann::new(&process);
    assert_eq!(ann.create(SESSION), 201);
    ann.save_until_refused();

    assert_eq!(ann.delete(SESSION), 200);
    ann.saved.clear();

    // Also where somebody tries all the time, and each try does not count for nothing.
    let tries = (0..100).find(|_| ann.create(SESSION) == 201);
    assert!(tries.is_some(), "{}", process.log());
    for _ in 0..50 {
        ann.save_when_possible();
    }
    ann.check_history();
}

#[test]
fn a_disk_without_a_byte_left_is_waited_for() {
    let disk = Disk::new();
    disk.fill("others", 4 * MIB);
    let mut process = disk.serve();
    let mut ann = Ann::new(&process);
    assert_eq!(ann.create(SESSION), 201);
    for _ in 0..100 {
        ann.save_when_possible();
    }

    disk.fill("all the rest", usize::MAX);

    let (status, refusal) = ann.save().unwrap();
    assert_eq!((status, &refusal["code"]), (507, &json!("disk_full")));
    ann.check_history();
    process.kill();
    let mut process = disk.serve();
    ann.connection = process.connect();
    ann.check_history();
    assert_eq!(ann.save().unwrap().0, 507);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0), "{}", process.whole_log());
    let process = disk.serve();
    ann.connection = process.connect();
    ann.check_history();

    disk.empty("all the rest");
    ann.save_when_possible();
    ann.check_history();
}
