//! Pages of lists and histories, which are not read again for a caller who has them.
//!
//! A page has no version but what it says: its tag is a hash of that. So the tag is remembered, with
//! the number by which the store tells that nothing of the user's has changed since.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::{ETag, UserId};
use crate::sessions::Shown;
use crate::store::Store;

use super::App;
use super::extract::Known;
use super::reply::{shown, unchanged};

/// How many locks share the places, so that threads seldom meet.
const SHARDS: usize = 64;
/// How many pages a lock has room for: 16,384 in all, of 48 bytes each. Another page takes the place
/// of one.
const PLACES: usize = 256;

/// The tags of pages that were asked for of late, in memory that does not grow.
#[derive(Debug)]
pub(super) struct Pages {
    /// Known to nobody, so that nobody can ask for two pages that are taken for one.
    seed: u64,
    shards: Vec<Mutex<Vec<Remembered>>>,
}

/// A tag that a page had.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    page: u128,
    /// The store's number for the page's user, before the page was read.
    version: u64,
    tag: ETag,
}

/// What is asked for: which page, and what the caller has of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) known: Known,
    target: Uri,
}

/// What is remembered of the page that is asked for.
#[derive(Debug)]
pub(super) struct Looked<'a> {
    pages: &'a Pages,
    known: &'a Known,
    page: u128,
    version: u64,
    tag: Option<ETag>,
}

impl Pages {
    pub(super) fn new() -> Self {
        let (seed, _) = Uuid::new_v4().as_u64_pair();
        let nothing = Remembered { page: 0, version: 0, tag: ETag::from_bytes([0; 16]) };
        let shards = (0..SHARDS).map(|_| Mutex::new(vec![nothing; PLACES])).collect();
        Self { seed, shards }
    }

    /// Looks for the page of `caller`'s that is `asked` for. What is stored is read later.
    pub(super) fn look<'a>(
        &'a self,
        store: &Store,
        caller: &UserId,
        asked: &'a Asked,
    ) -> Looked<'a> {
        let target = asked.target.path_and_query().map_or("", |target| target.as_str());
        // Ids hold no NUL.
        let name = [caller.as_str().as_bytes(), &[0], target.as_bytes()].concat();
        let (page, version) = (xxh3_128_with_seed(&name, self.seed), store.version(caller));
        let mut tag = None;
        self.at(page, |place| {
            let is_it = place.page == page && place.version == version;
            tag = is_it.then_some(place.tag);
        });
        Looked { pages: self, known: &asked.known, page, version, tag }
    }

    fn at(&self, page: u128, work: impl FnOnce(&mut Remembered)) {
        let [shard, place, ..] = page.to_le_bytes();
        let shard = self.shards.get(usize::from(shard) % SHARDS);
        let mut shard = match shard {
            Some(shard) => shard.lock().unwrap_or_else(PoisonError::into_inner),
            None => return,
        };
        if let Some(place) = shard.get_mut(usize::from(place) % PLACES) {
            work(place);
        }
    }
}

impl Looked<'_> {
    /// The answer to a caller who has the page as it still is.
    pub(super) fn unchanged(&self) -> Option<Response> {
        self.tag.filter(|tag| self.known.has(*tag)).map(unchanged)
    }

    /// The page, or 304 to a caller who has it; it is remembered.
    pub(super) fn show(&self, text: Vec<u8>) -> Response {
        let tag = ETag::of(&text);
        let Self { page, version, .. } = *self;
        self.pages.at(page, |place| *place = Remembered { page, version, tag });
        shown(self.known, Shown { tag, json: text })
    }
}

impl FromRequestParts<App> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let known = Known::from_request_parts(parts, app).await?;
        Ok(Self { known, target: parts.uri.clone() })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::IF_NONE_MATCH;

    use super::*;
    use crate::model::{Clock, SessionId, Timestamp};
    use crate::sessions::{self, NewSession};

    fn asked(target: &'static str, known: &str) -> Asked {
        let headers = [(IF_NONE_MATCH, known.parse().unwrap())].into_iter().collect();
        Asked { known: Known::of(&headers), target: Uri::from_static(target) }
    }

    #[tokio::test]
    async fn a_page_that_was_shown_need_not_be_read_again_until_its_user_does_something() {
        let store = Store::in_memory(Clock::new(|| Timestamp::from_micros(1))).unwrap();
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let (pages, any) = (Pages::new(), asked("/list", "*"));
        let status = |user, asked: &Asked| {
            pages.look(&store, user, asked).unchanged().map(|response| response.status())
        };
        assert_eq!(status(&ann, &any), None, "nothing is known of it");

        let shown = pages.look(&store, &ann, &asked("/list", "")).show(b"{}".to_vec());
        assert_eq!(shown.status(), StatusCode::OK);

        let tag = ETag::of(b"{}").to_string();
        for known in ["*", &tag] {
            assert_eq!(status(&ann, &asked("/list", known)), Some(StatusCode::NOT_MODIFIED));
        }
        assert_eq!(status(&ann, &asked("/list", "\"other\"")), None);
        assert_eq!(status(&ann, &asked("/list?limit=1", "*")), None);
        assert_eq!(status(&bob, &any), None);

        let new = NewSession { id: Some(SessionId::parse("s").unwrap()), ..NewSession::default() };
        sessions::create(&store, ann.clone(), new, None).await.unwrap();
        assert_eq!(status(&ann, &any), None, "it says something else now");
    }
}
