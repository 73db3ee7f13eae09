//! The writer thread: takes what waits, runs it, commits, answers.
//!
//! All write concurrency is in this file. What arrives while a commit runs is the next batch, so
//! that the cost of reaching the disk is shared by as many operations as are waiting for it. An
//! operation is answered after the commit that holds it, and readers see it from then on.
//!
//! An operation changes no table: it notes steps, which a commit appends to the log and which are
//! then kept as fresh. So one that fails or panics has done nothing that must be undone; as
//! later ones of its batch may have seen what it did, they are all run again, one by one.
//!
//! What is fresh is settled into the tables when the writer is idle, and along with the batches
//! when there is too much of it. After a commit that failed nothing is known but that redb
//! refuses to go on: the thread ends, and [`Store::failure`](super::Store::failure) tells.

use std::collections::{HashSet, VecDeque};
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, WriteTransaction};
use tracing::{debug, error};

use crate::events::Events;
use crate::fault::{Fault, is_planted};
use crate::metrics::Metrics;
use crate::model::{Clock, Timestamp, UserId};

use super::StoreError;
use super::changes;
use super::housekeeping::{self, Share};
use super::ladder::Ladder;
use super::record;
use super::settle::Settle;
use super::space::Space;
use super::step::Step;
use super::tables::{META, NEXT_SESSION, SEQ_TO_STEPS, SETTLED};
use super::tx::{Done, Tables, View, WriteTx, read_number};
use super::usage::Quota;

/// How many operations one commit holds at most; also bounds how long the first one waits for
/// the last one to be run.
const BATCH: usize = 512;

/// How large an entry of the log gets, so that it fills the page of 128 KiB that redb gives it: a
/// larger one could leave half of its page empty.
const PIECE_BYTES: usize = 126_000;

/// How long no operation must arrive before everything fresh is settled and the file is made
/// quick to repair. Both cost more than the writes themselves, so a busy writer does without.
const IDLE: Duration = Duration::from_secs(1);

/// How much is settled in one commit at least, when something is: some milliseconds of work.
const SETTLE_BYTES: usize = 256 * 1024;

/// Rows that housekeeping touches in one transaction at most...
const CHORE: usize = 1000;
/// ...and how long it goes on with them.
const CHORE_TIME: Duration = Duration::from_millis(2);

/// How long room is made for after each batch while there is none, and writes are refused.
const REFUSING_TIME: Duration = Duration::from_millis(50);

/// After how many batches in a row housekeeping gets its turn when the writer is never idle.
const BATCHES_PER_CHORE: u32 = 16;

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

/// An operation that waits for the writer.
pub(super) trait Operation: Send {
    /// Applies it and keeps the outcome. Gives the storage error that spoils the transaction.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError>;
    /// Answers with the outcome of the last run.
    fn answer(self: Box<Self>);
    /// Answers that it was not done.
    fn fail(self: Box<Self>, error: StoreError);
}

/// What the writer is asked to do.
pub(super) enum Job {
    /// Apply an operation.
    Run(Box<dyn Operation>),
    /// Close the file and end.
    Close,
}

/// What the writer works with.
pub(super) struct Seat {
    pub(super) db: Database,
    pub(super) clock: Clock,
    pub(super) jobs: Receiver<Job>,
    pub(super) view: Arc<RwLock<View>>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    /// How much may be fresh before batches settle some of it on their way.
    pub(super) fresh_bytes: usize,
    /// The most that a user may store.
    pub(super) quota: Quota,
    /// The room on the disk.
    pub(super) space: Arc<Space>,
    /// The number of the step behind which the log must be kept.
    pub(super) hold: Hold,
    /// What snapshots keep.
    pub(super) ladder: Arc<Ladder>,
}

/// The number of the last step that the replica does not need any more; all numbers if there is no
/// replica. Shared between the store's handles and the writer.
#[derive(Debug, Clone)]
pub(super) struct Hold(Arc<AtomicU64>);

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Hold {
    pub(super) fn set(&self, after: u64) {
        self.0.store(after, Ordering::Release);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether there is a replica.
    fn is_set(&self) -> bool {
        self.get() != u64::MAX
    }
}

/// The state of the thread.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Writer {
    seat: Seat,
    next: Numbers,
    cycle: Cycle,
    /// Users who cannot be settled since something of theirs is damaged. The log keeps what is
    /// fresh of them.
    stuck: HashSet<UserId>,
    /// Whether there was no operation for a while, so that what is left can be done.
    resting: bool,
    /// Whether a commit was made that a crash would have to be repaired from.
    dirty: bool,
    /// Whether housekeeping may find something to do.
    chores: bool,
    /// Whether something was deleted since writes are refused.
    room_to_make: bool,
    batches: u32,
}

/// The numbers that come next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// Of a step.
    pub(super) seq: u64,
    /// Of a session.
    pub(super) session: u64,
}

/// A turn in which everybody is settled who had something fresh when it began.
#[derive(Debug)]
struct Cycle {
    /// Who is left, in the order of keys.
    users: VecDeque<UserId>,
    /// The log up to this number is settled when nobody is left.
    until: u64,
}

impl Writer {
    pub(super) fn new(seat: Seat, next: Numbers, settled: u64) -> Self {
        let cycle = Cycle { users: VecDeque::new(), until: settled };
        let stuck = HashSet::new();
        // A start is a good time for what was left undone.
        let (resting, dirty, chores, room_to_make, batches) = (false, true, true, false, 0);
        Self { seat, next, cycle, stuck, resting, dirty, chores, room_to_make, batches }
    }

    /// Works until told to close, until nobody is left who could ask, or until the file fails.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        while let Some(job) = self.next_job()? {
            let (batch, closing) = self.gather(job);
            self.commit_batch(batch)?;
            if closing {
                break;
            }
            self.settle_large()?;
            while self.view().fresh.bytes() > self.seat.fresh_bytes && self.settle_some()? {}
            self.make_room_of_deletions()?;
        }
        while self.seat.space.may_tidy() && self.settle_some()? {}
        if self.seat.space.may_tidy() {
            self.make_quick_to_open()?;
        }
        self.seat.ladder.clear();
        self.seat.db.close().map_err(StoreError::from)
    }

    /// Waits for the next job, and makes use of the time in which there is none.
    fn next_job(&mut self) -> Result<Option<Job>, StoreError> {
        if self.batches >= BATCHES_PER_CHORE {
            self.do_chore()?;
        }
        loop {
            let job = match (self.resting, self.dirty) {
                (true, true) => self.seat.jobs.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                (false, true) => self.seat.jobs.recv_timeout(IDLE),
                (_, false) => self.seat.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => {
                    self.resting = false;
                    return Ok(Some(job));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.rest()?,
            }
        }
    }

    /// Does a part of what is left to do when nobody asks for anything.
    fn rest(&mut self) -> Result<(), StoreError> {
        self.resting = self.seat.space.may_tidy();
        if !self.resting {
            return Ok(());
        }
        if self.tidy()? { Ok(()) } else { self.make_quick_to_open() }
    }

    /// Does what a deletion has left to be done on a full disk, for a while: whoever tries again and
    /// again to write must not keep the room from being made.
    fn make_room_of_deletions(&mut self) -> Result<(), StoreError> {
        let until = Instant::now() + REFUSING_TIME;
        while self.room_to_make && self.seat.space.may_tidy() && Instant::now() < until {
            self.room_to_make = self.tidy()?;
        }
        Ok(())
    }

    /// Does a part of what makes room, and tells whether there was anything to do.
    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.settle_some()? {
            return Ok(true);
        }
        let is_something = self.chores;
        if is_something {
            self.do_chore()?;
        }
        Ok(is_something)
    }

    /// `first` and what waits behind it; and whether to close then.
    fn gather(&self, first: Job) -> (Vec<Box<dyn Operation>>, bool) {
        let (mut batch, mut closing) = (Vec::new(), false);
        for job in std::iter::once(first).chain(self.seat.jobs.try_iter()).take(BATCH) {
            match job {
                Job::Run(operation) => batch.push(operation),
                Job::Close => {
                    closing = true;
                    break;
                }
            }
        }
        let taken = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        self.seat.metrics.writes_waiting.dec_by(taken);
        (batch, closing)
    }

    fn commit_batch(&mut self, mut batch: Vec<Box<dyn Operation>>) -> Result<(), StoreError> {
        self.batches += 1;
        match self.run_batch(&mut batch) {
            Ok(done) if self.has_room(&done) => self.commit_and_answer(batch, done),
            _ => batch.into_iter().try_for_each(|operation| self.commit_alone(operation)),
        }
    }

    fn commit_alone(&mut self, operation: Box<dyn Operation>) -> Result<(), StoreError> {
        let mut batch = vec![operation];
        let mut done = self.run_batch(&mut batch);
        // More than once if somebody else's damage is in the way, who is then left out.
        while let Err(StoreError::Unsettled(user)) = &done
            && !self.stuck.contains(user)
        {
            self.cycle.users.push_front(user.clone());
            self.settle_some()?;
            done = self.run_batch(&mut batch);
        }
        match done.and_then(|done| self.make_room(&done).map(|()| done)) {
            Ok(done) => self.commit_and_answer(batch, done),
            Err(error) if error.is_fatal() => Err(error),
            Err(StoreError::DiskFull { .. }) if is_planted(Fault::FullDiskSwallowed) => {
                batch.into_iter().for_each(Operation::answer);
                Ok(())
            }
            Err(error) => {
                for operation in batch {
                    operation.fail(error.clone());
                }
                Ok(())
            }
        }
    }

    /// Whether the disk has room for what was done, and for settling it and all that is fresh.
    fn has_room(&self, done: &Done) -> bool {
        let bytes = done.bytes() + self.view().fresh.bytes();
        done.steps.is_empty() || self.seat.space.has_room(bytes)
    }

    /// Sees to it that the disk has room for what one operation did.
    fn make_room(&mut self, done: &Done) -> Result<(), StoreError> {
        if self.has_room(done) {
            return Ok(());
        }
        if done.makes_room() {
            return self.seat.space.check_deletion();
        }
        // What is settled needs no room any more.
        while self.seat.space.may_tidy() && self.settle_some()? {}
        self.chores = true;
        self.seat.space.check(done.bytes())
    }

    /// Runs the operations one after the other, each seeing what those before it did.
    fn run_batch(&self, batch: &mut [Box<dyn Operation>]) -> Result<Done, StoreError> {
        let view = self.view();
        let kept = (self.seat.hold.is_set(), self.seat.quota);
        let mut tx = WriteTx::new(&view, self.seat.clock.now(), self.next.session, kept);
        for operation in batch {
            catch_unwind(AssertUnwindSafe(|| operation.run(&mut tx)))
                .unwrap_or(Err(StoreError::Panicked))?;
            tx.log_usage();
        }
        Ok(tx.done)
    }

    fn commit_and_answer(
        &mut self,
        mut batch: Vec<Box<dyn Operation>>,
        done: Done,
    ) -> Result<(), StoreError> {
        if done.steps.is_empty() {
            batch.into_iter().for_each(Operation::answer);
            return Ok(());
        }
        if is_planted(Fault::AnswerBeforeCommit) {
            batch.drain(..).for_each(Operation::answer);
        }
        let (metrics, began) = (Arc::clone(&self.seat.metrics), Instant::now());
        self.room_to_make |= self.seat.space.is_refusing() && done.steps.iter().any(Step::deletes);
        let committed = self.commit_done(done);
        if committed.is_ok() {
            metrics.commits.inc();
            metrics.commit_duration_seconds.took(began.elapsed());
            metrics.commit_operations.observe(batch.len() as u64);
        }
        match &committed {
            Ok(()) => batch.into_iter().for_each(Operation::answer),
            Err(error) => batch.into_iter().for_each(|operation| operation.fail(error.clone())),
        }
        committed
    }

    /// Puts on disk what a batch did, then lets readers see it.
    fn commit_done(&mut self, done: Done) -> Result<(), StoreError> {
        let mut transaction = self.begin()?;
        if is_planted(Fault::NotDurable) {
            let _set = transaction.set_durability(Durability::None);
        }
        if is_planted(Fault::EventBeforeCommit) {
            changes::tell(&self.seat.events, self.next.seq, &done.steps);
        }
        let mut next = Numbers { session: done.next_session, ..self.next };
        {
            let mut log = transaction.open_table(SEQ_TO_STEPS)?;
            for piece in pieces(&done.steps) {
                let record = record::encode_steps(next.seq, piece)?;
                log.insert(next.seq, record.as_slice())?;
                next.seq += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            }
        }
        self.commit(transaction)?;
        let first = replace(&mut self.next, next).seq;
        (self.dirty, self.chores) = (true, true);
        self.show(|view| {
            view.newest = next.seq - 1;
            view.stored = done.stored;
            if !is_planted(Fault::EventBeforeCommit) {
                changes::tell(&self.seat.events, first, &done.steps);
            }
            done.steps.into_iter().for_each(|step| view.fresh.apply(step));
        })
    }

    /// Settles a user of whom so much is fresh that settling all of it later would keep others
    /// waiting.
    fn settle_large(&mut self) -> Result<(), StoreError> {
        let large = self.view().fresh.large().find(|user| !self.stuck.contains(*user)).cloned();
        if let Some(user) = large
            && self.seat.space.may_tidy()
        {
            self.cycle.users.push_front(user);
            self.settle_some()?;
        }
        Ok(())
    }

    /// Settles some users, and tells whether there was anything to settle.
    fn settle_some(&mut self) -> Result<bool, StoreError> {
        if self.cycle.users.is_empty() {
            let fresh = self.view().fresh.users_sorted();
            let users = fresh.into_iter().filter(|user| !self.stuck.contains(user)).collect();
            self.cycle = Cycle { users, until: self.next.seq - 1 };
        }
        if self.cycle.users.is_empty() && !self.view().fresh.has_notes() {
            return Ok(false);
        }
        let began = Instant::now();
        if is_planted(Fault::MarkBeforeTables) {
            let transaction = self.begin()?;
            let until = record::seal_number(SETTLED, self.cycle.until);
            transaction.open_table(META)?.insert(SETTLED, until.as_slice())?;
            self.commit(transaction)?;
        }
        let transaction = self.begin()?;
        let mut settled = Vec::new();
        let worked = catch_unwind(AssertUnwindSafe(|| self.settle_in(&transaction, &mut settled)));
        match worked.unwrap_or(Err(StoreError::Panicked)) {
            Ok(()) => {}
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                abort(transaction)?;
                self.set_aside(settled, &error);
                return Ok(true);
            }
        }
        self.commit(transaction)?;
        self.seat.metrics.settle_duration_seconds.took(began.elapsed());
        (self.dirty, self.chores) = (true, true);
        self.cycle.users.drain(..settled.len());
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
    fn do_chore(&mut self) -> Result<(), StoreError> {
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
    fn make_quick_to_open(&mut self) -> Result<(), StoreError> {
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

    /// Lets readers see the tables as they are committed, and the rest after `change`.
    fn show(&self, change: impl FnOnce(&mut View)) -> Result<(), StoreError> {
        let tables = Tables::open(self.seat.db.begin_read()?)?;
        let mut view = self.seat.view.write().unwrap_or_else(PoisonError::into_inner);
        let before = replace(&mut view.tables, tables);
        // Under this lock, so that no snapshot is taken of what was before a rung.
        self.seat.ladder.committed(&before.tx);
        change(&mut view);
        Ok(())
    }

    /// What is committed. Only this thread changes it, so that it stays as it is while it works.
    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.seat.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that writes")]
    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        Ok(self.seat.db.begin_write()?)
    }

    /// Commits. A panic on the way leaves redb in a state from which only opening again helps.
    fn commit(&self, transaction: WriteTransaction) -> Result<(), StoreError> {
        catch_unwind(AssertUnwindSafe(|| transaction.commit()))
            .map_or(Err(StoreError::Panicked), |committed| Ok(committed?))?;
        self.seat.space.committed();
        Ok(())
    }
}

fn abort(transaction: WriteTransaction) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| transaction.abort()))
        .map_or(Err(StoreError::Panicked), |aborted| Ok(aborted?))
}

/// `steps` in pieces of about [`PIECE_BYTES`], or of one step that is larger.
fn pieces(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    let mut bytes = steps.first().map_or(0, Step::bytes);
    steps.chunk_by(move |_, next| {
        bytes += next.bytes();
        let together = bytes <= PIECE_BYTES;
        if !together {
            bytes = next.bytes();
        }
        together
    })
}
