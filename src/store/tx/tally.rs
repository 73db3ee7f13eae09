//! How much users have stored, kept up to date by what changes it: only where there is a quota.

use std::ops::{Bound, ControlFlow};

use crate::model::{Timestamp, UserId};
use crate::store::StoreError;
use crate::store::fresh::{Fresh, FreshUser};
use crate::store::step::Step;
use crate::store::tables::Place;
use crate::store::usage::{Growth, Quota, Tally, Usage};

use super::{ReadTx, Row, SessionRange, SessionRef, WriteTx};

/// Everything of a user or session.
const ALL_PLACES: (Bound<Place>, Bound<Place>) = (Bound::Unbounded, Bound::Unbounded);
const ALL_TIMES: (Bound<Timestamp>, Bound<Timestamp>) = (Bound::Unbounded, Bound::Unbounded);

impl WriteTx<'_> {
    /// The most that a user may store.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// How much `user` has stored. Where there is a quota it is known, unless something is damaged;
    /// the first time after it was set, everything of the user's is read for that.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn usage(&self, user: &UserId) -> Result<Option<Usage>, StoreError> {
        if let Some(tallied) = self.tallied.get(user) {
            return Ok(*tallied);
        }
        let tally = |fresh: &Fresh| fresh.user(user).map_or(Tally::Unchanged, FreshUser::usage);
        match tally(&self.staged) {
            Tally::Known(usage) => return Ok(Some(usage)),
            Tally::Unknown => return Ok(None),
            Tally::Unchanged => {}
        }
        let known = match tally(&self.view.fresh) {
            Tally::Known(usage) => Some(usage),
            Tally::Unknown => None,
            Tally::Unchanged => self.view.tables.usage(user)?,
        };
        match known {
            None if self.quota.is_set() => ReadTx(self.view).count_usage(user).map(Some),
            known => Ok(known),
        }
    }

    /// Logs how much those have stored for whom an operation has changed that.
    pub(in crate::store) fn log_usage(&mut self) {
        let at = self.now;
        for (user_id, usage) in std::mem::take(&mut self.tallied) {
            if let Some(usage) = usage {
                self.step(Step::PutUsage { user_id, at, usage });
            }
        }
    }

    /// Logs what is not so.
    #[cfg(test)]
    pub(in crate::store) fn log_wrong_usage(&mut self, user: UserId, usage: Usage) {
        self.tallied.insert(user, Some(usage));
    }

    /// Notes by how much a step will change what `user` has stored.
    pub(super) fn tally(
        &mut self,
        user: &UserId,
        growth: impl FnOnce(&Self) -> Result<Growth, StoreError>,
    ) {
        if !self.quota.is_set() {
            return;
        }
        let usage = match (self.usage(user), growth(self)) {
            (Ok(Some(usage)), Ok(growth)) => Some(usage.after(growth)),
            // Whoever asks next counts anew, or is told what is damaged.
            _ => None,
        };
        self.tallied.insert(user.clone(), usage);
    }

    /// What goes with `session`, which has this `row`.
    pub(super) fn loss(&self, session: &SessionRef, row: &Row) -> Result<Growth, StoreError> {
        let mut bytes = row.json.len();
        let _whole = self.messages(session, ALL_TIMES, false, |_, json| {
            bytes += json.len();
            ControlFlow::Continue(())
        })?;
        Ok(Growth { sessions: -1, ..Growth::of_bytes(bytes, 0) })
    }
}

impl ReadTx<'_> {
    /// Counts what `user` has stored.
    fn count_usage(self, user: &UserId) -> Result<Usage, StoreError> {
        let range = SessionRange { by_created: false, newest_first: false, bounds: ALL_PLACES };
        let (mut usage, mut numbers) = (Usage::default(), Vec::new());
        self.sessions(user, range, |row| {
            usage.sessions += 1;
            usage.add(row.json);
            numbers.push(row.place.number);
            ControlFlow::Continue(())
        })?;
        for number in numbers {
            let _whole = self.messages_by_number((user, number), ALL_TIMES, false, |_, json| {
                usage.add(json);
                ControlFlow::Continue(())
            })?;
        }
        Ok(usage)
    }
}
