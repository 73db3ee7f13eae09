//! Random operations, done on the verbs over a real file and on a plain model in memory: each
//! must give the same, byte for byte, also after the file was closed and opened again and when
//! the clock steps back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orion_chat::model::{Clock, MessageId, Role, Timestamp};
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

use crate::support::{self, Listing, content, metadata, session_id, title, user, wait};

/// One is the beginning of another: keys are prefixes of keys.
const USERS: [&str; 3] = ["ann", "ann b", "ann@example.org"];
/// Ids that all users try to have.
const SESSIONS: [&str; 3] = ["s", "s1", "session_1759299395565_p0vtcs0b9f \u{e9}"];
const MESSAGES: [&str; 3] = ["m", "m1", "0198c0de-0000-7000-8000-000000000000"];
const METADATA: [&str; 3] = [r#"{ "b":1.0e2,"a" : "\u00e9" }"#, r#"{"a":{"b":[]}}"#, "{}"];

const START_MICROS: u64 = 1_795_411_937_622_000;
const HOUR: i64 = 3_600_000_000;

#[derive(Debug, Clone)]
enum Op {
    Write(Write),
    List {
        who: usize,
        listing: Listing,
        limit: usize,
    },
    /// A list that is read while somebody writes.
    ListAround {
        who: usize,
        listing: Listing,
        limit: usize,
        write: Write,
    },
    History {
        who: usize,
        session: usize,
        order: SortOrder,
        limit: usize,
    },
    /// Sets the clock forward or back, in microseconds.
    Step(i64),
    Reopen,
}

#[derive(Debug, Clone)]
enum Write {
    Create {
        who: usize,
        id: Option<usize>,
        title: Option<String>,
        first: Option<String>,
    },
    Save {
        who: usize,
        session: usize,
        message: Text,
        id: Option<usize>,
    },
    /// Saves again what is stored, or something else under its id.
    Again {
        who: usize,
        session: usize,
        nth: usize,
        text: Option<String>,
    },
    SaveMany {
        who: usize,
        session: usize,
        count: usize,
        bytes: usize,
    },
    Update {
        who: usize,
        session: usize,
        title: Option<String>,
        metadata: Option<usize>,
    },
    Delete {
        who: usize,
        session: usize,
    },
}

#[derive(Debug, Clone)]
struct Text {
    role: Role,
    said: String,
    metadata: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NotFound,
    IdTaken,
    MessageIdTaken,
}

#[derive(Debug, Default)]
struct Model {
    /// What its clock shows.
    now: u64,
    /// In the order in which they were created.
    sessions: Vec<Session>,
}

#[derive(Debug, Clone)]
struct Session {
    id: String,
    owner: &'static str,
    title: String,
    metadata: &'static str,
    created: u64,
    updated: u64,
    messages: Vec<Message>,
}

#[derive(Debug, Clone)]
struct Message {
    /// Not known of the first message that came with its session, until it is read.
    id: Option<String>,
    role: Role,
    text: String,
    at: u64,
    metadata: &'static str,
}

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

fn large_op() -> impl Strategy<Value = Op> {
    let session = || 0_usize..40;
    let large = || (1500_usize..2500).prop_map(|chars| "\u{e9}".repeat(chars));
    let created = large().prop_map(|first| Write::Create {
        who: 0,
        id: None,
        title: None,
        first: Some(first),
    });
    let saved = (session(), large()).prop_map(|(session, said)| Write::Save {
        who: 0,
        session,
        message: Text { role: Role::User, said, metadata: None },
        id: None,
    });
    let updated = session().prop_map(|session| Write::Update {
        who: 0,
        session,
        title: Some("renamed".to_owned()),
        metadata: None,
    });
    let deleted = session().prop_map(|session| Write::Delete { who: 0, session });
    let listed =
        (listing(), 1_usize..9).prop_map(|(listing, limit)| Op::List { who: 0, listing, limit });
    let steps = select(vec![1, 1_000_000, -1, -1_000_000, HOUR, -HOUR]);
    prop_oneof![
        6 => created.prop_map(Op::Write),
        4 => saved.prop_map(Op::Write),
        1 => updated.prop_map(Op::Write),
        1 => deleted.prop_map(Op::Write),
        2 => listed,
        4 => steps.prop_map(Op::Step),
        1 => Just(Op::Reopen),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let listed = || (who(), listing(), 1_usize..6);
    let around = (listed(), write());
    let history = (who(), 0_usize..9, order(), 1_usize..9);
    let steps = select(vec![1, 999, 1_000_000, HOUR, 0, -1, -1_000, -HOUR, -90_000 * HOUR]);
    prop_oneof![
        12 => write().prop_map(Op::Write),
        3 => listed().prop_map(|(who, listing, limit)| Op::List { who, listing, limit }),
        2 => around.prop_map(|((who, listing, limit), write)| {
            Op::ListAround { who, listing, limit, write }
        }),
        3 => history.prop_map(|(who, session, order, limit)| {
            Op::History { who, session, order, limit }
        }),
        2 => steps.prop_map(Op::Step),
        2 => Just(Op::Reopen),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let target = || (who(), 0_usize..9);
    let message = (select(vec![Role::User, Role::Assistant, Role::System, Role::Tool]), text());
    let message = (message, option::of(0..METADATA.len()));
    let message = message.prop_map(|((role, said), metadata)| Text { role, said, metadata });
    let titles = || option::weighted(0.3, "[a-z\"\\\\\u{e9}]{1,20}");
    let created = (who(), option::weighted(0.5, 0..SESSIONS.len()), titles());
    let updated = (titles(), option::of(0..METADATA.len()));
    let same = option::weighted(0.4, text());
    prop_oneof![
        5 => (created, option::of(text())).prop_map(|((who, id, title), first)| {
            Write::Create { who, id, title, first }
        }),
        5 => (target(), message, option::weighted(0.4, 0..MESSAGES.len())).prop_map(
            |((who, session), message, id)| Write::Save { who, session, message, id }
        ),
        2 => (target(), 0_usize..9, same).prop_map(|((who, session), nth, text)| {
            Write::Again { who, session, nth, text }
        }),
        2 => (target(), 1_usize..12, 1_usize..9000).prop_map(
            |((who, session), count, bytes)| Write::SaveMany { who, session, count, bytes }
        ),
        2 => (target(), updated).prop_map(|((who, session), (title, metadata))| {
            Write::Update { who, session, title, metadata }
        }),
        2 => target().prop_map(|(who, session)| Write::Delete { who, session }),
    ]
}

/// Never blank, as a blank first message is none.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z \n\t\"\\\\/<\u{1}\u{7f}\u{e9}\u{2028}\u{1f600}]{0,70}\\.",
        3 => (1990_usize..2010).prop_map(|chars| "\u{e9}".repeat(chars)),
        1 => (1_usize..80_000).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

/// Mostly the same user, so that somebody has many sessions.
fn who() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)]
}

fn order() -> impl Strategy<Value = SortOrder> {
    select(vec![SortOrder::Desc, SortOrder::Asc])
}

fn listing() -> impl Strategy<Value = Listing> {
    let by = select(vec![SortBy::UpdatedAt, SortBy::CreatedAt]);
    let bound = || {
        let near = (-1_i64..2).prop_map(|micros| START_MICROS.saturating_add_signed(micros));
        option::weighted(0.2, near.prop_map(Timestamp::from_micros))
    };
    (by, order(), bound(), bound()).prop_map(|(by, order, from, to)| Listing {
        by,
        order,
        from,
        to,
    })
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
            metadata: None,
        };
        let done = outcome(wait(sessions::create(&self.store, user(caller), new)));

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
            session_id: session_id(session),
            id: id.map(|id| MessageId::parse(id).unwrap()),
            role: message.role,
            content: content(&message.said),
            metadata: message.metadata.map(|n| metadata(METADATA[n])),
        };
        let done = outcome(wait(sessions::save_message(&self.store, user(caller), draft)));

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
            metadata: with.map(|with| metadata(METADATA[with])),
        };
        let id = session_id(session);
        let done = wait(sessions::update(&self.store, user(caller), id, update));

        let expected = self.model.update(caller, session, new, with);
        assert_eq!(done.map(string).map_err(refusal), expected);
    }

    fn delete(&mut self, caller: &'static str, session: &str) {
        let done = wait(sessions::delete(&self.store, user(caller), session_id(session)));

        let owned = self.model.find(caller, session).map(|_| ());
        assert_eq!(done.map_err(refusal), owned);
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

impl Model {
    fn find(&self, caller: &str, id: &str) -> Result<&Session, Refusal> {
        let mut sessions = self.sessions.iter();
        let found = sessions.find(|session| session.id == id && session.owner == caller);
        found.ok_or(Refusal::NotFound)
    }

    fn find_mut(&mut self, caller: &str, id: &str) -> Result<&mut Session, Refusal> {
        let mut sessions = self.sessions.iter_mut();
        let found = sessions.find(|session| session.id == id && session.owner == caller);
        found.ok_or(Refusal::NotFound)
    }

    fn create(
        &mut self,
        owner: &'static str,
        id: String,
        title: Option<&str>,
        first: Option<&str>,
    ) -> Result<(bool, String), Refusal> {
        if let Some(there) = self.sessions.iter().find(|session| session.id == id) {
            let is_own = there.owner == owner;
            return if is_own { Ok((false, there.json())) } else { Err(Refusal::IdTaken) };
        }
        let derived = first.map_or("New Chat".to_owned(), |text| cut(text.trim(), 50));
        let title = title.map_or(derived, str::to_owned);
        let messages = first.map(|text| {
            let (role, text) = (Role::User, text.to_owned());
            Message { id: None, role, text, at: self.now, metadata: "{}" }
        });
        let session = Session {
            id,
            owner,
            title,
            metadata: "{}",
            created: self.now,
            updated: self.now,
            messages: messages.into_iter().collect(),
        };
        let json = session.json();
        self.sessions.push(session);
        Ok((true, json))
    }

    /// `ids` are the one that the caller chose, and the one that the message got.
    fn save(
        &mut self,
        caller: &str,
        session: &str,
        ids: (Option<String>, Option<String>),
        new: &Text,
    ) -> Result<(bool, String), Refusal> {
        let now = self.now;
        let session = self.find_mut(caller, session)?;
        let (chosen, got) = ids;
        let mut stored = session.messages.iter();
        if let Some(stored) = stored.find(|stored| chosen.is_some() && stored.id == chosen) {
            let says_the_same = stored.role == new.role && stored.text == new.said;
            let again = Ok((false, stored.json(&session.id)));
            return if says_the_same { again } else { Err(Refusal::MessageIdTaken) };
        }
        let at = now.max(session.updated + 1);
        let message = Message {
            id: chosen.or(got),
            role: new.role,
            text: new.said.clone(),
            at,
            metadata: new.metadata.map_or("{}", |n| METADATA[n]),
        };
        let json = message.json(&session.id);
        session.updated = at;
        session.messages.push(message);
        Ok((true, json))
    }

    fn update(
        &mut self,
        caller: &str,
        session: &str,
        title: Option<&str>,
        metadata: Option<usize>,
    ) -> Result<String, Refusal> {
        let now = self.now;
        let session = self.find_mut(caller, session)?;
        if let Some(title) = title {
            title.clone_into(&mut session.title);
        }
        if let Some(metadata) = metadata {
            session.metadata = METADATA[metadata];
        }
        if title.is_some() || metadata.is_some() {
            session.updated = now.max(session.updated + 1);
        }
        Ok(session.json())
    }

    fn list(&self, caller: &str, listing: Listing) -> Vec<String> {
        let is_within = |session: &&Session| {
            let created = Timestamp::from_micros(session.created);
            session.owner == caller
                && listing.from.is_none_or(|from| from <= created)
                && listing.to.is_none_or(|to| created <= to)
        };
        let mut sessions: Vec<_> = self.sessions.iter().filter(is_within).collect();
        // Stable: those of the same time stay in the order in which they were created.
        sessions.sort_by_key(|session| match listing.by {
            SortBy::UpdatedAt => session.updated,
            SortBy::CreatedAt => session.created,
        });
        if listing.order == SortOrder::Desc {
            sessions.reverse();
        }
        sessions.into_iter().map(Session::json).collect()
    }

    fn history(
        &self,
        caller: &str,
        session: &str,
        order: SortOrder,
    ) -> Result<Vec<String>, Refusal> {
        let session = self.find(caller, session)?;
        let mut rows: Vec<_> =
            session.messages.iter().map(|message| message.json(&session.id)).collect();
        if order == SortOrder::Desc {
            rows.reverse();
        }
        Ok(rows)
    }

    /// The message that came with its session has an id that only a history tells.
    fn learn_first_id(
        &mut self,
        caller: &str,
        id: &str,
        order: SortOrder,
        rows: &Result<Vec<String>, Refusal>,
    ) {
        let (Ok(session), Ok(rows)) = (self.find_mut(caller, id), rows) else { return };
        let row = if order == SortOrder::Asc { rows.first() } else { rows.last() };
        let (Some(first), Some(row)) = (session.messages.first_mut(), row) else { return };
        if first.id.is_none() {
            first.id = Some(text_of(row, "id"));
        }
    }
}

impl Session {
    fn json(&self) -> String {
        let preview = |message: Option<&Message>| {
            message.map_or("null".to_owned(), |message| quoted(&cut(&message.text, 2000)))
        };
        format!(
            r#"{{"sessionId":{},"userId":{},"title":{},"firstMessage":{},"lastMessage":{},"messageCount":{},"createdAt":{},"updatedAt":{},"metadata":{}}}"#,
            quoted(&self.id),
            quoted(self.owner),
            quoted(&self.title),
            preview(self.messages.first()),
            preview(self.messages.last()),
            self.messages.len(),
            shown(self.created),
            shown(self.updated),
            self.metadata,
        )
    }
}

impl Message {
    fn json(&self, session: &str) -> String {
        format!(
            r#"{{"id":{},"sessionId":{},"role":"{}","content":{},"timestamp":{},"metadata":{}}}"#,
            quoted(self.id.as_deref().unwrap_or_default()),
            quoted(session),
            format!("{:?}", self.role).to_lowercase(),
            quoted(&self.text),
            shown(self.at),
            self.metadata,
        )
    }
}

fn clock(micros: &Arc<AtomicU64>) -> Clock {
    let micros = Arc::clone(micros);
    Clock::new(move || Timestamp::from_micros(micros.load(Ordering::SeqCst)))
}

/// Whether it was done now, and the JSON.
fn outcome(done: Result<Written, SessionError>) -> Result<(bool, String), Refusal> {
    match done {
        Ok(Written::New(json)) => Ok((true, string(json))),
        Ok(Written::Already(json)) => Ok((false, string(json))),
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: SessionError) -> Refusal {
    match error {
        SessionError::NotFound(_) => Refusal::NotFound,
        SessionError::IdTaken(_) => Refusal::IdTaken,
        SessionError::MessageIdTaken(_) => Refusal::MessageIdTaken,
        SessionError::Cursor(_) | SessionError::Store(_) => panic!("{error}"),
    }
}

fn string(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}

fn text_of(json: &str, member: &str) -> String {
    let json: Value = serde_json::from_str(json).unwrap();
    json[member].as_str().unwrap().to_owned()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn shown(micros: u64) -> String {
    format!("\"{}\"", Timestamp::from_micros(micros))
}

fn cut(text: &str, chars: usize) -> String {
    let cut: String = text.chars().take(chars).collect();
    if cut.len() < text.len() { cut + "..." } else { cut }
}
