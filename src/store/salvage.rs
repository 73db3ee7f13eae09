//! What can still be read of a damaged file.
//!
//! redb gives up a table at the first page that makes no sense. So its pages are read here: its
//! trees from their roots, each page against the checksum that its parent has of it (`walk`); and
//! where one is lost, whatever in the whole file has the seal of a record whose key stood there
//! (`scan`), most of it in the very page that a bit was flipped in, the rest in pages of the past.
//! What is found is sorted out in a file of its own (`gather`): the newest of each row, so that it
//! may come in any order and memory is bounded.

mod gather;
mod pages;
mod scan;
mod walk;

use std::path::Path;

use redb::TableHandle as _;

use super::record;
use super::tables::{
    DELETED_SESSIONS, META, SEQ_TO_STEPS, SESSION_AND_PLACE_TO_MESSAGES, SESSION_ID_TO_HEAD,
    SETTLED, USER_AND_CREATED_TO_SESSION_ID, USER_AND_UPDATED_TO_SESSIONS,
};
use super::{Held, OpenError, StoreError};

use gather::Gather;
pub use gather::{RescuedMessage, RescuedSession, Salvage};
use pages::Pages;
use walk::Walk;

/// A table of which something is salvaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Log,
    Deleted,
    Heads,
    ByCreated,
    Sessions,
    Messages,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Log, Self::Deleted, Self::Heads, Self::ByCreated, Self::Sessions, Self::Messages];

    fn table(self) -> &'static str {
        match self {
            Self::Log => SEQ_TO_STEPS.name(),
            Self::Deleted => DELETED_SESSIONS.name(),
            Self::Heads => SESSION_ID_TO_HEAD.name(),
            Self::ByCreated => USER_AND_CREATED_TO_SESSION_ID.name(),
            Self::Sessions => USER_AND_UPDATED_TO_SESSIONS.name(),
            Self::Messages => SESSION_AND_PLACE_TO_MESSAGES.name(),
        }
    }

    fn is_numbered(self) -> bool {
        matches!(self, Self::Log | Self::Deleted)
    }
}

/// Keys that cannot be had any more: those of a page that is damaged, after the first and up to the
/// second; `None` is without end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lost {
    kind: Kind,
    after: Option<Vec<u8>>,
    up_to: Option<Vec<u8>>,
}

impl Lost {
    fn holds(&self, kind: Kind, key: &[u8]) -> bool {
        self.kind == kind
            && self.after.as_deref().is_none_or(|after| after < key)
            && self.up_to.as_deref().is_none_or(|up_to| key <= up_to)
    }
}

/// Reads what can be read of the data file at `path`, which stays as it is, and must be no server's;
/// what is found is kept in a file beside `target` meanwhile. Tells `read` how many bytes were read, and of how
/// many.
///
/// # Errors
/// [`OpenError`] when it cannot be read at all, or the other file cannot be made.
pub fn salvage(
    path: &Path,
    target: &Path,
    read: &mut dyn FnMut(u64, u64),
) -> Result<Salvage, OpenError> {
    let access = |source| OpenError::Access { path: path.to_owned(), source };
    let missing = || access(std::io::ErrorKind::NotFound.into());
    let held = Held::take(path)?.ok_or_else(missing)?;
    let pages = Pages::open(path).map_err(access)?;
    let mut gather = Gather::create(target)?;
    let walk = Walk::new(&pages);
    let mut settled = 0;
    let _unread = walk.table(META.name(), false, &mut |key, value| {
        if key == SETTLED {
            settled = record::unseal_number("number", key, value).unwrap_or(0);
        }
        Ok(())
    })?;
    let mut lost = Vec::new();
    // The log last: how much of it matters depends on what the tables lack.
    for kind in Kind::ALL.into_iter().rev() {
        let skip_to = if kind == Kind::Log && lost.is_empty() { settled } else { 0 };
        let unread = walk.table(kind.table(), kind.is_numbered(), &mut |key, value| {
            if !gather.row(kind, key, value, skip_to)? {
                lost.push(Lost { kind, after: None, up_to: Some(key.to_vec()) });
            }
            Ok(())
        })?;
        lost.extend(unread.into_iter().map(|(after, up_to)| Lost { kind, after, up_to }));
    }
    if !lost.is_empty() {
        scan::scan(&pages, read, &mut |kind, key, value| {
            if lost.iter().any(|lost| lost.holds(kind, key)) {
                gather.row(kind, key, value, 0)?;
            }
            Ok(())
        })?;
    }
    drop(held);
    Ok(gather.finish(lost.len())?)
}
