//! Lists and histories, written as JSON row by row.

use std::cell::RefCell;

use rusqlite::{Connection, OpenFlags, Row};

thread_local! {
    /// Each thread that serves has its own.
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

const LIST: &str = "SELECT id, user, title, first_message, last_message, message_count, metadata, \
                    created, updated FROM sessions WHERE user = ?1 ORDER BY updated DESC LIMIT 100";
const OWNER: &str = "SELECT 1 FROM sessions WHERE id = ?1 AND user = ?2";
const HISTORY: &str = "SELECT id, session, role, content, metadata, created FROM messages \
                       WHERE session = ?1 ORDER BY number";

pub(super) fn list(file: &str, user: &str) -> String {
    with(file, |connection| {
        let mut statement = connection.prepare_cached(LIST).expect("a statement");
        let mut rows = statement.query([user]).expect("rows");
        let (mut out, mut count) = (String::from("{\"sessions\":["), 0);
        while let Some(row) = rows.next().expect("a row") {
            let names = ["sessionId", "userId", "title", "firstMessage", "lastMessage"];
            object(&mut out, row, count, &names);
            let number: i64 = row.get(5).expect("a number");
            out.push_str(&format!(",\"messageCount\":{number},\"metadata\":"));
            out.push_str(text(row, 6));
            time(&mut out, "createdAt", row, 7);
            time(&mut out, "updatedAt", row, 8);
            out.push('}');
            count += 1;
        }
        out + &format!("],\"count\":{count}}}")
    })
}

/// Nothing if that is no session of the user's.
pub(super) fn history(file: &str, user: &str, session: &str) -> Option<String> {
    with(file, |connection| {
        let mut owner = connection.prepare_cached(OWNER).expect("a statement");
        if !owner.exists([session, user]).expect("an answer") {
            return None;
        }
        let mut statement = connection.prepare_cached(HISTORY).expect("a statement");
        let mut rows = statement.query([session]).expect("rows");
        let (mut out, mut count) = (String::from("{\"messages\":["), 0);
        while let Some(row) = rows.next().expect("a row") {
            object(&mut out, row, count, &["id", "sessionId", "role", "content"]);
            out.push_str(",\"metadata\":");
            out.push_str(text(row, 4));
            time(&mut out, "timestamp", row, 5);
            out.push('}');
            count += 1;
        }
        Some(out + &format!("],\"count\":{count}}}"))
    })
}

fn with<T>(file: &str, work: impl FnOnce(&Connection) -> T) -> T {
    CONNECTION.with_borrow_mut(|connection| {
        let connection = connection.get_or_insert_with(|| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(file, flags).expect("opens");
            connection
                .execute_batch("PRAGMA mmap_size=30000000000; PRAGMA cache_size=-32000;")
                .expect("settings");
            connection
        });
        work(connection)
    })
}

/// The beginning of an object, with the first columns as its first members.
fn object(out: &mut String, row: &Row<'_>, count: u32, names: &[&str]) {
    out.push_str(if count == 0 { "{" } else { ",{" });
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(&format!("\"{name}\":"));
        string(out, text(row, n));
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> &'a str {
    row.get_ref(column).expect("a column").as_str().expect("a text")
}

pub(super) fn string(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("JSON"));
}

fn time(out: &mut String, name: &str, row: &Row<'_>, column: usize) {
    let millis: i64 = row.get(column).expect("a time");
    out.push_str(&format!(",\"{name}\":\"{}\"", rfc3339(millis)));
}

pub(super) fn rfc3339(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).expect("a time");
    format!("{time:.3}")
}
