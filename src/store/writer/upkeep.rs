//! What the writer does beside operations: settles what is fresh into the tables, sweeps and forgets,
//! makes room on a full disk, and makes the file quick to open.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use redb::{Durability, WriteTransaction};
use tracing::{debug, error};

use crate::fault::{Fault, is_planted};
use crate::model::{Timestamp, UserId};
use crate::store::StoreError;
use crate::store::housekeeping::{self, Share};
use crate::store::record;
use crate::store::settle::Settle;
use crate::store::tables::{META, NEXT_SESSION, SETTLED};
use crate::store::tx::read_number;

use super::{Cycle, Writer, abort};

/// How much is settled in one commit at least, when something is: some milliseconds of work.
const SETTLE_BYTES: usize = 128 * 1024;

/// Rows that housekeeping touches in one transaction at most...
const CHORE: usize = 1000;
/// ...and how long it goes on with them.
const CHORE_TIME: Duration = Duration::from_millis(2);

/// How long room is made for after each batch while there is none, and writes are refused.
const REFUSING_TIME: Duration = Duration::from_millis(50);

/// The log keeps this many steps that are settled, a GB or so...
const KEEP_STEPS: u64 = 1_000_000;
/// ...or this many, when its disk is full...
const KEEP_STEPS_WHEN_FULL: u64 = 1_000;
/// ...and none that is older than this.
const KEEP_AGE_SECS: u64 = 7 * DAY_SECS;

/// For a replica, this many at most: some 10 GB.
const HOLD_STEPS: u64 = 10_000_000;

/// How long answers are kept for those who repeat their requests.
const KEEP_ANSWERS_SECS: u64 = DAY_SECS;

const DAY_SECS: u64 = 24 * 60 * 60;

impl Writer {
    /// Does a part of what is left to do when nobody asks for anything.
    pub(super) fn rest(&mut self) -> Result<(), StoreError> {
        self.resting = self.seat.space.may_tidy();
        if !self.resting {
            return Ok(());
        }
        if self.tidy()? { Ok(()) } else { self.make_quick_to_open() }
    }

    /// Does what a deletion has left to be done on a full disk, for a while: whoever tries again and
    /// again to write must not keep the room from being made.
    pub(super) fn make_room_of_deletions(&mut self) -> Result<(), StoreError> {
        let until = Instant::now() + REFUSING_TIME;
        while self.room_to_make && self.seat.space.may_tidy() && Instant::now() < until {
            self.room_to_make = self.tidy()?;
        }
        Ok(())
    }

    /// Does a part of what makes room, and tells whether there was anything to do.
    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.settle_some(Durability::Immediate)? {
            return Ok(true);
        }
        let is_something = self.chores;
        if is_something {
            self.do_chore()?;
        }
        Ok(is_something)
    }

    /// Settles along with a batch what is too much, or soon would be; before the batch, so much `had`
    /// been fresh.
    ///
    /// Where it is far too much, as it may be after a crash, it becomes less with each batch: some users
    /// are settled, with twice of what the batch added or more. To settle all of them at once would keep
    /// others waiting for half a second.
    pub(super) fn settle_along(&mut self, had: usize) -> Result<(), StoreError> {
        let fresh = self.view().fresh.bytes();
        let added = fresh.saturating_sub(had);
        let enough = self.seat.fresh_bytes.max(fresh.saturating_sub(2 * added + 1));
        self.settle_large()?;
        if self.is_behind() && self.seat.space.may_tidy() {
            self.settle_some(Durability::None)?;
        }
        while self.view().fresh.bytes() > enough && self.settle_some(Durability::None)? {}
        Ok(())
    }

    /// Settles a user of whom so much is fresh that settling all of it later would keep others
    /// waiting.
    fn settle_large(&mut self) -> Result<(), StoreError> {
        let large = self.view().fresh.large().find(|user| !self.stuck.contains(*user)).cloned();
        if let Some(user) = large
            && self.seat.space.may_tidy()
        {
            self.cycle.users.push_front(user);
            self.settle_some(Durability::None)?;
        }
        Ok(())
    }

    /// Whether so much was logged since what is known to be settled that a start after a crash would
    /// have to read more than may be fresh: a few who write much are settled out of their turn, and
    /// the turn would never end.
    fn is_behind(&self) -> bool {
        let limit = u64::try_from(self.seat.fresh_bytes).unwrap_or(u64::MAX);
        self.logged - self.settled > limit
    }

    /// Settles some users, or notes that all are, and tells whether there was anything to do.
    ///
    /// The log has all of it, so it need not be durable by itself: along with batches, it reaches the
    /// disk with the next of them.
    pub(super) fn settle_some(&mut self, durability: Durability) -> Result<bool, StoreError> {
        if self.cycle.users.is_empty() {
            let fresh = self.view().fresh.users_sorted();
            let users: VecDeque<_> =
                fresh.into_iter().filter(|user| !self.stuck.contains(user)).collect();
            let until = self.next.seq - 1;
            // With one who cannot be settled, the mark stays where it is.
            let is_told = self.cycle.until == until || !self.stuck.is_empty();
            if users.is_empty() && is_told && !self.view().fresh.has_notes() {
                return Ok(false);
            }
            self.cycle = Cycle { users, until, logged: self.logged };
        }
        let began = Instant::now();
        if is_planted(Fault::MarkBeforeTables) {
            let transaction = self.begin()?;
            let until = record::seal_number(SETTLED, self.cycle.until);
            transaction.open_table(META)?.insert(SETTLED, until.as_slice())?;
            self.commit(transaction)?;
        }
        let mut transaction = self.begin()?;
        // Refused only to what has savepoints, or several processes.
        let _set = transaction.set_durability(durability);
        let mut settled = Vec::new();
        let worked = catch_unwind(AssertUnwindSafe(|| self.settle_in(&transaction, &mut settled)));
        match worked.unwrap_or(Err(StoreError::Panicked)) {
            Ok(()) => {}
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                abort(transaction)?;
                if settled.is_empty() {
                    // Nobody's in particular: to try again would be for ever.
                    return Err(error);
                }
                self.set_aside(settled, &error);
                return Ok(true);
            }
        }
        self.commit(transaction)?;
        self.seat.metrics.settle_duration_seconds.took(began.elapsed());
        (self.dirty, self.chores) = (true, true);
        self.cycle.users.drain(..settled.len());
        if self.cycle.users.is_empty() {
            self.settled = self.cycle.logged;
        }
        self.show(|view| {
            view.fresh.forget_notes();
            for user in &settled {
                view.fresh.forget(user);
            }
        })?;
        Ok(true)
    }

    /// Settles users until it is enough for one commit, noting in `settled` who was begun with.
    fn settle_in(
        &self,
        transaction: &WriteTransaction,
        settled: &mut Vec<UserId>,
    ) -> Result<(), StoreError> {
        let view = self.view();
        let mut tables = Settle::open(transaction)?;
        tables.notes(&view.fresh)?;
        let mut bytes = 0;
        for user in &self.cycle.users {
            settled.push(user.clone());
            if let Some(fresh) = view.fresh.user(user) {
                tables.user(user, fresh)?;
                bytes += fresh.bytes();
            }
            if bytes >= SETTLE_BYTES {
                break;
            }
        }
        let mut meta = transaction.open_table(META)?;
        let next_session = record::seal_number(NEXT_SESSION, self.next.session);
        if !is_planted(Fault::NumberNotKept) {
            meta.insert(NEXT_SESSION, next_session.as_slice())?;
        }
        view.stored.note(&mut meta, self.next.seq - 1)?;
        if settled.len() == self.cycle.users.len() && self.stuck.is_empty() {
            let until = record::seal_number(SETTLED, self.cycle.until);
            meta.insert(SETTLED, until.as_slice())?;
        }
        Ok(())
    }

    /// Leaves out of settling the last of `tried`, in whose data something is damaged.
    fn set_aside(&mut self, mut tried: Vec<UserId>, error: &StoreError) {
        let Some(user) = tried.pop() else {
            return;
        };
        error!(%error, "one user's writes stay in the log: {error}; restore a backup");
        self.cycle.users.retain(|other| *other != user);
        self.stuck.insert(user);
    }

    /// Does one chore: sweeps deleted sessions' messages, else forgets old changes.
    pub(super) fn do_chore(&mut self) -> Result<(), StoreError> {
        self.batches = 0;
        let now = self.seat.clock.now().as_secs();
        let ago = |secs| Timestamp::from_micros(now.saturating_sub(secs) * 1_000_000);
        let (before, answered_before) = (ago(KEEP_AGE_SECS), ago(KEEP_ANSWERS_SECS));
        let keep = if self.seat.space.is_refusing() { KEEP_STEPS_WHEN_FULL } else { KEEP_STEPS };
        let transaction = self.begin()?;
        let share = Share { rows: CHORE, until: Instant::now() + CHORE_TIME };
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let meta = transaction.open_table(META)?;
            let settled = read_number(&meta, SETTLED)?.unwrap_or(0);
            let needless = settled.min(self.held_after());
            Ok::<_, StoreError>(
                housekeeping::sweep(&transaction, share)?
                    || housekeeping::forget_answers(&transaction, answered_before, share)?
                    || housekeeping::prune(&transaction, needless, before, keep, share)?,
            )
        }));
        match worked.unwrap_or(Err(StoreError::Panicked)) {
            Ok(true) => self.commit(transaction)?,
            Ok(false) => {
                self.chores = false;
                self.seat.space.tidied();
                return abort(transaction);
            }
            Err(error) if error.is_fatal() => return Err(error),
            // A damaged record in the way must not stop the writer: the rest is worth serving.
            Err(error) => {
                error!(%error, "housekeeping stopped: {error}; restore a backup");
                self.chores = false;
                return abort(transaction);
            }
        }
        self.dirty = true;
        self.seat.space.freed();
        self.show(|_| ())
    }

    /// The number of the last step that the log need not keep for the replica. One that is too far
    /// behind is let go: both sides are compared as a whole then.
    fn held_after(&self) -> u64 {
        self.seat.hold.get().max(self.next.seq.saturating_sub(HOLD_STEPS))
    }

    /// Makes the file quick to open after a crash: by an empty commit with the allocator's state.
    pub(super) fn make_quick_to_open(&mut self) -> Result<(), StoreError> {
        if !self.dirty {
            return Ok(());
        }
        self.seat.ladder.clear();
        let mut transaction = self.begin()?;
        transaction.set_quick_repair(true);
        self.commit(transaction)?;
        self.dirty = false;
        debug!("made the data file quick to open after a crash");
        self.show(|_| ())
    }
}
