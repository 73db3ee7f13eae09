//! Looking at what was written there lately, where no outbox tells of it.
//!
//! That is quick where the tables have an index by time, and one look through them where they have
//! none. Comparing both sides finds the rest: what was committed late, or tells no time or a wrong one,
//! and what was deleted.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Message, MessageId, SessionId};
use crate::sessions::merge;
use crate::store::notes::{self as keys, Base};
use crate::store::{ReadTx, Store, StoreError};

use super::SyncError;
use super::link::Link;
use super::parcel::text;
use super::pull::{Taken, Taker, Wanted};
use super::statements::{get, micros_of, own_print, print};

/// How often is looked: this, and so long that looking takes a fifth of the time.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_TIMES: u32 = 4;

/// How much further back is looked than to the look before: a row has the time at which its
/// transaction began, or the one of another machine's clock.
const OVERLAP: Duration = Duration::from_mins(1);

/// How many rows are looked up in one go, which a commit may wait for, and then taken...
const PIECE: usize = 50;
/// ...and for about how long that goes on, the newest first, before it is looked again.
const TAKE: Duration = Duration::from_millis(500);

/// What is known of what was written lately.
#[derive(Debug)]
pub(super) struct Recent {
    /// Everything that was there then has been looked at.
    looked: Instant,
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
    /// When it was created, if that is known.
    at: Option<i64>,
    /// When it was put there, or changed.
    changed_at: i64,
}

impl Recent {
    /// Nothing is known of what was written before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { looked: now, next: now, seen: HashSet::new() }
    }

    /// Everything that was there at `then` has been compared.
    pub(super) fn compared(&mut self, then: Instant) {
        self.looked = self.looked.max(then);
    }

    /// Rows that were found here may not be here any more.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Takes what was written lately and is not here, or was changed.
    pub(super) async fn take(&mut self, taker: &Taker<'_>) -> Result<Taken, SyncError> {
        let began = Instant::now();
        let rows = read(taker.link, self.looked.elapsed() + OVERLAP).await?;
        let pause = LOOK.max(began.elapsed() * LOOK_TIMES);
        let (mut new, mut seen) = (Vec::new(), HashSet::new());
        for row in rows {
            let key = row.key();
            if self.seen.contains(&key) {
                seen.insert(key);
            } else {
                new.push(row);
            }
        }
        new.sort_unstable_by_key(|row| Reverse(row.changed_at));
        let (mut outcome, mut pieces) = (Taken::default(), new.chunks(PIECE));
        let until = Instant::now() + TAKE;
        for piece in pieces.by_ref() {
            outcome.add(taker.take(wanted(taker.store, piece)?).await?);
            seen.extend(piece.iter().map(Written::key));
            tokio::task::yield_now().await;
            if Instant::now() >= until {
                break;
            }
        }
        if pieces.next().is_none() {
            self.looked = began;
        }
        (self.seen, self.next) = (seen, Instant::now() + pause);
        Ok(outcome)
    }
}

/// What of `rows` is not here as it is there.
fn wanted(store: &Store, rows: &[Written]) -> Result<Wanted, StoreError> {
    let mut wanted = Wanted::default();
    let find = |tx: ReadTx<'_>| rows.iter().map(|row| row.find(tx)).collect();
    let found: Vec<Found> = store.read(find)?;
    for (row, found) in rows.iter().zip(found) {
        match (&row.message, found) {
            (_, Found::Same) => {}
            (Some(_), Found::Stored(json)) if row.says(&json) => {}
            (Some(message), Found::Stored(_) | Found::Other) => {
                wanted.messages.insert(message.clone());
            }
            // All that was said in it comes with it.
            _ => _ = wanted.sessions.insert(row.session.clone()),
        }
    }
    Ok(wanted)
}

/// What is here of a row.
enum Found {
    /// The same, or what can never be here.
    Same,
    /// A message of its id, which may say something else.
    Stored(Vec<u8>),
    /// The session of a message that is not here.
    Other,
    /// No such session, or one that is not the same.
    Nothing,
}

impl Written {
    fn of(row: &Row) -> Result<Self, SyncError> {
        let (session, message, print) = (get(row, 0)?, get(row, 1)?, print(get(row, 2)?));
        Ok(Self { session, message, print, at: get(row, 3)?, changed_at: get(row, 4)? })
    }

    fn key(&self) -> u128 {
        let message = self.message.as_deref().unwrap_or_default().as_bytes();
        let (print, at) = (self.print.to_be_bytes(), self.at.unwrap_or_default().to_be_bytes());
        xxh3_128(&[self.session.as_bytes(), &[0], message, &[0], &print, &at].concat())
    }

    fn find(&self, tx: ReadTx<'_>) -> Result<Found, StoreError> {
        let Ok(id) = SessionId::parse(&self.session) else {
            return Ok(Found::Same);
        };
        let Some(session) = tx.session(&id)? else {
            return Ok(Found::Nothing);
        };
        let Some(message) = &self.message else {
            let base = tx.note(&keys::base(session.number))?.and_then(|note| Base::of(&note));
            let created_at = i64::try_from(tx.row(&session)?.facts.created_at.as_micros()).ok();
            let is_same = base.is_some_and(|base| base.print == self.print)
                && (self.at.is_none() || self.at == created_at);
            return Ok(if is_same { Found::Same } else { Found::Nothing });
        };
        let Ok(message) = MessageId::parse(message) else {
            return Ok(Found::Same);
        };
        let stored = tx.message(&session, &message)?;
        Ok(stored.map_or(Found::Other, |stored| Found::Stored(stored.json)))
    }

    /// Whether the message with this row is it, and says the same.
    fn says(&self, json: &[u8]) -> bool {
        serde_json::from_slice::<Message<'_>>(json).is_ok_and(|stored| {
            text(&stored.id) == self.message
                && text(&stored.content).is_some_and(|text| merge::print(&text) == self.print)
        })
    }
}

/// That a column is of the time that `$1` tells in seconds.
macro_rules! lately {
    ($column:literal) => {
        concat!(
            $column,
            " > now() - $1 * interval '1 second' and ",
            $column,
            " < now() + interval '1 minute'"
        )
    };
}

/// What was written in this time, the newest if it is much.
async fn read(link: &Link, time: Duration) -> Result<Vec<Written>, SyncError> {
    // What is from the future would hide the rest for as long as it is.
    let statement = concat!(
        "(select s.session_id::text, null::text, ",
        own_print!(),
        ", ",
        micros_of!("s.created_at"),
        ", ",
        micros_of!("s.updated_at"),
        " from chat_sessions s where ",
        lately!("s.updated_at"),
        " order by s.updated_at desc limit 5000) union all",
        " (select m.session_id::text, m.message_id::text, md5(m.content), ",
        micros_of!("m.created_at"),
        ", ",
        micros_of!("m.created_at"),
        " from chat_messages m where ",
        lately!("m.created_at"),
        " order by m.created_at desc limit 5000)"
    );
    let parameters = [(&time.as_secs_f64() as _, Type::FLOAT8)];
    let rows = link.query_long("what was written lately", statement, &parameters).await?;
    rows.iter().map(Written::of).collect()
}
