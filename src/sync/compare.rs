//! Comparing both sides as a whole: what only one of them has, and where they differ.
//!
//! Sessions are walked in the order of their ids, a page at a time; their messages are compared by a
//! sum over all of them, so that only those of sessions that differ are looked at one by one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Bound, ControlFlow};
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use tokio_postgres::types::Type;

use crate::model::{Message, MessageId, SessionId, Timestamp};
use crate::sessions::merge::{self, Missing};
use crate::store::notes::{self as keys, Base};
use crate::store::{SessionRef, Store, StoreError, Touched};

use super::SyncError;
use super::link::Link;
use super::notes::{self, Letter};
use super::parcel::text;
use super::pull::wholes;
use super::statements::{get, own_print, print};
use super::theirs::{self, MessagePrint};

/// How many sessions are compared at once, at most.
pub(super) const PAGE: usize = 10_000;
/// How many messages are read in one go: a commit waits for that.
const READ: usize = 200;

/// A session as a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    count: u64,
    sum: u64,
}

/// A session there.
#[derive(Debug)]
struct There {
    user: String,
    print: u128,
    messages: Sum,
}

/// What of a session was set aside when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    /// Nothing, or some of its messages.
    Nothing,
    /// Itself was refused.
    Refused,
    /// Something that somebody else held there, so that it is tried again.
    Held,
}

/// In what a session differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is here alone; whether it was there once, and the fingerprint of its row.
    Here { session: SessionRef, was_there: bool, aside: Aside, print: u128, messages: u64 },
    /// It is there alone, and this user's.
    There { id: String, user: String, messages: u64 },
    /// It has another title or other metadata.
    Own(SessionRef),
    /// Its messages are not the same; so many are there.
    Messages(SessionRef, u64),
}

/// In what the messages of a session differ.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Here alone.
    pub(super) here: Vec<Missing>,
    /// There alone, or other texts of what was not edited here.
    pub(super) there: Vec<String>,
    /// Edited here, and another text there.
    pub(super) edited: Vec<(String, Timestamp)>,
}

/// A page of what was compared.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) differences: Vec<Difference>,
    /// Sessions and messages that are here.
    pub(super) rows: u64,
    /// How long PostgreSQL took for it.
    pub(super) took_there: Duration,
    /// The last session's id, if there may be more.
    pub(super) last: Option<String>,
}

/// Compares the sessions behind `after`, so many of those that are there.
pub(super) async fn page(
    link: &Link,
    store: &Store,
    after: &str,
    limit: usize,
) -> Result<Page, SyncError> {
    let began = Instant::now();
    let mut there = there(link, after, limit).await?;
    let took_there = began.elapsed();
    let is_full = there.len() == limit;
    let last = there.last_key_value().map(|(id, _)| id.clone()).filter(|_| is_full);
    let mut page = Page { last: last.clone(), took_there, ..Page::default() };
    let mut from = after.to_owned();
    loop {
        let sessions = store.read(|tx| tx.sessions_by_id(&from, READ))?;
        let is_behind = |id: &SessionId| last.as_ref().is_some_and(|last| id.as_str() > &**last);
        let in_page = sessions.iter().take_while(|session| !is_behind(&session.id));
        for session in in_page {
            let there = there.remove(session.id.as_str());
            page.rows += compare(store, session, there, &mut page.differences)?;
        }
        match sessions.last() {
            Some(session) if !is_behind(&session.id) => session.id.as_str().clone_into(&mut from),
            _ => break,
        }
        tokio::task::yield_now().await;
    }
    let alone = there.into_iter().map(|(id, There { user, messages, .. })| Difference::There {
        id,
        user,
        messages: messages.count,
    });
    page.differences.extend(alone);
    Ok(page)
}

async fn there(
    link: &Link,
    after: &str,
    limit: usize,
) -> Result<BTreeMap<String, There>, SyncError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = link
        .query_long(
            "all sessions",
            concat!(
                "with page as (select s.session_id, s.user_id, ",
                own_print!(),
                " as print from chat_sessions s where s.session_id collate \"C\" > $1",
                " order by s.session_id collate \"C\" limit $2)",
                " select p.session_id::text, p.user_id::text, p.print, count(m.message_id),",
                " coalesce(sum(('x' || substr(md5(m.message_id || chr(1) || m.content), 1, 8))",
                "::bit(32)::int8), 0)::int8",
                " from page p left join chat_messages m on m.session_id = p.session_id",
                " group by p.session_id, p.user_id, p.print"
            ),
            &[(&after, Type::TEXT), (&limit, Type::INT8)],
        )
        .await?;
    let there = rows.iter().map(|row| {
        let number =
            |column| Ok::<_, SyncError>(u64::try_from(get::<i64>(row, column)?).unwrap_or(0));
        let messages = Sum { count: number(3)?, sum: number(4)? };
        let user = get::<Option<String>>(row, 1)?.unwrap_or_default();
        Ok((get(row, 0)?, There { user, print: print(get(row, 2)?), messages }))
    });
    there.collect()
}

/// Compares a session with what is there of it; gives how many rows it has here.
fn compare(
    store: &Store,
    session: &SessionRef,
    there: Option<There>,
    differences: &mut Vec<Difference>,
) -> Result<u64, StoreError> {
    let Some(sum) = sum(store, session)? else {
        return Ok(0);
    };
    let rows = sum.count + 1;
    let (base, own_at) = store.read(|tx| {
        let base = tx.note(&keys::base(session.number))?.and_then(|note| Base::of(&note));
        let own_at = notes::number(tx.note(&keys::own_at(session.number))?);
        Ok::<_, StoreError>((base, own_at))
    })?;
    let session = session.clone();
    match there {
        None => {
            let (was_there, aside) = (base.is_some(), aside(store, &session.id)?);
            let found = store.read(|tx| {
                let found = tx.session(&session.id)?.filter(|it| it.number == session.number);
                found.map(|found| tx.row(&found)).transpose()
            })?;
            if let Some(print) = found.map(|row| merge::row_print(&row.json)) {
                let messages = sum.count;
                differences.push(Difference::Here { session, was_there, aside, print, messages });
            }
        }
        Some(there) => {
            let is_same =
                base.is_some_and(|base| base.print == there.print && own_at <= base.own_at);
            if !is_same {
                differences.push(Difference::Own(session.clone()));
            }
            if sum != there.messages {
                differences.push(Difference::Messages(session, there.messages.count));
            }
        }
    }
    Ok(rows)
}

/// The sum of a session's messages but for those that were refused there; `None` of one that is
/// gone.
fn sum(store: &Store, session: &SessionRef) -> Result<Option<Sum>, StoreError> {
    let mut sum = Sum::default();
    let refused = refused(store, &session.id)?;
    each_message(store, session, |_, id, (content, _), _| {
        if !refused.contains(id) {
            let hash = Md5::digest([id.as_bytes(), &[1], content.as_bytes()].concat());
            let first = hash.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            sum = Sum { count: sum.count + 1, sum: sum.sum + u64::from(first) };
        }
    })?;
    let is_here = store.read(|tx| tx.session(&session.id))?;
    Ok(is_here.is_some_and(|found| found.number == session.number).then_some(sum))
}

fn aside(store: &Store, id: &SessionId) -> Result<Aside, StoreError> {
    let own = notes::letter(id, None);
    let letters = store.read(|tx| tx.notes(&own, &[], usize::MAX))?;
    let is_held = |letter: &[u8]| {
        serde_json::from_slice::<Letter>(letter).is_ok_and(|letter| letter.state == notes::HELD)
    };
    Ok(if letters.iter().any(|(_, letter)| is_held(letter)) {
        Aside::Held
    } else if letters.iter().any(|(key, _)| *key == own) {
        Aside::Refused
    } else {
        Aside::Nothing
    })
}

/// The messages of a session that were refused there.
fn refused(store: &Store, id: &SessionId) -> Result<HashSet<String>, StoreError> {
    let letters = store.read(|tx| tx.notes(&notes::letter(id, None), &[], usize::MAX))?;
    let messages = letters.iter().filter_map(|(key, _)| notes::letter_about(key)?.1);
    Ok(messages.map(|id| id.to_string()).collect())
}

/// Shows `each` all messages of a session: place, id, text and row, and whether it was edited.
fn each_message(
    store: &Store,
    session: &SessionRef,
    mut each: impl FnMut(Timestamp, &str, (&str, &[u8]), bool),
) -> Result<(), StoreError> {
    let mut show = |place, json: &[u8]| {
        let message: Message<'_> = serde_json::from_slice(json).ok()?;
        let (id, content) = (text(&message.id)?, text(&message.content)?);
        each(place, &id, (&content, json), message.edited_at.is_some());
        Some(())
    };
    let of = (&session.user_id, session.number);
    let mut from = Bound::Unbounded;
    loop {
        let (mut rows, mut last) = (0, None);
        let mut take = |place, json: &[u8]| {
            // One that cannot be read is for `verify` to tell of.
            let _shown = show(place, json);
            (rows, last) = (rows + 1, Some(place));
            if rows == READ { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let span = (from, Bound::Unbounded);
        let shown = store.read(|tx| tx.messages_by_number(of, span, false, &mut take))?;
        match last {
            Some(last) if shown.is_break() => from = Bound::Excluded(last),
            _ => return Ok(()),
        }
    }
}

/// Looks at the messages of sessions one by one, of each of which so many are there.
pub(super) async fn messages(
    link: &Link,
    store: &Store,
    sessions: Vec<(SessionRef, u64)>,
) -> Result<Vec<(SessionRef, Messages)>, SyncError> {
    let mut found = Vec::new();
    for piece in wholes(&sessions, |(_, messages)| *messages) {
        let ids: Vec<_> = piece.iter().map(|(session, _)| session.id.as_str()).collect();
        let mut prints = theirs::message_prints(link, &ids).await?;
        for (session, _) in piece {
            let there = prints.remove(session.id.as_str()).unwrap_or_default();
            found.push((session.clone(), messages_of(store, session, there)?));
        }
    }
    Ok(found)
}

fn messages_of(
    store: &Store,
    session: &SessionRef,
    there: Vec<MessagePrint>,
) -> Result<Messages, StoreError> {
    let mut there: HashMap<_, _> =
        there.into_iter().map(|message| (message.id, message.print)).collect();
    let refused = refused(store, &session.id)?;
    let mut differs = Messages::default();
    each_message(store, session, |place, id, (content, json), is_edited| match there.remove(id) {
        Some(theirs) if theirs == merge::print(content) => {}
        Some(_) if is_edited => differs.edited.push((id.to_owned(), place)),
        Some(_) => differs.there.push(id.to_owned()),
        None if refused.contains(id) => {}
        None => {
            let id = MessageId::parse(id).ok();
            differs.here.extend(id.map(|id| (id, place, merge::row_print(json))));
        }
    })?;
    differs.there.extend(there.into_keys());
    Ok(differs)
}

/// The rows of a session, to be sent as a whole.
pub(super) fn whole(store: &Store, session: &SessionRef) -> Result<Vec<Touched>, StoreError> {
    let mut touched = vec![Touched::Session(session.id.clone())];
    each_message(store, session, |place, _, _, _| {
        touched.push(Touched::Message(session.user_id.clone(), session.number, place));
    })?;
    Ok(touched)
}
