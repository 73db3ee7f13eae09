//! The tables as of one commit, and what is found in them.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction};

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::record::{self, Head, damaged};
use crate::store::run::{self, PackedRow, Span};
use crate::store::step::Answer;
use crate::store::tables::{
    self, NOTES, Place, SEQ_TO_STEPS, SESSION_AND_MESSAGE_ID_TO_PLACE,
    SESSION_AND_PLACE_TO_MESSAGES, SESSION_ID_TO_HEAD, USER_AND_CREATED_TO_SESSION_ID,
    USER_AND_KEY_TO_ANSWER, USER_AND_UPDATED_TO_SESSIONS, USER_TO_USAGE,
};
use crate::store::usage::Usage;

use super::SessionRef;

type ByteKey = &'static [u8];

/// The tables.
#[derive(Debug)]
pub(in crate::store) struct Tables {
    pub(super) heads: ReadOnlyTable<ByteKey, ByteKey>,
    pub(in crate::store) sessions: ReadOnlyTable<ByteKey, ByteKey>,
    pub(in crate::store) by_created: ReadOnlyTable<ByteKey, ByteKey>,
    pub(super) messages: ReadOnlyTable<ByteKey, ByteKey>,
    pub(super) message_ids: ReadOnlyTable<ByteKey, ByteKey>,
    pub(super) answers: ReadOnlyTable<ByteKey, ByteKey>,
    pub(super) notes: ReadOnlyTable<ByteKey, ByteKey>,
    pub(super) usage: ReadOnlyTable<ByteKey, ByteKey>,
    pub(in crate::store) log: ReadOnlyTable<u64, ByteKey>,
    /// For those who look at more than these.
    pub(in crate::store) tx: Arc<ReadTransaction>,
}

impl Tables {
    pub(in crate::store) fn open(tx: impl Into<Arc<ReadTransaction>>) -> Result<Self, StoreError> {
        let tx = tx.into();
        Ok(Self {
            heads: tx.open_table(SESSION_ID_TO_HEAD)?,
            sessions: tx.open_table(USER_AND_UPDATED_TO_SESSIONS)?,
            by_created: tx.open_table(USER_AND_CREATED_TO_SESSION_ID)?,
            messages: tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?,
            message_ids: tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?,
            answers: tx.open_table(USER_AND_KEY_TO_ANSWER)?,
            notes: tx.open_table(NOTES)?,
            usage: tx.open_table(USER_TO_USAGE)?,
            log: tx.open_table(SEQ_TO_STEPS)?,
            tx,
        })
    }

    /// The first user with sessions whose keys come after `key`.
    pub(super) fn user_behind(&self, key: &[u8]) -> Result<Option<UserId>, StoreError> {
        let Some(entry) = self.sessions.range::<&[u8]>(key..)?.next() else {
            return Ok(None);
        };
        let (key, _) = entry?;
        let user = tables::user_in(key.value());
        user.map(Some).ok_or_else(|| damaged("sessions", key.value()))
    }

    pub(super) fn find(&self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        let key = id.as_str().as_bytes();
        let Some(value) = self.heads.get(key)? else {
            return Ok(None);
        };
        let Head { user_id, number, run } = Head::decode(key, value.value())?;
        Ok(Some(SessionRef { id: id.clone(), user_id, number, run: Some(run) }))
    }

    pub(super) fn with_row<T>(
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
    pub(super) fn chosen(
        &self,
        number: u64,
        id: &MessageId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let key = tables::message_id_key(number, id);
        let Some(place) = self.message_ids.get(key.as_slice())? else {
            return Ok(None);
        };
        let micros = record::unseal_number("place of a message", &key, place.value())?;
        Ok(Some(Timestamp::from_micros(micros)))
    }

    pub(super) fn message(
        &self,
        number: u64,
        at: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
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

    pub(super) fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let stored = self.notes.get(key)?;
        let note = stored.map(|note| record::unseal("note", key, note.value()).map(<[u8]>::to_vec));
        note.transpose()
    }

    /// How much `user` has stored, if that is known.
    pub(super) fn usage(&self, user: &UserId) -> Result<Option<Usage>, StoreError> {
        let key = user.as_str().as_bytes();
        let told = self.usage.get(key)?;
        told.map(|told| record::decode_usage(key, told.value())).transpose()
    }

    /// How `user`'s request under `key` was answered.
    pub(super) fn answer(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Result<Option<Answer>, StoreError> {
        let key = tables::answer_key(user, key);
        let stored = self.answers.get(key.as_slice())?;
        stored.map(|stored| record::decode_answer(&key, stored.value())).transpose()
    }
}
