//! The statements about sessions.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::fault::{Fault, is_planted};
use crate::model::{SessionId, Timestamp};
use crate::sync::SyncError;
use crate::sync::link::Link;
use crate::sync::parcel::SessionRow;

use super::{
    Prints, changed, get, hex, micros, own_print, print, prints, same_owner, session_id, time,
};

/// Inserts the sessions that are not there; gives the fingerprints of those.
pub(in crate::sync) async fn insert_sessions(
    link: &Link,
    rows: &[&SessionRow],
) -> Result<Prints, SyncError> {
    if rows.is_empty() {
        return Ok(Prints::new());
    }
    let uuids: Vec<_> = rows.iter().map(|_| Uuid::new_v4().to_string()).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
    let firsts: Vec<_> = rows.iter().map(|row| row.first_message.as_deref()).collect();
    let lasts: Vec<_> = rows.iter().map(|row| row.last_message.as_deref()).collect();
    let counts: Vec<_> = rows.iter().map(|row| row.count).collect();
    let metadata: Vec<_> = rows.iter().map(|row| row.metadata.as_str()).collect();
    let created: Vec<_> = rows.iter().map(|row| micros(row.created_at)).collect();
    let updated: Vec<_> = rows.iter().map(|row| micros(row.updated_at)).collect();
    let inserted = link
        .query(
            "new sessions",
            concat!(
                "insert into chat_sessions as s (id, session_id, user_id, title, first_message,",
                " last_message, message_count, metadata, created_at, updated_at)",
                " select x.uuid::uuid, x.id, x.user_id, x.title, x.first_message, x.last_message,",
                " x.count, x.metadata::jsonb, ",
                time!("x.created"),
                ", ",
                time!("x.updated"),
                " from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) x(uuid, id, user_id, title,",
                " first_message, last_message, count, metadata, created, updated)",
                " on conflict (session_id) do nothing returning s.session_id::text, ",
                own_print!()
            ),
            &[
                (&uuids, Type::TEXT_ARRAY),
                (&ids, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&titles, Type::TEXT_ARRAY),
                (&firsts, Type::TEXT_ARRAY),
                (&lasts, Type::TEXT_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&metadata, Type::TEXT_ARRAY),
                (&created, Type::INT8_ARRAY),
                (&updated, Type::INT8_ARRAY),
            ],
        )
        .await?;
    prints(&inserted)
}

/// Fills in what sessions lack there; gives the fingerprints before and after.
pub(in crate::sync) async fn fill_sessions(
    link: &Link,
    rows: &[SessionRow],
) -> Result<HashMap<SessionId, (u128, u128)>, SyncError> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
    let created: Vec<_> = rows.iter().map(|row| micros(row.created_at)).collect();
    let filled = link
        .query(
            "what sessions lack",
            concat!(
                "update chat_sessions s set title = coalesce(s.title, x.title),",
                " created_at = coalesce(s.created_at, ",
                time!("x.created"),
                ") from unnest($1, $2, $3, $4) x(id, user_id, title, created)",
                " where s.session_id = x.id and ",
                same_owner!(),
                " and (s.title is null or s.created_at is null) returning s.session_id::text,",
                " md5(chr(1) || coalesce(s.metadata::text, '')), ",
                own_print!()
            ),
            &[
                (&ids, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&titles, Type::TEXT_ARRAY),
                (&created, Type::INT8_ARRAY),
            ],
        )
        .await?;
    let prints = |row: &Row| {
        let [before, after] = [get::<&str>(row, 1)?, get::<&str>(row, 2)?].map(print);
        Ok((session_id(row, 0)?, (before, after)))
    };
    filled.iter().map(prints).collect()
}

/// Sets what follows from sessions' messages, where it is something else. Where this transaction does
/// not change them, they must be as many as here, but for those that were refused: what is repeated may be
/// of long ago.
pub(in crate::sync) async fn follow_messages(
    link: &Link,
    rows: &[SessionRow],
) -> Result<(), SyncError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let firsts: Vec<_> = rows.iter().map(|row| row.first_message.as_deref()).collect();
    let lasts: Vec<_> = rows.iter().map(|row| row.last_message.as_deref()).collect();
    let counts: Vec<_> = rows.iter().map(|row| row.count).collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
    let refused: Vec<_> = rows.iter().map(|row| row.messages_refused).collect();
    // Of one that was changed there too, nothing is touched before that is settled.
    let metadata: Vec<_> = rows
        .iter()
        .map(|row| (row.own_changed() && !row.refused).then_some(row.metadata.as_str()))
        .collect();
    link.query(
        "sessions' previews",
        concat!(
            // Counted once at most, and only if somebody asks for it.
            "with counts as materialized (select m.session_id, count(*) as count",
            " from chat_messages m where m.session_id = any($1) group by m.session_id)",
            " update chat_sessions s set first_message = x.first_message,",
            " last_message = x.last_message, message_count = x.count",
            " from unnest($1, $2, $3, $4, $5, $6, $7, $8)",
            " x(id, user_id, first_message, last_message, count, title, metadata, refused)",
            " where s.session_id = x.id and ",
            same_owner!(),
            " and (s.first_message, s.last_message, s.message_count)",
            " is distinct from (x.first_message, x.last_message, x.count) and (x.metadata is null",
            " or (s.title, s.metadata) is not distinct from (x.title, x.metadata::jsonb))",
            " and (s.session_id = any(string_to_array(",
            changed!(),
            ", chr(1))) or coalesce((select c.count from counts c",
            " where c.session_id = s.session_id), 0) between x.count - x.refused and x.count)",
            // Whoever holds one is about to change it, and that will be told.
            " and s.session_id in (select h.session_id from chat_sessions h",
            " where h.session_id = any($1) for no key update skip locked)"
        ),
        &[
            (&ids, Type::TEXT_ARRAY),
            (&users, Type::TEXT_ARRAY),
            (&firsts, Type::TEXT_ARRAY),
            (&lasts, Type::TEXT_ARRAY),
            (&counts, Type::INT8_ARRAY),
            (&titles, Type::TEXT_ARRAY),
            (&metadata, Type::TEXT_ARRAY),
            (&refused, Type::INT8_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Notes in the extra schema when sessions' own changed last, and what has no column.
pub(in crate::sync) async fn put_versions(
    link: &Link,
    rows: &[&SessionRow],
) -> Result<(), SyncError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let times: Vec<_> = rows
        .iter()
        .map(|row| micros(Timestamp::from_micros(row.own_at).max(row.created_at)))
        .collect();
    let marks: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!([row.marks.archived, row.marks.pinned, row.marks.tags]).to_string()
        })
        .collect();
    let node = link.node();
    link.query(
        "sessions' versions",
        concat!(
            "insert into orion_chat.versions as v (session_id, own_at, node, marks)",
            " select x.id, x.at, $4, x.marks::jsonb from unnest($1, $2, $3) x(id, at, marks)",
            " on conflict (session_id) do update set own_at = excluded.own_at,",
            " node = excluded.node, marks = excluded.marks where v.own_at < excluded.own_at or",
            " (v.own_at = excluded.own_at and v.node collate \"C\" < excluded.node collate \"C\")"
        ),
        &[
            (&ids, Type::TEXT_ARRAY),
            (&times, Type::INT8_ARRAY),
            (&marks, Type::TEXT_ARRAY),
            (&node, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// Changes what is sessions' own, where nobody else did since both sides were the same; gives the
/// fingerprints of those that were changed.
pub(in crate::sync) async fn update_sessions(
    link: &Link,
    rows: &[&SessionRow],
) -> Result<Prints, SyncError> {
    if rows.is_empty() {
        return Ok(Prints::new());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
    let metadata: Vec<_> = rows.iter().map(|row| row.metadata.as_str()).collect();
    let mut bases: Vec<_> = rows.iter().map(|row| row.base.map(|base| hex(base.print))).collect();
    if is_planted(Fault::NoVersionGuard) {
        let now = prints_now(link, &ids).await?;
        bases = rows.iter().map(|row| now.get(&row.id).map(|print| hex(*print))).collect();
    }
    // Another one, if a session was deleted and made again.
    let created: Vec<_> = rows.iter().map(|row| micros(row.created_at)).collect();
    let updated = link
        .query(
            "sessions' titles",
            concat!(
                "update chat_sessions s set title = x.title, metadata = x.metadata::jsonb,",
                " created_at = ",
                time!("x.created"),
                " from unnest($1, $2, $3, $4, $5, $6)",
                " x(id, user_id, title, metadata, base, created) where s.session_id = x.id and ",
                same_owner!(),
                " and ",
                own_print!(),
                " = x.base returning s.session_id::text, ",
                own_print!()
            ),
            &[
                (&ids, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&titles, Type::TEXT_ARRAY),
                (&metadata, Type::TEXT_ARRAY),
                (&bases, Type::TEXT_ARRAY),
                (&created, Type::INT8_ARRAY),
            ],
        )
        .await?;
    prints(&updated)
}

/// Which of the sessions are there, each with whether it is the same user's.
pub(in crate::sync) async fn owners(
    link: &Link,
    rows: &[&SessionRow],
) -> Result<HashMap<SessionId, bool>, SyncError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let found = link
        .query(
            "sessions' owners",
            concat!(
                "select s.session_id::text, ",
                same_owner!(),
                " from unnest($1, $2) x(id, user_id) join chat_sessions s on s.session_id = x.id"
            ),
            &[(&ids, Type::TEXT_ARRAY), (&users, Type::TEXT_ARRAY)],
        )
        .await?;
    found.iter().map(|row| Ok((session_id(row, 0)?, get(row, 1)?))).collect()
}

/// The fingerprints that sessions have there now, whoever changed them.
async fn prints_now(link: &Link, ids: &[&str]) -> Result<Prints, SyncError> {
    let statement = concat!(
        "select s.session_id::text, ",
        own_print!(),
        " from chat_sessions s where s.session_id = any($1)"
    );
    let found = link.query("sessions' versions", statement, &[(&ids, Type::TEXT_ARRAY)]).await?;
    prints(&found)
}
