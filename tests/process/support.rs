//! The binary as a process of its own, in a folder of its own, and a client that talks to it.
//!
//! It inherits no environment, and listens on a free port, which its start-up line names.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// After this long without an answer a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary, in `folder`, with these arguments and nothing of this process's environment. That
/// may name another one, as `ORION_CHAT`, such as that of a release.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let other = std::env::var_os("ORION_CHAT").filter(|path| !path.is_empty());
    let binary = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_orion-chat").into());
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().current_dir(folder);
    // One of its faults, if it has them.
    command.envs(std::env::var_os("ORION_CHAT_FAULT").map(|fault| ("ORION_CHAT_FAULT", fault)));
    // Many run at a time, and one alone could have the usual place.
    command.env("ORION_CHAT_ADMIN_LISTEN", "off");
    command
}

/// The binary, to serve `folder/orion-chat.redb` on a free port, whoever calls, however often.
pub(crate) fn server(folder: &Path) -> Command {
    command(folder, &["--listen", "127.0.0.1:0", "--auth", "off", "--rate-limit", "0"])
}

/// A process that serves. It is killed when this goes.
pub(crate) struct Process {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    log: Log,
}

/// A process that ended before it served.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(command: Command) -> Self {
        try_start(command).unwrap_or_else(|ended| panic!("did not start: {ended:?}"))
    }

    /// Starts it with nobody who reads its log any more once it listens.
    #[track_caller]
    pub(crate) fn start_unheard(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = read_address(&mut stderr, &Log::default()).expect("it listens");
        Self { child, address, log: Log::default() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.address).unwrap()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        // A command that every shell has within it, as `kill` may not be installed.
        let sent = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends a signal, unless it has ended already.
    pub(crate) fn signal_if_alive(&mut self, name: &str) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(name);
        }
    }

    /// Ends it at once, unless it has ended already.
    pub(crate) fn kill_if_alive(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
    }

    /// Ends it at once, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends, and gives its exit code; `None` if a signal ended it.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits until it ends, at most so long; `None` if it goes on.
    pub(crate) fn end_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + time;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() > end => return None,
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }

    /// Waits for a line of its log that holds `text`.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, text: &str) {
        self.wait_for_lines(1, text);
    }

    /// Waits until its log holds `text` so many times.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, count: usize, text: &str) {
        let (state, changed) = &*self.log.0;
        let is_there = |state: &LogState| state.text.matches(text).count() >= count;
        let wait = |state: &mut LogState| !is_there(state) && !state.ended;
        let state = changed.wait_while(state.lock().unwrap(), wait).unwrap();
        assert!(is_there(&state), "no {text:?}, {count} times, in {}", state.text);
    }

    /// What it wrote up to now.
    pub(crate) fn log(&self) -> String {
        self.log.0.0.lock().unwrap().text.clone()
    }

    /// What it wrote, when it has ended.
    pub(crate) fn whole_log(&self) -> String {
        let (state, changed) = &*self.log.0;
        let state = changed.wait_while(state.lock().unwrap(), |state| !state.ended).unwrap();
        state.text.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let by_itself = self.child.try_wait();
        // It may have ended by itself, which is as good.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the process ended by itself: {by_itself:?}; its log:\n{}", self.log());
        }
    }
}

/// Starts `command`, and waits until it listens or ends.
pub(crate) fn try_start(mut command: Command) -> Result<Process, Ended> {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, log) = (BufReader::new(child.stderr.take().unwrap()), Log::default());
    let Some(address) = read_address(&mut stderr, &log) else {
        let code = child.wait().unwrap().code();
        return Err(Ended { code, stderr: log.0.0.lock().unwrap().text.clone() });
    };
    let heard = log.clone();
    std::thread::spawn(move || heard.follow(stderr));
    Ok(Process { child, address, log })
}

/// Starts `command`, which must end instead of serving, and gives how it ended.
#[track_caller]
pub(crate) fn run(command: Command) -> Ended {
    match try_start(command) {
        Err(ended) => ended,
        Ok(process) => panic!("it serves: {}", process.log()),
    }
}

fn read_address(stderr: &mut BufReader<ChildStderr>, log: &Log) -> Option<String> {
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        log.push(&line);
        if let Some((_, address)) = line.split_once("listening on http://") {
            return Some(address.chars().take_while(|c| !matches!(c, '"' | '\n')).collect());
        }
    }
}

/// What a process wrote to stderr.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<LogState>, Condvar)>);

#[derive(Default)]
struct LogState {
    text: String,
    ended: bool,
}

impl Log {
    fn push(&self, text: &str) {
        self.0.0.lock().unwrap().text.push_str(text);
        self.0.1.notify_all();
    }

    fn follow(&self, stderr: BufReader<ChildStderr>) {
        for line in stderr.lines().map_while(Result::ok) {
            self.push(&(line + "\n"));
        }
        self.0.0.lock().unwrap().ended = true;
        self.0.1.notify_all();
    }
}

/// A connection that is kept for many requests, one after the other.
pub(crate) struct Connection(BufReader<TcpStream>);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Its lines, in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

impl Reply {
    /// Checks the status, and gives the JSON.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Connection {
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.get_with(path, "")
    }

    /// `more` are whole header lines.
    pub(crate) fn get_with(&mut self, path: &str, more: &str) -> io::Result<Reply> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"))?;
        self.read_reply()
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        let body = body.to_string();
        self.send(&format!("{}{body}", post_head(path, body.len(), "")))?;
        self.read_reply()
    }

    /// A request with a JSON body; `more` are whole header lines.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        more: &str,
    ) -> io::Result<Reply> {
        let body = body.to_string();
        self.send(&format!("{}{body}", head(method, path, body.len(), more)))?;
        self.read_reply()
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    pub(crate) fn read_reply(&mut self) -> io::Result<Reply> {
        let status_line = self.read_line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line}")))?;
        let (mut length, mut is_chunked, mut head) = (0, false, Vec::new());
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("transfer-encoding", "chunked")) => is_chunked = true,
                Some(_) => {}
                None => break,
            }
            head.push(line);
        }
        let body = if is_chunked { self.read_chunks()? } else { self.read_exactly(length)? };
        Ok(Reply { status, head, body: String::from_utf8(body).unwrap() })
    }

    /// Reads lines until one holds `text`.
    pub(crate) fn read_until(&mut self, text: &str) -> io::Result<()> {
        while !self.read_line()?.contains(text) {}
        Ok(())
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.read_line()?, 16).map_err(io::Error::other)?;
            body.extend(self.read_exactly(size)?);
            self.read_line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its end; an error when there is none any more.
    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

/// The head of a POST of JSON; `more` are whole header lines.
pub(crate) fn post_head(path: &str, length: usize, more: &str) -> String {
    head("POST", path, length, more)
}

fn head(method: &str, path: &str, length: usize, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{more}\r\n"
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(alias = "sessions", alias = "messages")]
    rows: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// All rows of a list of sessions or messages, page by page, each as its bytes.
pub(crate) fn rows(client: &mut Connection, path: &str, limit: usize) -> io::Result<Vec<String>> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = client.get(&format!("{path}&limit={limit}{cursor}"))?;
        let page = serde_json::from_str(&reply.body);
        let page: Page = page.map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        rows.extend(page.rows.iter().map(|row| row.get().to_owned()));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(rows),
        }
    }
}

/// A token of `ann` that is good for long.
pub(crate) fn token(secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = json!({
        "sub": "ann",
        "iss": "https://www.sidekickportal.com",
        "aud": "orion-core",
        "exp": 250_000_000_000_u64,
    });
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}
