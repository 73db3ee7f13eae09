//! Planted faults: mistakes that somebody could have made, so that the tests can show that they
//! would be found.
//!
//! They are there with the feature `planted-faults` alone, and one of them is in force when
//! `ORION_CHAT_FAULT` names it, by its name or its number. No release has them: without the feature
//! every question is answered with a constant. Each is a line or two at the place where the mistake
//! would be.
//!
//! The list is the one that services with a journal, an outbox and a replica are usually tried with.
//! Three of them mean something of their own here:
//!
//! - The log *is* the outbox, and is written with what it tells in one transaction by design. What
//!   could be torn apart is the mark up to which the log is settled into the tables, and the tables
//!   themselves: [`Fault::MarkBeforeTables`] stands for an outbox in a second transaction.
//! - There is no sequence number apart from the log. The number that is kept by itself is that of
//!   the next session, whose messages are stored under it: [`Fault::NumberNotKept`].
//! - What is pulled from PostgreSQL is what became visible since a snapshot, and no time is compared.
//!   [`Fault::FollowedByNewest`] takes all up to the newest transaction for seen, as a cursor by the
//!   greatest `updated_at` would.

/// The faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 1, `not-durable`: a commit does not wait for the disk.
    NotDurable,
    /// 2, `answer-before-commit`: a write is answered while it is not on disk yet.
    AnswerBeforeCommit,
    /// 3, `event-before-commit`: listeners are told of it then.
    EventBeforeCommit,
    /// 4, `mark-before-tables`: the log is marked as settled in a transaction before the one that
    /// settles it.
    MarkBeforeTables,
    /// 5, `number-not-kept`: which number the next session gets is forgotten over a restart.
    NumberNotKept,
    /// 6, `deleted-row-stays`: a deletion goes from the index, and not from the list.
    DeletedRowStays,
    /// 7, `answer-kept-after`: the answer to a repeatable request is kept in a transaction after it.
    AnswerKeptAfter,
    /// 8, `folder-not-synced`: a file takes another's name, and nobody waits for that.
    FolderNotSynced,
    /// 9, `full-disk-swallowed`: what the disk has no room for is answered as if it were stored.
    FullDiskSwallowed,
    /// 10, `failed-sync-retried`: a sync that failed is tried again, and believed.
    FailedSyncRetried,
    /// 11, `cursor-by-time`: a page goes on behind the time of its last row, whatever else has it.
    CursorByTime,
    /// 12, `sent-before-commit`: what is sent to PostgreSQL is noted as sent before it is.
    SentBeforeCommit,
    /// 13, `no-version-guard`: a row there is replaced, whoever changed it since.
    NoVersionGuard,
    /// 14, `deletions-not-taken`: what is deleted there stays here.
    DeletionsNotTaken,
    /// 15, `followed-by-newest`: transactions that began earlier and end later are passed over.
    FollowedByNewest,
    /// 16, `slow-listener-skipped`: who is behind is told of what comes next, and not of the rest.
    SlowListenerSkipped,
}

/// Whether `fault` is in force.
#[cfg(not(feature = "planted-faults"))]
#[inline]
pub const fn is_planted(_fault: Fault) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
pub use planted::{NAMES, is_planted};

#[cfg(feature = "planted-faults")]
mod planted {
    use std::sync::OnceLock;

    use tracing::warn;

    use super::Fault;

    /// Each fault by its name, in the order of their numbers.
    pub const NAMES: [(&str, Fault); 16] = [
        ("not-durable", Fault::NotDurable),
        ("answer-before-commit", Fault::AnswerBeforeCommit),
        ("event-before-commit", Fault::EventBeforeCommit),
        ("mark-before-tables", Fault::MarkBeforeTables),
        ("number-not-kept", Fault::NumberNotKept),
        ("deleted-row-stays", Fault::DeletedRowStays),
        ("answer-kept-after", Fault::AnswerKeptAfter),
        ("folder-not-synced", Fault::FolderNotSynced),
        ("full-disk-swallowed", Fault::FullDiskSwallowed),
        ("failed-sync-retried", Fault::FailedSyncRetried),
        ("cursor-by-time", Fault::CursorByTime),
        ("sent-before-commit", Fault::SentBeforeCommit),
        ("no-version-guard", Fault::NoVersionGuard),
        ("deletions-not-taken", Fault::DeletionsNotTaken),
        ("followed-by-newest", Fault::FollowedByNewest),
        ("slow-listener-skipped", Fault::SlowListenerSkipped),
    ];

    static CHOSEN: OnceLock<Option<Fault>> = OnceLock::new();

    /// Whether `fault` is in force.
    ///
    /// # Panics
    /// When a fault is asked for that is none.
    pub fn is_planted(fault: Fault) -> bool {
        *CHOSEN.get_or_init(chosen) == Some(fault)
    }

    #[expect(clippy::disallowed_methods, reason = "no configuration of anybody's")]
    #[expect(clippy::panic, reason = "a test that asks for a fault in vain proves nothing")]
    fn chosen() -> Option<Fault> {
        let asked = std::env::var("ORION_CHAT_FAULT").ok().filter(|asked| !asked.is_empty())?;
        let numbered = NAMES.iter().zip(1..);
        let found = numbered.into_iter().find_map(|((name, fault), number)| {
            (*name == asked || number.to_string() == asked).then_some(*fault)
        });
        warn!("this binary does something wrong on purpose: {asked}");
        Some(found.unwrap_or_else(|| panic!("ORION_CHAT_FAULT is {asked}, which is no fault")))
    }
}
