//! The files of SQLite and of PocketBase, written without their servers.

use rivals::data::{Session, sessions, user_id};
use rivals::token::{SECRET, pocketbase_key};
use rusqlite::{Connection, params};

/// How many sessions are one transaction.
const BATCH: usize = 10_000;

pub(super) fn fill_sqlite(file: &str, users: u32) {
    let connection = open(file);
    connection.execute_batch(include_str!("../sqlite/schema.sql")).expect("a schema");
    in_batches(&connection, users, |session| {
        let (first, last) = (session.messages().next().expect("one"), session.last_message());
        let (id, count) = (session.id(), last.number + 1);
        let sql = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}', ?7, ?8)";
        let user = user_id(session.user);
        let times = (session.created_ms() as i64, last.created_ms() as i64);
        let (title, first, last) = (session.title(), first.content(), last.content());
        let row = params![id, user, title, first, last, count, times.0, times.1];
        connection.prepare_cached(sql).expect("a statement").execute(row).expect("inserts");
        for message in session.messages() {
            let sql = "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, '{}', ?6)";
            let (number, at) = (message.number + 1, message.created_ms() as i64);
            let row = params![id, number, message.id(), message.role(), message.content(), at];
            connection.prepare_cached(sql).expect("a statement").execute(row).expect("inserts");
        }
    });
}

pub(super) fn fill_pocketbase(file: &str, users: u32) {
    let connection = open(file);
    // So that tokens can be made for 10,000 users without 10,000 logins.
    let sql = "UPDATE _collections SET options = json_set(options, '$.authToken.secret', ?1) \
               WHERE name = 'users'";
    assert_eq!(connection.execute(sql, [SECRET]).expect("a secret"), 1);
    for user in 0..users {
        let id = user_id(user);
        let sql = "INSERT INTO users (id, email, tokenKey, password, verified) \
                   VALUES (?1, ?1 || '@example.org', ?2, 'none', 1)";
        let row = params![id, pocketbase_key(&id)];
        connection.prepare_cached(sql).expect("a statement").execute(row).expect("inserts");
    }
    in_batches(&connection, users, |session| {
        let (first, last) = (session.messages().next().expect("one"), session.last_message());
        let (id, user, count) = (session.id(), user_id(session.user), last.number + 1);
        let sql = "INSERT INTO sessions (id, user, title, firstMessage, lastMessage, messageCount, \
                   metadata, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}', ?7, ?8)";
        let times = (time(session.created_ms()), time(last.created_ms()));
        let (title, first, last) = (session.title(), first.content(), last.content());
        let row = params![id, user, title, first, last, count, times.0, times.1];
        connection.prepare_cached(sql).expect("a statement").execute(row).expect("inserts");
        for message in session.messages() {
            let sql = "INSERT INTO messages (id, session, user, role, content, metadata, created) \
                       VALUES (?1, ?2, ?3, ?4, ?5, '{}', ?6)";
            let at = time(message.created_ms());
            let row = params![message.id(), id, user, message.role(), message.content(), at];
            connection.prepare_cached(sql).expect("a statement").execute(row).expect("inserts");
        }
    });
}

fn open(file: &str) -> Connection {
    let connection = Connection::open(file).expect("opens");
    // Nothing is lost if this is cut short: it begins anew.
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-500000")
        .expect("settings");
    connection
}

fn in_batches(connection: &Connection, users: u32, each: impl Fn(Session)) {
    connection.execute_batch("BEGIN").expect("begins");
    for (n, session) in sessions(users).enumerate() {
        if n % BATCH == BATCH - 1 {
            connection.execute_batch("COMMIT; BEGIN").expect("commits");
        }
        each(session);
    }
    connection.execute_batch("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").expect("ends");
}

/// As PocketBase writes times.
fn time(millis: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis as i64).expect("a time");
    format!("{time:.3}").replace('T', " ")
}
