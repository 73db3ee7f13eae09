//! How much a user has stored, and how much that may be.
//!
//! Counted only where there is a quota: each operation that changes it logs what it is then, and
//! settling puts that into a table. Whatever changes a user's data and does not log it makes it
//! unknown, so that a count is never wrong: what is unknown is counted anew when it is asked for.

use std::num::NonZeroU64;
use std::ops::{Bound, ControlFlow};

use redb::ReadableTable;

use crate::model::UserId;

use super::StoreError;
use super::run::{self, Span};
use super::tables::user_prefix;

type ByteKey = &'static [u8];

/// The most that a user may store. What is `None` has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// How many sessions.
    pub sessions: Option<NonZeroU64>,
    /// How many bytes of sessions and messages, as they are sent to clients.
    pub bytes: Option<NonZeroU64>,
}

/// How much a user has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many sessions.
    pub sessions: u64,
    /// How many bytes of sessions and messages, as they are sent to clients.
    pub bytes: u64,
}

/// What is fresh of a user's usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tally {
    /// Nothing: it is what the tables say, if they do.
    #[default]
    Unchanged,
    /// It is this now.
    Known(Usage),
    /// It has changed, and nobody said to what.
    Unknown,
}

/// By how much it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Growth {
    pub(super) sessions: i64,
    pub(super) bytes: i64,
}

impl Quota {
    /// Whether it limits anything.
    pub fn is_set(self) -> bool {
        self.sessions.or(self.bytes).is_some()
    }
}

impl Usage {
    pub(super) fn after(self, growth: Growth) -> Self {
        Self {
            sessions: self.sessions.saturating_add_signed(growth.sessions),
            bytes: self.bytes.saturating_add_signed(growth.bytes),
        }
    }

    pub(super) fn add(&mut self, json: &[u8]) {
        self.bytes += json.len() as u64;
    }
}

impl Growth {
    /// Of something that had `old` bytes and has `new` ones now.
    pub(super) fn of_bytes(old: usize, new: usize) -> Self {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        Self { sessions: 0, bytes: signed(new) - signed(old) }
    }
}

/// What `user` has in the tables of sessions and of messages.
pub(super) fn in_tables(
    sessions: &impl ReadableTable<ByteKey, ByteKey>,
    messages: &impl ReadableTable<ByteKey, ByteKey>,
    user: &UserId,
) -> Result<Usage, StoreError> {
    let all = Span { bounds: (Bound::Unbounded, Bound::Unbounded), newest_first: false };
    let (mut usage, mut numbers) = (Usage::default(), Vec::new());
    let _whole = run::scan(sessions, &user_prefix(user), all, |row| {
        usage.sessions += 1;
        usage.add(row.json);
        numbers.push(row.place.number);
        ControlFlow::Continue(())
    })?;
    for number in numbers {
        let _whole = run::scan(messages, &number.to_be_bytes(), all, |row| {
            usage.add(row.json);
            ControlFlow::Continue(())
        })?;
    }
    Ok(usage)
}
