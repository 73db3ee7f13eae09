//! Random operations, done on the verbs over a real file and on a plain model in memory: each
//! must give the same, byte for byte, also after the file was closed and opened again and when
//! the clock steps back.

mod draw;
mod memory;
mod messages;
mod ops;
mod reads;
mod rows;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orion_chat::model::{Clock, Role, Timestamp};
use orion_chat::store::{Snapshot, Store, Stored};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use draw::{large_op, op};
use memory::Model;
use ops::{Op, Text, Write};

use crate::support::{self, Listing};

/// One is the beginning of another: keys are prefixes of keys.
const USERS: [&str; 3] = ["ann", "ann b", "ann@example.org"];
/// Ids that all users try to have.
const SESSIONS: [&str; 3] = ["s", "s1", "session_1759299395565_p0vtcs0b9f \u{e9}"];
const MESSAGES: [&str; 3] = ["m", "m1", "0198c0de-0000-7000-8000-000000000000"];
const METADATA: [&str; 3] = [r#"{ "b":1.0e2,"a" : "\u00e9" }"#, r#"{"a":{"b":[]}}"#, "{}"];
const TAGS: [&str; 3] = ["x", "x \"y", "\u{e9}"];

const START_MICROS: u64 = 1_795_411_937_622_000;
const HOUR: i64 = 3_600_000_000;

struct World {
    store: Store,
    model: Model,
    micros: Arc<AtomicU64>,
    /// Every id that a session ever had.
    ids: Vec<String>,
    /// Ids of messages that were deleted.
    gone: Vec<String>,
    path: PathBuf,
    _folder: TempDir,
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_time: 8000, // milliseconds: a test that hangs is ended after 30 s
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn the_store_does_what_a_model_in_memory_does(ops in vec(op(), 1..60)) {
        World::new().live_through(&ops);
    }
}

proptest! {
    #![proptest_config(config(16))]

    /// So many and so large that they do not fit into one record.
    #[test]
    fn the_store_does_so_with_many_large_sessions_of_one_user(ops in vec(large_op(), 1..60)) {
        World::new().live_through(&ops);
    }
}

impl World {
    fn new() -> Self {
        let (folder, path) = support::new_file();
        let micros = Arc::new(AtomicU64::new(START_MICROS));
        let store = support::open_at(&path, clock(&micros)).unwrap();
        let ids = SESSIONS.map(str::to_owned).to_vec();
        let mut model = Model::default();
        model.set_clock(START_MICROS);
        Self { store, model, micros, ids, gone: Vec::new(), path, _folder: folder }
    }

    fn live_through(&mut self, ops: &[Op]) {
        for op in ops {
            self.run(op);
        }
        self.reopen();
        self.store.close().unwrap();
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(write) => self.write(write),
            Op::List { who, listing, limit } => self.compare_list(USERS[*who], *listing, *limit),
            Op::ListAround { who, listing, limit, write } => {
                self.list_around(USERS[*who], *listing, *limit, write);
            }
            Op::History { who, session, order, limit } => {
                let id = self.id(*session);
                self.compare_history(USERS[*who], &id, *order, *limit);
            }
            Op::Step(micros) => {
                let now = self.model.now().saturating_add_signed(*micros);
                self.model.set_clock(now);
                self.micros.store(now, Ordering::SeqCst);
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        assert_eq!(support::problems(&self.store.snapshot()), [""; 0], "while it is served");
        self.store.close().unwrap();
        let closed = Snapshot::open(&self.path).unwrap();
        assert_eq!(support::problems(&closed), [""; 0], "when it is closed");
        drop(closed);
        self.store = support::open_at(&self.path, clock(&self.micros)).unwrap();
        self.compare_all();
        self.compare_stored();
    }

    /// What is counted along the way is what is there.
    fn compare_stored(&self) {
        let sessions = self.model.sessions.len() as u64;
        let messages = self.model.sessions.iter().map(|session| session.messages.len() as u64);
        assert_eq!(self.store.stored(), Stored { sessions, messages: messages.sum() });
    }

    /// Does it on both sides, and compares what they say and what its caller sees then.
    fn write(&mut self, write: &Write) {
        self.write_once(write, None);
        self.compare_stored();
        for caller in USERS {
            self.compare_list(caller, Listing::NEWEST, 2);
        }
    }

    fn write_once(&mut self, write: &Write, once: Option<(usize, u8)>) {
        match write {
            Write::Create { who, id, title, first } => {
                let said = (title.as_deref(), first.as_deref());
                self.create(USERS[*who], *id, said, once);
            }
            Write::Save { who, session, message, id } => {
                let session = self.id(*session);
                let id = id.and_then(|pick| self.message(USERS[*who], &session, pick));
                self.save(USERS[*who], (&session, id.as_deref()), message, once);
            }
            Write::Again { who, session, nth, text } => {
                self.save_again(USERS[*who], &self.id(*session), *nth, text.as_deref());
            }
            Write::SaveMany { who, session, count, bytes } => {
                let session = self.id(*session);
                for n in 0..*count {
                    let said = n.to_string().repeat(*bytes);
                    let message = Text { role: Role::Tool, said, metadata: None };
                    self.save(USERS[*who], (&session, None), &message, None);
                }
            }
            Write::Update { who, session, change } => {
                self.update(USERS[*who], &self.id(*session), change, once);
            }
            Write::Delete { who, session } => self.delete(USERS[*who], &self.id(*session), once),
            Write::Edit { who, session, message, said, metadata } => {
                let session = self.id(*session);
                let edit = (said.as_deref(), *metadata);
                if let Some(id) = self.message(USERS[*who], &session, *message) {
                    self.edit_message(USERS[*who], &session, &id, edit);
                }
            }
            Write::DeleteMessage { who, session, message } => {
                let session = self.id(*session);
                if let Some(id) = self.message(USERS[*who], &session, *message) {
                    self.delete_message(USERS[*who], &session, &id);
                }
            }
            Write::Once { key, print, write } => self.write_once(write, Some((*key, *print))),
        }
    }

    /// The `n`th of the ids that sessions have or had.
    fn id(&self, n: usize) -> String {
        self.ids[n % self.ids.len()].clone()
    }
}

fn clock(micros: &Arc<AtomicU64>) -> Clock {
    let micros = Arc::clone(micros);
    Clock::new(move || Timestamp::from_micros(micros.load(Ordering::SeqCst)))
}
