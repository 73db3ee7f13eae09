//! The binary as a node: a server with a data file of its own, and the commands beside it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{DATABASE, OWNER, PASSWORD};
use super::{TO_HEAL, within};
use crate::process::{Connection, Process, command, server};

/// A node that finds its PostgreSQL at a port of this machine.
pub(crate) struct Node {
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// None while it is killed.
    process: Option<Process>,
    /// What those before it wrote.
    logs: String,
}

impl Node {
    pub(crate) fn start(port: u16) -> Self {
        Self::start_with(port, &[])
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
        let environment = environment.iter().chain(more);
        let mut node = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: environment
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            process: None,
            logs: String::new(),
        };
        node.start_again();
        node
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(Process::start(self.furnish(server(self.folder.path()))));
    }

    fn furnish(&self, mut command: Command) -> Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
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

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> &str {
        &self.process().address
    }

    pub(crate) fn connect(&self) -> Connection {
        self.process().connect()
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
        within(TO_HEAL, what, || {
            let status = self.status();
            if is_so(&status) { Ok(status) } else { Err(status) }
        })
    }

    /// Waits until everything that was saved here is there.
    #[track_caller]
    pub(crate) fn drained(&self) {
        self.status_when("all is drained", |status| {
            status["connected"] == true && status["queue"] == 0
        });
    }

    pub(crate) fn create(&self, user: &str, session: &str, first: &str) {
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

    pub(crate) fn delete_message(&self, user: &str, session: &str, id: &str) {
        let path = format!("/api/sessions/{session}/messages/{id}");
        let body = json!({ "userId": user });
        self.connect().request("DELETE", &path, &body, "").unwrap().expect(200);
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

    /// The texts of a session's messages.
    pub(crate) fn said(&self, user: &str, session: &str) -> Vec<String> {
        let messages = self.messages(user, session);
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
