//! What a search means, on text alone: which words are looked for, and where a text has them.
//!
//! Letters are compared without case and accents. A word is found at the start of words (`port`
//! finds "ports" and not "report"); in scripts that are written without spaces, anywhere.

mod fold;
mod member;
mod query;
mod snippet;

pub use member::Member;
pub use query::Query;
pub use snippet::Found;
