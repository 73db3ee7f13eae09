//! Following the outbox of the extra schema: every change that was committed there since a snapshot,
//! whoever committed late.
//!
//! A row's transaction is new if it is visible now and was not in the snapshot that was followed up
//! to last. So nothing is missed of a transaction that began early and ended late, and one that never
//! ends holds up nobody.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use crate::fault::{Fault, is_planted};
use crate::model::{MessageId, SessionId, Timestamp, UserId};
use crate::sessions::merge::Known;
use crate::store::{ReadTx, Store, StoreError, Touched};

use super::SyncError;
use super::link::Link;
use super::pull::{Taken, Taker, Wanted};
use super::statements::get;

/// How many changes are read at once.
const PAGE: usize = 1000;

/// What is read of the outbox: what changed after one snapshot and up to another.
#[derive(Debug, Clone)]
pub(super) struct Span<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) node: &'a str,
}

/// Changes of the outbox.
#[derive(Debug, Default)]
struct Page {
    wanted: Wanted,
    /// With whose they were.
    sessions_gone: Vec<(SessionId, UserId, Timestamp)>,
    messages_gone: HashMap<SessionId, Vec<(MessageId, Timestamp)>>,
    truncated: bool,
    /// The last of them: its transaction and number.
    last: Option<(String, i64)>,
    rows: usize,
}

/// What is in the span, as `$1` to `$3`.
macro_rules! in_span {
    () => {
        concat!(
            " from orion_chat.outbox o where o.xid >= pg_snapshot_xmin($1::text::pg_snapshot)",
            " and not pg_visible_in_snapshot(o.xid, $1::text::pg_snapshot)",
            " and pg_visible_in_snapshot(o.xid, $2::text::pg_snapshot) and o.node <> $3"
        )
    };
}

/// How many rows were deleted in the span.
pub(super) async fn gone(link: &Link, span: &Span<'_>) -> Result<u64, SyncError> {
    let rows = link
        .query(
            "the outbox",
            concat!("select count(*) filter (where o.kind in ('S', 'M'))", in_span!()),
            &[(&span.from, Type::TEXT), (&span.to, Type::TEXT), (&span.node, Type::TEXT)],
        )
        .await?;
    let gone = rows.first().map(|row| get::<i64>(row, 0)).transpose()?.unwrap_or(0);
    Ok(u64::try_from(gone).unwrap_or(0))
}

/// How many of the rows that were deleted in the span are here.
pub(super) async fn gone_from_here(
    link: &Link,
    store: &Store,
    span: &Span<'_>,
) -> Result<u64, SyncError> {
    let (mut gone, mut after) = (0, ("0".to_owned(), 0));
    loop {
        let page = read(link, span, &after, &mut HashSet::new()).await?;
        gone += store.read(|tx| page.gone_from(tx))?;
        match page.last {
            Some(last) if page.rows == PAGE => after = last,
            _ => return Ok(gone),
        }
    }
}

impl Page {
    fn gone_from(&self, tx: ReadTx<'_>) -> Result<u64, StoreError> {
        let mut gone = 0;
        for (id, user, _) in &self.sessions_gone {
            gone += u64::from(tx.session(id)?.is_some_and(|it| it.user_id == *user));
        }
        for (id, messages) in &self.messages_gone {
            let Some(session) = tx.session(id)? else {
                continue;
            };
            for (message, _) in messages {
                gone += u64::from(tx.message(&session, message)?.is_some());
            }
        }
        Ok(gone)
    }
}

/// Takes all changes of the span; tells too whether everything was removed at once.
pub(super) async fn follow(taker: &Taker<'_>, span: &Span<'_>) -> Result<(Taken, bool), SyncError> {
    let (mut outcome, mut truncated) = (Taken::default(), false);
    let mut after = ("0".to_owned(), 0);
    let mut whole = HashSet::new();
    loop {
        let page = read(taker.link, span, &after, &mut whole).await?;
        let (rows, last) = (page.rows, page.last.clone());
        truncated |= page.truncated;
        let mut of_page = take(taker, page).await?;
        whole.extend(of_page.whole.drain(..));
        outcome.add(of_page);
        match last {
            Some(last) if rows == PAGE => after = last,
            _ => return Ok((outcome, truncated)),
        }
    }
}

/// Reads the changes of the span that come behind `after`; without what was put into sessions that
/// were taken `whole` since the end of the span, unless something of them was deleted before that.
async fn read(
    link: &Link,
    span: &Span<'_>,
    after: &(String, i64),
    whole: &mut HashSet<String>,
) -> Result<Page, SyncError> {
    let statement = concat!(
        "select o.xid::text, o.id, o.kind::text, o.session_id, o.message_id, o.at, o.user_id",
        in_span!(),
        " and (o.xid, o.id) > ($4::text::xid8, $5) order by o.xid, o.id limit 1000"
    );
    let rows = link
        .query(
            "the outbox",
            statement,
            &[
                (&span.from, Type::TEXT),
                (&span.to, Type::TEXT),
                (&span.node, Type::TEXT),
                (&after.0, Type::TEXT),
                (&after.1, Type::INT8),
            ],
        )
        .await?;
    let mut page = Page { rows: rows.len(), ..Page::default() };
    for row in &rows {
        page.last = Some((get(row, 0)?, get(row, 1)?));
        let (kind, session): (&str, String) = (get(row, 2)?, get(row, 3)?);
        let message: Option<String> = get(row, 4)?;
        let at = micros(get(row, 5)?);
        let session_id = SessionId::parse(&session);
        if matches!(kind, "S" | "M") {
            whole.remove(&session);
        }
        match (kind, message, session_id) {
            ("s" | "m", ..) if whole.contains(&session) => {}
            ("s", ..) => {
                page.wanted.sessions.insert(session);
            }
            ("m", Some(message), _) => {
                page.wanted.messages.insert(message);
            }
            ("S" | "M", ..) if is_planted(Fault::DeletionsNotTaken) => {}
            ("S", _, Ok(id)) => {
                // A user who cannot be one here has nothing here.
                let user = UserId::parse(get::<Option<&str>>(row, 6)?.unwrap_or_default());
                page.sessions_gone.extend(user.ok().map(|user| (id, user, at)));
            }
            ("M", Some(message), Ok(id)) => {
                let gone = page.messages_gone.entry(id).or_default();
                gone.extend(MessageId::parse(&message).ok().map(|id| (id, at)));
            }
            ("t", ..) => page.truncated = true,
            // An id that cannot be one here is of nothing that is here.
            _ => {}
        }
    }
    Ok(page)
}

async fn take(taker: &Taker<'_>, page: Page) -> Result<Taken, SyncError> {
    let mut rows = taker.delete_messages(page.messages_gone).await?;
    for (id, user, at) in page.sessions_gone {
        rows += taker.delete_session(id, Known::ByTime(user, at)).await?;
    }
    let mut outcome = taker.take(page.wanted).await?;
    outcome.rows += rows;
    // What was deleted here stays deleted, and is told once more.
    let is_gone = |touched: &Touched| matches!(touched, Touched::SessionGone(..));
    outcome.again.retain(is_gone);
    Ok(outcome)
}

/// When others put these messages there last, as far as is known still: what was not followed is.
pub(super) async fn put_at(
    link: &Link,
    ids: &[&str],
) -> Result<HashMap<String, Timestamp>, SyncError> {
    let statement = "select o.message_id, max(o.at) from orion_chat.outbox o\
        \x20where o.kind = 'm' and o.node <> $2 and o.message_id = any($1) group by 1";
    let node = link.node();
    let parameters = [(&ids as _, Type::TEXT_ARRAY), (&node as _, Type::TEXT)];
    let rows = link.query("the outbox", statement, &parameters).await?;
    rows.iter().map(|row| Ok((get(row, 0)?, micros(get(row, 1)?)))).collect()
}

/// The snapshot of now, and whether the extra schema is there.
pub(super) async fn now(link: &Link) -> Result<(String, bool), SyncError> {
    let statement =
        "select pg_current_snapshot()::text, to_regclass('orion_chat.outbox') is not null";
    let rows = link.query("the outbox", statement, &[]).await?;
    let now = rows.first().map(|row| Ok::<_, SyncError>((get(row, 0)?, get(row, 1)?)));
    Ok(now.transpose()?.unwrap_or_default())
}

fn micros(at: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(at).unwrap_or(0))
}

/// Whether `now` comes before `then`: the server has gone back in time since, or is another.
pub(super) fn went_back(then: &str, now: &str) -> bool {
    part(now, 1) < part(then, 1)
}

/// Whether all that was going on at `then` had come to its end at `now`.
pub(super) fn is_behind(now: &str, then: &str) -> bool {
    part(now, 0) >= part(then, 1)
}

/// Has the outbox keep for us too what is done from now on.
pub(super) async fn register(link: &Link) -> Result<(), SyncError> {
    let statement = "insert into orion_chat.nodes (node, mark, followed, seen_at)\
        \x20values ($1, 0, pg_current_snapshot()::text, now()) on conflict (node) do update\
        \x20set followed = excluded.followed, seen_at = excluded.seen_at";
    link.query("the nodes", statement, &[(&link.node(), Type::TEXT)]).await?;
    Ok(())
}

/// A part of a snapshot: its oldest transaction that was going on, or the first that had not begun.
fn part(snapshot: &str, part: usize) -> u64 {
    snapshot.split(':').nth(part).and_then(|xid| xid.parse().ok()).unwrap_or(0)
}

/// `snapshot` as if no transaction had been open in it.
pub(super) fn closed(snapshot: &str) -> String {
    let newest = snapshot.split(':').nth(1).unwrap_or_default();
    format!("{newest}:{newest}:")
}

/// Leaves a mark that is greater than the one before, and how far was followed; gives the mark.
pub(super) async fn leave_mark(link: &Link, from: &str) -> Result<i64, SyncError> {
    let statement = "insert into orion_chat.nodes as n (node, mark, followed, seen_at)\
        \x20values ($1, 1, nullif($2, ''), now()) on conflict (node) do update set mark = n.mark + 1,\
        \x20followed = coalesce(excluded.followed, n.followed), seen_at = excluded.seen_at returning n.mark";
    let node = link.node();
    let parameters = [(&node as _, Type::TEXT), (&from as _, Type::TEXT)];
    let rows = link.query("the nodes", statement, &parameters).await?;
    rows.first().map_or(Ok(0), |row| get(row, 0))
}

/// Removes what all followed, or a good part of it; who was not seen for a week is not waited for,
/// and told so.
pub(super) async fn prune(link: &Link, from: &str) -> Result<(), SyncError> {
    /// Some tenths of a second each: what was loaded there at once is not removed at once.
    const PIECES: usize = 10;
    const ROWS: i64 = 20_000;
    let statement = "with forgotten as (update orion_chat.nodes set followed = null\
        \x20where seen_at <= now() - interval '7 days' and followed is not null),\
        \x20old as (select o.xid, o.id from orion_chat.outbox o where o.xid < (select\
        \x20min(pg_snapshot_xmin(coalesce(n.followed, $1)::pg_snapshot)) from orion_chat.nodes n\
        \x20where n.seen_at > now() - interval '7 days') order by o.xid, o.id limit $2)\
        \x20delete from orion_chat.outbox o using old where (o.xid, o.id) = (old.xid, old.id)\
        \x20returning 1";
    let parameters = [(&from as _, Type::TEXT), (&ROWS as _, Type::INT8)];
    for _ in 0..PIECES {
        let gone = link.query("the outbox", statement, &parameters).await?;
        if i64::try_from(gone.len()).is_ok_and(|gone| gone < ROWS) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_going_on_is_over_when_only_newer_transactions_are() {
        assert!(is_behind("9:9:", "9:9:") && is_behind("10:12:10", "7:10:7"));
        assert!(!is_behind("7:12:7", "7:10:7") && !is_behind("9:9:", "9:10:9"));
    }

    #[test]
    fn a_server_that_went_back_is_known_by_its_transactions() {
        assert!(went_back("5:9:5,7", "5:8:"));
        assert!(!went_back("5:9:5,7", "9:9:"));
        assert!(!went_back("5:9:5,7", "10:10:"));
    }
}
