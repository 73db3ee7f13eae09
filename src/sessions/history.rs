//! A session's messages: a page, or all of them in pieces.

use std::ops::{Bound, ControlFlow};

use crate::model::{ETag, JsonPage, PageSize, SessionId, Timestamp, UserId};
use crate::store::{SessionRef, Store};

use super::{SessionError, SortOrder, cursor, owned};

/// How much of a history is sent at once: what a slow reader costs in memory.
const PIECE_BYTES: usize = 64 * 1024;

/// Which messages to read, and in what order.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// The session.
    pub session_id: SessionId,
    /// [`SortOrder::Asc`] for the oldest first.
    pub order: SortOrder,
    /// How many at most; `None` for all.
    pub limit: Option<PageSize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// The JSON of a history: `{"messages":[…],"count":…,"nextCursor":…}`.
#[derive(Debug)]
pub enum History {
    /// All that was asked for.
    Whole(Vec<u8>),
    /// The first piece of it, and where the others come from.
    Pieces {
        /// The version of what is sent, or of what was there just before.
        tag: ETag,
        /// The first piece.
        first: Vec<u8>,
        /// Where the others come from.
        rest: Box<Rest>,
    },
}

/// The rest of a long history, to be read as fast as its reader takes it. Holds no transaction
/// in between.
#[derive(Debug)]
pub struct Rest {
    store: Store,
    caller: UserId,
    session: SessionRef,
    newest_first: bool,
    /// How many messages at most.
    limit: usize,
    last: Option<Timestamp>,
    page: Option<JsonPage>,
}

/// The messages of the caller's session, as JSON.
///
/// Sees everything committed before the call. A history that is sent in pieces may also hold what
/// was saved since; if its session is deleted on the way, it breaks off with an error.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no such session; [`SessionError::Cursor`] if the
/// cursor is not of a history in this order; [`SessionError::Store`].
pub fn history(
    store: &Store,
    caller: &UserId,
    query: &HistoryQuery,
) -> Result<History, SessionError> {
    let (rest, whole) = begin(store, caller, query)?;
    if rest.page.is_none() {
        return Ok(History::Whole(whole));
    }
    // The version first: what it tags may then be newer, and never older.
    let tag = store.read(|tx| {
        let session = owned(tx.session(&query.session_id)?, caller, &query.session_id)?;
        let row = tx.row(&session)?;
        let version = format!("{query:?} {}", row.updated_at.as_micros());
        Ok::<_, SessionError>(ETag::of(&[row.json, version.into_bytes()].concat()))
    })?;
    let (rest, first) = begin(store, caller, query)?;
    Ok(match rest.page {
        Some(_) => History::Pieces { tag, first, rest: Box::new(rest) },
        None => History::Whole(first),
    })
}

/// The first piece of a history, and the rest.
fn begin(
    store: &Store,
    caller: &UserId,
    query: &HistoryQuery,
) -> Result<(Rest, Vec<u8>), SessionError> {
    let newest_first = query.order == SortOrder::Desc;
    let last = query.cursor.as_deref();
    let last = last.map(|text| cursor::message_place(tag(newest_first), text)).transpose()?;
    let session =
        store.read(|tx| owned(tx.session(&query.session_id)?, caller, &query.session_id))?;
    let mut rest = Rest {
        store: store.clone(),
        caller: caller.clone(),
        session,
        newest_first,
        limit: query.limit.map_or(usize::MAX, PageSize::rows),
        last,
        page: Some(JsonPage::begin("messages", 8 * 1024)),
    };
    let first = rest.next_piece()?.unwrap_or_default();
    Ok((rest, first))
}

impl Rest {
    /// The next piece of the JSON; `None` after the last.
    ///
    /// # Errors
    /// [`SessionError::NotFound`] if the session was deleted; [`SessionError::Store`].
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SessionError> {
        let Some(mut page) = self.page.take() else {
            return Ok(None);
        };
        let more = self.fill(&mut page)?;
        if more && page.count() < self.limit {
            let piece = page.take();
            self.page = Some(page);
            return Ok(Some(piece));
        }
        let next = self.last.filter(|_| more);
        let next = next.map(|place| cursor::of_message(tag(self.newest_first), place));
        Ok(Some(page.finish(next.as_deref())))
    }

    /// Appends messages until the page has a piece or its last row; tells whether there are more.
    fn fill(&mut self, page: &mut JsonPage) -> Result<bool, SessionError> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let places =
            if self.newest_first { (Bound::Unbounded, behind) } else { (behind, Bound::Unbounded) };
        let (session, last, limit) = (&self.session, &mut self.last, self.limit);
        let append = |place, json: &[u8]| {
            // This row is shown only to tell that there is more.
            if page.count() == limit || page.len() >= PIECE_BYTES {
                return ControlFlow::Break(());
            }
            page.push(json);
            *last = Some(place);
            ControlFlow::Continue(())
        };
        self.store.read(|tx| {
            // Deleted on the way, and perhaps created anew: what is left is not this history.
            let now = owned(tx.session(&session.id)?, &self.caller, &session.id)?;
            if now.number != session.number {
                return Err(SessionError::NotFound(session.id.clone()));
            }
            Ok(tx.messages(session, places, self.newest_first, append)?.is_break())
        })
    }
}

/// What the cursors of a history in this order begin with.
const fn tag(newest_first: bool) -> u8 {
    if newest_first { b'd' } else { b'a' }
}
