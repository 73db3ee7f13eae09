//! Searching a user's messages and titles, newest first.
//!
//! There is no index: the messages of a session lie together, and looking through them costs less
//! than keeping an index would cost every save. What is looked at is first tested as it lies on
//! disk, and only what may match is taken apart.

mod hit;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Bound, ControlFlow};

use serde_json::value::RawValue;

use crate::model::{JsonPage, Message, PageSize, Role, SessionId, Timestamp, UserId};
use crate::search::{Member, Query};
use crate::store::{ListedRow, Place, ReadTx, SessionRange, Store, StoreError};

use super::{SessionError, cursor, owned};

pub(super) use hit::Spot;
use hit::{Hit, Named, named};

/// How much of a session is looked at in one go, as commits wait meanwhile.
const LOOK_BYTES: usize = 1024 * 1024;

/// What to look for.
#[derive(Debug)]
pub struct SearchQuery {
    /// The words.
    pub terms: Query,
    /// Only in this session.
    pub session_id: Option<SessionId>,
    /// Only messages of this role.
    pub role: Option<Role>,
    /// Only messages saved then or later, and titles of sessions created then or later.
    pub from: Option<Timestamp>,
    /// Only those of then or earlier.
    pub to: Option<Timestamp>,
    /// How many at most.
    pub limit: PageSize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of what was found, newest first, as JSON:
/// `{"results":[{"sessionId":…,"title":…,"messageId":…,"role":…,"timestamp":…,"snippet":…,
/// "highlights":[[…,…]]}],"count":…,"nextCursor":…}`. A title that was found has no `messageId`
/// and no `role`, and stands where its session was created.
///
/// Sees everything committed before the call. Looks through all that the caller has if it must;
/// `give_up` is asked now and then whether anybody still wants to know.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no session of the id that is asked for;
/// [`SessionError::Cursor`] if the cursor is not of a search; [`SessionError::Store`].
pub fn search(
    store: &Store,
    caller: &UserId,
    query: &SearchQuery,
    give_up: impl Fn() -> bool,
) -> Result<Vec<u8>, SessionError> {
    let behind = query.cursor.as_deref().map(cursor::search_spot).transpose()?;
    let mut looking = Looking {
        query,
        caller,
        behind,
        found: BinaryHeap::new(),
        titles: Member::new("title", "firstMessage"),
        contents: Member::new("content", "timestamp"),
        scratch: Vec::new(),
    };
    for session in looking.sessions(store)? {
        if looking.is_too_old(session.at) || give_up() {
            break;
        }
        looking.look_in(store, session.number, &give_up)?;
    }
    looking.page(store)
}

/// A search on its way.
struct Looking<'q> {
    query: &'q SearchQuery,
    caller: &'q UserId,
    /// What is at this spot or later was shown before.
    behind: Option<Spot>,
    /// The newest that were found: one more than fit into the page, to tell that there are more.
    found: BinaryHeap<Reverse<Hit>>,
    titles: Member,
    contents: Member,
    scratch: Vec<u8>,
}

impl Looking<'_> {
    /// Where the sessions to look into stand, the last changed first; takes in titles on its way.
    ///
    /// All at once: one that changes while others are looked into would be passed over.
    fn sessions(&mut self, store: &Store) -> Result<Vec<Place>, SessionError> {
        let caller = self.caller;
        if let Some(id) = &self.query.session_id {
            return store.read(|tx| {
                let session = owned(tx.session(id)?, caller, id)?;
                let row = tx.row(&session)?;
                let place = Place { at: row.updated_at, number: session.number };
                let listed = ListedRow {
                    place,
                    facts: row.facts,
                    updated_at: row.updated_at,
                    json: &row.json,
                };
                self.look_at_title(listed)?;
                Ok(vec![place])
            });
        }
        let all = SessionRange {
            by_created: false,
            newest_first: true,
            bounds: (Bound::Unbounded, Bound::Unbounded),
        };
        let (mut places, mut failed) = (Vec::new(), None);
        let each = |row: ListedRow<'_>| {
            places.push(row.place);
            failed = self.look_at_title(row).err();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.read(|tx| tx.sessions(caller, all, each))?;
        failed.map_or(Ok(places), |error| Err(error.into()))
    }

    fn look_at_title(&mut self, row: ListedRow<'_>) -> Result<(), StoreError> {
        let place = Place { at: row.facts.created_at, number: row.place.number };
        let spot = Spot { place, is_message: false };
        let is_wanted = self.query.role.is_none() && self.wants(spot);
        if !is_wanted || !self.query.terms.may_match(self.titles.of(row.json), &mut self.scratch) {
            return Ok(());
        }
        let Named { session_id, title } = named(row.json)?;
        if let Some(found) = self.query.terms.find(&title) {
            self.take(Hit { spot, session_id, message: None, found });
        }
        Ok(())
    }

    /// Looks through the messages of a session.
    fn look_in(
        &mut self,
        store: &Store,
        number: u64,
        give_up: &impl Fn() -> bool,
    ) -> Result<(), SessionError> {
        let from = self.query.from.map_or(Bound::Unbounded, Bound::Included);
        let newest = [self.query.to, self.behind.map(|spot| spot.place.at)].into_iter().flatten();
        let mut to = newest.min().map_or(Bound::Unbounded, Bound::Included);
        while !give_up() {
            match store.read(|tx| self.look(tx, number, (from, to)))? {
                Some(seen) => to = Bound::Excluded(seen),
                None => break,
            }
        }
        Ok(())
    }

    /// Looks through some of the messages; gives the last if there are more.
    fn look(
        &mut self,
        tx: ReadTx<'_>,
        number: u64,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
    ) -> Result<Option<Timestamp>, StoreError> {
        let of = (self.caller, number);
        let (mut bytes, mut seen, mut failed) = (0, None, None);
        let each = |at: Timestamp, json: &[u8]| {
            bytes += json.len();
            seen = (!self.is_too_old(at)).then_some(at);
            if seen.is_some() {
                failed = self.look_at(Place { at, number }, json).err();
            }
            if seen.is_some() && failed.is_none() && bytes < LOOK_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let broke_off = tx.messages_by_number(of, bounds, true, each)?.is_break();
        failed.map_or(Ok(seen.filter(|_| broke_off)), Err)
    }

    fn look_at(&mut self, place: Place, json: &[u8]) -> Result<(), StoreError> {
        let spot = Spot { place, is_message: true };
        if !self.wants(spot)
            || !self.query.terms.may_match(self.contents.of(json), &mut self.scratch)
        {
            return Ok(());
        }
        let damaged = || StoreError::Damaged { what: "message", key: place.number.to_string() };
        let message: Message<'_> = serde_json::from_slice(json).map_err(|_| damaged())?;
        if self.query.role.is_some_and(|role| role != message.role) {
            return Ok(());
        }
        let text =
            |raw: &RawValue| serde_json::from_str::<String>(raw.get()).map_err(|_| damaged());
        if let Some(found) = self.query.terms.find(&text(&message.content)?) {
            let session_id = text(&message.session_id)?;
            let session_id = SessionId::parse(&session_id).map_err(|_| damaged())?;
            let message = Some((message.id.into_owned(), message.role));
            self.take(Hit { spot, session_id, message, found });
        }
        Ok(())
    }

    fn wants(&self, spot: Spot) -> bool {
        let at = spot.place.at;
        self.query.from.is_none_or(|from| from <= at)
            && self.query.to.is_none_or(|to| at <= to)
            && self.behind.is_none_or(|behind| spot < behind)
            && !self.found_enough_before(spot)
    }

    /// Whether nothing of that time or earlier can be part of the page.
    fn is_too_old(&self, at: Timestamp) -> bool {
        let place = Place { at, number: u64::MAX };
        self.found_enough_before(Spot { place, is_message: true })
    }

    fn found_enough_before(&self, spot: Spot) -> bool {
        self.found.len() > self.query.limit.rows()
            && self.found.peek().is_some_and(|Reverse(oldest)| spot < oldest.spot)
    }

    fn take(&mut self, hit: Hit) {
        self.found.push(Reverse(hit));
        if self.found.len() > self.query.limit.rows() + 1 {
            self.found.pop();
        }
    }

    fn page(self, store: &Store) -> Result<Vec<u8>, SessionError> {
        let limit = self.query.limit.rows();
        // Ascending by what is reversed: the newest first.
        let mut hits = self.found.into_sorted_vec();
        let more = hits.len() > limit;
        hits.truncate(limit);
        let mut page = JsonPage::begin("results", hits.len() * 512);
        for Reverse(hit) in &hits {
            let row = store.read(|tx| {
                let session = owned(tx.session(&hit.session_id)?, self.caller, &hit.session_id)?;
                Ok(tx.row(&session)?.json)
            });
            match row {
                Ok(row) => page.push(&hit.json(&named(&row)?.title)?),
                // Deleted on the way.
                Err(SessionError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let last = hits.last().filter(|_| more);
        let next = last.map(|Reverse(hit)| cursor::of_search(hit.spot));
        Ok(page.finish(next.as_deref()))
    }
}
