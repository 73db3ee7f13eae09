//! Searching a user's messages and titles, newest first.
//!
//! There is no index: the messages of a session lie together, and looking through them costs less
//! than keeping an index would cost every save. What is looked at is first tested as it lies on
//! disk, and only what may match is taken apart.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use crate::model::{JsonPage, Message, PageSize, Role, SessionId, Timestamp, UserId};
use crate::search::{Found, Query};
use crate::store::{ListedRow, Place, ReadTx, SessionRange, SessionRef, Store, StoreError};

use super::{SessionError, cursor, owned, to_json};

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
    let mut looking = Looking { query, behind, found: BinaryHeap::new(), scratch: Vec::new() };
    for session in looking.sessions(store, caller)? {
        if looking.is_too_old(session.updated_at) || give_up() {
            break;
        }
        looking.look_in(store, &session, &give_up)?;
    }
    Ok(looking.page())
}

/// Where something that was found stands among all: the later in time, the earlier it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) place: Place,
    /// A title stands before the message of its session that has the same time.
    pub(super) is_message: bool,
}

/// A session to look into.
struct Candidate {
    session: SessionRef,
    title: String,
    updated_at: Timestamp,
}

/// A search on its way.
struct Looking<'q> {
    query: &'q SearchQuery,
    /// What is at this spot or later was shown before.
    behind: Option<Spot>,
    /// The newest that were found: one more than fit into the page, to tell that there are more.
    found: BinaryHeap<Reverse<Hit>>,
    scratch: Vec<u8>,
}

/// Something that was found, ordered by its spot alone.
struct Hit {
    spot: Spot,
    json: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HitJson<'a> {
    session_id: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    timestamp: Timestamp,
    snippet: &'a str,
    highlights: &'a [[usize; 2]],
}

impl Looking<'_> {
    /// The sessions to look into, the last changed first; takes in titles on its way.
    ///
    /// All at once: one that changes while others are looked into would be passed over.
    fn sessions(&mut self, store: &Store, caller: &UserId) -> Result<Vec<Candidate>, SessionError> {
        let mut candidates = Vec::new();
        if let Some(id) = &self.query.session_id {
            let (session, row) = store.read(|tx| {
                let session = owned(tx.session(id)?, caller, id)?;
                let row = tx.row(&session)?;
                Ok::<_, SessionError>((session, row))
            })?;
            let place = Place { at: row.updated_at, number: session.number };
            let row = ListedRow { place, facts: row.facts, json: &row.json };
            candidates.extend(self.candidate(caller, row)?);
            return Ok(candidates);
        }
        let all = SessionRange {
            by_created: false,
            newest_first: true,
            bounds: (Bound::Unbounded, Bound::Unbounded),
        };
        let mut failed = None;
        store.read(|tx| {
            tx.sessions(caller, all, |row| match self.candidate(caller, row) {
                Ok(candidate) => {
                    candidates.extend(candidate);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        failed.map_or(Ok(candidates), |error| Err(error.into()))
    }

    fn candidate(
        &mut self,
        caller: &UserId,
        row: ListedRow<'_>,
    ) -> Result<Option<Candidate>, StoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            session_id: String,
            title: String,
        }

        let Place { at: updated_at, number } = row.place;
        // Nothing in it is newer than its last change.
        if self.query.from.is_some_and(|from| updated_at < from) {
            return Ok(None);
        }
        let named = serde_json::from_slice::<Named>(row.json).ok();
        let named =
            named.and_then(|named| Some((SessionId::parse(&named.session_id).ok()?, named.title)));
        let damaged = || StoreError::Damaged { what: "session row", key: number.to_string() };
        let (id, title) = named.ok_or_else(damaged)?;
        let place = Place { at: row.facts.created_at, number };
        let spot = Spot { place, is_message: false };
        if self.query.role.is_none()
            && self.wants(spot)
            && let Some(found) = self.query.terms.find(&title)
        {
            self.take(spot, &hit(&id, &title, None, place.at, &found))?;
        }
        let session = SessionRef::listed(id, caller.clone(), number);
        Ok(Some(Candidate { session, title, updated_at }))
    }

    /// Looks through the messages of a session.
    fn look_in(
        &mut self,
        store: &Store,
        candidate: &Candidate,
        give_up: &impl Fn() -> bool,
    ) -> Result<(), SessionError> {
        let from = self.query.from.map_or(Bound::Unbounded, Bound::Included);
        let newest = [self.query.to, self.behind.map(|spot| spot.place.at)].into_iter().flatten();
        let mut to = newest.min().map_or(Bound::Unbounded, Bound::Included);
        while !give_up() {
            match store.read(|tx| self.look(tx, candidate, (from, to)))? {
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
        candidate: &Candidate,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
    ) -> Result<Option<Timestamp>, StoreError> {
        let (mut bytes, mut seen, mut failed) = (0, None, None);
        let each = |at: Timestamp, json: &[u8]| {
            bytes += json.len();
            seen = Some(at);
            if self.is_too_old(at) {
                seen = None;
                return ControlFlow::Break(());
            }
            if let Err(error) = self.look_at(candidate, at, json) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            if bytes < LOOK_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let broke_off = tx.messages(&candidate.session, bounds, true, each)?.is_break();
        failed.map_or(Ok(seen.filter(|_| broke_off)), Err)
    }

    fn look_at(
        &mut self,
        candidate: &Candidate,
        at: Timestamp,
        json: &[u8],
    ) -> Result<(), StoreError> {
        let Candidate { session, title, .. } = candidate;
        let spot = Spot { place: Place { at, number: session.number }, is_message: true };
        if !self.wants(spot) || !self.query.terms.may_match(json, &mut self.scratch) {
            return Ok(());
        }
        let damaged = || StoreError::Damaged { what: "message", key: session.id.to_string() };
        let message: Message<'_> = serde_json::from_slice(json).map_err(|_| damaged())?;
        if self.query.role.is_some_and(|role| role != message.role) {
            return Ok(());
        }
        let content: String = serde_json::from_str(message.content.get()).map_err(|_| damaged())?;
        match self.query.terms.find(&content) {
            Some(found) => self.take(spot, &hit(&session.id, title, Some(&message), at, &found)),
            None => Ok(()),
        }
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

    fn take(&mut self, spot: Spot, hit: &HitJson<'_>) -> Result<(), StoreError> {
        self.found.push(Reverse(Hit { spot, json: to_json(hit)? }));
        if self.found.len() > self.query.limit.rows() + 1 {
            self.found.pop();
        }
        Ok(())
    }

    fn page(self) -> Vec<u8> {
        let limit = self.query.limit.rows();
        // Ascending by what is reversed: the newest first.
        let mut hits: Vec<_> = self.found.into_sorted_vec();
        let more = hits.len() > limit;
        hits.truncate(limit);
        let mut page = JsonPage::begin("results", hits.len() * 512);
        for Reverse(hit) in &hits {
            page.push(&hit.json);
        }
        let last = hits.last().filter(|_| more);
        let next = last.map(|Reverse(hit)| cursor::of_search(hit.spot));
        page.finish(next.as_deref())
    }
}

fn hit<'a>(
    session_id: &'a SessionId,
    title: &'a str,
    message: Option<&'a Message<'_>>,
    timestamp: Timestamp,
    found: &'a Found,
) -> HitJson<'a> {
    HitJson {
        session_id: session_id.as_str(),
        title,
        message_id: message.map(|message| &*message.id),
        role: message.map(|message| message.role),
        timestamp,
        snippet: &found.snippet,
        highlights: &found.highlights,
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.spot == other.spot
    }
}

impl Eq for Hit {}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.spot.cmp(&other.spot)
    }
}
