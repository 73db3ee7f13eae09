//! A user's sessions, page by page.

use std::ops::{Bound, ControlFlow};

use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::fault::{Fault, is_planted};
use crate::model::{Invalid, JsonPage, PageSize, Session, Tag, Timestamp, UserId};
use crate::store::{ListedRow, Place, SessionRange, Store};

use super::{SessionError, cursor, pause};

/// A page ends here, be it before its limit: a thousand sessions with as much metadata as they may
/// have would be 64 MiB, for each who asks.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How much is looked at in one go, in rows and in bytes, as commits wait meanwhile.
const LOOK_ROWS: usize = 2000;
const LOOK_BYTES: usize = 1024 * 1024;

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
    /// Only archived ones, or only others; `None` for both.
    pub archived: Option<bool>,
    /// Only pinned ones, or only others; `None` for both.
    pub pinned: Option<bool>,
    /// Only those that have it.
    pub tag: Option<Tag>,
    /// Whether pinned ones come before all others.
    pub pinned_first: bool,
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
pub async fn list(
    store: &Store,
    caller: &UserId,
    query: &ListQuery,
) -> Result<Vec<u8>, SessionError> {
    // Half a KiB is a session with short previews; a page that is larger grows.
    let capacity = query.limit.rows().min(PageSize::DEFAULT.rows()) * 512;
    let mut listing = Listing {
        query,
        page: JsonPage::begin("sessions", capacity),
        looked: query.begin()?,
        shown: None,
    };
    while let Some(end) = listing.look(store, caller)? {
        match end {
            End::OfPage => {
                let next = listing.shown.map(|shown| shown.cursor(query));
                return Ok(listing.page.finish(next.as_deref()));
            }
            End::OfPatience => pause().await,
        }
    }
    Ok(listing.page.finish(None))
}

/// A page that is being filled.
struct Listing<'q> {
    query: &'q ListQuery,
    page: JsonPage,
    looked: Looked,
    /// Where the last row of the page stands.
    shown: Option<Looked>,
}

/// Why a look at the rows ended before they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The page is full, and there are more.
    OfPage,
    /// Others should have their turn.
    OfPatience,
}

impl Listing<'_> {
    /// Looks at some rows behind those that it looked at before; `None` when there are no more.
    fn look(&mut self, store: &Store, caller: &UserId) -> Result<Option<End>, SessionError> {
        let (range, mut end) = (self.query.range(self.looked), None);
        let (mut rows, mut bytes) = (0, 0);
        let mut take = |row: ListedRow<'_>| {
            let is_enough = rows >= LOOK_ROWS || bytes >= LOOK_BYTES;
            end = if is_enough { Some(End::OfPatience) } else { self.show(row) };
            (rows, bytes) = (rows + 1, bytes + row.json.len());
            if end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.read(|tx| tx.sessions(caller, range, &mut take))?;
        let next = match end {
            Some(end) => return Ok(Some(end)),
            None => self.looked.part.next(),
        };
        Ok(next.map(|part| {
            self.looked = Looked { part, behind: None };
            End::OfPatience
        }))
    }

    /// Takes a row into the page, if it is wanted and has room.
    fn show(&mut self, row: ListedRow<'_>) -> Option<End> {
        let looked = Looked { behind: Some(row.place), ..self.looked };
        if self.query.wants(looked.part, row) {
            if self.page.count() == self.query.limit.rows() || self.page.len() >= PAGE_BYTES {
                return Some(End::OfPage);
            }
            self.page.push(row.json);
            self.shown = Some(looked);
        }
        self.looked = looked;
        None
    }
}

/// A part of a list: it shows one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Pinned,
    Others,
}

/// How far a list was looked through.
#[derive(Debug, Clone, Copy)]
struct Looked {
    part: Part,
    /// The last row that was looked at.
    behind: Option<Place>,
}

impl Part {
    fn next(self) -> Option<Self> {
        (self == Self::Pinned).then_some(Self::Others)
    }
}

impl Looked {
    fn cursor(self, query: &ListQuery) -> String {
        cursor::of_session(query.tag(self.part), self.behind.unwrap_or(Place::FIRST))
    }
}

impl ListQuery {
    /// Where the page begins.
    fn begin(&self) -> Result<Looked, SessionError> {
        let parts: &[Part] =
            if self.pinned_first { &[Part::Pinned, Part::Others] } else { &[Part::All] };
        let first = parts.first().copied().unwrap_or(Part::All);
        let Some(cursor) = &self.cursor else {
            return Ok(Looked { part: first, behind: None });
        };
        let places =
            parts.iter().map(|part| (*part, cursor::session_place(self.tag(*part), cursor)));
        let mut found = places.filter_map(|(part, place)| Some((part, place.ok()?)));
        let (part, place) = found.next().ok_or(cursor::InvalidCursor)?;
        Ok(Looked { part, behind: Some(place) })
    }

    fn wants(&self, part: Part, row: ListedRow<'_>) -> bool {
        let marks = row.facts.marks;
        let created_at = row.facts.created_at;
        let in_part = match part {
            Part::All => true,
            Part::Pinned => marks.pinned,
            Part::Others => !marks.pinned,
        };
        in_part
            && self.created_from.is_none_or(|from| from <= created_at)
            && self.created_to.is_none_or(|to| created_at <= to)
            && self.archived.is_none_or(|archived| archived == marks.archived)
            && self.pinned.is_none_or(|pinned| pinned == marks.pinned)
            && self.tag.as_ref().is_none_or(|tag| marks.tagged && has_tag(row.json, tag))
    }

    /// The part of the order that can hold what is wanted: behind what was looked at, and within
    /// the dates as far as the order knows them. Nothing is updated before it is created.
    fn range(&self, looked: Looked) -> SessionRange {
        let (by_created, newest_first) =
            (self.sort_by == SortBy::CreatedAt, self.sort_order == SortOrder::Desc);
        let from = self.created_from.map_or(Place::FIRST, |at| Place { at, ..Place::FIRST });
        let to = match self.created_to {
            Some(at) if by_created => Place { at, ..Place::LAST },
            _ => Place::LAST,
        };
        let mut bounds = (Bound::Included(from), Bound::Included(to));
        let by_time = |place: Place| {
            let number = if newest_first { 0 } else { u64::MAX };
            if is_planted(Fault::CursorByTime) { Place { number, ..place } } else { place }
        };
        match looked.behind.map(by_time) {
            Some(place) if newest_first && place <= to => bounds.1 = Bound::Excluded(place),
            Some(place) if !newest_first && place >= from => bounds.0 = Bound::Excluded(place),
            _ => {}
        }
        SessionRange { by_created, newest_first, bounds }
    }

    /// What the cursors of this order begin with.
    fn tag(&self, part: Part) -> u8 {
        let order = match (self.sort_by, self.sort_order) {
            (SortBy::UpdatedAt, SortOrder::Desc) => 0,
            (SortBy::UpdatedAt, SortOrder::Asc) => 1,
            (SortBy::CreatedAt, SortOrder::Desc) => 2,
            (SortBy::CreatedAt, SortOrder::Asc) => 3,
        };
        let part = match part {
            Part::All => b'a',
            Part::Pinned => b'p',
            Part::Others => b'u',
        };
        part + order
    }
}

/// Whether the session with this row has `tag`.
fn has_tag(json: &[u8], tag: &Tag) -> bool {
    let tags = serde_json::from_slice::<Session<'_>>(json).ok().map(|session| session.tags);
    let tags = tags.and_then(|tags| serde_json::from_str::<Vec<String>>(RawValue::get(&tags)).ok());
    tags.is_some_and(|tags| tags.iter().any(|own| own == tag.as_str()))
}
