//! A data file of one's own, and what users do with it.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orion_chat::model::{
    Clock, Content, MessageId, Metadata, PageSize, Role, SessionId, Tag, Timestamp, Title, UserId,
};
use orion_chat::sessions::{
    self, Draft, History, HistoryQuery, ListQuery, NewSession, SessionError, SortBy, SortOrder,
    Written,
};
use orion_chat::store::{Note, OpenError, Quota, Snapshot, Store, StoreConfig};
use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

/// A folder with the path of a data file that is not there yet.
pub(crate) fn new_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.redb");
    (folder, path)
}

pub(crate) fn open(path: &Path) -> Result<Store, OpenError> {
    open_at(path, Clock::system())
}

pub(crate) fn open_at(path: &Path, clock: Clock) -> Result<Store, OpenError> {
    // A quota that nobody reaches: what users have is counted, and looked at when it is verified.
    let quota = Quota { sessions: None, bytes: Some(NonZeroU64::MAX) };
    let config = StoreConfig { quota, ..StoreConfig::new(path.to_owned(), 1 << 20) };
    Store::open(&config, clock, Arc::default())
}

/// What is wrong with what it shows.
pub(crate) fn problems(snapshot: &Snapshot) -> Vec<String> {
    let mut problems = Vec::new();
    let records = snapshot.verify(&mut |note| {
        if let Note::Problem(what) = note {
            problems.push(what);
        }
        ControlFlow::Continue(())
    });
    assert!(records.is_some_and(|records| records > 0), "nothing was looked at");
    problems
}

/// Waits for a verb of the store, which is answered from a thread of its own.
pub(crate) fn wait<T>(verb: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(verb)
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub(crate) fn session_id(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

pub(crate) fn message_id(id: &str) -> MessageId {
    MessageId::parse(id).unwrap()
}

pub(crate) fn content(text: &str) -> Content {
    Content::parse("content", text.to_owned()).unwrap()
}

pub(crate) fn title(text: &str) -> Title {
    Title::parse(text.to_owned()).unwrap()
}

pub(crate) fn metadata(json: &str) -> Metadata {
    Metadata::parse(RawValue::from_string(json.to_owned()).unwrap()).unwrap()
}

/// The JSON that a write gave, done now or before.
pub(crate) fn json(written: Written) -> String {
    String::from_utf8(written.json).unwrap()
}

pub(crate) fn create(store: &Store, caller: &str, id: &str, first: &str) -> String {
    let new = NewSession {
        id: Some(session_id(id)),
        first_message: Some(content(first)),
        ..NewSession::default()
    };
    json(wait(sessions::create(store, user(caller), new, None)).unwrap())
}

pub(crate) fn save(
    store: &Store,
    caller: &str,
    session: &str,
    text: &str,
) -> Result<String, SessionError> {
    let draft = draft(session, Role::Assistant, text);
    wait(sessions::save_message(store, user(caller), draft, None)).map(json)
}

/// A message that is text and nothing more.
pub(crate) fn draft(session: &str, role: Role, text: &str) -> Draft {
    Draft {
        session_id: session_id(session),
        id: None,
        role,
        content: content(text),
        parts: None,
        parent_id: None,
        metadata: None,
        seen: None,
        seen_count: None,
    }
}

/// One page of rows, each as its bytes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    #[serde(alias = "sessions", alias = "messages")]
    rows: Vec<Box<RawValue>>,
    count: usize,
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    #[track_caller]
    fn parse(json: &[u8]) -> Self {
        let page: Self = serde_json::from_slice(json).unwrap();
        assert_eq!(page.count, page.rows.len());
        page
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.get().to_owned()).collect()
    }
}

/// How to list, but for the page's size and where it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    pub(crate) by: SortBy,
    pub(crate) order: SortOrder,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) archived: Option<bool>,
    pub(crate) pinned: Option<bool>,
    pub(crate) tag: Option<&'static str>,
    pub(crate) pinned_first: bool,
}

impl Listing {
    /// Every session, the one that changed last first.
    pub(crate) const NEWEST: Self = Self {
        by: SortBy::UpdatedAt,
        order: SortOrder::Desc,
        from: None,
        to: None,
        archived: None,
        pinned: None,
        tag: None,
        pinned_first: false,
    };
}

pub(crate) fn page_size(rows: usize) -> PageSize {
    PageSize::parse(&rows.to_string()).unwrap()
}

pub(crate) fn list_page(
    store: &Store,
    caller: &str,
    listing: Listing,
    limit: usize,
    cursor: Option<String>,
) -> Result<Page, SessionError> {
    let query = ListQuery {
        sort_by: listing.by,
        sort_order: listing.order,
        created_from: listing.from,
        created_to: listing.to,
        archived: listing.archived,
        pinned: listing.pinned,
        tag: listing.tag.map(|tag| Tag::parse("tag", tag.to_owned()).unwrap()),
        pinned_first: listing.pinned_first,
        limit: page_size(limit),
        cursor,
    };
    wait(sessions::list(store, &user(caller), &query)).map(|json| Page::parse(&json))
}

/// Every session of a list, read page by page; all but the last are full.
pub(crate) fn list(
    store: &Store,
    caller: &str,
    listing: Listing,
    limit: usize,
) -> Result<Vec<String>, SessionError> {
    pages(limit, |cursor| list_page(store, caller, listing, limit, cursor))
}

/// Every message of a session, read page by page; all but the last are full.
pub(crate) fn history_by_page(
    store: &Store,
    caller: &str,
    session: &str,
    order: SortOrder,
    limit: usize,
) -> Result<Vec<String>, SessionError> {
    pages(limit, |cursor| {
        let session_id = session_id(session);
        let query = HistoryQuery { session_id, order, limit: Some(page_size(limit)), cursor };
        history_json(store, caller, &query).map(|json| Page::parse(&json))
    })
}

fn pages(
    limit: usize,
    mut page: impl FnMut(Option<String>) -> Result<Page, SessionError>,
) -> Result<Vec<String>, SessionError> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(cursor)?;
        rows.extend(page.rows());
        assert!(page.rows.len() <= limit, "a page holds {} of {limit}", page.rows.len());
        let Some(next) = page.next_cursor else { return Ok(rows) };
        assert_eq!(page.rows.len(), limit, "a page that is not the last is full");
        cursor = Some(next);
    }
}

/// The JSON of a history, which comes in pieces if it is long.
fn history_json(
    store: &Store,
    caller: &str,
    query: &HistoryQuery,
) -> Result<Vec<u8>, SessionError> {
    match sessions::history(store, &user(caller), query)? {
        History::Whole(json) => Ok(json),
        History::Pieces { first: mut json, mut rest, .. } => {
            while let Some(piece) = rest.next_piece()? {
                json.extend(piece);
            }
            Ok(json)
        }
    }
}

/// Every message of a session, as one text.
pub(crate) fn history(
    store: &Store,
    caller: &str,
    session: &str,
    order: SortOrder,
) -> Result<Vec<String>, SessionError> {
    let session_id = session_id(session);
    let query = HistoryQuery { session_id, order, limit: None, cursor: None };
    let page = Page::parse(&history_json(store, caller, &query)?);
    assert_eq!(page.next_cursor, None, "the whole history has no next page");
    Ok(page.rows())
}

pub(crate) fn get(store: &Store, caller: &str, id: &str) -> Result<String, SessionError> {
    let shown = sessions::get(store, &user(caller), &session_id(id))?;
    Ok(String::from_utf8(shown.json).unwrap())
}

pub(crate) fn get_message(
    store: &Store,
    caller: &str,
    session: &str,
    id: &str,
) -> Result<String, SessionError> {
    let shown = sessions::get_message(store, &user(caller), &session_id(session), &message_id(id))?;
    Ok(String::from_utf8(shown.json).unwrap())
}
