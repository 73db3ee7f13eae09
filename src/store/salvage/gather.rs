//! What was found, sorted out: the newest of each row.

use std::fmt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};

use super::Kind;
use crate::model::{SessionId, Timestamp, UserId};
use crate::store::facts::Facts;
use crate::store::file::{self, Unfinished};
use crate::store::record::{self, Head};
use crate::store::rows::{self, Named};
use crate::store::run::Run;
use crate::store::snapshot::CACHE_BYTES;
use crate::store::step::Step;
use crate::store::tables::{place_in, user_in};
use crate::store::{OpenError, StoreError};

type Rows<'a> = TableDefinition<'a, u64, (u64, u64, &'static [u8])>;
type Messages<'a> = TableDefinition<'a, (u64, u64), (u64, u64, &'static [u8])>;

/// Number → updated at, facts, row.
const SESSIONS: Rows<'_> = TableDefinition::new("sessions");
/// Number → created at, length of the session's id, its id and its user's: of sessions whose row may be lost.
const OWNERS: Rows<'_> = TableDefinition::new("owners");
/// Number, place → edited at, number of the step that put it, row.
const MESSAGES: Messages<'_> = TableDefinition::new("messages");
/// Number of a session that was deleted.
const DELETED: TableDefinition<'_, u64, ()> = TableDefinition::new("deleted");
/// Number, place of a message that was deleted → by which step.
const DELETED_MESSAGES: TableDefinition<'_, (u64, u64), u64> =
    TableDefinition::new("deleted_messages");
/// Session id → the number of the newest session that has it.
const NEWEST: TableDefinition<'_, &str, u64> = TableDefinition::new("newest");

/// After how much the file takes what memory has, in bytes.
const COMMIT_BYTES: usize = 8 * 1024 * 1024;

/// What is found, on its way into a file of its own.
pub(super) struct Gather {
    unfinished: Unfinished,
    db: Database,
    transaction: Option<WriteTransaction>,
    bytes: usize,
}

/// What was found of a damaged file. Its own file goes when this does.
pub struct Salvage {
    db: Database,
    lost: usize,
    _unfinished: Unfinished,
}

/// A session that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescuedSession {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it was created; none if nothing tells.
    pub created_at: Option<Timestamp>,
    /// When it last changed, and its row; none if that was lost.
    pub row: Option<(Timestamp, Vec<u8>)>,
}

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RescuedMessage<'a> {
    /// Where it stands.
    pub at: Timestamp,
    /// The message as clients read it.
    pub json: &'a [u8],
}

impl Gather {
    /// A file for what is found, beside `target`.
    pub(super) fn create(target: &Path) -> Result<Self, OpenError> {
        let (unfinished, file) = file::create_beside(target, "part")?;
        let backend = FileBackend::new(file)?;
        let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        let mut gather = Self { unfinished, db, transaction: None, bytes: 0 };
        let transaction = gather.begin()?;
        transaction.open_table(SESSIONS).map_err(StoreError::from)?;
        transaction.open_table(OWNERS).map_err(StoreError::from)?;
        transaction.open_table(MESSAGES).map_err(StoreError::from)?;
        transaction.open_table(DELETED).map_err(StoreError::from)?;
        transaction.open_table(DELETED_MESSAGES).map_err(StoreError::from)?;
        transaction.open_table(NEWEST).map_err(StoreError::from)?;
        gather.transaction = Some(transaction);
        Ok(gather)
    }

    /// Takes in a row of a table; tells whether it is good. Of the log, only what comes after step
    /// `skip_to`.
    pub(super) fn row(
        &mut self,
        kind: Kind,
        key: &[u8],
        value: &[u8],
        skip_to: u64,
    ) -> Result<bool, StoreError> {
        self.bytes += key.len() + value.len();
        if self.bytes > COMMIT_BYTES {
            self.commit()?;
        }
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => self.begin()?,
        };
        let taken = take(&transaction, kind, key, value, skip_to);
        self.transaction = Some(transaction);
        match taken {
            Ok(()) => Ok(true),
            Err(StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends it, where `lost` stretches could not be read.
    pub(super) fn finish(mut self, lost: usize) -> Result<Salvage, StoreError> {
        self.commit()?;
        Ok(Salvage { db: self.db, lost, _unfinished: self.unfinished })
    }

    #[expect(clippy::disallowed_methods, reason = "this file has no writer")]
    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.db.begin_write()?;
        // After a crash it is begun anew.
        transaction
            .set_durability(Durability::None)
            .map_err(|error| StoreError::Io(error.to_string().into()))?;
        Ok(transaction)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.transaction.take().map_or(Ok(()), |transaction| Ok(transaction.commit()?))
    }
}

/// Takes in a row.
///
/// # Errors
/// [`StoreError::Damaged`] if it is none, with which nothing was taken in.
fn take(
    tx: &WriteTransaction,
    kind: Kind,
    key: &[u8],
    value: &[u8],
    skip_to: u64,
) -> Result<(), StoreError> {
    let bad = || record::damaged(kind.table(), key);
    match kind {
        Kind::Log => {
            let seq = u64::from_be_bytes(key.try_into().map_err(|_| bad())?);
            let steps = record::decode_steps(seq, value)?;
            let steps = (seq..).zip(steps).filter(|(seq, _)| *seq > skip_to);
            steps.into_iter().try_for_each(|(seq, step)| take_step(tx, seq, step))
        }
        Kind::Deleted => {
            let number = u64::from_be_bytes(key.try_into().map_err(|_| bad())?);
            if !record::unseal(kind.table(), key, value)?.is_empty() {
                return Err(bad());
            }
            delete_session(tx, number)
        }
        Kind::Heads => {
            let id = std::str::from_utf8(key).ok().and_then(|id| SessionId::parse(id).ok());
            let Head { user_id, number, .. } = Head::decode(key, value)?;
            put_owner(tx, number, &id.ok_or_else(bad)?, &user_id, None)
        }
        Kind::ByCreated => {
            let id = record::unseal(kind.table(), key, value)?;
            let id = std::str::from_utf8(id).ok().and_then(|id| SessionId::parse(id).ok());
            let (user, place) = user_in(key).zip(place_in(key)).ok_or_else(bad)?;
            put_owner(tx, place.number, &id.ok_or_else(bad)?, &user, Some(place.at))
        }
        Kind::Sessions => {
            user_in(key).ok_or_else(bad)?;
            let run = Run::decode(key, value)?;
            let names = run.rows().map(|row| rows::named(row.json).filter(Named::is_session));
            names.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
            run.rows().try_for_each(|row| {
                put_session(tx, (row.place.number, row.place.at), row.facts, row.json)
            })
        }
        Kind::Messages => {
            let number = key.first_chunk().filter(|_| key.len() == 24).ok_or_else(bad)?;
            let run = Run::decode(key, value)?;
            let named = |json| rows::named(json).filter(|named| !named.is_session());
            let named = run.rows().map(|row| Some((row, named(row.json)?)));
            let named = named.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
            named.into_iter().try_for_each(|(row, named)| {
                let spot = (u64::from_be_bytes(*number), row.place.at);
                put_message(tx, spot, (named.edited_at(), 0), row.json)
            })
        }
    }
}

fn take_step(tx: &WriteTransaction, seq: u64, step: Step) -> Result<(), StoreError> {
    match step {
        Step::PutSession { session, .. } => {
            put_session(tx, (session.number, session.updated_at), session.facts, &session.json)
        }
        Step::DeleteSession { number, .. } => delete_session(tx, number),
        Step::PutMessage { number, at, json, .. } => put_message(tx, (number, at), (0, seq), &json),
        Step::EditMessage { number, place, at, json, .. } => {
            put_message(tx, (number, place), (at.as_micros(), 0), &json)
        }
        Step::DeleteMessage { number, place, .. } => {
            let spot = (number, place.as_micros());
            let mut table = tx.open_table(DELETED_MESSAGES)?;
            let before = table.get(spot)?.map_or(0, |before| before.value());
            table.insert(spot, seq.max(before))?;
            Ok(())
        }
        Step::PutAnswer { .. }
        | Step::PutNote { .. }
        | Step::Mirrored { .. }
        | Step::PutUsage { .. } => Ok(()),
    }
}

fn delete_session(tx: &WriteTransaction, number: u64) -> Result<(), StoreError> {
    tx.open_table(DELETED)?.insert(number, ())?;
    Ok(())
}

fn put_session(
    tx: &WriteTransaction,
    (number, updated_at): (u64, Timestamp),
    facts: Facts,
    json: &[u8],
) -> Result<(), StoreError> {
    let mut table = tx.open_table(SESSIONS)?;
    let before = table.get(number)?.map(|before| before.value().0);
    if before.is_some_and(|before| before > updated_at.as_micros()) {
        return Ok(());
    }
    table.insert(number, (updated_at.as_micros(), facts.to_bits(), json))?;
    match rows::session_id(json) {
        Some(id) => put_newest(tx, &id, number),
        None => Ok(()),
    }
}

fn put_owner(
    tx: &WriteTransaction,
    number: u64,
    id: &SessionId,
    user: &UserId,
    created_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let mut table = tx.open_table(OWNERS)?;
    let before = table.get(number)?.map(|before| before.value().0);
    let created_at = created_at.map(Timestamp::as_micros).or(before).unwrap_or(0);
    let len = u64::try_from(id.as_str().len()).unwrap_or(0);
    let both = [id.as_str(), user.as_str()].concat();
    table.insert(number, (created_at, len, both.as_bytes()))?;
    put_newest(tx, id, number)
}

fn put_newest(tx: &WriteTransaction, id: &SessionId, number: u64) -> Result<(), StoreError> {
    let mut table = tx.open_table(NEWEST)?;
    let before = table.get(id.as_str())?.map_or(0, |before| before.value());
    table.insert(id.as_str(), number.max(before))?;
    Ok(())
}

fn put_message(
    tx: &WriteTransaction,
    (number, at): (u64, Timestamp),
    (edited_at, seq): (u64, u64),
    json: &[u8],
) -> Result<(), StoreError> {
    let spot = (number, at.as_micros());
    let mut table = tx.open_table(MESSAGES)?;
    let before = table.get(spot)?.map(|before| {
        let (edited_at, seq, json) = before.value();
        (edited_at, seq, json.to_vec())
    });
    match before {
        Some((before, put, json)) if before > edited_at => {
            table.insert(spot, (before, seq.max(put), json.as_slice()))?;
        }
        Some((_, put, _)) => {
            table.insert(spot, (edited_at, seq.max(put), json))?;
        }
        None => {
            table.insert(spot, (edited_at, seq, json))?;
        }
    }
    Ok(())
}

impl Salvage {
    /// How many stretches of the file could not be read.
    pub fn lost(&self) -> usize {
        self.lost
    }

    /// Shows `each` the sessions that were found, but for those that were deleted.
    ///
    /// # Errors
    /// What `each` returns; [`StoreError`] when the file of what was found cannot be read.
    pub fn sessions<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(RescuedSession) -> Result<(), E>,
    ) -> Result<(), E> {
        let tx = self.db.begin_read().map_err(StoreError::from)?;
        let newest = tx.open_table(NEWEST).map_err(StoreError::from)?;
        let deleted = tx.open_table(DELETED).map_err(StoreError::from)?;
        let sessions = tx.open_table(SESSIONS).map_err(StoreError::from)?;
        let owners = tx.open_table(OWNERS).map_err(StoreError::from)?;
        for entry in newest.iter().map_err(StoreError::from)? {
            let (_, number) = entry.map_err(StoreError::from)?;
            let number = number.value();
            if deleted.get(number).map_err(StoreError::from)?.is_some() {
                continue;
            }
            let row = sessions.get(number).map_err(StoreError::from)?;
            let owner = owners.get(number).map_err(StoreError::from)?;
            let row = row.and_then(|row| of_row(number, row.value()));
            let owner = owner.and_then(|owner| of_owner(number, owner.value()));
            if let Some(session) = row.or(owner) {
                each(session)?;
            }
        }
        Ok(())
    }

    /// Shows `each` the messages that were found of session number `number`, oldest first.
    ///
    /// # Errors
    /// What `each` returns; [`StoreError`] when the file of what was found cannot be read.
    pub fn messages<E: From<StoreError>>(
        &self,
        number: u64,
        mut each: impl FnMut(RescuedMessage<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tx = self.db.begin_read().map_err(StoreError::from)?;
        let messages = tx.open_table(MESSAGES).map_err(StoreError::from)?;
        let deleted = tx.open_table(DELETED_MESSAGES).map_err(StoreError::from)?;
        let spots = (number, 0)..=(number, u64::MAX);
        for entry in messages.range(spots).map_err(StoreError::from)? {
            let (spot, message) = entry.map_err(StoreError::from)?;
            let (_, put, json) = message.value();
            let gone = deleted.get(spot.value()).map_err(StoreError::from)?;
            if gone.is_none_or(|gone| gone.value() < put) {
                each(RescuedMessage { at: Timestamp::from_micros(spot.value().1), json })?;
            }
        }
        Ok(())
    }
}

fn of_row(number: u64, (at, facts, json): (u64, u64, &[u8])) -> Option<RescuedSession> {
    let created_at = Some(Facts::from_bits(facts).created_at);
    let row = Some((Timestamp::from_micros(at), json.to_vec()));
    let user_id = rows::named(json)?.user_id()?;
    Some(RescuedSession { number, id: rows::session_id(json)?, user_id, created_at, row })
}

fn of_owner(number: u64, (at, len, both): (u64, u64, &[u8])) -> Option<RescuedSession> {
    let (id, user) =
        std::str::from_utf8(both).ok()?.split_at_checked(usize::try_from(len).ok()?)?;
    let created_at = Some(at).filter(|at| *at > 0).map(Timestamp::from_micros);
    let (id, user_id) = (SessionId::parse(id).ok()?, UserId::parse(user).ok()?);
    Some(RescuedSession { number, id, user_id, created_at, row: None })
}

impl fmt::Debug for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salvage").field("lost", &self.lost).finish_non_exhaustive()
    }
}
