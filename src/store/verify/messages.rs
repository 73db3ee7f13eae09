//! Messages: as many as their sessions' rows say, beginning and ending with what those show, and
//! found by their ids.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem::replace;
use std::ops::{Bound, ControlFlow};

use serde::Deserialize;

use crate::model::session::preview;
use crate::model::{MessageId, Timestamp};
use crate::store::record;
use crate::store::run::{self, PackedRow, Run, Span};
use crate::store::tables::{
    Place, SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES, message_id_key, place_in,
};
use crate::store::{StoreError, rows};

use super::sessions::hash;
use super::{BrokenOff, Checked, Expected, Verify, wrong};

/// What is looked at of a message.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// The messages of one session, as far as they were looked at.
#[derive(Debug, Default)]
struct History {
    number: u64,
    found: Option<Expected>,
    /// Under which the last run is kept.
    run: Option<Place>,
}

impl Verify<'_> {
    pub(super) fn messages(&mut self) -> Result<(), BrokenOff> {
        let (mut history, mut seen) = (History::default(), HashSet::new());
        self.walk(SESSION_AND_PLACE_TO_MESSAGES, |verify, key, value| {
            let number = key.first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
            let Some((number, place)) = number.zip(place_in(key)).filter(|_| key.len() == 24)
            else {
                return wrong(format!("{} is no key of messages", key.escape_ascii()));
            };
            if number != history.number {
                seen.insert(number);
                let before = replace(&mut history, History { number, ..History::default() });
                verify.history(before)?;
            }
            let run = Run::decode(key, value)?;
            run.check(place, history.run.replace(place))
                .or_else(|what| wrong(format!("messages of session number {number}: {what}")))?;
            run.rows().try_for_each(|row| {
                let checked = verify.message(&mut history, row);
                let at = row.place.at;
                verify.count(&format!("message of session number {number} at {at}"), checked)
            })
        })?;
        self.history(history).map_err(|_| BrokenOff)?;
        let silent = self.sessions.iter().filter(|(number, _)| !seen.contains(number));
        let silent = silent.map(|(number, _)| History { number: *number, ..History::default() });
        for history in silent.collect::<Vec<_>>() {
            self.history(history).map_err(|_| BrokenOff)?;
        }
        Ok(())
    }

    fn message(&mut self, history: &mut History, row: PackedRow<'_>) -> Checked {
        let Ok(shown) = serde_json::from_slice::<Shown<'_>>(row.json) else {
            return wrong("it is no message");
        };
        let ends_with = Some(hash(&preview(&shown.content)));
        let found = history.found.get_or_insert(Expected { count: 0, ends: (ends_with, None) });
        found.count += 1;
        found.ends.1 = ends_with;
        if self.deleted.contains(&history.number) {
            return Ok(());
        }
        let Ok(id) = MessageId::parse(&shown.id) else {
            return wrong("its id is none");
        };
        let is_found = match self.chosen(history.number, &id)? {
            Some(at) => at == row.place.at,
            None => id.place() == Some(row.place.at),
        };
        if is_found { Ok(()) } else { wrong("it is not found by its id") }
    }

    fn chosen(&self, number: u64, id: &MessageId) -> Result<Option<Timestamp>, StoreError> {
        let key = message_id_key(number, id);
        let ids = self.snapshot.table(SESSION_AND_MESSAGE_ID_TO_PLACE)?;
        let Some(place) = ids.get(key.as_slice())? else {
            return Ok(None);
        };
        let micros = record::unseal_number("place of a message", &key, place.value())?;
        Ok(Some(Timestamp::from_micros(micros)))
    }

    /// Compares what was found of a session's messages with what its row says.
    fn history(&mut self, History { number, found, .. }: History) -> Checked {
        let (count, ends) = found.map_or((0, (None, None)), |found| (found.count, found.ends));
        let of = format!("session number {number}");
        match self.sessions.get(&number) {
            Some(expected) if expected.count != count => {
                let told = expected.count;
                self.problem(format!("{of}: its row tells of {told} messages, {count} are there"))
            }
            Some(expected) if expected.ends != ends => {
                self.problem(format!("{of}: its row shows other messages than are there"))
            }
            None if count > 0 && !self.deleted.contains(&number) => {
                self.problem(format!("{of}: {count} messages are there, and no row"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn message_ids(&mut self) -> Result<(), BrokenOff> {
        self.walk(SESSION_AND_MESSAGE_ID_TO_PLACE, |verify, key, value| {
            let micros = record::unseal_number("place of a message", key, value)?;
            let Some((number, id)) = key.split_first_chunk::<8>() else {
                return wrong(format!("{} is no key of a message id", key.escape_ascii()));
            };
            if verify.deleted.contains(&u64::from_be_bytes(*number)) {
                return Ok(());
            }
            let place = Place::of_message(Timestamp::from_micros(micros));
            let bounds = (Bound::Included(place), Bound::Included(place));
            let span = Span { bounds, newest_first: true };
            let messages = verify.snapshot.table(SESSION_AND_PLACE_TO_MESSAGES)?;
            let mut is_there = false;
            let _broken_off = run::scan(&messages, number, span, |row| {
                is_there =
                    rows::message_id(row.json).is_some_and(|found| found.as_str().as_bytes() == id);
                ControlFlow::Break(())
            })?;
            let id = id.escape_ascii();
            if is_there { Ok(()) } else { wrong(format!("no message of id {id} is where it says")) }
        })?;
        Ok(())
    }
}
