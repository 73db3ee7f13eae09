//! A user's sessions, page by page.

use std::ops::{Bound, ControlFlow};

use utoipa::ToSchema;

use crate::model::{Invalid, JsonPage, PageSize, Timestamp, UserId};
use crate::store::{Place, SessionRange, Store};

use super::{SessionError, cursor};

/// A page ends here, be it before its limit: a thousand sessions with as much metadata as they may
/// have would be 64 MiB, for each who asks.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which sessions to list, and in what order.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// What to sort by.
    pub sort_by: SortBy,
    /// Which come first.
    pub sort_order: SortOrder,
    /// Only those created then or later.
    pub created_from: Option<Timestamp>,
    /// Only those created then or earlier.
    pub created_to: Option<Timestamp>,
    /// How many at most.
    pub limit: PageSize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub enum SortBy {
    /// The time of the last change.
    UpdatedAt,
    /// The time of creation.
    CreatedAt,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub enum SortOrder {
    /// The latest first.
    Desc,
    /// The earliest first.
    Asc,
}

impl SortBy {
    /// Takes `text` as what to sort by.
    ///
    /// # Errors
    /// [`Invalid`] when it is neither `updatedAt` nor `createdAt`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "updatedAt" => Ok(Self::UpdatedAt),
            "createdAt" => Ok(Self::CreatedAt),
            _ => Err(Invalid::wrong("sortBy", "must be updatedAt or createdAt")),
        }
    }
}

impl SortOrder {
    /// Takes the `text` of parameter `field` as an order.
    ///
    /// # Errors
    /// [`Invalid`] when it is neither `desc` nor `asc`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        match text {
            "desc" => Ok(Self::Desc),
            "asc" => Ok(Self::Asc),
            _ => Err(Invalid::wrong(field, "must be asc or desc")),
        }
    }
}

/// A page of the caller's sessions as JSON: `{"sessions":[…],"count":…,"nextCursor":…}`.
///
/// Sees everything committed before the call. Pages neither skip nor repeat a session that does
/// not change in between.
///
/// # Errors
/// [`SessionError::Cursor`] if the cursor is not of a list in this order;
/// [`SessionError::Store`].
pub fn list(store: &Store, caller: &UserId, query: &ListQuery) -> Result<Vec<u8>, SessionError> {
    let range = query.range()?;
    let limit = query.limit.rows();
    // Half a KiB is a session with short previews; a page that is larger grows.
    let mut page = JsonPage::begin("sessions", limit.min(PageSize::DEFAULT.rows()) * 512);
    let mut last = Place::FIRST;
    let mut more = false;
    store.read(|tx| {
        tx.sessions(caller, range, |row| {
            if !query.wants(row.created_at) {
                return ControlFlow::Continue(());
            }
            if page.count() == limit || page.len() >= PAGE_BYTES {
                more = true;
                return ControlFlow::Break(());
            }
            page.push(row.json);
            last = row.place;
            ControlFlow::Continue(())
        })
    })?;
    let next = more.then(|| cursor::of_session(query.tag(), last));
    Ok(page.finish(next.as_deref()))
}

impl ListQuery {
    fn wants(&self, created_at: Timestamp) -> bool {
        self.created_from.is_none_or(|from| from <= created_at)
            && self.created_to.is_none_or(|to| created_at <= to)
    }

    /// The part of the order that can hold what is wanted: behind the cursor, and within the
    /// dates as far as the order knows them. Nothing is updated before it is created.
    fn range(&self) -> Result<SessionRange, SessionError> {
        let (by_created, newest_first) =
            (self.sort_by == SortBy::CreatedAt, self.sort_order == SortOrder::Desc);
        let mut from = self.created_from.map_or(Place::FIRST, |at| Place { at, ..Place::FIRST });
        let mut to = match self.created_to {
            Some(at) if by_created => Place { at, ..Place::LAST },
            _ => Place::LAST,
        };
        let mut range = SessionRange {
            by_created,
            newest_first,
            bounds: (Bound::Included(from), Bound::Included(to)),
        };
        if let Some(cursor) = &self.cursor {
            let place = cursor::session_place(self.tag(), cursor)?;
            if newest_first && place <= to {
                to = place;
                range.bounds.1 = Bound::Excluded(to);
            } else if !newest_first && place >= from {
                from = place;
                range.bounds.0 = Bound::Excluded(from);
            }
        }
        Ok(range)
    }

    fn tag(&self) -> u8 {
        match (self.sort_by, self.sort_order) {
            (SortBy::UpdatedAt, SortOrder::Desc) => b'u',
            (SortBy::UpdatedAt, SortOrder::Asc) => b'U',
            (SortBy::CreatedAt, SortOrder::Desc) => b'c',
            (SortBy::CreatedAt, SortOrder::Asc) => b'C',
        }
    }
}
