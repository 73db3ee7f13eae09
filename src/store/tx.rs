//! Transactions in terms of the model: what can be read, and what can be changed.
//!
//! Both look at the [`View`]: what is fresh, and under it the tables. A [`WriteTx`] adds what the
//! operations of its batch have done so far. It changes no table: it notes [`Step`]s, which the
//! writer puts on disk.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::model::{Change, ChangeKind, MessageId, SessionId, Timestamp, UserId};

use super::StoreError;
use super::fresh::{Fate, Fresh, FreshSession, Owner, Step};
use super::record::{self, Head, damaged};
use super::run::{self, PackedRow};
use super::tables::{
    self, Place, SEQ_TO_CHANGES, SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES,
    SESSION_ID_TO_HEAD, USER_AND_CREATED_TO_SESSION_ID, USER_AND_UPDATED_TO_SESSIONS,
};

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
    /// Where the run begins that has its row, unless that is fresh.
    run: Option<Place>,
}

/// A session's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When the session was created.
    pub created_at: Timestamp,
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
    /// When the session was created.
    pub created_at: Timestamp,
    /// The session as clients read it.
    pub json: &'a [u8],
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
    message_ids: ReadOnlyTable<ByteKey, u64>,
    changes: ReadOnlyTable<u64, ByteKey>,
}

/// Everything that is committed.
#[derive(Debug)]
pub(super) struct View {
    pub(super) fresh: Fresh,
    pub(super) tables: Tables,
}

/// Everything that was committed before a read began.
#[derive(Debug, Clone, Copy)]
pub struct ReadTx<'a>(pub(super) &'a View);

/// One operation's view of the batch that it is part of: what was committed, and what the
/// operations before it did.
#[derive(Debug)]
pub struct WriteTx<'a> {
    view: &'a View,
    now: Timestamp,
    staged: Fresh,
    pub(super) done: Done,
}

/// What a batch is to put on disk.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) steps: Vec<Step>,
    pub(super) changes: Vec<Change>,
    /// The number that the next session gets.
    pub(super) next_session: u64,
}

impl Tables {
    pub(super) fn open(tx: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            heads: tx.open_table(SESSION_ID_TO_HEAD)?,
            sessions: tx.open_table(USER_AND_UPDATED_TO_SESSIONS)?,
            by_created: tx.open_table(USER_AND_CREATED_TO_SESSION_ID)?,
            messages: tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?,
            message_ids: tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?,
            changes: tx.open_table(SEQ_TO_CHANGES)?,
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
        let run = session.run.ok_or_else(|| damaged("fresh session", id))?;
        let key = tables::place_key(&tables::user_prefix(&session.user_id), run);
        let value =
            self.sessions.get(key.as_slice())?.ok_or_else(|| damaged("session run", &key))?;
        let run = run::Run::decode(&key, value.value())?;
        let row = run.rows().rev().find(|row| row.place.number == session.number);
        row.map(read).ok_or_else(|| damaged("session row", id))
    }

    fn message(&self, number: u64, at: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let place = Place::of_message(at);
        let bounds = (Bound::Included(place), Bound::Included(place));
        let mut found = None;
        run::scan(&self.messages, &number.to_be_bytes(), bounds, false, |row| {
            found = Some(row.json.to_vec());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

impl ReadTx<'_> {
    /// Reads something of the tables.
    pub(super) fn check(self) -> Result<(), StoreError> {
        self.0.tables.changes.last()?;
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
        let mut rows = directed(rows, range.newest_first).peekable();
        let show = |each: &mut dyn FnMut(ListedRow<'_>) -> ControlFlow<()>,
                    place,
                    session: &FreshSession| {
            each(ListedRow { place, created_at: session.created_at, json: &session.json })
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
            return run::scan(&tables.sessions, &prefix, range.bounds, range.newest_first, |row| {
                let PackedRow { place, created_at, json } = row;
                Ok(each(ListedRow { place, created_at, json }))
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
                each(ListedRow { place, created_at: row.created_at, json: row.json })
            })?;
            if next.is_break() {
                return Ok(next);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Shows `each` the messages of `session` between two places, oldest or newest first, as
    /// clients read them, until it breaks off.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn messages(
        self,
        session: &SessionRef,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
        newest_first: bool,
        mut each: impl FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty(bounds) {
            return Ok(());
        }
        let number = session.number;
        let fresh = self.0.fresh.user(&session.user_id);
        let rows = fresh.into_iter().flat_map(|fresh| fresh.messages(number, bounds));
        let mut rows = directed(rows, newest_first).peekable();
        let places = (bounds.0.map(Place::of_message), bounds.1.map(Place::of_message));
        let (table, prefix) = (&self.0.tables.messages, number.to_be_bytes());
        let scanned = run::scan(table, &prefix, places, newest_first, |row| {
            let at = row.place.at;
            while let Some((at, json)) =
                rows.next_if(|(next, _)| comes_before(*next, at, newest_first))
            {
                if each(at, json).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            // What is fresh takes the place of what is not.
            let is_hidden = rows.peek().is_some_and(|(next, _)| *next == at);
            Ok(if is_hidden { ControlFlow::Continue(()) } else { each(at, row.json) })
        })?;
        if scanned.is_continue() {
            // Whether it breaks off matters to nobody any more.
            let _broken = rows.try_for_each(|(at, json)| each(at, json));
        }
        Ok(())
    }

    /// The changes to `user`'s data after sequence number `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn changes(
        self,
        user: &UserId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Change)>, StoreError> {
        let table = &self.0.tables.changes;
        let first =
            table.range(..=after)?.next_back().transpose()?.map_or(0, |(seq, _)| seq.value());
        let mut found = Vec::new();
        for entry in table.range(first..)? {
            let (seq, changes) = entry?;
            let changes = record::decode_changes(seq.value(), changes.value())?;
            let numbered = (seq.value()..).zip(changes);
            found.extend(numbered.filter(|(seq, change)| *seq > after && change.user_id == *user));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }
}

/// A message to be stored.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, which no message of its session has.
    pub id: MessageId,
    /// Whether the caller chose the id, and not we.
    pub id_is_chosen: bool,
    /// Its time, which is its place: later than every message of its session.
    pub at: Timestamp,
    /// The message as clients read it.
    pub json: Vec<u8>,
}

impl<'a> WriteTx<'a> {
    pub(super) fn new(view: &'a View, now: Timestamp, next_session: u64) -> Self {
        let done = Done { next_session, ..Done::default() };
        Self { view, now, staged: Fresh::default(), done }
    }

    /// Reads something of the tables.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        ReadTx(self.view).check()
    }

    /// The time of this batch.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The session of that id, whoever owns it.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn session(&self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        find(&self.layers(), &self.view.tables, id)
    }

    /// The row of `session`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn row(&self, session: &SessionRef) -> Result<Row, StoreError> {
        row(&self.layers(), &self.view.tables, session)
    }

    /// The message of `session` that has this id, as clients read it; or one that stands where
    /// the id says, and has another.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn message(
        &self,
        session: &SessionRef,
        id: &MessageId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let layers = self.layers();
        let users = || layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
        let number = session.number;
        let mut at = users().find_map(|user| user.chosen(number, id));
        if at.is_none() {
            let key = tables::message_id_key(number, id);
            let indexed = self.view.tables.message_ids.get(key.as_slice())?;
            at = indexed.map(|place| Timestamp::from_micros(place.value())).or_else(|| id.place());
        }
        let Some(at) = at else {
            return Ok(None);
        };
        match users().find_map(|user| user.message(number, at)) {
            Some(json) => Ok(Some(json.to_vec())),
            None => self.view.tables.message(number, at),
        }
    }

    /// Begins a session, whose id nobody has.
    ///
    /// # Errors
    /// [`StoreError::Unsettled`] if it was another user's until a moment ago.
    pub fn create_session(
        &mut self,
        id: &SessionId,
        user_id: &UserId,
        at: Timestamp,
        json: Vec<u8>,
    ) -> Result<SessionRef, StoreError> {
        let owner = self.layers().iter().find_map(|fresh| fresh.owner(id)).cloned();
        if let Some(Owner::Gone(other)) =
            owner.filter(|owner| *owner != Owner::Gone(user_id.clone()))
        {
            return Err(StoreError::Unsettled(other));
        }
        let number = self.done.next_session;
        self.done.next_session += 1;
        let (id, user_id) = (id.clone(), user_id.clone());
        let session = SessionRef { id, user_id, number, run: None };
        self.put_row(&session, at, at, json);
        self.log(&session, at, ChangeKind::SessionCreated);
        Ok(session)
    }

    /// Replaces the row of `session`, which changed at `at`.
    pub fn update_session(
        &mut self,
        session: &SessionRef,
        at: Timestamp,
        created_at: Timestamp,
        json: Vec<u8>,
    ) {
        self.put_row(session, at, created_at, json);
        self.log(session, at, ChangeKind::SessionUpdated);
    }

    /// Saves a message, and the row of its session that follows from it.
    pub fn save_message(
        &mut self,
        session: &SessionRef,
        message: NewMessage,
        created_at: Timestamp,
        session_json: Vec<u8>,
    ) {
        self.put_row(session, message.at, created_at, session_json);
        self.put_message(session, message);
    }

    /// Saves the first message of a session whose row has it already.
    pub fn put_message(&mut self, session: &SessionRef, message: NewMessage) {
        let NewMessage { id, id_is_chosen, at, json } = message;
        self.step(Step::PutMessage {
            user_id: session.user_id.clone(),
            number: session.number,
            at,
            chosen: id_is_chosen.then(|| id.clone()),
            json: json.into(),
        });
        self.log(session, at, ChangeKind::MessageSaved(id));
    }

    /// Deletes `session`, which had this `row`, at `at`. Its messages can be found no more.
    pub fn delete_session(&mut self, session: &SessionRef, row: &Row, at: Timestamp) {
        self.step(Step::DeleteSession {
            user_id: session.user_id.clone(),
            id: session.id.clone(),
            number: session.number,
            created_at: row.created_at,
        });
        self.log(session, at, ChangeKind::SessionDeleted);
    }

    fn layers(&self) -> [&Fresh; 2] {
        [&self.staged, &self.view.fresh]
    }

    fn put_row(
        &mut self,
        session: &SessionRef,
        updated_at: Timestamp,
        created_at: Timestamp,
        json: Vec<u8>,
    ) {
        self.step(Step::PutSession(Arc::new(FreshSession {
            id: session.id.clone(),
            user_id: session.user_id.clone(),
            number: session.number,
            created_at,
            updated_at,
            json: json.into(),
        })));
    }

    fn step(&mut self, step: Step) {
        self.staged.apply(step.clone());
        self.done.steps.push(step);
    }

    fn log(&mut self, session: &SessionRef, at: Timestamp, kind: ChangeKind) {
        let (user_id, session_id) = (session.user_id.clone(), session.id.clone());
        self.done.changes.push(Change { user_id, at, session_id, kind });
    }
}

/// Reads a number of the meta table, kept as eight big-endian bytes.
pub(super) fn read_number(
    meta: &impl ReadableTable<ByteKey, ByteKey>,
    key: &[u8],
) -> Result<Option<u64>, StoreError> {
    let Some(value) = meta.get(key)? else {
        return Ok(None);
    };
    let bytes = value.value().try_into().map_err(|_| damaged("number", key))?;
    Ok(Some(u64::from_be_bytes(bytes)))
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
    let users = layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
    match users.filter_map(|user| user.session(session.number)).next() {
        Some(Fate::Row(fresh)) => {
            let (created_at, updated_at) = (fresh.created_at, fresh.updated_at);
            Ok(Row { created_at, updated_at, json: fresh.json.to_vec() })
        }
        _ => tables.with_row(session, |row| {
            let (created_at, updated_at) = (row.created_at, row.place.at);
            Row { created_at, updated_at, json: row.json.to_vec() }
        }),
    }
}

fn directed<'a, T>(
    rows: impl DoubleEndedIterator<Item = T> + 'a,
    newest_first: bool,
) -> Box<dyn Iterator<Item = T> + 'a> {
    if newest_first { Box::new(rows.rev()) } else { Box::new(rows) }
}

fn next<T>(rows: &mut impl DoubleEndedIterator<Item = T>, newest_first: bool) -> Option<T> {
    if newest_first { rows.next_back() } else { rows.next() }
}

fn comes_before<P: Ord>(place: P, other: P, newest_first: bool) -> bool {
    if newest_first { place > other } else { place < other }
}

/// Whether a range can hold nothing, which maps and redb answer with a panic if its ends cross.
fn is_empty<P: Ord>((from, to): (Bound<P>, Bound<P>)) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
    }
}
