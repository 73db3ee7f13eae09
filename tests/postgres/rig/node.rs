//! The binary as a node: a server with a data file of its own, and the commands beside it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{DATABASE, OWNER, PASSWORD};
use super::{TO_HEAL, patience, within};
use crate::process::{Connection, Process, command, server, try_start};

/// The environment of a process that is not static, by which its clock is off by this, such as
/// `-1d`.
pub(crate) fn clock(offset: &str) -> [(&'static str, &str); 3] {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    [("LD_PRELOAD", library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

/// A node that finds its PostgreSQL at a port of this machine.
pub(crate) struct Node {
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// None while it is killed.
    process: Option<Process>,
    /// What those before it wrote.
    logs: String,
    /// Who used it.
    users: Mutex<BTreeSet<String>>,
}

impl Node {
    pub(crate) fn start(port: u16) -> Self {
        Self::start_with(port, &[])
    }

    /// Without a PostgreSQL.
    pub(crate) fn alone() -> Self {
        Self::start_in(&[("ORION_CHAT_LOG", "info")])
    }

    /// With more in its environment, such as another clock.
    pub(crate) fn start_with(port: u16, more: &[(&str, &str)]) -> Self {
        let port = port.to_string();
        let environment = [
            ("DB_HOST", "127.0.0.1"),
            ("DB_PORT", &port),
            ("DB_NAME", DATABASE),
            ("DB_USER", OWNER),
            ("DB_PASSWORD", PASSWORD),
            ("DB_SSL", "false"),
            ("ORION_CHAT_LOG", "info"),
        ];
        Self::start_in(&[&environment, more].concat())
    }

    fn start_in(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter();
        let mut node = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: environment
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            process: None,
            logs: String::new(),
            users: Mutex::default(),
        };
        node.start_again();
        node
    }

    /// Adds to its environment, or changes that, from its next start on.
    pub(crate) fn set(&mut self, more: &[(&str, &str)]) {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment.extend(more);
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(Process::start(self.furnish(server(self.folder.path()))));
    }

    /// Starts it so that it is killed in its `point`th call of a system call, such as `sendto`; tells
    /// whether it got as far as to listen.
    pub(crate) fn start_doomed(&mut self, call: &str, point: usize) -> bool {
        assert!(self.process.is_none(), "it runs");
        let node = self.furnish(server(self.folder.path()));
        let mut command = Command::new("/usr/bin/strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=KILL:when={point}")]);
        command.arg(node.get_program()).args(node.get_args());
        command.env_clear().current_dir(self.folder.path());
        command.envs(node.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.process = try_start(command).ok();
        self.process.is_some()
    }

    fn furnish(&self, mut command: Command) -> Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Its environment, as a file of variables.
    pub(crate) fn variables(&self) -> String {
        let lines = self.environment.iter().map(|(name, value)| format!("{name}={value}\n"));
        lines.collect()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Waits for its end, which it was doomed to.
    pub(crate) fn end(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.exit_code();
        self.logs.push_str(&process.whole_log());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill();
        self.logs.push_str(&process.whole_log());
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal("TERM");
        assert_eq!(process.exit_code(), Some(0));
        self.logs.push_str(&process.whole_log());
    }

    /// What it wrote in all its lives.
    pub(crate) fn log(&self) -> String {
        self.logs.clone() + &self.process.as_ref().map_or_else(String::new, Process::log)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process().pid()
    }

    pub(crate) fn address(&self) -> &str {
        &self.process().address
    }

    pub(crate) fn connect(&self) -> Connection {
        self.process().connect()
    }

    /// Its metrics, if it was told to have them somewhere.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        let log = self.log();
        let (_, rest) = log.rsplit_once("metrics on http://").expect("an admin listener");
        let address = rest.split('/').next().unwrap_or_default();
        Connection::open(address).unwrap().get("/metrics").unwrap().body
    }

    /// Runs a command beside it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.furnish(command(self.folder.path(), arguments)).output().unwrap()
    }

    /// Runs a command that must do what it is for, and gives what it says.
    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// What it says of its PostgreSQL.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let status = self.done(&["postgres", "status", "--json"]);
        serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"))
    }

    /// Waits until its status is as wanted, and gives it.
    #[track_caller]
    pub(crate) fn status_when(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.status_within(TO_HEAL, what, is_so)
    }

    /// Waits until everything that was saved here is there.
    #[track_caller]
    pub(crate) fn drained(&self) {
        self.status_within(patience(), "all is drained", |status| {
            status["connected"] == true && status["queue"] == 0
        });
    }

    #[track_caller]
    fn status_within(&self, time: Duration, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        within(time, what, || {
            let status = self.status();
            if is_so(&status) { Ok(status) } else { Err(status) }
        })
    }

    /// Remembers who uses it.
    pub(crate) fn meet(&self, user: &str) {
        self.users.lock().unwrap().insert(user.to_owned());
    }

    /// Those who ever did.
    pub(crate) fn users(&self) -> BTreeSet<String> {
        self.users.lock().unwrap().clone()
    }

    pub(crate) fn create(&self, user: &str, session: &str, first: &str) {
        self.meet(user);
        let body = json!({ "userId": user, "sessionId": session, "firstMessage": first });
        self.connect().post("/api/sessions/create", &body).unwrap().expect(201);
    }

    pub(crate) fn save(&self, user: &str, session: &str, id: &str, content: &str) {
        let body = json!({
            "userId": user, "sessionId": session, "role": "user", "content": content, "id": id,
        });
        self.connect().post("/api/sessions/save-message", &body).unwrap().expect(201);
    }

    /// Changes a session's title, metadata or flags.
    pub(crate) fn update(&self, user: &str, session: &str, mut change: Value) {
        change["userId"] = user.into();
        change["sessionId"] = session.into();
        self.connect().post("/api/sessions/update", &change).unwrap().expect(200);
    }

    pub(crate) fn delete(&self, user: &str, session: &str) {
        let body = json!({ "userId": user, "sessionId": session });
        self.connect().post("/api/sessions/delete", &body).unwrap().expect(200);
    }

    pub(crate) fn edit_message(&self, user: &str, session: &str, id: &str, content: &str) {
        let path = format!("/api/sessions/{session}/messages/{id}?userId={user}");
        let body = json!({ "content": content });
        self.connect().request("PATCH", &path, &body, "").unwrap().expect(200);
    }

    pub(crate) fn delete_message(&self, user: &str, session: &str, id: &str) {
        let path = format!("/api/sessions/{session}/messages/{id}?userId={user}");
        self.connect().request("DELETE", &path, &json!({}), "").unwrap().expect(200);
    }

    /// A user's session; none if it is not there.
    pub(crate) fn session(&self, user: &str, session: &str) -> Option<Value> {
        let path = format!("/api/sessions/{session}?userId={user}");
        let reply = self.connect().get(&path).unwrap();
        (reply.status != 404).then(|| reply.expect(200))
    }

    /// The messages of a session; none if it is not there.
    pub(crate) fn messages(&self, user: &str, session: &str) -> Vec<Value> {
        let path = format!("/api/sessions/messages?userId={user}&sessionId={session}");
        let reply = self.connect().get(&path).unwrap();
        if reply.status == 404 {
            return Vec::new();
        }
        reply.expect(200)["messages"].as_array().unwrap().clone()
    }

    /// A user's sessions, as the API gives them, page by page.
    pub(crate) fn sessions(&self, user: &str) -> Vec<Value> {
        let mut client = self.connect();
        let (mut sessions, mut cursor) = (Vec::new(), Some(String::new()));
        while let Some(from) = cursor {
            let path = format!("/api/sessions/list?userId={user}&limit=1000{from}");
            let page = client.get(&path).unwrap().expect(200);
            sessions.extend(page["sessions"].as_array().unwrap().iter().cloned());
            cursor = page["nextCursor"].as_str().map(|next| format!("&cursor={next}"));
        }
        sessions
    }

    /// How many of a user's sessions have this title.
    pub(crate) fn count_titles(&self, user: &str, title: &str) -> usize {
        self.sessions(user).iter().filter(|session| session["title"] == title).count()
    }

    /// The most memory that it had, of all that it is in.
    pub(crate) fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Listens to what a user does.
    pub(crate) fn follow(&self, user: &str) -> Events {
        Events::of(self.address(), &format!("userId={user}"))
    }

    /// The same, from a cursor on.
    pub(crate) fn follow_since(&self, user: &str, cursor: &str) -> Events {
        Events::of(self.address(), &format!("userId={user}&since={cursor}"))
    }

    /// Where a listener is who has heard everything.
    pub(crate) fn cursor(&self, user: &str) -> String {
        let body = json!({ "userId": user });
        let ticket = self.connect().post("/api/events/ticket", &body).unwrap().expect(201);
        ticket["cursor"].as_str().unwrap().to_owned()
    }

    /// The texts of a session's messages.
    pub(crate) fn said(&self, user: &str, session: &str) -> Vec<String> {
        let messages = self.messages(user, session);
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }
}

/// What a listener is told, as it comes.
pub(crate) struct Events {
    stream: TcpStream,
    heard: String,
}

impl Events {
    fn of(address: &str, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TO_HEAL)).unwrap();
        let head = format!("GET /api/events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut events = Self { stream, heard: String::new() };
        events.wait_for("200 OK");
        events
    }

    /// Reads on up to where something says `text`, and gives what came before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut some = [0; 4096];
        loop {
            if let Some((before, after)) = self.heard.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.heard = after;
                return before;
            }
            let read = self.stream.read(&mut some).unwrap();
            assert!(read > 0, "no {text:?} in {}", self.heard);
            self.heard.push_str(&String::from_utf8_lossy(&some[..read]));
        }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> String {
        self.wait_for("data: ");
        self.wait_for("\n")
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
