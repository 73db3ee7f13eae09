//! Following what is done there: by the outbox where the extra schema is, else by comparing.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::store::{StoreError, WriteTx};

use super::link::Link;
use super::notes::{self, Followed};
use super::outbox::{self, Span};
use super::pull::Taker;
use super::push::Sender;
use super::reconcile::{self, Missing, Reconciled, is_too_many};
use super::statements::get;
use super::{Replica, SyncError};

/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How often both sides are compared without it: this, and so long that it takes a ninth of the
/// time.
const COMPARE: Duration = Duration::from_secs(1);
const COMPARE_TIMES: u32 = 8;

/// How often is noted how far was followed where nothing happened.
const NOTE: Duration = Duration::from_mins(1);

impl Replica {
    /// Takes what others did, if it is time to look; `accept` says that much may be deleted here.
    pub(super) async fn pull(&mut self, link: &Link, accept: bool) -> Result<u64, SyncError> {
        if self.paused && !accept {
            return Ok(0);
        }
        let (now, installed) = outbox::now(link).await?;
        self.installed = installed;
        self.status.set_installed(installed);
        let incarnation = incarnation(link, installed).await?;
        let is_known = self.followed.log == self.store.log_id()
            && self.followed.incarnation == incarnation
            && !outbox::went_back(&self.followed.from, &now);
        let is_known = is_known && (!installed || self.mark_holds(link).await?);
        let taken = if installed && is_known && !self.followed.from.is_empty() {
            self.pull_outbox(link, &now, accept).await?
        } else {
            self.compare(link, (is_known, installed), accept).await?
        };
        if self.paused {
            return Ok(taken);
        }
        let is_new = !is_known || (self.followed.from.is_empty() && installed);
        self.followed.log = self.store.log_id();
        self.followed.incarnation = incarnation;
        self.followed.from = now;
        if is_new || taken > 0 || self.noted.elapsed() >= NOTE {
            self.save_followed(link).await?;
        }
        Ok(taken)
    }

    async fn pull_outbox(
        &mut self,
        link: &Link,
        now: &str,
        accept: bool,
    ) -> Result<u64, SyncError> {
        self.next_pull = Instant::now() + LOOK;
        let from = self.followed.from.clone();
        if from == now {
            self.status.pulled();
            return Ok(0);
        }
        let node = link.node().to_owned();
        let span = Span { from: &from, to: now, node: &node };
        let gone = outbox::gone(link, &span).await?;
        if is_too_many(gone, self.followed.known) && !accept {
            self.pause(gone);
            return Ok(0);
        }
        let taker = Taker { link, store: &self.store, installed: true };
        let (mut outcome, truncated) = outbox::follow(&taker, &span).await?;
        let again = std::mem::take(&mut outcome.again);
        if !again.is_empty() {
            self.sender(link).send(again).await?;
        }
        self.followed.known = (self.followed.known + outcome.rows).saturating_sub(gone);
        if truncated {
            let reconciled = self.reconcile(link, (Missing::Deleted, accept)).await?;
            outcome.rows += reconciled.taken;
        }
        self.status.pulled();
        Ok(outcome.rows)
    }

    /// Compares both sides as a whole, where that is all that can be done, or nothing is known yet.
    async fn compare(
        &mut self,
        link: &Link,
        (is_known, installed): (bool, bool),
        accept: bool,
    ) -> Result<u64, SyncError> {
        // What is missing may have been lost where the other side is another than it was.
        let missing = if is_known && !installed { Missing::Deleted } else { Missing::Lost };
        if !is_known {
            info!("PostgreSQL: comparing both sides as a whole");
        }
        let began = Instant::now();
        let reconciled = self.reconcile(link, (missing, accept)).await?;
        let pause = if installed { LOOK } else { COMPARE.max(began.elapsed() * COMPARE_TIMES) };
        self.next_pull = Instant::now() + pause;
        self.status.pulled();
        Ok(reconciled.taken)
    }

    /// Compares both sides, and makes them the same.
    pub(super) async fn reconcile(
        &mut self,
        link: &Link,
        how: (Missing, bool),
    ) -> Result<Reconciled, SyncError> {
        let taker = Taker { link, store: &self.store, installed: self.installed };
        let mut sender = Sender {
            link,
            store: &self.store,
            refused_roles: &mut self.refused_roles,
            again: false,
            installed: self.installed,
            restores: how.0 == Missing::Lost,
        };
        let reconciled = reconcile::reconcile(&taker, &mut sender, self.looked, how).await?;
        self.followed.known = reconciled.known;
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
             restore them there, or run `orion-chat postgres install`, which sends them again"
        );
        warn!("PostgreSQL: nothing is taken from there any more: {why}");
        self.paused = true;
        self.status.pause(Some(why));
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.status.pause(None);
    }

    /// Whether the mark that was left there is there still: a copy of before has an older one.
    async fn mark_holds(&mut self, link: &Link) -> Result<bool, SyncError> {
        if std::mem::replace(&mut self.mark_checked, true) {
            return Ok(true);
        }
        let statement = "select n.mark from orion_chat.nodes n where n.node = $1";
        let node = link.node();
        let parameters = [(&node as _, tokio_postgres::types::Type::TEXT)];
        let rows = link.query("the nodes", statement, &parameters).await?;
        let mark = rows.first().map(|row| get::<i64>(row, 0)).transpose()?.unwrap_or(0);
        Ok(mark >= self.followed.mark)
    }

    /// Notes how far was followed: there first, so that here is never more.
    async fn save_followed(&mut self, link: &Link) -> Result<(), SyncError> {
        if self.installed {
            self.followed.mark = outbox::leave_mark(link, &self.followed.from).await?;
            outbox::prune(link, &self.followed.from).await?;
        }
        self.noted = Instant::now();
        let followed: Followed = self.followed.clone();
        let work = move |tx: &mut WriteTx<'_>| {
            notes::write(tx, notes::FOLLOWED, &followed);
            Ok::<_, StoreError>(())
        };
        Ok(self.store.write("replica_followed", work).await?)
    }
}

/// What tells these tables from others of the same names: a dump that is restored makes new ones.
async fn incarnation(link: &Link, installed: bool) -> Result<String, SyncError> {
    let statement = "select 'chat_sessions'::regclass::oid::text || ' ' ||\
        \x20'chat_messages'::regclass::oid::text";
    let rows = link.query("the tables", statement, &[]).await?;
    let tables: String = rows.first().map(|row| get(row, 0)).transpose()?.unwrap_or_default();
    Ok(format!("{tables}{}", if installed { " installed" } else { "" }))
}
