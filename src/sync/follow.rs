//! Following what is done there: by the outbox where the extra schema is, else by looking at what was
//! written lately, and by comparing.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::fault::{Fault, is_planted};
use crate::model::Timestamp;
use crate::store::{StoreError, WriteTx};

use super::link::Link;
use super::notes::{self, Followed};
use super::outbox::{self, Span};
use super::reconcile::{self, Missing, Reconciled, is_too_many};
use super::statements::get;
use super::{Replica, SyncError};

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How often both sides are compared as a whole without it: this, and so long that it takes a ninth of the
/// time.
const COMPARE: Duration = Duration::from_secs(1);
const COMPARE_TIMES: u32 = 8;

/// How often is noted how far was followed, where something happened and where nothing did: what was taken
/// since would be looked at again after a crash. Each note is a commit, for which saves wait.
const NOTE: Duration = Duration::from_secs(2);
const NOTE_IDLE: Duration = Duration::from_mins(1);

/// What is known there of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// What it needs of the outbox is there.
    Known,
    /// It was away for so long that what it needs may be gone.
    Forgotten,
    /// Not what it was told: these tables come from a copy.
    Lost,
}

impl Replica {
    /// Takes what others did; `accept` says that much may be deleted here. Gives how many rows that
    /// were, and whether both sides were compared as a whole for it.
    pub(super) async fn pull(
        &mut self,
        link: &Link,
        accept: bool,
    ) -> Result<(u64, bool), SyncError> {
        let server = Server::at(link).await?;
        if self.paused && !accept {
            if server.is_followed_by(&self.followed) {
                self.next_pull = Instant::now() + COMPARE;
                return Ok((0, false));
            }
            // Whoever is asked has answered: it is another one, which lacks what was lost.
            self.resume();
        }
        let (mut now, installed) = outbox::now(link).await?;
        self.installed = installed;
        self.status.set_installed(installed);
        let (is_known, standing, mut taken) = self.recognize(link, (&server, &now), accept).await?;
        if self.paused && !accept {
            return Ok((taken, false));
        }
        if !is_known {
            self.followed.from.clear();
        }
        let is_due = installed || !is_known || self.next_compare <= Instant::now();
        let is_whole = standing == Standing::Forgotten || (self.followed.from.is_empty() && is_due);
        let was_unknown = self.registered.is_some();
        taken += if is_whole {
            if installed {
                // Who is interrupted begins again: nobody keeps any more what was to be told before.
                self.followed.from.clear();
                self.note_followed().await?;
                self.register(link, &mut now).await?;
            }
            // What is missing may have been lost where the other side is another than it was.
            let missing = if is_known { Missing::Deleted } else { Missing::Lost };
            self.compare(link, missing, accept).await?
        } else if installed {
            self.pull_outbox(link, &now, accept).await?
        } else {
            self.pull_recent(link).await?
        };
        if self.paused {
            return Ok((taken, is_whole));
        }
        let is_first = is_whole && self.followed.incarnation.is_empty();
        self.followed.log = self.store.log_id();
        (self.followed.incarnation, self.followed.timeline) = (server.incarnation, server.timeline);
        self.followed.seen.clone_from(&now);
        // From now on the outbox tells.
        self.followed.from = if installed { now } else { String::new() };
        self.unnoted += if installed { taken } else { 0 };
        let is_turn =
            (is_whole && (installed || !is_known)) || (was_unknown && self.registered.is_none());
        let pause = if self.unnoted == 0 { NOTE_IDLE } else { NOTE };
        if is_turn || self.noted.elapsed() >= pause {
            self.save_followed(link).await?;
        }
        if is_first {
            // What the log did not tell, if it did not reach back, has been compared.
            self.save_sent().await?;
        }
        Ok((taken, is_whole))
    }

    /// Whether everything is there that was there, as far as can be told; how we stand with it; and how many
    /// rows changed here for that.
    async fn recognize(
        &mut self,
        link: &Link,
        (server, now): (&Server, &str),
        accept: bool,
    ) -> Result<(bool, Standing, u64), SyncError> {
        let standing = if self.installed { self.standing(link).await? } else { Standing::Known };
        let is_known = self.followed.log == self.store.log_id()
            && self.followed.incarnation == server.incarnation
            && !outbox::went_back(&self.followed.seen, now)
            && standing != Standing::Lost;
        let is_same = self.followed.timeline == server.timeline;
        let tells = standing == Standing::Known && !self.followed.from.is_empty();
        let taken = if is_known && !is_same && tells {
            // What took its place tells of deletions; the rest that is missing there may have been lost.
            self.pull_outbox(link, now, accept).await?
        } else {
            0
        };
        Ok((is_known && is_same, standing, taken))
    }

    /// Has the outbox keep what is done from now on for us too, and sets `now` to a snapshot of after that.
    async fn register(&mut self, link: &Link, now: &mut String) -> Result<(), SyncError> {
        outbox::register(link).await?;
        (*now, _) = outbox::now(link).await?;
        self.registered = (!outbox::is_behind(now, now)).then(|| now.clone());
        Ok(())
    }

    async fn pull_outbox(
        &mut self,
        link: &Link,
        now: &str,
        accept: bool,
    ) -> Result<u64, SyncError> {
        self.next_pull = Instant::now() + LOOK;
        let mut from = self.followed.from.clone();
        if is_planted(Fault::FollowedByNewest) {
            from = outbox::closed(&from);
        }
        // What other nodes do that did not know of us yet, no outbox tells.
        let are_done = self.registered.as_ref().is_some_and(|then| outbox::is_behind(now, then));
        let is_due = are_done || (self.registered.is_some() && self.next_compare <= Instant::now());
        if from == now && !is_due {
            self.status.pulled();
            return Ok(0);
        }
        let node = link.node().to_owned();
        let span = Span { from: &from, to: now, node: &node };
        let stored = self.store.stored();
        self.followed.known = stored.sessions + stored.messages;
        let gone = outbox::gone(link, &span).await?;
        if is_too_many(gone, self.followed.known) && !accept {
            // What was made there in the same time, and never was here, is nobody's loss.
            let gone = outbox::gone_from_here(link, &self.store, &span).await?;
            if is_too_many(gone, self.followed.known) {
                self.pause(gone);
                return Ok(0);
            }
        }
        let mut hands = self.hands(link);
        let (mut outcome, truncated) = outbox::follow(&hands.taker, &span).await?;
        let again = std::mem::take(&mut outcome.again);
        if !again.is_empty() {
            hands.sender.send(again).await?;
        }
        if truncated || is_due {
            let reconciled = self.reconcile(link, (Missing::Deleted, accept)).await?;
            outcome.rows += reconciled.taken;
            if are_done && reconciled.too_many.is_none() {
                self.registered = None;
            }
        }
        self.status.pulled();
        Ok(outcome.rows)
    }

    /// Takes what was written lately, in the time between two comparisons.
    async fn pull_recent(&mut self, link: &Link) -> Result<u64, SyncError> {
        let taken = self.hands(link).look().await?;
        self.next_pull = self.next_look();
        Ok(taken)
    }

    /// When to look again at what was written lately, or at everything.
    fn next_look(&self) -> Instant {
        self.recent.next().min(self.next_compare)
    }

    /// Compares both sides as a whole, where that is all that can be done, or nothing is known yet.
    async fn compare(
        &mut self,
        link: &Link,
        missing: Missing,
        accept: bool,
    ) -> Result<u64, SyncError> {
        if self.installed || missing == Missing::Lost {
            info!("PostgreSQL: comparing both sides as a whole");
        }
        let began = Instant::now();
        let reconciled = self.reconcile(link, (missing, accept)).await?;
        self.recent.compared(began);
        self.next_pull = if self.installed { Instant::now() + LOOK } else { self.next_look() };
        self.status.pulled();
        Ok(reconciled.taken)
    }

    /// Compares both sides, and makes them the same.
    pub(super) async fn reconcile(
        &mut self,
        link: &Link,
        how: (Missing, bool),
    ) -> Result<Reconciled, SyncError> {
        let looked = self.looked;
        let reconciled = reconcile::reconcile(self.hands(link), looked, how).await?;
        self.followed.known = reconciled.known;
        self.next_compare = Instant::now() + COMPARE.max(reconciled.looked * COMPARE_TIMES);
        match reconciled.too_many {
            Some(gone) => self.pause(gone),
            None => self.resume(),
        }
        Ok(reconciled)
    }

    fn pause(&mut self, gone: u64) {
        let known = self.followed.known;
        let why = format!(
            "{gone} of {known} rows are gone from PostgreSQL at once; if they were deleted, \
             `orion-chat postgres pull --accept-deletions` deletes them here too; if they were lost, \
             restore them there, or run `orion-chat postgres install`, after `uninstall` where it is \
             installed, which sends them again"
        );
        warn!("PostgreSQL: nothing is taken from there any more: {why}");
        // It may last for so long that others do not wait.
        (self.paused, self.mark_checked) = (true, false);
        self.status.pause(Some(why));
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.status.pause(None);
    }

    /// What is known of us there: whether the mark that was left is there still, of which a copy of
    /// before has an older one, and whether we were away for so long that others did not wait.
    async fn standing(&mut self, link: &Link) -> Result<Standing, SyncError> {
        if std::mem::replace(&mut self.mark_checked, true) {
            return Ok(Standing::Known);
        }
        let statement = "select n.mark, n.followed is null from orion_chat.nodes n\
            \x20where n.node = $1";
        let node = link.node();
        let parameters = [(&node as _, tokio_postgres::types::Type::TEXT)];
        let rows = link.query("the nodes", statement, &parameters).await?;
        let Some(row) = rows.first() else {
            let is_new = self.followed.mark == 0;
            return Ok(if is_new { Standing::Known } else { Standing::Lost });
        };
        Ok(match (get::<i64>(row, 0)? >= self.followed.mark, get(row, 1)?) {
            (false, _) => Standing::Lost,
            (true, true) => Standing::Forgotten,
            (true, false) => Standing::Known,
        })
    }

    /// Notes how far was followed: there first, so that here is never more.
    async fn save_followed(&mut self, link: &Link) -> Result<(), SyncError> {
        if self.installed {
            self.followed.mark = outbox::leave_mark(link, &self.followed.from).await?;
            if !self.followed.from.is_empty() {
                outbox::prune(link, &self.followed.from).await?;
            }
        }
        (self.noted, self.unnoted) = (Instant::now(), 0);
        self.note_followed().await
    }

    /// Notes here how far was followed.
    pub(super) async fn note_followed(&self) -> Result<(), SyncError> {
        let mut followed: Followed = self.followed.clone();
        followed.pulled_at = self.status.pulled_at().map_or(0, Timestamp::as_micros);
        if self.registered.is_some() {
            // Whoever starts again compares, as nothing tells when they are done.
            followed.from.clear();
        }
        let work = move |tx: &mut WriteTx<'_>| {
            notes::write(tx, notes::FOLLOWED, &followed);
            Ok::<_, StoreError>(())
        };
        Ok(self.store.write_patiently("replica_followed", work).await?)
    }
}

/// What tells a server from others.
#[derive(Debug)]
struct Server {
    /// Its tables and the extra schema: a dump that is restored makes others of the same names.
    incarnation: String,
    /// Its timeline: a server that was restored, or takes the place of another, begins a new one.
    timeline: String,
}

impl Server {
    fn is_followed_by(&self, followed: &Followed) -> bool {
        (&self.incarnation, &self.timeline) == (&followed.incarnation, &followed.timeline)
    }

    async fn at(link: &Link) -> Result<Self, SyncError> {
        let statement = "select concat_ws(' ', 'chat_sessions'::regclass::oid,\
            \x20'chat_messages'::regclass::oid, to_regclass('orion_chat.outbox')::oid),\
            \x20case when not pg_is_in_recovery()\
            \x20then left(pg_walfile_name(pg_current_wal_lsn()), 8) end";
        let rows = link.query("the tables", statement, &[]).await?;
        let server = rows.first().map(|row| Ok::<_, SyncError>((get(row, 0)?, get(row, 1)?)));
        match server.transpose()? {
            Some((incarnation, Some(timeline))) => Ok(Self { incarnation, timeline }),
            // What is missing on it may only be late.
            _ => Err(SyncError::Unreachable(
                "it is a standby, which follows another server and takes nothing".to_owned(),
            )),
        }
    }
}
