//! Transactions in terms of the model: what can be read, and what can be changed.
//!
//! Both look at the [`View`]: what is fresh, and under it the tables. A [`WriteTx`] adds what the
//! operations of its batch have done so far. It changes no table: it notes
//! steps, which the writer puts on disk.

mod by_key;
mod committed;
mod layers;
mod listing;
mod order;
mod tally;
mod walk;
mod write;

use std::ops::{Bound, ControlFlow};

use redb::ReadableTable;

use crate::model::{MessageId, SessionId, Timestamp, UserId};

use super::changes::{self, Changes};
use super::facts::Facts;
use super::fresh::Fresh;
use super::journal::{self, Journal};
use super::record;
use super::tables::Place;
use super::versions::Versions;
use super::{StoreError, Stored};

use layers::Layers;

pub(super) use committed::Tables;
pub use walk::Walked;
pub(super) use write::Done;
pub use write::{NewMessage, WriteTx};

type ByteKey = &'static [u8];

/// A note, with its key before it.
pub type Noted = (Vec<u8>, Vec<u8>);

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
    /// When it last changed.
    pub updated_at: Timestamp,
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

/// Everything that is committed.
#[derive(Debug)]
pub(super) struct View {
    pub(super) fresh: Fresh,
    pub(super) tables: Tables,
    /// The number of the last step.
    pub(super) newest: u64,
    /// How much there is, the last step included.
    pub(super) stored: Stored,
    pub(super) versions: Versions,
}

/// Everything that was committed before a read began.
#[derive(Debug, Clone, Copy)]
pub struct ReadTx<'a>(pub(super) &'a View);

impl ReadTx<'_> {
    /// Reads something of the tables.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn check(self) -> Result<(), StoreError> {
        self.0.tables.log.last()?;
        Ok(())
    }

    /// The session of that id, whoever owns it.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn session(self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        self.layers(|layers| layers.find(id))
    }

    /// The row of `session`, which was found in this very read: another may have moved it.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn row(self, session: &SessionRef) -> Result<Row, StoreError> {
        self.layers(|layers| layers.row(session))
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
        self.layers(|layers| layers.message(session, id))
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
        let of = (&session.user_id, session.number);
        self.layers(|layers| layers.messages(of, (bounds, newest_first), &mut each))
    }

    /// Shows `each` the messages of `user`'s session number `number`, as [`ReadTx::messages`]
    /// does; none of a session that is deleted.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn messages_by_number(
        self,
        (user, number): (&UserId, u64),
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
        newest_first: bool,
        mut each: impl FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let of = (user, number);
        self.layers(|layers| layers.messages(of, (bounds, newest_first), &mut each))
    }

    /// The changes to `user`'s data after number `after`: a piece of them, in order. `None` if
    /// some of them are not kept any more, or the number is none that was given yet.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn changes(self, user: &UserId, after: u64) -> Result<Option<Changes>, StoreError> {
        changes::read(&self.0.tables.log, user, after, self.0.newest)
    }

    /// What the log says was touched after number `after`, until `enough` rows were or a short piece
    /// of it was read. `None` if some of that is not kept any more, or the number is none that was
    /// given yet.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn journal(self, after: u64, enough: usize) -> Result<Option<Journal>, StoreError> {
        journal::read(&self.0.tables.log, after, self.0.newest, enough)
    }

    /// What is noted under `key`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn note(self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.layers(|layers| layers.note(key))
    }

    /// The first `limit` notes whose keys begin with `prefix` and come behind `after`, which does
    /// too; with their keys, in the order of these.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn notes(
        self,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Noted>, StoreError> {
        self.0.notes(prefix, after, limit)
    }

    /// The first `limit` sessions whose ids come behind `after` in the order of bytes, whoever owns
    /// them.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn sessions_by_id(self, after: &str, limit: usize) -> Result<Vec<SessionRef>, StoreError> {
        self.0.sessions_by_id(after, limit)
    }

    /// The number of the newest change.
    pub fn newest(self) -> u64 {
        self.0.newest
    }

    fn layers<T>(self, look: impl FnOnce(Layers<'_>) -> T) -> T {
        look(Layers { fresh: &[&self.0.fresh], tables: &self.0.tables })
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
