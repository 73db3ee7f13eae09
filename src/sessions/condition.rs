//! Nothing is overwritten that its writer has not seen.

use std::ops::{Bound, ControlFlow};

use crate::model::{ETag, ETags, JsonPage};
use crate::store::{SessionRef, StoreError, WriteTx};

use super::SessionError;

/// How many unseen messages are told, and how long they are together at most: the newest.
const UNSEEN_MAX: usize = 100;
const UNSEEN_BYTES: usize = 1024 * 1024;

/// What a caller has not seen of what it wanted to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// What kind of thing it is.
    pub what: &'static str,
    /// The version that it has.
    pub tag: ETag,
    /// What is stored, as clients read it.
    pub current: Vec<u8>,
    /// The messages that the caller has not seen, a JSON array in their order: the newest 100.
    pub unseen: Option<Vec<u8>>,
}

/// Checks that what is stored, which has this `tag`, is among what the caller has `seen`, if it says so.
pub(super) fn check_match(
    seen: Option<&ETags>,
    what: &'static str,
    tag: ETag,
    stored: &[u8],
) -> Result<(), SessionError> {
    match seen {
        Some(seen) if !seen.matches(tag) => {
            let current = stored.to_vec();
            Err(SessionError::Stale(Box::new(Stale { what, tag, current, unseen: None })))
        }
        _ => Ok(()),
    }
}

/// The newest `count` messages of a session, or as many of them as are told.
pub(super) fn newest_messages(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    count: u64,
) -> Result<Vec<u8>, StoreError> {
    let most = usize::try_from(count).unwrap_or(usize::MAX).min(UNSEEN_MAX);
    let (mut newest, mut bytes) = (Vec::new(), 0);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let _broken_off = tx.messages(session, all, true, |_, json| {
        bytes += json.len();
        if newest.len() == most || bytes > UNSEEN_BYTES {
            return ControlFlow::Break(());
        }
        newest.push(json.to_vec());
        ControlFlow::Continue(())
    })?;
    newest.reverse();
    Ok(JsonPage::array(&newest))
}
