//! A server with its file, everybody who uses it, and what they know.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Client, USER};
use super::dice::Dice;
use super::journal::Journal;
use super::listener::Listener;
use super::oracle::{self, Log};
use crate::support::{Connection, Ended, PATIENCE, Process, command, try_start};

const WRITERS: usize = 8;
const DELETERS: usize = 2;
const LISTENERS: usize = 2;

/// The session whose changes of title tell where the log was read to.
pub(super) const MARKER: &str = "marker";

/// After so many lives another session is the shared one.
const LIVES_OF_SHARED: usize = 20;

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launch {
    /// What is asked of strace, if it is to run under that.
    pub(crate) strace: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// What stands before it all, such as `prlimit` with its arguments.
    pub(crate) before: Vec<String>,
}

impl Launch {
    /// With one of the planted faults.
    pub(crate) fn with_fault(fault: Option<&str>) -> Self {
        let fault = fault.map(|fault| ("ORION_CHAT_FAULT".to_owned(), fault.to_owned()));
        Self { environment: fault.into_iter().collect(), ..Self::default() }
    }

    /// Under strace, which injects this.
    pub(crate) fn inject(&self, calls: &str, what: &str) -> Self {
        let strace = ["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{what}")];
        Self { strace: strace.map(str::to_owned).to_vec(), ..self.clone() }
    }

    /// Where each sync takes so long, as on a slow disk.
    pub(crate) fn slow_disk(&self, time: Duration) -> Self {
        self.inject("fdatasync", &format!("delay_enter={}", time.as_micros()))
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A server of the file in `folder`.
    fn server(&self, folder: &Path) -> Command {
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--auth", "off", "--rate-limit", "0"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let server = self.command(folder, &arguments);
        let mut before = self.before.clone();
        if !self.strace.is_empty() {
            // As a grandchild, so that the server is our own child; it ends with that.
            before.extend(["strace", "-D", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned));
            // With that, strace 6.1 never comes to a second call.
            if !self.strace.iter().any(|what| what.contains("when=")) {
                before.push("--seccomp-bpf".to_owned());
            }
            before.extend(self.strace.iter().cloned());
        }
        let Some((program, rest)) = before.split_first() else { return server };
        let mut command = Command::new(program);
        command.args(rest).arg(server.get_program()).args(server.get_args());
        command.env_clear().current_dir(folder);
        command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = command(folder, arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL amid work.
    Kill,
    /// SIGTERM, and SIGKILL while it puts things in order.
    KillStopping,
    /// SIGTERM amid work, and its own end, with 0.
    Stop,
}

/// A server's file, and everybody who uses it.
pub(crate) struct World {
    /// The folder of the data file.
    pub(crate) folder: PathBuf,
    /// Where the rest is: the journal, and backups.
    pub(crate) outside: TempDir,
    _inside: Option<TempDir>,
    pub(crate) journal: Journal,
    pub(crate) clients: Vec<Client>,
    pub(crate) listeners: Vec<Listener>,
    /// Who looks after what is shared.
    pub(crate) lead: Client,
    pub(crate) dice: Dice,
    pub(crate) log: Log,
    pub(crate) since: String,
    shared: String,
    lives: usize,
    is_set_up: bool,
}

impl World {
    /// One in a folder of its own.
    pub(crate) fn new(seed: u64) -> Self {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().to_owned();
        Self { _inside: Some(inside), ..Self::on(&folder, seed) }
    }

    /// One whose data file is in this folder.
    pub(crate) fn on(folder: &Path, seed: u64) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let journal = Journal::new(outside.path().join("journal.ndjson"));
        let client = |n: usize, name: &str| {
            let seed = seed.wrapping_mul(1000) + u64::try_from(n).unwrap();
            Client::new(&format!("{name}{n}"), seed, n >= WRITERS)
        };
        let writers = (0..WRITERS).map(|n| client(n, "writer"));
        let clients = writers.chain((WRITERS..WRITERS + DELETERS).map(|n| client(n, "deleter")));
        Self {
            folder: folder.to_owned(),
            outside,
            _inside: None,
            journal,
            clients: clients.collect(),
            listeners: Vec::new(),
            lead: Client::new("lead", seed, false),
            dice: Dice::new(seed),
            log: Log::new(),
            since: String::new(),
            shared: String::new(),
            lives: 0,
            is_set_up: false,
        }
    }

    pub(crate) fn start(&self, launch: &Launch) -> Result<Process, Ended> {
        try_start(launch.server(&self.folder))
    }

    /// Starts it as it is usually started, looks at everything, and gives what is wrong; and the
    /// server, if it serves.
    pub(crate) fn recover(&mut self, launch: &Launch) -> (Vec<String>, Option<Process>) {
        let began = Instant::now();
        let process = match self.start(launch) {
            Ok(process) => process,
            Err(ended) => return (vec![format!("O12: it does not start: {ended:?}")], None),
        };
        let mut problems = Vec::new();
        if began.elapsed() > oracle::READY {
            problems.push(format!("O12: it took {:?} to start", began.elapsed()));
        }
        if self.is_set_up {
            problems.extend(oracle::check(self, &process));
        }
        problems.extend(self.set_up(&process).err().map(|error| format!("O12: {error}")));
        (problems, Some(process))
    }

    /// Makes what everybody shares, and another of it now and then.
    pub(crate) fn set_up(&mut self, process: &Process) -> io::Result<()> {
        let mut connection = process.connect();
        if !self.is_set_up {
            self.since = now(&mut connection)?;
            self.listeners = (0..LISTENERS).map(|_| Listener::new(&self.since)).collect();
            self.lead.begin(&mut connection, &self.journal, MARKER);
            self.is_set_up = true;
        }
        if self.lives.is_multiple_of(LIVES_OF_SHARED) {
            let next = format!("shared-{}", self.lives);
            self.lead.begin(&mut connection, &self.journal, &next);
            let before = std::mem::replace(&mut self.shared, next);
            if !before.is_empty() {
                self.lead.end(&mut connection, &self.journal, &before);
                self.clients.iter_mut().for_each(|client| client.forget(&before));
            }
        }
        self.lives += 1;
        Ok(())
    }

    /// Lets everybody work until so many calls were acknowledged, and a little longer, until `end` has
    /// ended it.
    pub(crate) fn live(
        &mut self,
        mut process: Process,
        (enough, longer): (usize, Duration),
        end: impl FnOnce(&mut Process) -> Vec<String>,
    ) -> Vec<String> {
        let (stop, (telling, told)) = (AtomicBool::new(false), channel());
        let (address, shared) = (process.address.clone(), self.shared.clone());
        let (journal, doubt, mut problems) = (&self.journal, &self.journal.doubt(), Vec::new());
        let (clients, listeners) = (&mut self.clients, &mut self.listeners);
        std::thread::scope(|scope| {
            let (address, shared, stop) = (address.as_str(), shared.as_str(), &stop);
            for listener in listeners {
                scope.spawn(move || listener.listen(address, doubt));
            }
            for client in clients {
                let telling = telling.clone();
                // It ends with an error, as the server does.
                scope
                    .spawn(move || drop(client.work((address, shared), journal, (stop, &telling))));
            }
            drop(telling);
            wait_for(&told, enough, longer);
            problems = end(&mut process);
            stop.store(true, Ordering::Relaxed);
            // What is told still must not fill anything up.
            told.iter().for_each(drop);
        });
        let log = process.whole_log();
        if log.contains("panicked") {
            problems.push(format!("O12: it panicked: {log}"));
        }
        problems
    }

    /// Lets one client make some calls, one after the other.
    pub(crate) fn work_alone(&mut self, process: &Process, calls: usize) {
        if self.clients[0].sessions.is_empty() {
            let Ok(mut connection) = Connection::open(&process.address) else { return };
            self.clients[0].begin(&mut connection, &self.journal, "writer0-shared");
        }
        self.clients[0].work_alone(&process.address, &self.journal, calls);
    }

    /// Runs a command beside the server.
    pub(crate) fn run(&self, launch: &Launch, arguments: &[&str]) -> Output {
        launch.command(&self.folder, arguments).output().unwrap()
    }

    /// Whether what can be taken out of the file, by whatever way, is what the API shows.
    pub(crate) fn compare_copies(&self, launch: &Launch, process: &Process) -> Vec<String> {
        let mut problems = Vec::new();
        let backup = self.outside.path().join("backup.redb");
        let (backup, elsewhere) = (backup.to_str().unwrap(), self.outside.path());
        let mut run = |folder: &Path, arguments: &[&str]| {
            let output = launch.command(folder, arguments).output().unwrap();
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                problems.push(format!("O11, O12: {arguments:?}: {said}"));
            }
            String::from_utf8(output.stdout).unwrap()
        };
        let exported = run(&self.folder, &["export", "-"]);
        run(&self.folder, &["verify"]);
        run(&self.folder, &["backup", backup]);
        run(elsewhere, &["restore", backup, "--data", "restored.redb"]);
        let restored = run(elsewhere, &["export", "-", "--data", "restored.redb"]);
        let shown = oracle::lines_of_api(process).unwrap_or_default();
        for (name, lines) in [("export", &exported), ("restored backup", &restored)] {
            let lines = oracle::lines_of_export(lines);
            problems.extend(difference(&shown, &lines).map(|line| format!("O11: {name}: {line}")));
        }
        for old in std::fs::read_dir(elsewhere).unwrap().map(|entry| entry.unwrap().path()) {
            if old.extension().is_none_or(|ending| ending != "ndjson") {
                std::fs::remove_file(old).unwrap();
            }
        }
        problems
    }
}

/// One line of those that are in one alone.
fn difference(shown: &HashSet<String>, lines: &HashSet<String>) -> Option<String> {
    let missing = shown.difference(lines).next().map(|line| format!("has not {line}"));
    missing.or_else(|| lines.difference(shown).next().map(|line| format!("has too {line}")))
}

/// The cursor of this moment.
fn now(connection: &mut Connection) -> io::Result<String> {
    let reply = connection.post("/api/events/ticket", &json!({ "userId": USER }))?;
    let ticket: Value = serde_json::from_str(&reply.body).map_err(io::Error::other)?;
    Ok(ticket["cursor"].as_str().unwrap_or_default().to_owned())
}

/// Waits for so many, and then for a moment more, so that not every end comes right behind an answer.
fn wait_for(told: &Receiver<Instant>, enough: usize, longer: Duration) {
    let patience = Instant::now() + PATIENCE;
    for _ in 0..enough {
        match told.recv_timeout(patience.saturating_duration_since(Instant::now())) {
            Ok(_) => {}
            // It refuses, or all have given up.
            Err(_) => return,
        }
    }
    let end = Instant::now() + longer;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if told.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

impl End {
    /// Ends it, and gives what is wrong with how it went.
    pub(crate) fn finish(self, process: &mut Process) -> Vec<String> {
        if self != Self::Kill {
            process.signal("TERM");
        }
        if self == Self::Stop {
            return match process.exit_code() {
                Some(0) => Vec::new(),
                code => vec![format!("O12: it ended with {code:?}: {}", process.whole_log())],
            };
        }
        if self == Self::KillStopping {
            process.wait_for_line("stopping on SIGTERM");
        }
        process.kill();
        Vec::new()
    }
}
