//! SIGKILL under load, again and again on the same file: what was acknowledged is there, once,
//! in order and byte for byte; what was not is there whole or not at all.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Connection, Process, rows, server};

/// Of these, 20 amid work and 5 while it stops.
const KILLS: u64 = 25;
const WRITERS: usize = 4;
/// All writers save to this session too.
const SHARED: &str = "shared";

/// What one writer sent, over all lives of the server.
struct Writer {
    name: String,
    /// In the order in which they were sent, one after the other.
    messages: Vec<Sent>,
    /// Sessions that it created, and most of which it deleted again.
    sessions: Vec<Short>,
}

/// A message that was sent.
struct Sent {
    session: String,
    content: String,
    /// Chosen by the writer of half of them.
    id: Option<String>,
    /// The message as it was acknowledged.
    saved: Option<String>,
}

/// A session with one message.
struct Short {
    id: String,
    created: bool,
    delete_sent: bool,
    deleted: bool,
}

impl Writer {
    fn new(n: usize) -> Self {
        Self { name: format!("writer-{n}"), messages: Vec::new(), sessions: Vec::new() }
    }

    /// Works until the server is gone, and tells of each thing that is acknowledged.
    fn work(&mut self, address: &str, acknowledged: &Sender<()>) -> io::Result<()> {
        let mut client = Connection::open(address)?;
        loop {
            match self.messages.len() % 16 {
                0..6 => self.save(&mut client, SHARED.to_owned())?,
                6..15 => self.save(&mut client, self.name.clone())?,
                _ => self.create_and_delete(&mut client)?,
            }
            acknowledged.send(()).map_err(io::Error::other)?;
        }
    }

    fn save(&mut self, client: &mut Connection, session: String) -> io::Result<()> {
        let n = self.messages.len();
        let content = format!("{}/{n}: {}", self.name, filler(n));
        let id = n.is_multiple_of(2).then(|| format!("{}-{n}", self.name));
        self.messages.push(Sent { session, content, id, saved: None });
        self.messages[n].send(client, &[201])
    }

    /// Sends a session, deletes most, and goes on with a message.
    fn create_and_delete(&mut self, client: &mut Connection) -> io::Result<()> {
        let n = self.sessions.len();
        let id = format!("{}-short-{n}", self.name);
        self.sessions.push(Short {
            id: id.clone(),
            created: false,
            delete_sent: false,
            deleted: false,
        });
        let short = &mut self.sessions[n];
        post(client, "create", &short.creation(), &[201])?;
        short.created = true;
        if !n.is_multiple_of(4) {
            short.delete_sent = true;
            let body = json!({ "userId": "ann", "sessionId": id });
            post(client, "delete", &body, &[200])?;
            short.deleted = true;
        }
        self.save(client, SHARED.to_owned())
    }

    /// Repeats what was sent last and not acknowledged, if it is safe to repeat: it must be
    /// there once then.
    fn repeat_last(&mut self, client: &mut Connection) {
        if let Some(last) = self.messages.last_mut()
            && last.saved.is_none()
            && last.id.is_some()
        {
            last.send(client, &[200, 201]).unwrap();
        }
    }
}

impl Sent {
    fn send(&mut self, client: &mut Connection, statuses: &[u16]) -> io::Result<()> {
        let body = json!({
            "userId": "ann",
            "sessionId": self.session,
            "role": "user",
            "content": self.content,
            "id": self.id,
            "metadata": { "by": "a test", "n": 1.5 },
        });
        self.saved = Some(post(client, "save-message", &body, statuses)?);
        Ok(())
    }
}

/// Sends it, and gives the body of an answer that has one of these statuses. A server that stops
/// has none.
fn post(client: &mut Connection, verb: &str, body: &Value, statuses: &[u16]) -> io::Result<String> {
    let reply = client.post(&format!("/api/sessions/{verb}"), body)?;
    if reply.status == 503 {
        return Err(io::Error::other(reply.body));
    }
    assert!(statuses.contains(&reply.status), "{reply:?}");
    Ok(reply.body)
}

impl Short {
    fn creation(&self) -> Value {
        json!({ "userId": "ann", "sessionId": self.id, "firstMessage": self.id })
    }
}

/// Mostly short, some of many pages.
fn filler(n: usize) -> String {
    "lorem \u{e9}\u{1f600} \"ipsum\"\n".repeat(if n.is_multiple_of(16) { 300 } else { n % 20 })
}

#[derive(Deserialize)]
struct Message {
    content: String,
    timestamp: String,
}

/// Checks one session: what it holds of each writer is what that writer sent, in its order, each
/// once, and nothing is missing but what was not acknowledged.
fn check_messages(client: &mut Connection, session: &str, writers: &[Writer]) -> usize {
    let path = format!("/api/sessions/messages?userId=ann&sessionId={session}");
    let rows = rows(client, &path, 1000).unwrap();
    let messages: Vec<Message> =
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert!(messages.is_sorted_by_key(|message| message.timestamp.clone()));
    let mut stored: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for (row, message) in rows.iter().zip(&messages) {
        let (writer, _) = message.content.split_once('/').unwrap();
        stored.entry(writer).or_default().push((&message.content, row));
    }
    for writer in writers {
        let of_writer = stored.remove(writer.name.as_str()).unwrap_or_default();
        let mut stored = of_writer.into_iter().peekable();
        for sent in writer.messages.iter().filter(|sent| sent.session == session) {
            match (stored.next_if(|(content, _)| *content == sent.content), &sent.saved) {
                (Some((_, row)), Some(saved)) => assert_eq!(row, saved, "other bytes"),
                (None, Some(saved)) => panic!("acknowledged and not there: {saved}"),
                (_, None) => {}
            }
        }
        let strange = stored.next();
        assert_eq!(strange, None, "twice, out of order or never sent");
    }
    assert!(stored.is_empty(), "of nobody: {stored:?}");
    rows.len()
}

/// Checks that every session is listed and counted as it is, and that none is there that was
/// deleted.
fn check_sessions(client: &mut Connection, writers: &[Writer], counts: &HashMap<String, usize>) {
    let listed = rows(client, "/api/sessions/list?userId=ann", 1000).unwrap();
    let mut sessions: HashMap<String, String> = listed
        .into_iter()
        .map(|row| {
            let session: Value = serde_json::from_str(&row).unwrap();
            (session["sessionId"].as_str().unwrap().to_owned(), row)
        })
        .collect();
    for (id, count) in counts {
        let row = sessions.remove(id).unwrap_or_else(|| panic!("{id} is not listed"));
        assert_session(client, id, &row, *count);
    }
    for short in writers.iter().flat_map(|writer| &writer.sessions) {
        if let Some(row) = sessions.remove(&short.id) {
            assert!(!short.deleted, "deleted and listed: {row}");
            assert_session(client, &short.id, &row, 1);
        } else {
            assert!(!short.created || short.delete_sent, "{} is not listed", short.id);
            let path = format!("/api/sessions/{}?userId=ann", short.id);
            client.get(&path).unwrap().expect(404);
        }
    }
    assert!(sessions.is_empty(), "of nobody: {sessions:?}");
}

/// Checks that a session reads as it is listed, and has as many messages as it counts.
fn assert_session(client: &mut Connection, id: &str, row: &str, count: usize) {
    let session = client.get(&format!("/api/sessions/{id}?userId=ann")).unwrap();
    assert_eq!(session.body, row);
    let session = session.expect(200);
    assert_eq!(session["messageCount"], count, "{row}");
    if count == 0 {
        return;
    }
    let path = format!("/api/sessions/messages?userId=ann&sessionId={id}&limit=1&order=desc");
    let newest = client.get(&path).unwrap().expect(200);
    let text = newest["messages"][0]["content"].as_str().unwrap();
    let preview = session["lastMessage"].as_str().unwrap();
    assert!(text.starts_with(preview.trim_end_matches("...")), "{preview} of {text}");
    assert_eq!(session["updatedAt"], newest["messages"][0]["timestamp"]);
}

/// Starts the server, checks everything, and repeats what may be repeated.
fn start_and_check(folder: &Path, writers: &mut [Writer]) -> Process {
    let process = Process::start(server(folder));
    let mut client = process.connect();
    for writer in &mut *writers {
        writer.repeat_last(&mut client);
    }
    let names = writers.iter().map(|writer| writer.name.clone());
    let sessions: Vec<_> = names.chain([SHARED.to_owned()]).collect();
    let counts = sessions.into_iter().map(|session| {
        let count = check_messages(&mut client, &session, writers);
        (session, count)
    });
    let counts = counts.collect();
    check_sessions(&mut client, writers, &counts);
    process
}

/// What the server is killed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Working,
    /// When it was told to stop, and while it puts things in order.
    Stopping,
    /// A little later, when it has closed its door.
    Closing,
}

impl Kill {
    fn finish(self, process: &mut Process) {
        if self != Self::Working {
            process.signal("TERM");
            process.wait_for_line("stopping on SIGTERM");
        }
        while self == Self::Closing && Connection::open(&process.address).is_ok() {
            std::thread::yield_now();
        }
        process.kill();
    }
}

/// Lets everybody work until `enough` was acknowledged, then kills the server.
fn work_and_kill(mut process: Process, writers: &mut [Writer], enough: usize, kill: Kill) {
    let ((acknowledged, told), address) = (channel(), process.address.clone());
    std::thread::scope(|scope| {
        let working = writers.iter_mut().map(|writer| {
            let (acknowledged, address) = (acknowledged.clone(), &address);
            // It ends with an error, as the server does.
            scope.spawn(move || writer.work(address, &acknowledged))
        });
        let working: Vec<_> = working.collect();
        drop(acknowledged);
        let count = told.iter().take(enough).count();
        let log = process.log();
        kill.finish(&mut process);
        let ends: Vec<_> = working.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(count, enough, "the writers gave up: {ends:?}\n{log}");
    });
}

#[test]
fn after_a_crash_everything_acknowledged_is_there_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let process = Process::start(server(folder.path()));
    for session in writers.iter().map(|writer| writer.name.as_str()).chain([SHARED]) {
        let body = json!({ "userId": "ann", "sessionId": session });
        process.connect().post("/api/sessions/create", &body).unwrap().expect(201);
    }
    drop(process);

    for kill in 0..KILLS {
        let process = start_and_check(folder.path(), &mut writers);
        // From at once to some hundreds, in no order; the same in each run.
        let enough = usize::try_from(kill * 7919 % 131).unwrap();
        let how = match kill % 10 {
            4 => Kill::Stopping,
            9 => Kill::Closing,
            _ => Kill::Working,
        };
        work_and_kill(process, &mut writers, enough, how);
    }

    let mut process = start_and_check(folder.path(), &mut writers);
    let saved =
        |writer: &Writer| writer.messages.iter().filter(|sent| sent.saved.is_some()).count();
    assert!(writers.iter().map(saved).sum::<usize>() > 1000);
    // And once more, when what was left of all these lives has been put in order.
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    start_and_check(folder.path(), &mut writers);
}
