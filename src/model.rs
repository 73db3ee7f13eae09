//! The nouns: sessions, messages, changes, users, times. Plain data, how it is parsed, and the
//! rules that need nothing but the data.
//!
//! Imports nothing of ours and names no runtime, web or storage crate, so that every other room
//! may build on it. What is parsed here is never checked again further in.

pub mod change;
pub mod etag;
pub mod id;
pub mod invalid;
mod merge_patch;
pub mod message;
pub mod metadata;
pub mod page;
pub mod parts;
pub mod session;
pub mod tags;
pub mod time;

pub use change::{Change, ChangeKind};
pub use etag::{ETag, ETags};
pub use id::{IdempotencyKey, MessageId, SessionId, UserId};
pub use invalid::Invalid;
pub use message::{Content, Message, Role};
pub use metadata::{Metadata, MetadataUpdate};
pub use page::{JsonPage, PageSize};
pub use parts::Parts;
pub use session::{Marks, Session, Title};
pub use tags::{Tag, Tags};
pub use time::{Clock, Timestamp};
