//! Transactions in terms of the model: what can be read, and what can be changed.
//!
//! Both look at the [`View`]: what is fresh, and under it the tables. A [`WriteTx`] adds what the
//! operations of its batch have done so far. It changes no table: it notes steps, which the
//! writer puts on disk.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};

use super::StoreError;
use super::changes::{self, Changes};
use super::facts::Facts;
use super::fresh::{Fate, Fresh, Owner};
use super::record::{self, Head, damaged};
use super::run::{self, PackedRow, Span};
use super::step::{Answer, FreshSession};
use super::tables::{
    self, Place, SEQ_TO_STEPS, SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES,
    SESSION_ID_TO_HEAD, USER_AND_CREATED_TO_SESSION_ID, USER_AND_KEY_TO_ANSWER,
    USER_AND_UPDATED_TO_SESSIONS,
};

mod order;
mod write;

use order::{comes_before, directed, is_empty, next, overlaid};
pub(super) use write::Done;
pub use write::{NewMessage, WriteTx};

type ByteKey = &'static [u8];

/// A session that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRef {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Its number: a session that is deleted and created again gets another one.
    pub number: u64,
    /// Which run has its row, if neither what is fresh nor the newest run has it.
    run: Option<Place>,
}

/// A session's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When the session was created, and its marks.
    pub facts: Facts,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The session as clients read it.
    pub json: Vec<u8>,
}

/// A session's row in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedRow<'a> {
    /// Where it stands in the order that was asked for.
    pub place: Place,
    /// When the session was created, and its marks.
    pub facts: Facts,
    /// The session as clients read it.
    pub json: &'a [u8],
}

/// A message that was found by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Where it stands in its session: the time when it was saved.
    pub place: Timestamp,
    /// Whether the caller chose its id.
    pub id_is_chosen: bool,
    /// The message as clients read it.
    pub json: Vec<u8>,
}

/// Which of a user's sessions to read: those between two places of one order.
#[derive(Debug, Clone, Copy)]
pub struct SessionRange {
    /// Whether by creation, or else by last change.
    pub by_created: bool,
    /// Whether the latest come first.
    pub newest_first: bool,
    /// From the earliest to the latest place.
    pub bounds: (Bound<Place>, Bound<Place>),
}

/// The tables as of one commit.
#[derive(Debug)]
pub(super) struct Tables {
    heads: ReadOnlyTable<ByteKey, ByteKey>,
    sessions: ReadOnlyTable<ByteKey, ByteKey>,
    by_created: ReadOnlyTable<ByteKey, ByteKey>,
    messages: ReadOnlyTable<ByteKey, ByteKey>,
    message_ids: ReadOnlyTable<ByteKey, ByteKey>,
    answers: ReadOnlyTable<ByteKey, ByteKey>,
    log: ReadOnlyTable<u64, ByteKey>,
}

/// Everything that is committed.
#[derive(Debug)]
pub(super) struct View {
    pub(super) fresh: Fresh,
    pub(super) tables: Tables,
    /// The number of the last step.
    pub(super) newest: u64,
}

/// Everything that was committed before a read began.
#[derive(Debug, Clone, Copy)]
pub struct ReadTx<'a>(pub(super) &'a View);

impl Tables {
    pub(super) fn open(tx: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            heads: tx.open_table(SESSION_ID_TO_HEAD)?,
            sessions: tx.open_table(USER_AND_UPDATED_TO_SESSIONS)?,
            by_created: tx.open_table(USER_AND_CREATED_TO_SESSION_ID)?,
            messages: tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?,
            message_ids: tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?,
            answers: tx.open_table(USER_AND_KEY_TO_ANSWER)?,
            log: tx.open_table(SEQ_TO_STEPS)?,
        })
    }

    fn find(&self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        let key = id.as_str().as_bytes();
        let Some(value) = self.heads.get(key)? else {
            return Ok(None);
        };
        let Head { user_id, number, run } = Head::decode(key, value.value())?;
        Ok(Some(SessionRef { id: id.clone(), user_id, number, run: Some(run) }))
    }

    fn with_row<T>(
        &self,
        session: &SessionRef,
        read: impl FnOnce(PackedRow<'_>) -> T,
    ) -> Result<T, StoreError> {
        let id = session.id.as_str().as_bytes();
        let told = session.run.ok_or_else(|| damaged("fresh session", id))?;
        let prefix = tables::user_prefix(&session.user_id);
        for place in [Place::LAST, told] {
            let key = tables::place_key(&prefix, place);
            let Some(value) = self.sessions.get(key.as_slice())? else {
                continue;
            };
            let mut rows = run::Run::decode(&key, value.value())?.rows();
            if let Some(row) = rows.rfind(|row| row.place.number == session.number) {
                return Ok(read(row));
            }
        }
        Err(damaged("session row", id))
    }

    /// Where the message stands that a caller gave this id.
    fn chosen(&self, number: u64, id: &MessageId) -> Result<Option<Timestamp>, StoreError> {
        let key = tables::message_id_key(number, id);
        let Some(place) = self.message_ids.get(key.as_slice())? else {
            return Ok(None);
        };
        let micros = record::unseal_number("place of a message", &key, place.value())?;
        Ok(Some(Timestamp::from_micros(micros)))
    }

    fn message(&self, number: u64, at: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let place = Place::of_message(at);
        let bounds = (Bound::Included(place), Bound::Included(place));
        let span = Span { bounds, newest_first: true };
        let mut found = None;
        let scanned = run::scan(&self.messages, &number.to_be_bytes(), span, |row| {
            found = Some(row.json.to_vec());
            ControlFlow::Break(())
        });
        scanned.map(|_| found)
    }
}

impl ReadTx<'_> {
    /// Reads something of the tables.
    pub(super) fn check(self) -> Result<(), StoreError> {
        self.0.tables.log.last()?;
        Ok(())
    }

    /// The session of that id, whoever owns it.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn session(self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        find(&[&self.0.fresh], &self.0.tables, id)
    }

    /// The row of `session`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn row(self, session: &SessionRef) -> Result<Row, StoreError> {
        row(&[&self.0.fresh], &self.0.tables, session)
    }

    /// The message of `session` that has this id; or one that stands where the id says, and has
    /// another.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn message(
        self,
        session: &SessionRef,
        id: &MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        message(&[&self.0.fresh], &self.0.tables, session, id)
    }

    /// Shows `each` the rows of `user`'s sessions in `range`, until it breaks off.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn sessions(
        self,
        user: &UserId,
        range: SessionRange,
        mut each: impl FnMut(ListedRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty(range.bounds) {
            return Ok(());
        }
        let fresh = self.0.fresh.user(user);
        let rows = fresh.into_iter().flat_map(|fresh| fresh.rows(range.by_created, range.bounds));
        let mut rows: Vec<_> = rows.collect();
        if range.newest_first {
            rows.reverse();
        }
        let mut rows = rows.into_iter().peekable();
        let show = |each: &mut dyn FnMut(ListedRow<'_>) -> ControlFlow<()>,
                    place,
                    session: &FreshSession| {
            each(ListedRow { place, facts: session.facts, json: &session.json })
        };
        let scanned = self.listed_in_tables(user, range, |row| {
            let is_next = |place: Place| comes_before(place, row.place, range.newest_first);
            while let Some((place, session)) = rows.next_if(|(place, _)| is_next(*place)) {
                show(&mut each, place, session)?;
            }
            match fresh.and_then(|fresh| fresh.session(row.place.number)) {
                Some(_) => ControlFlow::Continue(()),
                None => each(row),
            }
        })?;
        if scanned.is_continue() {
            // Whether it breaks off matters to nobody any more.
            let _broken = rows.try_for_each(|(place, session)| show(&mut each, place, session));
        }
        Ok(())
    }

    fn listed_in_tables(
        self,
        user: &UserId,
        range: SessionRange,
        mut each: impl FnMut(ListedRow<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let (tables, prefix) = (&self.0.tables, tables::user_prefix(user));
        if !range.by_created {
            let span = Span { bounds: range.bounds, newest_first: range.newest_first };
            return run::scan(&tables.sessions, &prefix, span, |row| {
                let PackedRow { place, facts, json } = row;
                each(ListedRow { place, facts, json })
            });
        }
        let key = |bound: Bound<Place>| bound.map(|place| tables::place_key(&prefix, place));
        let (from, to) = match range.bounds {
            (from, Bound::Unbounded) => (key(from), key(Bound::Included(Place::LAST))),
            (from, to) => (key(from), key(to)),
        };
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let mut entries = tables.by_created.range::<&[u8]>(bounds)?;
        while let Some(entry) = next(&mut entries, range.newest_first) {
            let (key, value) = entry?;
            let key = key.value();
            let bad = || damaged("session by creation", key);
            let place = tables::place_in(key).ok_or_else(bad)?;
            let id = record::unseal("session by creation", key, value.value())?;
            let id = std::str::from_utf8(id).ok().and_then(|id| SessionId::parse(id).ok());
            let session = tables.find(&id.ok_or_else(bad)?)?.ok_or_else(bad)?;
            let next = tables.with_row(&session, |row| {
                each(ListedRow { place, facts: row.facts, json: row.json })
            })?;
            if next.is_break() {
                return Ok(next);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Shows `each` the messages of `session` between two places, oldest or newest first, as
    /// clients read them, until it breaks off; tells whether it did.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn messages(
        self,
        session: &SessionRef,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
        newest_first: bool,
        mut each: impl FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        messages(&[&self.0.fresh], &self.0.tables, session, (bounds, newest_first), &mut each)
    }

    /// The changes to `user`'s data after number `after`: a piece of them, in order. `None` if
    /// some of them are not kept any more, or the number is none that was given yet.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn changes(self, user: &UserId, after: u64) -> Result<Option<Changes>, StoreError> {
        changes::read(&self.0.tables.log, user, after, self.0.newest)
    }

    /// The number of the newest change.
    pub fn newest(self) -> u64 {
        self.0.newest
    }
}

/// A sealed number of the meta table.
pub(super) fn read_number(
    meta: &impl ReadableTable<ByteKey, ByteKey>,
    key: &[u8],
) -> Result<Option<u64>, StoreError> {
    let number = meta.get(key)?;
    number.map(|number| record::unseal_number("number", key, number.value())).transpose()
}

fn find(
    layers: &[&Fresh],
    tables: &Tables,
    id: &SessionId,
) -> Result<Option<SessionRef>, StoreError> {
    match layers.iter().find_map(|fresh| fresh.owner(id)) {
        Some(Owner::Live(user_id, number)) => {
            let (id, user_id) = (id.clone(), user_id.clone());
            Ok(Some(SessionRef { id, user_id, number: *number, run: None }))
        }
        Some(Owner::Gone(_)) => Ok(None),
        None => tables.find(id),
    }
}

fn row(layers: &[&Fresh], tables: &Tables, session: &SessionRef) -> Result<Row, StoreError> {
    let mut users = layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
    match users.find_map(|user| user.session(session.number)) {
        Some(Fate::Row(fresh)) => {
            let (facts, updated_at) = (fresh.facts, fresh.updated_at);
            Ok(Row { facts, updated_at, json: fresh.json.to_vec() })
        }
        _ => tables.with_row(session, |row| {
            let (facts, updated_at) = (row.facts, row.place.at);
            Row { facts, updated_at, json: row.json.to_vec() }
        }),
    }
}

fn message(
    layers: &[&Fresh],
    tables: &Tables,
    session: &SessionRef,
    id: &MessageId,
) -> Result<Option<StoredMessage>, StoreError> {
    let users = || layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
    let number = session.number;
    let chosen = match users().find_map(|user| user.chosen(number, id)) {
        Some(chosen) => *chosen,
        None => tables.chosen(number, id)?,
    };
    let Some(place) = chosen.or_else(|| id.place()) else {
        return Ok(None);
    };
    let json = match users().find_map(|user| user.message(number, place)) {
        Some(json) => json.as_ref().map(|json| json.to_vec()),
        None => tables.message(number, place)?,
    };
    Ok(json.map(|json| StoredMessage { place, id_is_chosen: chosen.is_some(), json }))
}

/// Shows `each` the messages of a session, those of earlier layers in the place of those of later
/// ones and of the tables; tells whether it broke off.
fn messages(
    layers: &[&Fresh],
    tables: &Tables,
    session: &SessionRef,
    (bounds, newest_first): ((Bound<Timestamp>, Bound<Timestamp>), bool),
    each: &mut dyn FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    if is_empty(bounds) {
        return Ok(ControlFlow::Continue(()));
    }
    let number = session.number;
    let users = layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
    let fresh = users.map(|user| directed(user.messages(number, bounds), newest_first));
    let fresh = fresh.reduce(|above, below| overlaid(above, below, newest_first));
    let mut rows = fresh.unwrap_or_else(|| Box::new(std::iter::empty())).peekable();
    let mut show = |at, json: Option<&[u8]>| match json {
        Some(json) => each(at, json),
        None => ControlFlow::Continue(()),
    };
    let places = (bounds.0.map(Place::of_message), bounds.1.map(Place::of_message));
    let span = Span { bounds: places, newest_first };
    let scanned = run::scan(&tables.messages, &number.to_be_bytes(), span, |row| {
        let at = row.place.at;
        while let Some((at, json)) = rows.next_if(|(next, _)| comes_before(*next, at, newest_first))
        {
            show(at, json)?;
        }
        // What is fresh takes the place of what is not.
        let is_hidden = rows.peek().is_some_and(|(next, _)| *next == at);
        if is_hidden { ControlFlow::Continue(()) } else { show(at, Some(row.json)) }
    })?;
    if scanned.is_break() {
        return Ok(scanned);
    }
    Ok(rows.try_for_each(|(at, json)| show(at, json)))
}

/// How `user`'s request under `key` was answered.
fn answer(
    layers: &[&Fresh],
    tables: &Tables,
    user: &UserId,
    key: &IdempotencyKey,
) -> Result<Option<Arc<Answer>>, StoreError> {
    let mut users = layers.iter().filter_map(|fresh| fresh.user(user));
    if let Some(answer) = users.find_map(|user| user.answer(key)) {
        return Ok(Some(Arc::clone(answer)));
    }
    let key = tables::answer_key(user, key);
    let stored = tables.answers.get(key.as_slice())?;
    stored.map(|stored| record::decode_answer(&key, stored.value()).map(Arc::new)).transpose()
}
