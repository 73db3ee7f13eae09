//! Looking at what was written there lately, where no outbox tells of it.
//!
//! That is quick where the tables have an index by time, and one look through them where they have
//! none. Comparing both sides finds the rest: what was committed late, or tells no time or a wrong one,
//! and what was deleted.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Message, MessageId, SessionId};
use crate::sessions::merge;
use crate::store::notes::{self as keys, Base};
use crate::store::{ReadTx, StoreError};

use super::SyncError;
use super::link::Link;
use super::parcel::text;
use super::pull::{Taken, Taker, Wanted};
use super::statements::{get, own_print, print};

/// How often is looked: this, and so long that looking takes a ninth of the time.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_TIMES: u32 = 8;

/// How much further back is looked than to the look before: a row has the time at which its
/// transaction began, or the one of another machine's clock.
const OVERLAP: Duration = Duration::from_mins(1);

/// How many rows are looked up in one go: a commit waits for that.
const READ: usize = 100;

/// What is known of what was written lately.
#[derive(Debug)]
pub(super) struct Recent {
    /// Everything that was there then has been looked at.
    since: Instant,
    /// When is looked again.
    next: Instant,
    /// What was found by the last look.
    seen: HashSet<u128>,
}

/// A row that was written lately: a session, or a message of it.
#[derive(Debug)]
struct Written {
    session: String,
    message: Option<String>,
    print: u128,
}

impl Recent {
    /// Nothing is known of what was written before `now`.
    pub(super) fn since(now: Instant) -> Self {
        Self { since: now, next: now, seen: HashSet::new() }
    }

    /// Everything that was there at `then` has been looked at by others.
    pub(super) fn compared(&mut self, then: Instant) {
        self.since = self.since.max(then);
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Takes what was written lately and is not here, or was changed.
    pub(super) async fn take(&mut self, taker: &Taker<'_>) -> Result<Taken, SyncError> {
        let began = Instant::now();
        let mut rows = read(taker.link, self.since.elapsed() + OVERLAP).await?;
        let seen: HashSet<_> = rows.iter().map(Written::key).collect();
        rows.retain(|row| !self.seen.contains(&row.key()));
        let mut wanted = Wanted::default();
        for piece in rows.chunks(READ) {
            taker.store.read(|tx| piece.iter().try_for_each(|row| row.want(tx, &mut wanted)))?;
            tokio::task::yield_now().await;
        }
        self.next = Instant::now() + LOOK.max(began.elapsed() * LOOK_TIMES);
        let outcome = taker.take(wanted).await?;
        (self.since, self.seen) = (began, seen);
        Ok(outcome)
    }
}

impl Written {
    fn of(row: &Row) -> Result<Self, SyncError> {
        Ok(Self { session: get(row, 0)?, message: get(row, 1)?, print: print(get(row, 2)?) })
    }

    fn key(&self) -> u128 {
        let message = self.message.as_deref().unwrap_or_default().as_bytes();
        let ids = [self.session.as_bytes(), &[0], message, &[0]];
        xxh3_128(&[ids.concat().as_slice(), &self.print.to_be_bytes()].concat())
    }

    fn want(&self, tx: ReadTx<'_>, wanted: &mut Wanted) -> Result<(), StoreError> {
        if !self.is_here(tx)? {
            match &self.message {
                Some(message) => wanted.messages.insert(message.clone()),
                None => wanted.sessions.insert(self.session.clone()),
            };
        }
        Ok(())
    }

    /// Whether it is here as it is there, or can never be.
    fn is_here(&self, tx: ReadTx<'_>) -> Result<bool, StoreError> {
        let Ok(id) = SessionId::parse(&self.session) else {
            return Ok(true);
        };
        let Some(session) = tx.session(&id)? else {
            return Ok(false);
        };
        let Some(message) = &self.message else {
            let base = tx.note(&keys::base(session.number))?.and_then(|note| Base::of(&note));
            return Ok(base.is_some_and(|base| base.print == self.print));
        };
        let Ok(message) = MessageId::parse(message) else {
            return Ok(true);
        };
        let stored = tx.message(&session, &message)?;
        Ok(stored.is_some_and(|stored| {
            let message: Option<Message<'_>> = serde_json::from_slice(&stored.json).ok();
            let content = message.and_then(|message| text(&message.content));
            content.is_some_and(|content| merge::print(&content) == self.print)
        }))
    }
}

/// What was written in this time, the newest if it is much.
async fn read(link: &Link, time: Duration) -> Result<Vec<Written>, SyncError> {
    // What is from the future would hide the rest for as long as it is.
    let statement = concat!(
        "with span as (select now() - $1 * interval '1 second' as begin,",
        " now() + interval '1 minute' as until)",
        " (select s.session_id::text, null::text, ",
        own_print!(),
        " from chat_sessions s, span where s.updated_at > span.begin and s.updated_at < span.until",
        " order by s.updated_at desc limit 5000)",
        " union all",
        " (select m.session_id::text, m.message_id::text, md5(m.content)",
        " from chat_messages m, span where m.created_at > span.begin and m.created_at < span.until",
        " order by m.created_at desc limit 5000)"
    );
    let parameters = [(&time.as_secs_f64() as _, Type::FLOAT8)];
    let rows = link.query_long("what was written lately", statement, &parameters).await?;
    rows.iter().map(Written::of).collect()
}
