//! The one thread that writes: whatever waits is one transaction, synced once, and then answered.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::read::{rfc3339, string};

/// How many writes share a sync at most.
const BATCH: usize = 1024;

const COUNT: &str = "UPDATE sessions SET message_count = message_count + 1, last_message = ?3, \
                     updated = ?4 WHERE id = ?1 AND user = ?2 RETURNING message_count";
const INSERT: &str = "INSERT INTO messages (session, number, id, role, content, metadata, created) \
                      VALUES (?1, ?2, ?3, ?4, ?5, '{}', ?6)";

pub(super) struct Save {
    pub(super) user: String,
    pub(super) session_id: String,
    pub(super) role: String,
    pub(super) content: String,
    pub(super) now_ms: u64,
}

type Job = (Save, oneshot::Sender<Option<String>>);

pub(super) struct Writer(SyncSender<Job>);

impl Writer {
    pub(super) fn start(file: &str) -> Self {
        let connection = Connection::open(file).expect("opens");
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-64000;
                 PRAGMA wal_autocheckpoint=10000;",
            )
            .expect("settings");
        let (jobs, waiting) = sync_channel(8 * BATCH);
        std::thread::spawn(move || run(&connection, &waiting));
        Self(jobs)
    }

    /// The message as it is stored, on disk; nothing if that is no session of the user's.
    pub(super) async fn save(&self, save: Save) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.0.send((save, answer)).expect("the writer lives");
        answered.await.expect("an answer")
    }
}

fn run(connection: &Connection, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let batch = std::iter::once(first).chain(waiting.try_iter()).take(BATCH);
        let done: Vec<_> = batch.map(|(save, answer)| (apply(connection, &save), answer)).collect();
        connection.execute_batch("COMMIT").expect("commits");
        for (body, answer) in done {
            let _gone = answer.send(body);
        }
    }
}

fn apply(connection: &Connection, save: &Save) -> Option<String> {
    let Save { user, session_id, role, content, now_ms } = save;
    let mut count = connection.prepare_cached(COUNT).expect("a statement");
    let number: i64 = count
        .query_row(params![session_id, user, content, *now_ms as i64], |row| row.get(0))
        .optional()
        .expect("an answer")?;
    let id = Uuid::now_v7().to_string();
    let mut insert = connection.prepare_cached(INSERT).expect("a statement");
    insert
        .execute(params![session_id, number, id, role, content, *now_ms as i64])
        .expect("inserts");
    let mut out = format!("{{\"id\":\"{id}\"");
    for (name, value) in [("sessionId", session_id), ("role", role), ("content", content)] {
        out.push_str(&format!(",\"{name}\":"));
        string(&mut out, value);
    }
    Some(out + &format!(",\"timestamp\":\"{}\",\"metadata\":{{}}}}", rfc3339(*now_ms as i64)))
}
