//! Settling: moving what is fresh into the tables, where it is found from then on.
//!
//! One user at a time, with everything that is fresh of theirs: their sessions stand together in
//! the tables, and a run is rewritten once for all that goes into it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use redb::{ReadableTable, Table, WriteTransaction};
use serde::Deserialize;

use crate::model::{Timestamp, UserId};

use super::StoreError;
use super::fresh::{Fate, FreshUser};
use super::record::{self, Head, damaged};
use super::run::{NewRow, Rewrite};
use super::tables::{
    self, DELETED_SESSIONS, Place, SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES,
    SESSION_ID_TO_HEAD, USER_AND_CREATED_TO_SESSION_ID, USER_AND_UPDATED_TO_SESSIONS,
};

type ByteKey = &'static [u8];

/// Size of a run of sessions: with it a list of 50 is one or two reads.
const SESSIONS_BYTES: usize = 30 * 1024;

/// Size of a run of messages: small, as the last one of a session is rewritten whenever messages
/// are added to it.
const MESSAGES_BYTES: usize = 8000;

/// The tables that settling writes.
pub(super) struct Settle<'txn> {
    heads: Table<'txn, ByteKey, ByteKey>,
    sessions: Table<'txn, ByteKey, ByteKey>,
    by_created: Table<'txn, ByteKey, ByteKey>,
    messages: Table<'txn, ByteKey, ByteKey>,
    message_ids: Table<'txn, ByteKey, u64>,
    deleted: Table<'txn, u64, ()>,
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
        })
    }

    /// Puts everything that is fresh of `user` into the tables.
    pub(super) fn user(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        self.sessions(user, fresh)?;
        let mut sessions: BTreeMap<u64, Rewrite> = BTreeMap::new();
        for (number, at, json) in fresh.all_messages() {
            let row = NewRow { created_at: Timestamp::default(), json: json.into() };
            sessions.entry(number).or_default().add(Place::of_message(at), row);
        }
        for (number, rewrite) in sessions {
            let prefix = number.to_be_bytes();
            rewrite.apply(&mut self.messages, &prefix, MESSAGES_BYTES, |_, _, _| Ok(()))?;
        }
        for (number, id, at) in fresh.all_chosen() {
            let key = tables::message_id_key(number, id);
            self.message_ids.insert(key.as_slice(), at.as_micros())?;
        }
        Ok(())
    }

    fn sessions(&mut self, user: &UserId, fresh: &FreshUser) -> Result<(), StoreError> {
        let prefix = tables::user_prefix(user);
        let mut rewrite = Rewrite::default();
        // In which run a fresh session's row was so far.
        let mut runs = HashMap::new();
        for (number, fate) in fresh.sessions() {
            let id = fate.id().as_str().as_bytes();
            let settled = self.head(id)?.filter(|head| head.number == number);
            if let Some(head) = &settled {
                rewrite.remove(head.run, number);
                runs.insert(number, head.run);
            }
            match fate {
                Fate::Row(session) => {
                    if settled.is_none() {
                        let key = tables::place_key(&prefix, session.created_place());
                        let sealed = record::seal(&key, id);
                        self.by_created.insert(key.as_slice(), sealed.as_slice())?;
                    }
                    let json = session.json.clone();
                    rewrite.add(session.place(), NewRow { created_at: session.created_at, json });
                }
                Fate::Gone { created_at, .. } => {
                    if settled.is_some() {
                        let key = tables::place_key(&prefix, Place { at: *created_at, number });
                        self.heads.remove(id)?;
                        self.by_created.remove(key.as_slice())?;
                    }
                    self.deleted.insert(number, ())?;
                }
            }
        }
        let heads = &mut self.heads;
        rewrite.apply(&mut self.sessions, &prefix, SESSIONS_BYTES, |row, was, run| {
            let number = row.place.number;
            if was.as_ref().or(runs.get(&number)) == Some(&run) {
                return Ok(());
            }
            let id = session_id(row.json).ok_or_else(|| damaged("session row", &prefix))?;
            let id = id.as_bytes();
            let head = Head { user_id: user.clone(), number, run }.encode(id)?;
            heads.insert(id, head.as_slice())?;
            Ok(())
        })
    }

    fn head(&self, id: &[u8]) -> Result<Option<Head>, StoreError> {
        self.heads.get(id)?.map(|value| Head::decode(id, value.value())).transpose()
    }
}

/// The id in a session's JSON.
fn session_id(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "sessionId")]
        id: Cow<'a, str>,
    }

    serde_json::from_slice::<Named<'_>>(json).ok().map(|named| named.id)
}
