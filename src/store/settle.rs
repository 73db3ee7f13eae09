//! Settling: moving what is fresh into the tables, where it is found from then on.
//!
//! One user at a time, with everything that is fresh of theirs: their sessions stand together in
//! the tables, and a run is rewritten once for all that goes into it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redb::{ReadableTable, Table, WriteTransaction};

use crate::fault::{Fault, is_planted};
use crate::model::UserId;

use super::StoreError;
use super::facts::Facts;
use super::fresh::{Fate, Fresh, FreshUser};
use super::record::{self, Head, damaged};
use super::rows;
use super::run::{NewRow, Rewrite, Run};
use super::step::FreshSession;
use super::tables::{
    self, ANSWERED_AND_USER_AND_KEY, DELETED_SESSIONS, NOTES, Place,
    SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES, SESSION_ID_TO_HEAD,
    USER_AND_CREATED_TO_SESSION_ID, USER_AND_KEY_TO_ANSWER, USER_AND_UPDATED_TO_SESSIONS,
    USER_TO_USAGE,
};
use super::usage::Tally;

type ByteKey = &'static [u8];

/// Size of a run of sessions: with its key it fills a page of 16 KiB, and a list of 50 is one or
/// two reads.
const SESSIONS_BYTES: usize = 16_000;

/// Size of a run of messages: with its key it fills a page of 8 KiB; small, as the newest one of a
/// session is rewritten whenever messages are added to it.
const MESSAGES_BYTES: usize = 8000;

/// The tables that settling writes.
pub(super) struct Settle<'txn> {
    heads: Table<'txn, ByteKey, ByteKey>,
    sessions: Table<'txn, ByteKey, ByteKey>,
    by_created: Table<'txn, ByteKey, ByteKey>,
    messages: Table<'txn, ByteKey, ByteKey>,
    message_ids: Table<'txn, ByteKey, ByteKey>,
    deleted: Table<'txn, u64, ByteKey>,
    answers: Table<'txn, ByteKey, ByteKey>,
    answered: Table<'txn, ByteKey, ByteKey>,
    notes: Table<'txn, ByteKey, ByteKey>,
    usage: Table<'txn, ByteKey, ByteKey>,
}

impl<'txn> Settle<'txn> {
    pub(super) fn open(tx: &'txn WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            heads: tx.open_table(SESSION_ID_TO_HEAD)?,
            sessions: tx.open_table(USER_AND_UPDATED_TO_SESSIONS)?,
            by_created: tx.open_table(USER_AND_CREATED_TO_SESSION_ID)?,
            messages: tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?,
            message_ids: tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?,
            deleted: tx.open_table(DELETED_SESSIONS)?,
            answers: tx.open_table(USER_AND_KEY_TO_ANSWER)?,
            answered: tx.open_table(ANSWERED_AND_USER_AND_KEY)?,
            notes: tx.open_table(NOTES)?,
            usage: tx.open_table(USER_TO_USAGE)?,
        })
    }

    /// Puts everything that is fresh of `user` into the tables.
    pub(super) fn user(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        self.sessions(user, fresh)?;
        self.messages(fresh)?;
        self.answers(user, fresh)?;
        self.usage(user, fresh)
    }

    fn usage(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        let key = user.as_str().as_bytes();
        match fresh.usage() {
            Tally::Known(usage) => {
                let record = record::encode_usage(key, usage)?;
                self.usage.insert(key, record.as_slice())?;
            }
            Tally::Unknown => {
                self.usage.remove(key)?;
            }
            Tally::Unchanged => {}
        }
        Ok(())
    }

    /// Puts all notes that are fresh into their table.
    pub(super) fn notes(&mut self, fresh: &Fresh) -> Result<(), StoreError> {
        for (key, value) in fresh.notes_from(&[]) {
            match value {
                Some(value) => self.notes.insert(&**key, record::seal(key, value).as_slice())?,
                None => self.notes.remove(&**key)?,
            };
        }
        Ok(())
    }

    fn messages(&mut self, fresh: &FreshUser) -> Result<(), StoreError> {
        let mut messages = fresh.all_messages().peekable();
        while let Some((number, ..)) = messages.peek().copied() {
            let prefix = number.to_be_bytes();
            let mut rewrite = Rewrite::new(&prefix, MESSAGES_BYTES);
            while let Some((_, at, json)) = messages.next_if(|(of, ..)| *of == number) {
                let place = Place::of_message(at);
                match json.cloned() {
                    Some(json) => rewrite.add(place, NewRow { facts: Facts::default(), json }),
                    None => rewrite.clear(place),
                }
            }
            rewrite.apply(&mut self.messages, &mut |_, _, _| Ok(()))?;
        }
        for (number, id, at) in fresh.all_chosen() {
            let key = tables::message_id_key(number, id);
            match at {
                Some(at) => {
                    let place = record::seal_number(&key, at.as_micros());
                    self.message_ids.insert(key.as_slice(), place.as_slice())?;
                }
                None => {
                    self.message_ids.remove(key.as_slice())?;
                }
            }
        }
        Ok(())
    }

    fn answers(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        for (key, answer) in fresh.answers() {
            let key = tables::answer_key(user, key);
            let record = record::encode_answer(&key, answer)?;
            self.answers.insert(key.as_slice(), record.as_slice())?;
            let answered = tables::answered_key(answer.at, &key);
            let sealed = record::seal(&answered, &[]);
            self.answered.insert(answered.as_slice(), sealed.as_slice())?;
        }
        Ok(())
    }

    fn sessions(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        let prefix = tables::user_prefix(user);
        let newest = self.newest(&prefix)?;
        let mut rewrite = Rewrite::new(&prefix, SESSIONS_BYTES);
        // In which run a fresh session's row was so far.
        let mut runs = HashMap::new();
        for (number, fate) in fresh.sessions() {
            let id = fate.id().as_str().as_bytes();
            let run = if newest.contains(&number) {
                Some(Place::LAST)
            } else {
                self.head(id)?.filter(|head| head.number == number).map(|head| head.run)
            };
            let stays = is_planted(Fault::DeletedRowStays) && matches!(fate, Fate::Gone { .. });
            if let Some(run) = run.filter(|_| !stays) {
                rewrite.remove(run, number);
                runs.insert(number, run);
            }
            match (fate, run) {
                (Fate::Row(session), Some(_)) => rewrite.add(session.place(), new_row(session)),
                (Fate::Row(session), None) => {
                    self.index_created(&prefix, session)?;
                    rewrite.add(session.place(), new_row(session));
                }
                (Fate::Gone { created_at, .. }, Some(_)) => {
                    let key = tables::place_key(&prefix, Place { at: *created_at, number });
                    self.by_created.remove(key.as_slice())?;
                    self.remove_head(id, number)?;
                    self.note_deleted(number)?;
                }
                // It did not live long enough to be settled, or this was settled before a crash;
                // messages of it may be there all the same.
                (Fate::Gone { .. }, None) => {
                    self.note_deleted(number)?;
                }
            }
        }
        let heads = &mut self.heads;
        rewrite.apply(&mut self.sessions, &mut |row, was, run| {
            let number = row.place.number;
            let is_known = match was.as_ref().or(runs.get(&number)) {
                // The newest run is always looked into first, so a head need not tell it.
                Some(was) => *was == run || run == Place::LAST,
                None => false,
            };
            if is_known {
                return Ok(());
            }
            let id = rows::session_id(row.json).ok_or_else(|| damaged("session row", &prefix))?;
            let id = id.as_str().as_bytes();
            let head = Head { user_id: user.clone(), number, run }.encode(id)?;
            heads.insert(id, head.as_slice())?;
            Ok(())
        })
    }

    /// Removes the head of session `number`; the id may be another's by now.
    fn remove_head(&mut self, id: &[u8], number: u64) -> Result<(), StoreError> {
        if self.head(id)?.is_some_and(|head| head.number == number) {
            self.heads.remove(id)?;
        }
        Ok(())
    }

    fn note_deleted(&mut self, number: u64) -> Result<(), StoreError> {
        let sealed = record::seal(&number.to_be_bytes(), &[]);
        self.deleted.insert(number, sealed.as_slice())?;
        Ok(())
    }

    fn index_created(&mut self, prefix: &[u8], session: &FreshSession) -> Result<(), StoreError> {
        let key = tables::place_key(prefix, session.created_place());
        let sealed = record::seal(&key, session.id.as_str().as_bytes());
        self.by_created.insert(key.as_slice(), sealed.as_slice())?;
        Ok(())
    }

    /// The numbers of the sessions whose rows are in the newest run.
    fn newest(&self, prefix: &[u8]) -> Result<HashSet<u64>, StoreError> {
        let key = tables::place_key(prefix, Place::LAST);
        let Some(run) = self.sessions.get(key.as_slice())? else {
            return Ok(HashSet::new());
        };
        Ok(Run::decode(&key, run.value())?.rows().map(|row| row.place.number).collect())
    }

    fn head(&self, id: &[u8]) -> Result<Option<Head>, StoreError> {
        self.heads.get(id)?.map(|value| Head::decode(id, value.value())).transpose()
    }
}

fn new_row(session: &FreshSession) -> NewRow {
    NewRow { facts: session.facts, json: Arc::clone(&session.json) }
}
