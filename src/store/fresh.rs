//! What is on disk in the journal alone: kept in memory too, until the tables show it.
//!
//! A commit that had to put each row where it belongs would rewrite a dozen pages all over the
//! file for every message. So it appends to the journal, and what it did is kept here; the writer
//! moves it into the tables later, one user at a time in the order of keys, where neighbours
//! share their pages. What is here hides what the tables have. After a crash it is read from the
//! journal again.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};

use super::step::{Answer, FreshSession, Step};
use super::tables::Place;
use super::usage::Tally;

/// What a row costs beside its text, in bytes: its struct, and entries in the maps below.
const ROW_OVERHEAD: usize = 300;

/// What a user costs beside rows: maps with hardly anything in them.
const USER_OVERHEAD: usize = 800;

/// How much of one user is settled in some milliseconds, which others wait for.
const LARGE_BYTES: usize = 128 * 1024;

/// What became of a session.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// This is its row.
    Row(Arc<FreshSession>),
    /// It was deleted.
    Gone { id: SessionId, created_at: Timestamp },
}

/// Whose a session is, or was when it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is this user's, and has this number.
    Live(UserId, u64),
    /// It was this user's.
    Gone(UserId),
}

/// One user's part.
#[derive(Debug, Default)]
pub(super) struct FreshUser {
    /// By number.
    sessions: HashMap<u64, Fate>,
    /// `None` where one was deleted.
    messages: BTreeMap<(u64, Timestamp), Option<Arc<[u8]>>>,
    /// `None` where the message was deleted.
    message_ids: HashMap<(u64, MessageId), Option<Timestamp>>,
    answers: HashMap<IdempotencyKey, Arc<Answer>>,
    usage: Tally,
    bytes: usize,
}

/// Everything that the tables do not show yet.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    users: HashMap<UserId, FreshUser>,
    owners: HashMap<SessionId, Owner>,
    /// `None` where one was struck out.
    notes: BTreeMap<Arc<[u8]>, Option<Arc<[u8]>>>,
    /// Those who have more than [`LARGE_BYTES`] here, or had.
    large: Vec<UserId>,
    bytes: usize,
}

impl Fresh {
    /// Roughly how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everybody who has something here, in the order of keys.
    pub(super) fn users_sorted(&self) -> Vec<UserId> {
        let mut users: Vec<_> = self.users.keys().cloned().collect();
        users.sort_unstable();
        users
    }

    pub(super) fn user(&self, user: &UserId) -> Option<&FreshUser> {
        self.users.get(user)
    }

    /// Those who have more here than is settled in some milliseconds.
    pub(super) fn large(&self) -> impl Iterator<Item = &UserId> {
        self.large.iter()
    }

    /// Whose the session of that id is; `None` if the tables know.
    pub(super) fn owner(&self, id: &SessionId) -> Option<&Owner> {
        self.owners.get(id)
    }

    /// Who owns, or owned, each session that is here.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&SessionId, &Owner)> {
        self.owners.iter()
    }

    /// What is noted under `key`; `None` if the tables know.
    pub(super) fn note(&self, key: &[u8]) -> Option<&Option<Arc<[u8]>>> {
        self.notes.get(key)
    }

    /// What is noted under `key` and behind it, in the order of keys.
    pub(super) fn notes_from<'a>(
        &'a self,
        key: &[u8],
    ) -> impl Iterator<Item = (&'a Arc<[u8]>, Option<&'a Arc<[u8]>>)> {
        let notes = self.notes.range::<[u8], _>((Bound::Included(key), Bound::Unbounded));
        notes.map(|(key, value)| (key, value.as_ref()))
    }

    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Forgets all notes, which the tables show now.
    pub(super) fn forget_notes(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        self.bytes -=
            notes.iter().map(|(key, value)| note_bytes(key, value.as_ref())).sum::<usize>();
    }

    fn put_note(&mut self, key: Arc<[u8]>, value: Option<Arc<[u8]>>) {
        self.bytes += note_bytes(&key, value.as_ref());
        if let Some(old) = self.notes.insert(Arc::clone(&key), value) {
            self.bytes -= note_bytes(&key, old.as_ref());
        }
    }

    pub(super) fn apply(&mut self, step: Step) {
        if let Step::PutNote { key, value } = step {
            return self.put_note(key, value);
        }
        let Some(user_id) = step.user_id().cloned() else {
            return;
        };
        let user = self.users.entry(user_id.clone()).or_insert_with(|| {
            self.bytes += USER_OVERHEAD;
            FreshUser { bytes: USER_OVERHEAD, ..FreshUser::default() }
        });
        let had = user.bytes;
        match &step {
            Step::PutUsage { usage, .. } => user.usage = Tally::Known(*usage),
            Step::PutAnswer { .. } => {}
            _ => user.usage = Tally::Unknown,
        }
        match step {
            Step::PutSession { session, .. } => {
                let owner = Owner::Live(session.user_id.clone(), session.number);
                self.owners.insert(session.id.clone(), owner);
                user.put_session(session);
            }
            Step::DeleteSession { user_id, id, number, created_at, .. } => {
                self.owners.insert(id.clone(), Owner::Gone(user_id));
                user.delete_session(id, number, created_at);
            }
            Step::PutMessage { number, at, chosen, json, .. } => {
                user.put_message(number, at, Some(json));
                if let Some(id) = chosen {
                    user.put_message_id(number, id, Some(at));
                }
            }
            Step::EditMessage { number, place, json, .. } => {
                user.put_message(number, place, Some(json));
            }
            Step::DeleteMessage { number, place, id, is_chosen, .. } => {
                user.put_message(number, place, None);
                if is_chosen {
                    user.put_message_id(number, id, None);
                }
            }
            Step::PutAnswer { key, answer, .. } => user.put_answer(key, answer),
            Step::PutNote { .. } | Step::Mirrored { .. } | Step::PutUsage { .. } => {}
        }
        self.bytes = self.bytes + user.bytes - had;
        if had <= LARGE_BYTES && user.bytes > LARGE_BYTES {
            self.large.push(user_id);
        }
    }

    /// Forgets what `user` has here, which the tables show now. What another has made since of an
    /// id that was this user's stays: after a crash, both may be read from the log.
    pub(super) fn forget(&mut self, user: &UserId) {
        let Some(gone) = self.users.remove(user) else {
            return;
        };
        self.bytes -= gone.bytes;
        self.large.retain(|large| large != user);
        for (number, fate) in &gone.sessions {
            let is_this_one = match self.owners.get(fate.id()) {
                Some(Owner::Live(owner, live)) => owner == user && live == number,
                Some(Owner::Gone(owner)) => owner == user,
                None => false,
            };
            if is_this_one {
                self.owners.remove(fate.id());
            }
        }
    }
}

fn note_bytes(key: &[u8], value: Option<&Arc<[u8]>>) -> usize {
    ROW_OVERHEAD + key.len() + value.map_or(0, |value| value.len())
}

impl Fate {
    pub(super) fn id(&self) -> &SessionId {
        match self {
            Self::Row(session) => &session.id,
            Self::Gone { id, .. } => id,
        }
    }
}

impl FreshUser {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of session `number`; `None` if the tables know.
    pub(super) fn session(&self, number: u64) -> Option<&Fate> {
        self.sessions.get(&number)
    }

    /// What became of each session that is here, by number.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (u64, &Fate)> {
        self.sessions.iter().map(|(number, fate)| (*number, fate))
    }

    /// The rows within `bounds` of one order, the earliest first. Sorted anew for each reader: a
    /// user has few fresh sessions, and writes come more often.
    pub(super) fn rows(
        &self,
        by_created: bool,
        bounds: (Bound<Place>, Bound<Place>),
    ) -> Vec<(Place, &FreshSession)> {
        let rows = self.sessions.values().filter_map(|fate| match fate {
            Fate::Row(session) if by_created => Some((session.created_place(), session.as_ref())),
            Fate::Row(session) => Some((session.place(), session.as_ref())),
            Fate::Gone { .. } => None,
        });
        let mut rows: Vec<_> = rows.filter(|(place, _)| bounds.contains(place)).collect();
        rows.sort_unstable_by_key(|(place, _)| *place);
        rows
    }

    /// The messages of session `number` within `bounds`, oldest first; `None` where one was
    /// deleted.
    pub(super) fn messages(
        &self,
        number: u64,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
    ) -> impl DoubleEndedIterator<Item = (Timestamp, Option<&[u8]>)> {
        let from = match bounds.0.map(|at| (number, at)) {
            Bound::Unbounded => Bound::Included((number, Timestamp::default())),
            bound => bound,
        };
        let to = match bounds.1.map(|at| (number, at)) {
            Bound::Unbounded => Bound::Included((number, Timestamp::MAX)),
            bound => bound,
        };
        self.messages.range((from, to)).map(|((_, at), json)| (*at, json.as_deref()))
    }

    /// All messages, those of a session together and oldest first; `None` where one was deleted.
    pub(super) fn all_messages(
        &self,
    ) -> impl Iterator<Item = (u64, Timestamp, Option<&Arc<[u8]>>)> {
        self.messages.iter().map(|((number, at), json)| (*number, *at, json.as_ref()))
    }

    /// What became of the message at a place; `None` if the tables know.
    pub(super) fn message(&self, number: u64, at: Timestamp) -> Option<&Option<Arc<[u8]>>> {
        self.messages.get(&(number, at))
    }

    /// Where the message stands that a caller gave this id, if it was not deleted; `None` if the
    /// tables know.
    pub(super) fn chosen(&self, number: u64, id: &MessageId) -> Option<&Option<Timestamp>> {
        self.message_ids.get(&(number, id.clone()))
    }

    pub(super) fn all_chosen(&self) -> impl Iterator<Item = (u64, &MessageId, Option<Timestamp>)> {
        self.message_ids.iter().map(|((number, id), at)| (*number, id, *at))
    }

    /// How much there is of theirs.
    pub(super) fn usage(&self) -> Tally {
        self.usage
    }

    pub(super) fn answer(&self, key: &IdempotencyKey) -> Option<&Arc<Answer>> {
        self.answers.get(key)
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (&IdempotencyKey, &Answer)> {
        self.answers.iter().map(|(key, answer)| (key, answer.as_ref()))
    }

    fn put_session(&mut self, session: Arc<FreshSession>) {
        self.take_row(session.number);
        self.bytes += session.json.len() + ROW_OVERHEAD;
        self.sessions.insert(session.number, Fate::Row(session));
    }

    fn delete_session(&mut self, id: SessionId, number: u64, created_at: Timestamp) {
        self.take_row(number);
        self.bytes += ROW_OVERHEAD + id.as_str().len();
        self.sessions.insert(number, Fate::Gone { id, created_at });
        let places = (number, Timestamp::default())..=(number, Timestamp::MAX);
        for (_, json) in self.messages.extract_if(places, |_, _| true) {
            self.bytes -= json.map_or(0, |json| json.len()) + ROW_OVERHEAD;
        }
        for ((_, id), _) in self.message_ids.extract_if(|(of, _), _| *of == number) {
            self.bytes -= ROW_OVERHEAD + id.as_str().len();
        }
    }

    fn take_row(&mut self, number: u64) {
        self.bytes -= match self.sessions.get(&number) {
            Some(Fate::Row(old)) => old.json.len() + ROW_OVERHEAD,
            Some(Fate::Gone { id, .. }) => ROW_OVERHEAD + id.as_str().len(),
            None => 0,
        };
    }

    fn put_message(&mut self, number: u64, at: Timestamp, json: Option<Arc<[u8]>>) {
        let bytes = |json: &Option<Arc<[u8]>>| json.as_ref().map_or(0, |json| json.len());
        self.bytes += bytes(&json) + ROW_OVERHEAD;
        if let Some(old) = self.messages.insert((number, at), json) {
            self.bytes -= bytes(&old) + ROW_OVERHEAD;
        }
    }

    fn put_message_id(&mut self, number: u64, id: MessageId, at: Option<Timestamp>) {
        let bytes = ROW_OVERHEAD + id.as_str().len();
        if self.message_ids.insert((number, id), at).is_none() {
            self.bytes += bytes;
        }
    }

    fn put_answer(&mut self, key: IdempotencyKey, answer: Arc<Answer>) {
        let key_bytes = key.as_str().len();
        self.bytes += answer.json.len() + key_bytes + ROW_OVERHEAD;
        if let Some(old) = self.answers.insert(key, answer) {
            self.bytes -= old.json.len() + key_bytes + ROW_OVERHEAD;
        }
    }
}
