//! What is told while the data is looked after.

/// What whoever waits may want to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// This is wrong: what, and where, in one line.
    Problem(&'a str),
    /// So much is done.
    Progress {
        /// What is being done.
        verb: &'static str,
        /// How much of it.
        done: u64,
        /// Of how much, as far as that is known beforehand.
        of: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Records, or sessions and messages.
    Records,
}

impl News<'_> {
    pub(super) fn progress(verb: &'static str, done: u64, of: Option<u64>, unit: Unit) -> Self {
        Self::Progress { verb, done, of, unit }
    }
}
