//! PostgreSQL as a replica: what is done here is sent there, and what others do there is taken.
//!
//! It is never in the way of a save: one task of the server's follows the change log and sends what
//! it names, whenever PostgreSQL can be reached. Both ways tell *which* rows changed; what is sent
//! or taken is the row as it is now, so that it does not matter how often or in which order.
//!
//! In here: `target` (where PostgreSQL is), `link` (a connection with its statements), `install` (the
//! extra schema); one way `drain` and `push` with `parcel` (what is sent in one transaction) and `statements`; the
//! other way `follow`, by `outbox` or by `recent`, `compare` and `reconcile` at its `pace`, with `pull` and
//! `theirs` (rows as they are there); `notes` (what is kept about it in our own file), `failure` (what a refusal is about),
//! `traces` (of deletions), `queue` and `status`, and `order` with `orders` (what operators ask for).

mod compare;
mod drain;
mod failure;
mod follow;
mod install;
mod link;
mod notes;
mod order;
mod orders;
mod outbox;
mod pace;
mod parcel;
mod pull;
mod push;
mod queue;
mod recent;
mod reconcile;
mod statements;
mod status;
mod target;
mod theirs;
mod traces;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::model::{Clock, Role};
use crate::store::{Store, StoreError};

pub use failure::SyncError;
pub use install::{install, uninstall};
pub use order::{Answer, Handle, Order};
pub use status::{Status, SyncStatus, conflict_for_people};
pub use target::{BadTarget, Target};

use failure::Kind;
use link::Link;
use notes::{Followed, Sent};
use order::{Progress, Request};
use pace::Pace;
use pull::Taker;
use push::Sender;
use recent::Recent;
use reconcile::Hands;

/// How often is looked whether there is something to send.
const LOOK: Duration = Duration::from_millis(100);

/// How long is sent before it is looked whether there is something to take.
const TURN: Duration = Duration::from_millis(500);

/// How long after the first failure it is tried again, and after many.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How often rows are sent again that somebody else held.
const RETRY: Duration = Duration::from_secs(5);

/// How often old deletions are forgotten.
const FORGET: Duration = Duration::from_hours(24);

/// How many orders may wait.
const ORDERS: usize = 8;

/// The replica of a store.
#[derive(Debug)]
pub struct Replica {
    target: Target,
    store: Store,
    status: Arc<SyncStatus>,
    requests: mpsc::Receiver<Request>,
    handle: Handle,
    /// What is asked for and could not be done yet.
    waiting: Option<Request>,
    sent: Sent,
    /// The number up to which the log was looked at.
    looked: u64,
    followed: Followed,
    /// When that was noted last...
    noted: Instant,
    /// ...and how many rows were taken since.
    unnoted: u64,
    next_pull: Instant,
    /// When both sides are compared as a whole again, where nothing tells of every change.
    next_compare: Instant,
    recent: Recent,
    pace: Pace,
    next_retry: Instant,
    next_forget: Instant,
    clock: Clock,
    installed: bool,
    mark_checked: bool,
    /// When we made ourselves known there, as long as somebody who did not know of us may be writing.
    registered: Option<String>,
    paused: bool,
    refused_roles: HashMap<Role, (String, String)>,
    failures: u32,
    /// For whoever waits for a pull.
    progress: Option<Progress>,
}

impl Replica {
    /// The replica at `target` of `store`, whose log is kept for it from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn new(target: Target, store: Store, clock: Clock) -> Result<Self, StoreError> {
        let sent: Sent = store.read(|tx| notes::read(tx, notes::SENT))?.unwrap_or_default();
        let sent = if sent.log == store.log_id() { sent } else { Sent::default() };
        let followed = store.read(|tx| notes::read(tx, notes::FOLLOWED))?.unwrap_or_default();
        store.hold_log(sent.seq);
        let status = Arc::new(SyncStatus::new(store.clone(), clock.clone()));
        status.set_sent(sent.seq);
        let (asking, requests) = mpsc::channel(ORDERS);
        let handle = Handle { status: Arc::clone(&status), requests: asking };
        let now = Instant::now();
        Ok(Self {
            target,
            store,
            status,
            requests,
            handle,
            waiting: None,
            looked: sent.seq,
            sent,
            followed,
            noted: now,
            unnoted: 0,
            next_pull: now,
            next_compare: now,
            recent: Recent::new(now),
            pace: Pace::new(),
            next_retry: now,
            next_forget: now,
            clock,
            installed: false,
            mark_checked: false,
            registered: None,
            paused: false,
            refused_roles: HashMap::new(),
            failures: 0,
            progress: None,
        })
    }

    /// For those who ask something of it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Follows, whenever PostgreSQL can be reached, until `stop` is cancelled; `metrics` tell how it is
    /// doing meanwhile.
    pub async fn run(mut self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let status = Arc::clone(&self.status);
        tokio::select! {
            () = stop.cancelled() => {}
            never = status.measure(&metrics) => match never {},
            never = self.follow() => match never {},
        }
    }

    async fn follow(&mut self) -> Infallible {
        loop {
            let Err(error) = Box::pin(self.follow_connected()).await;
            self.status.fail(&error);
            self.failures += 1;
            if let Some(request) = self.waiting.take() {
                request.end(Err(&error)).await;
            }
            let pause = match error.kind() {
                Kind::Moment | Kind::Row => backoff(self.failures),
                // As long as others do not.
                Kind::Tables => backoff(u32::MAX),
            };
            let millis = pause.as_millis();
            warn!(%error, "PostgreSQL: {error}; what is done here is kept, again in {millis} ms");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Whoever asks does not want to wait.
                request = self.requests.recv() => self.waiting = request,
            }
        }
    }

    /// Follows for as long as one connection lasts.
    async fn follow_connected(&mut self) -> Result<Infallible, SyncError> {
        let (client, connection) = self.target.connect().await?;
        let link = Link::new(client, self.node());
        let ended = tokio::select! {
            worked = self.work(&link) => worked,
            ended = connection => match ended {
                Ok(()) => Err(SyncError::Unreachable("PostgreSQL closed the connection".to_owned())),
                Err(error) => Err(error.into()),
            },
        };
        if link.has_committed() {
            // It got on, so that the next try need not wait for long.
            self.failures = 0;
        }
        ended
    }

    async fn work(&mut self, link: &Link) -> Result<Infallible, SyncError> {
        self.refused_roles.clear();
        self.mark_checked = false;
        (self.next_pull, self.next_compare) = (Instant::now(), Instant::now());
        let mut connected = false;
        loop {
            if let Some(request) = self.waiting.take() {
                self.answer(link, request).await?;
            }
            let since = Instant::now();
            // However much there is to send, what others do there gets its turn.
            while self.push(link).await? && since.elapsed() < TURN {}
            if self.next_pull <= Instant::now() {
                self.pull(link, false).await?;
            }
            if self.next_retry <= Instant::now() {
                self.retry_held(link).await?;
                self.next_retry = Instant::now() + RETRY;
            }
            if self.next_forget <= Instant::now() && !self.paused {
                self.forget_deletions().await?;
                self.next_forget = Instant::now() + FORGET;
            }
            if !std::mem::replace(&mut connected, true) {
                info!("PostgreSQL: connected to {}", self.target);
                self.status.connect();
            }
            self.failures = 0;
            let pause = if self.is_behind()? { Duration::ZERO } else { LOOK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                request = self.requests.recv() => self.waiting = request,
            }
        }
    }

    /// Whether there is something to send still.
    fn is_behind(&self) -> Result<bool, StoreError> {
        Ok(self.looked < self.store.read(|tx| Ok::<_, StoreError>(tx.newest()))?)
    }

    async fn answer(&mut self, link: &Link, request: Request) -> Result<(), SyncError> {
        let outcome = self.obey(link, &request).await;
        request.end(outcome.as_ref().map(|is_well| *is_well)).await;
        outcome.map(drop)
    }

    /// Does one thing that is asked for, and no more: for who has the file alone.
    ///
    /// # Errors
    /// [`SyncError`]
    pub async fn run_once(
        mut self,
        order: Order,
        answers: mpsc::Sender<Answer>,
    ) -> Result<(), SyncError> {
        let (client, connection) = self.target.connect().await?;
        let link = Link::new(client, self.node());
        let request = Request { order, answers };
        tokio::select! {
            answered = self.answer(&link, request) => answered,
            ended = connection => {
                let why = ended.err().map_or("it closed it".to_owned(), |error| error.to_string());
                Err(SyncError::Unreachable(format!("the connection broke off: {why}")))
            }
        }
    }

    fn node(&self) -> String {
        format!("{:016x}", self.store.log_id())
    }

    fn hands<'a>(&'a mut self, link: &'a Link) -> Hands<'a> {
        let (store, installed, progress) = (&self.store, self.installed, self.progress.as_ref());
        let refused_roles = &mut self.refused_roles;
        Hands {
            taker: Taker { link, store, installed, progress },
            sender: Sender { link, store, refused_roles, again: false, installed, restores: false },
            recent: &mut self.recent,
            pace: &mut self.pace,
        }
    }
}

/// How long to wait after so many failures: each time twice as long, and not as long as others do.
fn backoff(failures: u32) -> Duration {
    let longest = BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let spread = u32::try_from(random % 1000).unwrap_or(0);
    longest / 2 + longest / 2 * spread / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_after_each_failure_never_longer_than_the_limit_and_never_the_same() {
        for failures in 0..100 {
            let longest = BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
            assert!((longest / 2..=longest).contains(&backoff(failures)), "after {failures}");
        }
        assert!(backoff(0) <= BACKOFF && backoff(u32::MAX) >= BACKOFF_MAX / 2);
        let pauses: std::collections::HashSet<_> = (0..100).map(|_| backoff(20)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }
}
