//! Where sessions and messages are kept: one redb file, and the only room that knows redb.
//!
//! [`Store::read`] sees everything committed before it was called and never waits for a write.
//! [`Store::write`] returns when what it did is on disk. Both speak in terms of the model:
//! [`ReadTx`], [`WriteTx`].
//!
//! A write is appended to the log, which is what it waits for, and kept in memory as `fresh`;
//! `settle` moves it into the tables later. A read looks at both. In here: `tables` (what is kept under
//! which key), `record` (bytes), `rows` (what is known of JSON), `run` (neighbouring rows in one value), `facts` (what is known of a row), `step` (what a commit
//! did), `changes` (the log, for those who follow), `fresh`, `tx`
//! (transactions), `writer` (the one thread that writes), `settle`, `housekeeping`, `file`, `open`,
//! `held` and `space` (the disk); and for those who look after it, `snapshot`, `frozen`, `new_file`
//! (copies), `verify`, `salvage`, `stored` (how much there is), `versions` (when it changed) and `sizes`.

mod changes;
mod config;
mod error;
mod facts;
mod file;
mod fresh;
mod frozen;
mod held;
mod housekeeping;
mod journal;
mod ladder;
mod new_file;
pub mod notes;
mod open;
mod record;
mod rows;
mod run;
mod salvage;
mod settle;
mod sizes;
mod snapshot;
mod space;
mod step;
mod stored;
mod tables;
mod tx;
mod unwritable;
mod usage;
mod verify;
mod versions;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase as _, StorageBackend};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info};

use crate::events::{Events, Follower};
use crate::metrics::{Metrics, Verb};
use crate::model::{Clock, UserId};

pub use changes::Changes;
pub use config::StoreConfig;
pub use error::{OpenError, OperationError, StoreError};
pub use facts::Facts;
pub use file::{Held, hand_over};
pub use frozen::Frozen;
use held::Gate;
pub use journal::{Journal, Touched};
use ladder::Ladder;
pub use new_file::{FinishedFile, NewFile};
pub use open::Repair;
use open::{Loaded, lay_out, load, new_log_id, open_backend, open_held};
pub use salvage::{RescuedMessage, RescuedSession, Salvage, salvage};
pub use sizes::{StoreSizes, TableSize};
pub use snapshot::{Piece, Snapshot};
use space::Space;
pub use step::Answer;
pub use stored::Stored;
pub use tables::{Place, SCHEMA_VERSION};
use tx::View;
pub use tx::{
    ListedRow, NewMessage, Noted, ReadTx, Row, SessionRange, SessionRef, StoredMessage, Walked,
    WriteTx,
};
pub use usage::{Quota, Usage};
pub use verify::Note;
use writer::{Hold, Job, Operation, Seat, Writer};

/// How many operations may wait for the writer: more than connections are served, so that only
/// a writer that stands still refuses one.
const QUEUE: usize = 8192;

/// A handle to the data; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    view: Arc<RwLock<View>>,
    jobs: SyncSender<Job>,
    events: Events,
    metrics: Arc<Metrics>,
    space: Arc<Space>,
    /// Tells this log from others.
    log_id: u64,
    failure: watch::Receiver<Option<StoreError>>,
    hold: Hold,
    ladder: Arc<Ladder>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens the data file, creates it when it is not there, and starts the writer.
    ///
    /// After an unclean stop the file is repaired first, which takes up to two seconds a GiB
    /// unless the writer was idle before.
    ///
    /// # Errors
    /// [`OpenError`]. A file that is damaged, foreign, in use or newer is left as it is.
    pub fn open(
        config: &StoreConfig,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        Self::open_telling(config, clock, metrics, |_| {})
    }

    /// As [`Store::open`]; tells `on_repair` how far a repair has come, at its beginning and a few
    /// times more.
    ///
    /// # Errors
    /// [`OpenError`]. A file that is damaged, foreign, in use or newer is left as it is.
    pub fn open_telling(
        config: &StoreConfig,
        clock: Clock,
        metrics: Arc<Metrics>,
        on_repair: impl Fn(Repair) + 'static,
    ) -> Result<Self, OpenError> {
        let path = &config.path;
        let access = |source: std::io::Error| OpenError::Access { path: path.clone(), source };
        if !path.try_exists().map_err(access)? {
            file::create(path)?;
            info!("created data file {}", path.display());
        }
        let space = Space::of(path, config.reserve_bytes);
        let on = (Arc::clone(&space), Arc::clone(&metrics));
        let opened = open_held(path, config.pages_bytes(), on, on_repair)?;
        Self::start_opened(opened, config, space, (clock, metrics))
    }

    /// Opens what stands on a backend of the caller's, such as a disk that is only simulated, as if it
    /// were the file at `config.path`. Its room has no end.
    ///
    /// # Errors
    /// [`OpenError`]. What is damaged, foreign or newer is left as it is.
    pub fn open_on(
        backend: impl StorageBackend,
        config: &StoreConfig,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let bytes = backend.len().map_err(|error| OpenError::Io(error.to_string()))?;
        let path = config.path.as_path();
        let space = Arc::new(Space::endless());
        let on = (Arc::clone(&space), Arc::clone(&metrics));
        let opened = open_backend(backend, (path, bytes), config.pages_bytes(), on, |_| {})?;
        Self::start_opened(opened, config, space, (clock, metrics))
    }

    /// Reads what is needed from the start, and lets writes through once that has proved to be good.
    fn start_opened<B: StorageBackend>(
        (db, gate): (Database, Arc<Gate<B>>),
        config: &StoreConfig,
        space: Arc<Space>,
        with: (Clock, Arc<Metrics>),
    ) -> Result<Self, OpenError> {
        let path = &config.path;
        let loaded = catch_unwind(AssertUnwindSafe(|| load(db.begin_read()?)))
            .map_err(|_| OpenError::damaged(path, "its structure makes no sense"))?
            .map_err(|error| OpenError::unreadable(path, error))?;
        gate.let_through().map_err(|error| OpenError::Io(error.to_string()))?;
        Self::start(db, loaded, (config.fresh_bytes(), space), with, config.quota)
    }

    /// A store without a file, for tests: it forgets everything when it is closed.
    ///
    /// # Errors
    /// [`OpenError::Io`], in theory.
    pub fn in_memory(clock: Clock) -> Result<Self, OpenError> {
        let db = Builder::new().create_with_backend(InMemoryBackend::new())?;
        lay_out(&db)?;
        let loaded = load(db.begin_read().map_err(StoreError::from)?)?;
        let space = Arc::new(Space::endless());
        Self::start(db, loaded, (1024 * 1024, space), (clock, Arc::default()), Quota::default())
    }

    /// Reads: shows `work` everything committed up to now.
    ///
    /// Blocks on the disk for what is not in memory; `work` must not wait for anything else, and
    /// must be short, since a commit waits for it before it is shown.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::Structure`] where redb trips over a damaged page.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| work(ReadTx(&view))))
            .unwrap_or_else(|_| Err(StoreError::Structure("a read panicked".into()).into()))
    }

    /// Writes: runs `work` in a transaction that it shares with others, and returns when its
    /// outcome is on disk. Dropping the future does not undo it.
    ///
    /// `work` checks everything before its first change, as what it changed stays when it returns
    /// an error that is no storage error. It may be run more than once; the last run counts.
    ///
    /// # Errors
    /// What `work` returns, or a [`StoreError`] with which nothing was changed. After
    /// [`StoreError::Io`] alone it is unknown whether something was.
    pub async fn write<T: Send + 'static, E: OperationError>(
        &self,
        verb: &'static str,
        work: impl FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let outcome = self.ask(verb, work, false)?.await;
        self.told(verb, outcome)
    }

    /// Writes as [`Store::write`] does, for work that nobody waits for: while others write, it shares
    /// their commits, so that they need not wait for one of its own.
    ///
    /// # Errors
    /// Those of [`Store::write`].
    pub async fn write_patiently<T: Send + 'static, E: OperationError>(
        &self,
        verb: &'static str,
        work: impl FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let outcome = self.ask(verb, work, true)?.await;
        self.told(verb, outcome)
    }

    /// A number that is another whenever something of `user`'s has changed, and seldom otherwise. Means
    /// nothing to another store, nor to this file when it is opened again.
    pub fn version(&self, user: &UserId) -> u64 {
        self.view.read().unwrap_or_else(PoisonError::into_inner).versions.of(user)
    }

    /// How many sessions and messages there are.
    pub fn stored(&self) -> Stored {
        self.view.read().unwrap_or_else(PoisonError::into_inner).stored
    }

    /// How many bytes its disk has free; `None` of a store in memory.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.space.free()).filter(|free| *free < u64::MAX)
    }

    /// Whether writes are refused for want of room on its disk.
    pub fn is_full(&self) -> bool {
        self.space.is_refusing() || self.space.is_stalled()
    }

    /// What is counted and measured of it, and of what works with it.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Writes as [`Store::write`] does, for a thread that may wait. Panics on one that must not, as
    /// it runs a task.
    ///
    /// # Errors
    /// Those of [`Store::write`].
    pub fn write_blocking<T: Send + 'static, E: OperationError>(
        &self,
        verb: &'static str,
        work: impl FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let outcome = self.ask(verb, work, false)?.blocking_recv();
        self.told(verb, outcome)
    }

    /// Follows `user`'s changes from now on: those after the number that is given too.
    pub fn follow(&self, user: &UserId) -> (Follower, u64) {
        // Under this lock no change is told.
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        (self.events.follow(user, view.newest), view.newest)
    }

    /// Everything that is committed, to be looked at while others write: all that was acknowledged
    /// before. What it shows takes up room in the file for as long as it is kept.
    pub fn snapshot(&self) -> Snapshot {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        self.ladder.lean(&view.tables.tx);
        Snapshot::new(Arc::clone(&view.tables.tx))
    }

    /// Keeps the log from the step behind number `after` on, for a replica that has all before; and
    /// has deletions leave traces. To be called again as the replica follows.
    pub fn hold_log(&self, after: u64) {
        self.hold.set(after);
    }

    /// A random number that tells the changes of this file from those of others.
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Whether reads and writes work: looks something up, and has the writer do nothing.
    ///
    /// # Errors
    /// The [`StoreError`] that keeps them from working.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.read(|tx: ReadTx<'_>| tx.check())?;
        self.space.check(0)?;
        self.write("check", |tx| tx.check()).await
    }

    /// Waits until the file has failed and must be opened again; never returns while it is well.
    pub async fn failure(&self) -> StoreError {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match failed {
            Some(error) => error,
            // The writer ended as it was told to.
            None => std::future::pending().await,
        }
    }

    /// Does what is waiting, makes the file quick to open and closes it. Blocks until then.
    ///
    /// # Errors
    /// The [`StoreError`] that the writer ended with, if it did not end well.
    pub fn close(&self) -> Result<(), StoreError> {
        self.space.close();
        // A writer that has ended needs no telling.
        let _told = self.jobs.send(Job::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(StoreError::Panicked);
        }
        match self.failure.borrow().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn start(
        db: Database,
        Loaded { view, next, settled, log_id }: Loaded,
        (fresh_bytes, space): (usize, Arc<Space>),
        (clock, metrics): (Clock, Arc<Metrics>),
        quota: Quota,
    ) -> Result<Self, OpenError> {
        let view = Arc::new(RwLock::new(view));
        let (jobs, waiting) = sync_channel(QUEUE);
        let (failed, failure) = watch::channel(None);
        let events = Events::default();
        let (hold, ladder) = (Hold::default(), Arc::new(Ladder::default()));
        let seat = Seat {
            db,
            clock,
            jobs: waiting,
            view: Arc::clone(&view),
            events: events.clone(),
            metrics: Arc::clone(&metrics),
            fresh_bytes,
            hold: hold.clone(),
            ladder: Arc::clone(&ladder),
            space: Arc::clone(&space),
            quota,
        };
        let writer = Writer::new(seat, next, settled);
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| writer.run()));
                if let Err(error) = ended.unwrap_or(Err(StoreError::Panicked)) {
                    failed.send_replace(Some(error));
                }
            })
            .map_err(|error| OpenError::Io(error.to_string()))?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(Self { view, jobs, events, metrics, space, log_id, failure, hold, ladder, thread })
    }

    fn ask<T: Send + 'static, E: OperationError>(
        &self,
        verb: &'static str,
        work: impl FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        is_patient: bool,
    ) -> Result<oneshot::Receiver<Result<T, E>>, StoreError> {
        if self.space.is_stalled() {
            self.space.check(0)?;
        }
        let (reply, outcome) = oneshot::channel();
        let waiting = Waiting { verb, work, is_patient, outcome: None, reply };
        self.metrics.writes_waiting.inc();
        self.jobs.try_send(Job::Run(Box::new(waiting))).map_err(|error| {
            self.metrics.writes_waiting.dec();
            match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => self.why_closed(),
            }
        })?;
        Ok(outcome)
    }

    /// What the writer told of a write, which is counted; or why it told nothing.
    fn told<T, E: OperationError>(
        &self,
        verb: &'static str,
        outcome: Result<Result<T, E>, oneshot::error::RecvError>,
    ) -> Result<T, E> {
        let outcome = outcome.unwrap_or_else(|_| Err(self.why_closed().into()));
        if outcome.is_ok() {
            self.metrics.writes.get_or_create(&Verb { verb }).inc();
        }
        outcome
    }

    fn why_closed(&self) -> StoreError {
        self.failure.borrow().clone().unwrap_or(StoreError::Closed)
    }
}

/// An operation with its caller's end of the line.
struct Waiting<F, T, E> {
    verb: &'static str,
    work: F,
    is_patient: bool,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Operation for Waiting<F, T, E>
where
    F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: OperationError,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        let outcome = (self.work)(tx);
        let spoilt = outcome.as_ref().err().and_then(|error| error.storage()).cloned();
        self.outcome = Some(outcome);
        spoilt.map_or(Ok(()), |error| {
            debug!(verb = self.verb, %error, "{} was not done: {error}", self.verb);
            Err(error)
        })
    }

    fn is_patient(&self) -> bool {
        self.is_patient
    }

    fn answer(self: Box<Self>) {
        // A caller who has gone away does not want to know.
        let _gone =
            self.reply.send(self.outcome.unwrap_or_else(|| Err(StoreError::Panicked.into())));
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _gone = self.reply.send(Err(error.into()));
    }
}

#[cfg(test)]
mod tests;
