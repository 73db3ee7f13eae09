//! How sessions and messages leave, and come back: as lines of JSON (NDJSON), one for each.
//!
//! The first line tells the version, the last how many there were, so that what was cut short is
//! found out. A session's messages follow it, oldest first. What follows from the messages, such as
//! their count, is not in a line: it is worked out when they come back. The README describes the
//! members.
//!
//! `line` knows the lines, `export` and `import` take them out of the store and in, and `csv` makes
//! lines of the tables of the service's predecessor.

mod csv;
mod export;
mod import;
mod line;
mod salvage;

pub use csv::{CsvError, csv_to_lines};
pub use export::{ExportError, export};
pub use import::{Import, ImportError, OnProblem, Told};
pub use salvage::{Found, salvaged_lines};

/// The version of the lines that this release writes, and the newest that it reads.
pub const VERSION: u64 = 1;

/// What came of an export or an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Sessions that were written, or added.
    pub sessions: u64,
    /// Messages that were written, or added.
    pub messages: u64,
    /// Sessions and messages that were there already.
    pub there: u64,
    /// Problems that were told.
    pub problems: u64,
}
