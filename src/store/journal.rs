//! The log as the replica reads it: which rows were touched, in the order of commits. What they hold
//! is read from the tables when they are sent, so that one that changed again is sent once.

use std::sync::Arc;

use redb::{ReadOnlyTable, ReadableTable as _};

use crate::model::{MessageId, SessionId, Timestamp, UserId};

use super::StoreError;
use super::record;
use super::step::{Cause, FreshSession, Step};

type ByteKey = &'static [u8];

/// How many entries of the log are read in one go, and about how many steps: a commit waits for that, and
/// one entry may hold as much as hundreds of others.
const ENTRIES: usize = 32;
const STEPS: u64 = 500;

/// A row that was touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Touched {
    /// A session was created or changed.
    Session(SessionId),
    /// A message of a session was saved or edited: the one that stands at a place.
    Message(UserId, u64, Timestamp),
    /// A message of a session of this user's was deleted, at a time.
    MessageGone(UserId, SessionId, MessageId, Timestamp),
    /// A session of this user's was deleted, at a time.
    SessionGone(UserId, SessionId, Timestamp),
}

/// A piece of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// What was touched here, and not at the replica before, in order.
    pub touched: Vec<Touched>,
    /// The numbers of the sessions that were created here.
    pub created: Vec<u64>,
    /// When the first of that was done.
    pub since: Option<Timestamp>,
    /// The number up to which the log was read.
    pub until: u64,
}

/// Reads the log after number `after`, until `enough` rows were touched, or a piece of it was read; `None` if some of that is
/// not kept any more, or never was.
pub(super) fn read(
    log: &ReadOnlyTable<u64, ByteKey>,
    after: u64,
    newest: u64,
    enough: usize,
) -> Result<Option<Journal>, StoreError> {
    let mut journal =
        Journal { touched: Vec::new(), created: Vec::new(), since: None, until: after };
    if after >= newest {
        return Ok((after == newest).then_some(journal));
    }
    let at_or_before = log.range(..=after)?.next_back().transpose()?;
    let first = match at_or_before {
        Some((seq, _)) => seq.value(),
        None if log.first()?.is_none_or(|(seq, _)| seq.value() == after + 1) => after + 1,
        None => return Ok(None),
    };
    let mut mirrored = 0;
    for (entries, entry) in log.range(first..=newest)?.enumerate() {
        let is_enough = entries >= ENTRIES || journal.until >= after + STEPS;
        if is_enough && mirrored == 0 && journal.until > after {
            break;
        }
        let (seq, steps) = entry?;
        let steps = (seq.value()..).zip(record::decode_steps(seq.value(), steps.value())?);
        for (seq, step) in steps.skip_while(|(seq, _)| *seq <= after) {
            match step {
                Step::Mirrored { steps } => mirrored = steps,
                _ if mirrored > 0 => mirrored -= 1,
                step => journal.note(&step),
            }
            // A piece ends where no step tells how to take those behind it.
            if mirrored > 0 {
                continue;
            }
            journal.until = seq;
            if journal.touched.len() >= enough {
                return Ok(Some(journal));
            }
        }
    }
    Ok(Some(journal))
}

impl Journal {
    /// Adds the piece behind it.
    pub fn append(&mut self, next: Self) {
        self.touched.extend(next.touched);
        self.created.extend(next.created);
        self.since = self.since.or(next.since);
        self.until = next.until;
    }

    fn note(&mut self, step: &Step) {
        let touched = match step {
            Step::PutSession { cause, session } => {
                let FreshSession { id, number, .. } = Arc::as_ref(session);
                self.created.extend((*cause == Cause::Created).then_some(number));
                Touched::Session(id.clone())
            }
            Step::PutMessage { user_id, number, at, .. } => {
                Touched::Message(user_id.clone(), *number, *at)
            }
            Step::EditMessage { user_id, number, place, .. } => {
                Touched::Message(user_id.clone(), *number, *place)
            }
            Step::DeleteMessage { user_id, session_id, id, at, .. } => {
                Touched::MessageGone(user_id.clone(), session_id.clone(), id.clone(), *at)
            }
            Step::DeleteSession { user_id, id, at, .. } => {
                Touched::SessionGone(user_id.clone(), id.clone(), *at)
            }
            Step::PutAnswer { .. }
            | Step::PutNote { .. }
            | Step::Mirrored { .. }
            | Step::PutUsage { .. } => return,
        };
        self.since = self.since.or(step.at());
        self.touched.push(touched);
    }
}
