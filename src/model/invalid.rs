//! What is wrong with a value that a caller sent.

use std::borrow::Cow;

/// A value that was refused, by the name under which the caller knows it.
///
/// Its text reads as a sentence about that name: `sessionId is missing`,
/// `limit is "abc"; it must be a whole number from 1 to 1000`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// The member or parameter, as it is spelled on the wire.
    pub field: &'static str,
    /// What is wrong with it, and the limit it breaks.
    pub problem: Cow<'static, str>,
    /// Whether it was not there at all.
    pub missing: bool,
}

impl Invalid {
    /// A required value that was not sent.
    pub const fn missing(field: &'static str) -> Self {
        Self { field, problem: Cow::Borrowed("is missing"), missing: true }
    }

    /// A value that was sent and breaks a rule.
    pub fn wrong(field: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { field, problem: problem.into(), missing: false }
    }
}

/// At most the first 40 characters of a refused value, escaped, to be quoted in an error.
pub(crate) fn excerpt(value: &str) -> String {
    let end = value.char_indices().nth(40).map_or(value.len(), |(at, _)| at);
    let (shown, rest) = value.split_at(end);
    format!("\"{}{}\"", shown.escape_debug(), if rest.is_empty() { "" } else { "..." })
}
