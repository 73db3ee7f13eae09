//! What is found where: in what is fresh, and under that in the tables.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::fresh::{Fate, Fresh, Owner};
use crate::store::run::{self, Span};
use crate::store::step::Answer;
use crate::store::tables::Place;

use super::committed::Tables;
use super::order::{comes_before, directed, is_empty, overlaid};
use super::{Row, SessionRef, StoredMessage};

/// Layers of what is fresh, each of which hides what those behind it and the tables have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) fresh: &'a [&'a Fresh],
    pub(super) tables: &'a Tables,
}

impl Layers<'_> {
    pub(super) fn find(&self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        match self.fresh.iter().find_map(|fresh| fresh.owner(id)) {
            Some(Owner::Live(user_id, number)) => {
                let (id, user_id) = (id.clone(), user_id.clone());
                Ok(Some(SessionRef { id, user_id, number: *number, run: None }))
            }
            Some(Owner::Gone(_)) => Ok(None),
            None => self.tables.find(id),
        }
    }

    pub(super) fn row(&self, session: &SessionRef) -> Result<Row, StoreError> {
        let mut users = self.fresh.iter().filter_map(|fresh| fresh.user(&session.user_id));
        match users.find_map(|user| user.session(session.number)) {
            Some(Fate::Row(fresh)) => {
                let (facts, updated_at) = (fresh.facts, fresh.updated_at);
                Ok(Row { facts, updated_at, json: fresh.json.to_vec() })
            }
            _ => self.tables.with_row(session, |row| {
                let (facts, updated_at) = (row.facts, row.place.at);
                Row { facts, updated_at, json: row.json.to_vec() }
            }),
        }
    }

    pub(super) fn message(
        &self,
        session: &SessionRef,
        id: &MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let users = || self.fresh.iter().filter_map(|fresh| fresh.user(&session.user_id));
        let number = session.number;
        let chosen = match users().find_map(|user| user.chosen(number, id)) {
            Some(chosen) => *chosen,
            None => self.tables.chosen(number, id)?,
        };
        let Some(place) = chosen.or_else(|| id.place()) else {
            return Ok(None);
        };
        let json = self.message_at(&session.user_id, number, place)?;
        Ok(json.map(|json| StoredMessage { place, id_is_chosen: chosen.is_some(), json }))
    }

    /// The message that stands at `place` in session `number` of `user`.
    pub(super) fn message_at(
        &self,
        user: &UserId,
        number: u64,
        place: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut users = self.fresh.iter().filter_map(|fresh| fresh.user(user));
        match users.find_map(|user| user.message(number, place)) {
            Some(json) => Ok(json.as_ref().map(|json| json.to_vec())),
            None => self.tables.message(number, place),
        }
    }

    /// Shows `each` the messages of a session, those of earlier layers in the place of those of later
    /// ones and of the tables; tells whether it broke off.
    pub(super) fn messages(
        &self,
        (user, number): (&UserId, u64),
        (bounds, newest_first): ((Bound<Timestamp>, Bound<Timestamp>), bool),
        each: &mut dyn FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        if is_empty(bounds) {
            return Ok(ControlFlow::Continue(()));
        }
        let users = self.fresh.iter().filter_map(|fresh| fresh.user(user));
        let fresh = users.map(|user| directed(user.messages(number, bounds), newest_first));
        let fresh = fresh.reduce(|above, below| overlaid(above, below, newest_first));
        let mut rows = fresh.unwrap_or_else(|| Box::new(std::iter::empty())).peekable();
        let mut show = |at, json: Option<&[u8]>| match json {
            Some(json) => each(at, json),
            None => ControlFlow::Continue(()),
        };
        let places = (bounds.0.map(Place::of_message), bounds.1.map(Place::of_message));
        let span = Span { bounds: places, newest_first };
        let scanned = run::scan(&self.tables.messages, &number.to_be_bytes(), span, |row| {
            let at = row.place.at;
            while let Some((at, json)) =
                rows.next_if(|(next, _)| comes_before(*next, at, newest_first))
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

    /// What is noted under `key`.
    pub(super) fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.fresh.iter().find_map(|fresh| fresh.note(key)) {
            Some(note) => Ok(note.as_ref().map(|note| note.to_vec())),
            None => self.tables.note(key),
        }
    }

    /// How `user`'s request under `key` was answered.
    pub(super) fn answer(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Result<Option<Arc<Answer>>, StoreError> {
        let mut users = self.fresh.iter().filter_map(|fresh| fresh.user(user));
        if let Some(answer) = users.find_map(|user| user.answer(key)) {
            return Ok(Some(Arc::clone(answer)));
        }
        Ok(self.tables.answer(user, key)?.map(Arc::new))
    }
}
