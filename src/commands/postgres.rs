//! The commands that look after the replica: what they print.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::care::{CareError, News, Unit};
use crate::cli::PostgresCommand;
use crate::control::{Ending, Question, Told, ask_replica};
use crate::model::Clock;
use crate::store::{OpenError, Store, StoreConfig, hand_over};
use crate::sync::{self, Answer, Order, Replica, Status, SyncError, SyncStatus, Target};

use super::progress::{Progress, Tell};
use super::{Failure, say};

/// How often is looked whether all is sent.
const LOOK: Duration = Duration::from_millis(100);

/// How often what failed is tried again: each time is another connection to PostgreSQL.
const AGAIN: Duration = Duration::from_secs(1);

/// Memory for the file while no server has it, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Why the replica could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaFailure {
    /// Nobody said where it is.
    #[error("no PostgreSQL is configured; set DB_HOST and what belongs to it, or use --postgres")]
    NotConfigured,
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// It is done, and not all is well.
    #[error("{0}")]
    NotWell(&'static str),
    /// The server cannot be asked.
    #[error("cannot ask the server: {0}; run this as the server's user or as root, or stop it")]
    Ask(io::Error),
}

/// What is looked after: a data file, and its replica if one is configured.
pub(super) struct Place {
    pub(super) data: PathBuf,
    pub(super) target: Option<Target>,
    /// Whether a pull makes the file where there is none.
    pub(super) may_make: bool,
}

/// Does what `command` asks for.
pub(super) fn postgres(command: &PostgresCommand, place: Place) -> Result<(), Failure> {
    match command {
        PostgresCommand::Install(_) => {
            run(async { sync::install(&place.known()?).await.map_err(failed) })?;
            say("PostgreSQL has the extra schema orion_chat");
            // A running server goes by it from now on.
            place.tell(Order::Pull { accept_deletions: false })
        }
        PostgresCommand::Uninstall(_) => {
            run(async { sync::uninstall(&place.known()?).await.map_err(failed) })?;
            say("PostgreSQL has no extra schema any more");
            place.tell(Order::Pull { accept_deletions: false })
        }
        PostgresCommand::Status { json, .. } => status(&place, *json),
        PostgresCommand::Conflicts { json, .. } => conflicts(&place, *json),
        PostgresCommand::Pull { accept_deletions, .. } => {
            let order = Order::Pull { accept_deletions: *accept_deletions };
            place.order(order, "nothing was taken; see above")
        }
        PostgresCommand::Retry(_) => place.order(Order::Retry, "some rows are refused still"),
        PostgresCommand::Diff(_) => place.order(Order::Diff, "the two sides differ"),
    }
}

/// Sends what is not there yet, and waits until all is.
pub(super) fn drain(place: Place, waits: bool, timeout: Option<u64>) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let (why, pause) = match place.ask_status()? {
            Some(Status { queue, last_error, .. }) if queue > 0 => {
                let why = last_error.unwrap_or_else(|| "it is on its way".to_owned());
                (format!("{queue} rows are not sent: {why}"), LOOK)
            }
            // The queue does not tell of what only a comparison finds.
            _ => match place.order(Order::Push, "not all is there") {
                Ok(()) => {
                    say("everything that is here is in PostgreSQL, but for what it refused");
                    return Ok(());
                }
                Err(Failure::Replica(ReplicaFailure::Failed(why))) => (why, AGAIN),
                Err(failure) => return Err(failure),
            },
        };
        let is_late = timeout.is_some_and(|secs| began.elapsed() >= Duration::from_secs(secs));
        if !waits || is_late {
            return Err(ReplicaFailure::Failed(why).into());
        }
        std::thread::park_timeout(pause);
    }
}

fn status(place: &Place, json: bool) -> Result<(), Failure> {
    let mut lines = Vec::new();
    match ask(&place.data, Question::Status, &mut |told| lines.extend(line(told)))? {
        None if place.target.is_none() => {}
        None => {
            lines = place.with_store(|store| {
                let status = SyncStatus::new(store, Clock::system());
                status.lines().map_err(|error| ReplicaFailure::Failed(error.to_string()).into())
            })?;
        }
        Some(Ending::Done(_)) => {}
        // A server without PostgreSQL has nothing to say.
        Some(Ending::Failed(_)) => lines = Vec::new(),
    }
    let mut lines = lines.into_iter();
    let status = lines.next();
    if json {
        let none = || serde_json::to_string(&Status::default()).unwrap_or_default();
        say(&status.unwrap_or_else(none));
        return Ok(());
    }
    let status: Status =
        status.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    for line in status.for_people().into_iter().chain(lines) {
        say(&line);
    }
    Ok(())
}

fn conflicts(place: &Place, json: bool) -> Result<(), Failure> {
    let show = |conflict: &str| match sync::conflict_for_people(conflict) {
        Some(line) if !json => say(&line),
        _ => say(conflict),
    };
    let heard = &mut |told: Told<'_>| line(told).iter().for_each(|line| show(line));
    // What was kept is here, whether a server has the file, with PostgreSQL or without, or none.
    match ask(&place.data, Question::Conflicts, heard)? {
        Some(Ending::Done(_)) => Ok(()),
        Some(Ending::Failed(why)) => Err(ReplicaFailure::Failed(why).into()),
        None => place.with_store(|store| {
            let status = SyncStatus::new(store, Clock::system());
            let shown = status.conflicts(&mut |conflict| {
                show(conflict);
                true
            });
            shown.map_err(|error| ReplicaFailure::Failed(error.to_string()).into())
        }),
    }
}

fn line(told: Told<'_>) -> Option<String> {
    match told {
        Told::Line(line) => Some(line.to_owned()),
        Told::Progress(..) => None,
    }
}

impl Place {
    fn known(&self) -> Result<Target, Failure> {
        self.target.clone().ok_or(ReplicaFailure::NotConfigured.into())
    }

    /// Has `order` done by the server, if one has the file. It goes by itself if that fails.
    fn tell(&self, order: Order) -> Result<(), Failure> {
        if self.data.exists() {
            let _ending = ask(&self.data, Question::Order(order), &mut |_| ())?;
        }
        Ok(())
    }

    /// Has `order` done: by the server, if one has the file, else here.
    fn order(&self, order: Order, not_well: &'static str) -> Result<(), Failure> {
        let mut shown = Progress::new(Tell::Stdout);
        let mut each = |told: Told<'_>| shown.hear(news(told));
        // What is taken can be taken into a new file.
        let is_new = matches!(order, Order::Pull { .. }) && self.may_make && !self.data.exists();
        let asked = if is_new { None } else { ask(&self.data, Question::Order(order), &mut each)? };
        let ending = match asked {
            Some(ending) => ending,
            None => self.do_here(order, &mut each)?,
        };
        drop(shown);
        match ending {
            Ending::Done(true) => Ok(()),
            Ending::Done(false) => Err(ReplicaFailure::NotWell(not_well).into()),
            Ending::Failed(why) => Err(ReplicaFailure::Failed(why).into()),
        }
    }

    fn do_here(&self, order: Order, each: &mut dyn FnMut(Told<'_>)) -> Result<Ending, Failure> {
        let target = self.known()?;
        self.with_store(|store| {
            let replica = Replica::new(target, store, Clock::system())?;
            run(async {
                let (answers, said) = mpsc::channel(64);
                let doing = Box::pin(replica.run_once(order, answers));
                let (done, ending) = tokio::join!(doing, hear(said, each));
                done.map(|()| ending).map_err(failed)
            })
        })
    }

    /// Shows `work` the store, which no server has.
    fn with_store<T>(&self, work: impl FnOnce(Store) -> Result<T, Failure>) -> Result<T, Failure> {
        let (config, is_new) =
            (StoreConfig::new(self.data.clone(), CACHE_BYTES), !self.data.exists());
        let store =
            Store::open(&config, Clock::system(), Arc::default()).map_err(CareError::Open)?;
        if is_new {
            let data = self.data.display();
            hand_over(&self.data).map_err(|error| {
                ReplicaFailure::Failed(format!("cannot give {data} to its folder's owner: {error}"))
            })?;
            say(&format!("{data} is made"));
        }
        let done = work(store.clone());
        let closed = store.close();
        let done = done?;
        closed?;
        Ok(done)
    }

    /// How the replica of a running server is doing; `None` if no server has the file.
    fn ask_status(&self) -> Result<Option<Status>, Failure> {
        let mut status = None;
        let ending = ask(&self.data, Question::Status, &mut |told| {
            let read = line(told).and_then(|line| serde_json::from_str(&line).ok());
            status = status.take().or(read);
        })?;
        match ending {
            None => Ok(None),
            Some(Ending::Failed(why)) => Err(ReplicaFailure::Failed(why).into()),
            Some(Ending::Done(_)) => Ok(status),
        }
    }
}

/// As a bar shows it.
fn news(told: Told<'_>) -> News<'_> {
    match told {
        Told::Line(line) => News::Problem(line),
        Told::Progress(done, of) => {
            News::Progress { verb: "taking", done, of: Some(of), unit: Unit::Records }
        }
    }
}

fn ask(
    data: &Path,
    question: Question,
    each: &mut dyn FnMut(Told<'_>),
) -> Result<Option<Ending>, Failure> {
    ask_replica(data, question, each).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let path = data.to_owned();
            CareError::Open(OpenError::Access { path, source: error }).into()
        }
        _ => ReplicaFailure::Ask(error).into(),
    })
}

/// Shows what is said; gives how it ended.
async fn hear(mut said: mpsc::Receiver<Answer>, each: &mut dyn FnMut(Told<'_>)) -> Ending {
    let mut ending = Ending::Failed("it broke off".to_owned());
    while let Some(answer) = said.recv().await {
        match answer {
            Answer::Said(line) => each(Told::Line(&line)),
            Answer::Progress { done, of } => each(Told::Progress(done, of)),
            Answer::Done(is_well) => ending = Ending::Done(is_well),
            Answer::Failed(why) => ending = Ending::Failed(why),
        }
    }
    ending
}

fn failed(error: SyncError) -> Failure {
    ReplicaFailure::Failed(error.to_string()).into()
}

/// Runs `work` on a runtime of its own.
fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
