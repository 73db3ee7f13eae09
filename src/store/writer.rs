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
//! when there is too much of it, or of the log that a start after a crash would have to read. After
//! a commit that failed nothing is known but that redb refuses to go on: the thread ends, and
//! [`Store::failure`](super::Store::failure) tells.

mod upkeep;

use std::collections::{HashSet, VecDeque};
use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, WriteTransaction};

use crate::events::Events;
use crate::fault::{Fault, is_planted};
use crate::metrics::Metrics;
use crate::model::{Clock, UserId};

use super::StoreError;
use super::changes;
use super::ladder::Ladder;
use super::record;
use super::space::Space;
use super::step::Step;
use super::tables::SEQ_TO_STEPS;
use super::tx::{Done, Tables, View, WriteTx};
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

/// How long operations that are patient wait for one that is not, if there was one in the batch before:
/// those who write without a pause come back in this time with what they write next.
const PATIENCE: Duration = Duration::from_millis(3);

/// After how many batches in a row housekeeping gets its turn when the writer is never idle.
const BATCHES_PER_CHORE: u32 = 16;

/// An operation that waits for the writer.
pub(super) trait Operation: Send {
    /// Applies it and keeps the outcome. Gives the storage error that spoils the transaction.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError>;
    /// Whether it may wait for company.
    fn is_patient(&self) -> bool;
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
    /// How much was logged since the start, in bytes...
    logged: u64,
    /// ...and of that, before the last turn that came to its end.
    settled: u64,
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
    /// Whether the last batch held an operation that was not patient.
    had_company: bool,
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
    /// How much was logged before it began, in bytes.
    logged: u64,
}

impl Writer {
    pub(super) fn new(seat: Seat, next: Numbers, settled: u64) -> Self {
        let cycle = Cycle { users: VecDeque::new(), until: settled, logged: 0 };
        let stuck = HashSet::new();
        // A start is a good time for what was left undone.
        let (resting, dirty, chores, room_to_make, batches) = (false, true, true, false, 0);
        Self {
            seat,
            next,
            cycle,
            logged: 0,
            settled: 0,
            stuck,
            resting,
            dirty,
            chores,
            room_to_make,
            had_company: false,
            batches,
        }
    }

    /// Works until told to close, until nobody is left who could ask, or until the file fails.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        while let Some(job) = self.next_job()? {
            let (batch, closing) = self.gather(job);
            let had = self.view().fresh.bytes();
            self.commit_batch(batch)?;
            if closing {
                break;
            }
            // Whoever came while a patient one had the writer has waited enough, unless there is too
            // much already.
            let may_wait = self.view().fresh.bytes() <= self.seat.fresh_bytes;
            if self.had_company || self.seat.metrics.writes_waiting.get() == 0 || !may_wait {
                self.settle_along(had)?;
            }
            self.make_room_of_deletions()?;
        }
        while self.seat.space.may_tidy() && self.settle_some(Durability::Immediate)? {}
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

    /// `first` and what waits behind it; and whether to close then.
    fn gather(&mut self, first: Job) -> (Vec<Box<dyn Operation>>, bool) {
        let (mut batch, mut closing, mut next) = (Vec::new(), false, Some(first));
        let company_until = self.had_company.then(|| Instant::now() + PATIENCE);
        self.had_company = false;
        while let Some(job) = next {
            let Job::Run(operation) = job else {
                closing = true;
                break;
            };
            self.had_company |= !operation.is_patient();
            batch.push(operation);
            if batch.len() >= BATCH {
                break;
            }
            let wait = company_until.filter(|_| !self.had_company);
            next = self.seat.jobs.try_recv().ok().or_else(|| self.next_until(wait?));
        }
        let taken = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        self.seat.metrics.writes_waiting.dec_by(taken);
        (batch, closing)
    }

    fn next_until(&self, until: Instant) -> Option<Job> {
        self.seat.jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
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
            self.settle_some(Durability::Immediate)?;
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
        while self.seat.space.may_tidy() && self.settle_some(Durability::Immediate)? {}
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
        self.logged += u64::try_from(done.bytes()).unwrap_or(u64::MAX);
        let first = replace(&mut self.next, next).seq;
        (self.dirty, self.chores) = (true, true);
        self.show(|view| {
            view.newest = next.seq - 1;
            view.stored = done.stored;
            if !is_planted(Fault::EventBeforeCommit) {
                changes::tell(&self.seat.events, first, &done.steps);
            }
            for step in done.steps {
                view.versions.follow(&step, view.newest);
                view.fresh.apply(step);
            }
        })
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
