//! Sessions: every row is where its id and its time of creation lead to.

use std::borrow::Cow;
use std::mem::replace;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{SessionId, UserId};
use crate::store::record::{self, Head};
use crate::store::run::{PackedRow, Run};
use crate::store::tables::{
    Place, SESSION_ID_TO_HEAD, USER_AND_CREATED_TO_SESSION_ID, USER_AND_UPDATED_TO_SESSIONS,
    place_in, place_key, user_in, user_prefix,
};
use crate::store::{StoreError, rows};

use super::{BrokenOff, Checked, Expected, Verify, wrong};

/// What is looked at of a session's row.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    message_count: u64,
    #[serde(borrow)]
    first_message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_message: Option<Cow<'a, str>>,
}

impl Verify<'_> {
    pub(super) fn sessions(&mut self) -> Result<(), BrokenOff> {
        // The run before: its prefix, and the place that it is kept under.
        let mut before = (Vec::new(), Place::FIRST);
        self.walk(USER_AND_UPDATED_TO_SESSIONS, |verify, key, value| {
            let Some((user, place)) = user_in(key).zip(place_in(key)) else {
                return wrong(format!("{} is no key of sessions", key.escape_ascii()));
            };
            let run = Run::decode(key, value)?;
            let (prefix, before) = replace(&mut before, (user_prefix(&user), place));
            let before = key.starts_with(&prefix).then_some(before).filter(|_| !prefix.is_empty());
            let of = user.as_str();
            run.check(place, before)
                .or_else(|what| wrong(format!("sessions of {of:?}: {what}")))?;
            run.rows().try_for_each(|row| {
                let checked = verify.session(&user, place, row);
                verify.count(&format!("session number {} of {of:?}", row.place.number), checked)
            })
        })?;
        Ok(())
    }

    fn session(&mut self, user: &UserId, run: Place, row: PackedRow<'_>) -> Checked {
        let number = row.place.number;
        let Ok(shown) = serde_json::from_slice::<Shown<'_>>(row.json) else {
            return wrong("its row is no session");
        };
        let ends = (shown.first_message.as_deref(), shown.last_message.as_deref());
        let ends = (ends.0.map(hash), ends.1.map(hash));
        let expected = Expected { count: shown.message_count, ends };
        if self.sessions.insert(number, expected).is_some() {
            return wrong("it has two rows");
        }
        if let Some(expiry) = rows::expires_at(row.json) {
            self.expiries.insert(number, expiry);
        }
        if self.deleted.contains(&number) {
            return wrong("it is noted as deleted");
        }
        if shown.user_id != user.as_str() {
            return wrong("its row names another user");
        }
        let id = shown.session_id.as_bytes();
        let heads = self.snapshot.table(SESSION_ID_TO_HEAD)?;
        let head = heads.get(id).map_err(StoreError::from)?;
        let head = head.map(|head| Head::decode(id, head.value())).transpose()?;
        match head {
            Some(head) if head.user_id != *user || head.number != number => {
                return wrong("its id leads to another session");
            }
            // A head need not tell the newest run.
            Some(head) if run != Place::LAST && head.run != run => {
                return wrong("its id leads to another run");
            }
            Some(_) => {}
            None => return wrong("it is not found by its id"),
        }
        let created = Place { at: row.facts.created_at, number };
        let key = place_key(&user_prefix(user), created);
        let by_created = self.snapshot.table(USER_AND_CREATED_TO_SESSION_ID)?;
        let found = by_created.get(key.as_slice()).map_err(StoreError::from)?;
        match found {
            Some(found) if record::unseal("session id", &key, found.value())? == id => Ok(()),
            Some(_) => wrong("another stands under its time of creation"),
            None => wrong("it is not found by its time of creation"),
        }
    }

    pub(super) fn heads(&mut self) -> Result<(), BrokenOff> {
        let heads = self.walk(SESSION_ID_TO_HEAD, |verify, key, value| {
            let head = Head::decode(key, value)?;
            let id = std::str::from_utf8(key).ok().and_then(|id| SessionId::parse(id).ok());
            match id {
                None => wrong(format!("{} is no session id", key.escape_ascii())),
                Some(id) if !verify.sessions.contains_key(&head.number) => {
                    wrong(format!("session {id} of {:?} has no row", head.user_id.as_str()))
                }
                Some(_) => Ok(()),
            }
        })?;
        self.one_for_each_session("session_id_to_head", heads)
    }

    pub(super) fn by_created(&mut self) -> Result<(), BrokenOff> {
        let rows = self.walk(USER_AND_CREATED_TO_SESSION_ID, |verify, key, value| {
            record::unseal("session id", key, value)?;
            match place_in(key) {
                Some(place) if verify.sessions.contains_key(&place.number) => Ok(()),
                _ => wrong(format!("{} has no session", key.escape_ascii())),
            }
        })?;
        self.one_for_each_session("user_and_created_to_session_id", rows)
    }
}

pub(super) fn hash(preview: &str) -> u64 {
    xxh3_64(preview.as_bytes())
}
