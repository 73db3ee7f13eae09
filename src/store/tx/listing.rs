//! A user's sessions in order, from what is fresh and from the tables.

use std::ops::{Bound, ControlFlow};

use crate::model::{SessionId, UserId};
use crate::store::StoreError;
use crate::store::record::{self, damaged};
use crate::store::run::{self, PackedRow, Span};
use crate::store::step::FreshSession;
use crate::store::tables::{self, Place};

use super::order::{comes_before, is_empty, next};
use super::{ListedRow, ReadTx, SessionRange};

impl ReadTx<'_> {
    /// Shows `each` every user who has sessions, in order, until it breaks off; and maybe some who
    /// had.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn users(
        self,
        mut each: impl FnMut(&UserId) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut fresh = self.0.fresh.users_sorted().into_iter().peekable();
        let mut behind = Vec::new();
        loop {
            let settled = self.0.tables.user_behind(&behind)?;
            let fresh_before = |user: &UserId| settled.as_ref().is_none_or(|next| user <= next);
            let before = std::iter::from_fn(|| fresh.next_if(fresh_before));
            let before = before.filter(|user| Some(user) != settled.as_ref());
            let mut users = before.chain(settled.clone());
            if users.try_for_each(|user| each(&user)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            match settled {
                Some(user) => behind = tables::user_end(&user),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
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
            let FreshSession { facts, updated_at, .. } = *session;
            each(ListedRow { place, facts, updated_at, json: &session.json })
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
                each(ListedRow { place, facts, updated_at: place.at, json })
            });
        }
        // Without an end of its own, a range would go on with other users' keys.
        let key = |bound: Bound<Place>, end: Place| match bound {
            Bound::Unbounded => Bound::Included(tables::place_key(&prefix, end)),
            bound => bound.map(|place| tables::place_key(&prefix, place)),
        };
        let (from, to) = (key(range.bounds.0, Place::FIRST), key(range.bounds.1, Place::LAST));
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
                let PackedRow { place: Place { at: updated_at, .. }, facts, json } = row;
                each(ListedRow { place, facts, updated_at, json })
            })?;
            if next.is_break() {
                return Ok(next);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
