//! Random operations, done on the verbs over a real file and on a plain model in memory: each
//! must give the same, byte for byte, also after the file was closed and opened again and when
//! the clock steps back.

mod memory;
mod ops;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orion_chat::model::{Clock, MessageId, MetadataUpdate, Role, Timestamp};
use orion_chat::sessions::{
    self, Draft, NewSession, SessionError, SessionUpdate, SortBy, SortOrder, Written,
};
use orion_chat::store::Store;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tempfile::TempDir;

use memory::{Message, Model, Refusal, Session, text_of};
use ops::{Op, Text, Write, large_op, op};

use crate::support::{self, Listing, content, metadata, session_id, title, user, wait};

/// One is the beginning of another: keys are prefixes of keys.
const USERS: [&str; 3] = ["ann", "ann b", "ann@example.org"];
/// Ids that all users try to have.
const SESSIONS: [&str; 3] = ["s", "s1", "session_1759299395565_p0vtcs0b9f \u{e9}"];
const MESSAGES: [&str; 3] = ["m", "m1", "0198c0de-0000-7000-8000-000000000000"];
const METADATA: [&str; 3] = [r#"{ "b":1.0e2,"a" : "\u00e9" }"#, r#"{"a":{"b":[]}}"#, "{}"];

const START_MICROS: u64 = 1_795_411_937_622_000;
const HOUR: i64 = 3_600_000_000;

struct World {
    store: Store,
    model: Model,
    micros: Arc<AtomicU64>,
    /// Every id that a session ever had.
    ids: Vec<String>,
    path: PathBuf,
    _folder: TempDir,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_time: 8000, // milliseconds: a test that hangs is ended after 30 s
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_does_what_a_model_in_memory_does(ops in vec(op(), 1..60)) {
        let mut world = World::new();

        for op in &ops {
            world.run(op);
        }

        world.reopen();
        world.store.close().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        max_shrink_time: 8000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// So many and so large that they do not fit into one record.
    #[test]
    fn the_store_does_so_with_many_large_sessions_of_one_user(ops in vec(large_op(), 1..60)) {
        let mut world = World::new();

        for op in &ops {
            world.run(op);
        }

        world.reopen();
        world.store.close().unwrap();
    }
}

impl World {
    fn new() -> Self {
        let (folder, path) = support::new_file();
        let micros = Arc::new(AtomicU64::new(START_MICROS));
        let store = support::open_at(&path, clock(&micros)).unwrap();
        let ids = SESSIONS.map(str::to_owned).to_vec();
        let model = Model { now: START_MICROS, ..Model::default() };
        Self { store, model, micros, ids, path, _folder: folder }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(write) => self.write(write),
            Op::List { who, listing, limit } => {
                let listed = support::list(&self.store, USERS[*who], *listing, *limit).unwrap();
                assert_eq!(listed, self.model.list(USERS[*who], *listing));
            }
            Op::ListAround { who, listing, limit, write } => {
                self.list_around(USERS[*who], *listing, *limit, write);
            }
            Op::History { who, session, order, limit } => {
                let id = self.id(*session);
                self.compare_history(USERS[*who], &id, *order, *limit);
            }
            Op::Step(micros) => {
                self.model.now = self.model.now.saturating_add_signed(*micros);
                self.micros.store(self.model.now, Ordering::SeqCst);
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = support::open_at(&self.path, clock(&self.micros)).unwrap();
        self.compare_all();
    }

    /// Does it on both sides, and compares what they say and what its caller sees then.
    fn write(&mut self, write: &Write) {
        match write {
            Write::Create { who, id, title, first } => {
                self.create(USERS[*who], *id, title.as_deref(), first.as_deref());
            }
            Write::Save { who, session, message, id } => {
                let (session, id) = (self.id(*session), id.map(|id| MESSAGES[id]));
                self.save(USERS[*who], &session, id, message);
            }
            Write::Again { who, session, nth, text } => {
                self.save_again(USERS[*who], &self.id(*session), *nth, text.as_deref());
            }
            Write::SaveMany { who, session, count, bytes } => {
                let session = self.id(*session);
                for n in 0..*count {
                    let said = n.to_string().repeat(*bytes);
                    let message = Text { role: Role::Tool, said, metadata: None };
                    self.save(USERS[*who], &session, None, &message);
                }
            }
            Write::Update { who, session, title, metadata } => {
                self.update(USERS[*who], &self.id(*session), title.as_deref(), *metadata);
            }
            Write::Delete { who, session } => self.delete(USERS[*who], &self.id(*session)),
        }
        for caller in USERS {
            self.compare_list(caller, Listing::NEWEST);
        }
    }

    fn create(
        &mut self,
        caller: &'static str,
        id: Option<usize>,
        given: Option<&str>,
        first: Option<&str>,
    ) {
        let new = NewSession {
            id: id.map(|id| session_id(SESSIONS[id])),
            title: given.map(title),
            first_message: first.map(content),
            ..NewSession::default()
        };
        let done = outcome(wait(sessions::create(&self.store, user(caller), new, None)));

        let id = match (id, &done) {
            (Some(id), _) => SESSIONS[id].to_owned(),
            (None, Ok((_, json))) => text_of(json, "sessionId"),
            (None, Err(refusal)) => panic!("refused a minted id: {refusal:?}"),
        };
        if !self.ids.contains(&id) {
            self.ids.push(id.clone());
        }
        let expected = self.model.create(caller, id, given, first);
        assert_eq!(done, expected);
    }

    fn save(&mut self, caller: &'static str, session: &str, id: Option<&str>, message: &Text) {
        let draft = Draft {
            id: id.map(|id| MessageId::parse(id).unwrap()),
            metadata: message.metadata.map(|n| metadata(METADATA[n])),
            ..support::draft(session, message.role, &message.said)
        };
        let done = outcome(wait(sessions::save_message(&self.store, user(caller), draft, None)));

        let minted = done.as_ref().ok().map(|(_, json)| text_of(json, "id"));
        let id = id.map(str::to_owned);
        let expected = self.model.save(caller, session, (id, minted), message);
        assert_eq!(done, expected);
    }

    fn save_again(&mut self, caller: &'static str, session: &str, nth: usize, text: Option<&str>) {
        let stored = self.model.find(caller, session).ok().and_then(|session| {
            let nth = nth % session.messages.len().max(1);
            session.messages.get(nth).cloned()
        });
        let Some(Message { id: Some(id), role, text: stored, .. }) = stored else { return };
        let said = text.map_or(stored, str::to_owned);
        self.save(caller, session, Some(&id), &Text { role, said, metadata: Some(1) });
    }

    fn update(
        &mut self,
        caller: &'static str,
        session: &str,
        new: Option<&str>,
        with: Option<usize>,
    ) {
        let update = SessionUpdate {
            title: new.map(title),
            metadata: with.map(|with| MetadataUpdate::Replace(metadata(METADATA[with]))),
            ..SessionUpdate::default()
        };
        let id = session_id(session);
        let done = wait(sessions::update(&self.store, user(caller), id, update, None));

        let expected = self.model.update(caller, session, new, with);
        assert_eq!(done.map(support::json).map_err(refusal), expected);
    }

    fn delete(&mut self, caller: &'static str, session: &str) {
        let done =
            wait(sessions::delete(&self.store, user(caller), session_id(session), None, None));

        let owned = self.model.find(caller, session).map(|_| ());
        assert_eq!(done.map(|_| ()).map_err(refusal), owned);
        if owned.is_ok() {
            self.model.sessions.retain(|other| other.id != session);
        }
    }

    /// Whoever reads a list while somebody writes misses no session that stays as it is, and sees
    /// none twice.
    fn list_around(&mut self, who: &'static str, listing: Listing, limit: usize, write: &Write) {
        let before = self.model.list(who, listing);
        let first = support::list_page(&self.store, who, listing, limit, None).unwrap();

        self.write(write);

        let (mut seen, mut cursor) = (first.rows(), first.next_cursor);
        while let Some(at) = cursor {
            let page = support::list_page(&self.store, who, listing, limit, Some(at)).unwrap();
            seen.extend(page.rows());
            cursor = page.next_cursor;
        }
        let after = self.model.list(who, listing);
        for unchanged in before.iter().filter(|row| after.contains(row)) {
            let times = seen.iter().filter(|row| *row == unchanged).count();
            assert_eq!(times, 1, "{unchanged} in {seen:?}");
        }
    }

    fn compare_all(&mut self) {
        for caller in USERS {
            for (by, order) in [
                (SortBy::UpdatedAt, SortOrder::Desc),
                (SortBy::UpdatedAt, SortOrder::Asc),
                (SortBy::CreatedAt, SortOrder::Desc),
                (SortBy::CreatedAt, SortOrder::Asc),
            ] {
                self.compare_list(caller, Listing { by, order, ..Listing::NEWEST });
            }
            for id in self.ids.clone() {
                let got = support::get(&self.store, caller, &id).map_err(refusal);
                assert_eq!(got, self.model.find(caller, &id).map(Session::json));
                self.compare_history(caller, &id, SortOrder::Asc, 7);
            }
        }
    }

    #[track_caller]
    fn compare_list(&self, caller: &'static str, listing: Listing) {
        let listed = support::list(&self.store, caller, listing, 2).unwrap();
        assert_eq!(listed, self.model.list(caller, listing));
    }

    fn compare_history(&mut self, caller: &'static str, id: &str, order: SortOrder, limit: usize) {
        let whole = support::history(&self.store, caller, id, order).map_err(refusal);
        let paged = support::history_by_page(&self.store, caller, id, order, limit);
        assert_eq!(paged.map_err(refusal), whole, "in pages as whole");

        self.model.learn_first_id(caller, id, order, &whole);
        assert_eq!(whole, self.model.history(caller, id, order));
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

/// Whether it was done now, and the JSON.
fn outcome(done: Result<Written, SessionError>) -> Result<(bool, String), Refusal> {
    match done {
        Ok(written) => Ok((written.created, support::json(written))),
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: SessionError) -> Refusal {
    match error {
        SessionError::NotFound(_) => Refusal::NotFound,
        SessionError::IdTaken(_) => Refusal::IdTaken,
        SessionError::MessageIdTaken(_) => Refusal::MessageIdTaken,
        other => panic!("{other}"),
    }
}
