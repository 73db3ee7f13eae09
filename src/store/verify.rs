//! Looks at everything in a file: each record's checksum, each index against what it is of.
//!
//! What is settled of a user is settled in one commit, so that the tables agree with each other in
//! every snapshot. What is not settled yet stands in the log alone, whose records are looked at too.

mod answers;
mod log;
mod messages;
mod sessions;
mod usage;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{
    Key, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, TableHandle as _,
};

use crate::model::Timestamp;

use super::tables::{DELETED_SESSIONS, META, SETTLED};
use super::tx::read_number;
use super::{Snapshot, StoreError, Stored, record};

type ByteKey = &'static [u8];

/// After how many records the one who waits hears of it: some milliseconds of work.
const PACE: u64 = 4096;

/// What is told while a file is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// So many records were looked at.
    Checked(u64),
    /// This is wrong: what, and where, in one line.
    Problem(String),
}

impl Snapshot {
    /// Looks at everything, and tells `note` how far it is and what is wrong, until it breaks off.
    /// Gives the number of records; none if it was broken off.
    ///
    /// Takes some 60 bytes of memory for each session.
    pub fn verify(&self, note: &mut dyn FnMut(Note) -> ControlFlow<()>) -> Option<u64> {
        let mut verify = Verify {
            snapshot: self,
            note,
            records: 0,
            sessions: HashMap::new(),
            expiries: HashMap::new(),
            deleted: HashSet::new(),
            newest: 0,
        };
        let phases = [
            Verify::log,
            Verify::deleted_sessions,
            Verify::sessions,
            Verify::heads,
            Verify::by_created,
            Verify::messages,
            Verify::message_ids,
            Verify::answers,
            Verify::answered,
            Verify::notes,
            Verify::stored,
            Verify::usage,
        ];
        match phases.into_iter().try_for_each(|phase| phase(&mut verify)) {
            Ok(()) => Some(verify.records),
            Err(BrokenOff) => None,
        }
    }
}

/// Whoever waited does not wait any more.
struct BrokenOff;

/// What is wrong with a record.
enum Wrong {
    Record(String),
    BrokenOff,
}

/// What one is told about a record that is looked at.
type Checked = Result<(), Wrong>;

struct Verify<'a> {
    snapshot: &'a Snapshot,
    note: &'a mut dyn FnMut(Note) -> ControlFlow<()>,
    records: u64,
    /// By number.
    sessions: HashMap<u64, Expected>,
    /// By number, when those are to be deleted of which that is said.
    expiries: HashMap<u64, Timestamp>,
    /// The numbers of sessions whose messages are still to be swept.
    deleted: HashSet<u64>,
    /// The number of the last step in the log.
    newest: u64,
}

/// What a session's row says of its messages.
#[derive(Debug, Clone, Copy)]
struct Expected {
    count: u64,
    /// Hashes of what it shows of the first and the last.
    ends: (Option<u64>, Option<u64>),
}

impl Verify<'_> {
    /// Shows `check` all rows of a table, each of which must be found by its key too.
    fn walk<K: Key>(
        &mut self,
        definition: TableDefinition<'static, K, ByteKey>,
        mut check: impl FnMut(&mut Self, K::SelfType<'_>, &[u8]) -> Checked,
    ) -> Result<u64, BrokenOff> {
        let mut rows = 0;
        // redb may panic on a page that is damaged.
        let walked = catch_unwind(AssertUnwindSafe(|| {
            let table = self.snapshot.table(definition)?;
            for row in table.iter().map_err(StoreError::from)? {
                let (key, value) = row.map_err(StoreError::from)?;
                let checked = check(self, key.value(), value.value());
                self.count(definition.name(), checked)?;
                let found = table.get(key.value()).map_err(StoreError::from)?;
                found
                    .filter(|found| found.value() == value.value())
                    .map_or_else(|| wrong("a record is not found by its key"), |_| Ok(()))?;
                rows += 1;
            }
            let len = table.len().map_err(StoreError::from)?;
            if len == rows { Ok(()) } else { wrong(format!("{rows} records of {len} are there")) }
        }));
        let walked = walked.unwrap_or_else(|_| wrong("its structure makes no sense"));
        match self.tell(definition.name(), walked) {
            Err(Wrong::BrokenOff) => Err(BrokenOff),
            _ => Ok(rows),
        }
    }

    /// Counts a record, and tells what is wrong with it.
    fn count(&mut self, of: &str, checked: Checked) -> Checked {
        self.records += 1;
        let goes_on = !self.records.is_multiple_of(PACE)
            || (self.note)(Note::Checked(self.records)).is_continue();
        if goes_on { self.tell(of, checked) } else { Err(Wrong::BrokenOff) }
    }

    fn tell(&mut self, of: &str, checked: Checked) -> Checked {
        match checked {
            Err(Wrong::Record(what)) => self.problem(format!("{of}: {what}")),
            checked => checked,
        }
    }

    fn problem(&mut self, what: String) -> Checked {
        match (self.note)(Note::Problem(what)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Wrong::BrokenOff),
        }
    }

    fn deleted_sessions(&mut self) -> Result<(), BrokenOff> {
        self.walk(DELETED_SESSIONS, |verify, number, sealed| {
            record::unseal("deleted session", &number.to_be_bytes(), sealed)?;
            verify.deleted.insert(number);
            Ok(())
        })?;
        Ok(())
    }

    /// Looks at how many sessions and messages are said to be there, if nothing is in the log alone.
    fn stored(&mut self) -> Result<(), BrokenOff> {
        let told = catch_unwind(AssertUnwindSafe(|| Stored::noted(&self.snapshot.table(META)?)));
        let Ok(Ok(Some((counted, told)))) = told else {
            return Ok(());
        };
        let sessions = u64::try_from(self.sessions.len()).unwrap_or(u64::MAX);
        let messages = self.sessions.values().map(|session| session.count).sum();
        if !self.is_settled() || counted != self.newest || told == (Stored { sessions, messages }) {
            return Ok(());
        }
        let what = format!(
            "meta: {sessions} sessions and {messages} messages are there, and {} and {} are told",
            told.sessions, told.messages
        );
        self.problem(what).map_err(|_| BrokenOff)
    }

    /// Whether nothing is in the log alone.
    fn is_settled(&self) -> bool {
        let settled =
            catch_unwind(AssertUnwindSafe(|| read_number(&self.snapshot.table(META)?, SETTLED)));
        matches!(settled, Ok(Ok(Some(settled))) if settled == self.newest)
    }

    /// Tells of a table that has another number of rows than there are sessions.
    fn one_for_each_session(&mut self, table: &str, rows: u64) -> Result<(), BrokenOff> {
        let sessions = u64::try_from(self.sessions.len()).unwrap_or(u64::MAX);
        if rows == sessions {
            return Ok(());
        }
        let what = format!("{table}: {rows} records for {sessions} sessions");
        self.problem(what).map_err(|_| BrokenOff)
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Record(what.into()))
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { what, key } => {
                Self::Record(format!("{what} under key {key} is damaged"))
            }
            other => Self::Record(other.to_string()),
        }
    }
}
