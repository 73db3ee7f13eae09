//! The nouns: sessions, messages, changes, users, times. Plain data, how it is parsed, and the
//! rules that need nothing but the data.
//!
//! Imports nothing of ours and names no runtime, web or storage crate, so that every other room
//! may build on it. What is parsed here is never checked again further in.

pub mod change;
pub mod id;
pub mod invalid;
pub mod message;
pub mod metadata;
pub mod page;
pub mod session;
pub mod time;

pub use change::{Change, ChangeKind};
pub use id::{MessageId, SessionId, UserId};
pub use invalid::Invalid;
pub use message::{Content, Message, Role};
pub use metadata::Metadata;
pub use page::{JsonPage, PageSize};
pub use session::{Session, Title};
pub use time::{Clock, Timestamp};
