//! The statements that send rows. Each takes many of them at once, as arrays, and changes nothing
//! when it is repeated.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use crate::fault::{Fault, is_planted};
use crate::model::{MessageId, Role, SessionId, Timestamp};
use crate::sessions::merge;

use super::SyncError;
use super::link::Link;
use super::parcel::{MessageRow, SessionRow};

/// Fingerprints of what is sessions' own there.
pub(super) type Prints = HashMap<SessionId, u128>;

/// What is a session's own, as PostgreSQL sees it: the same text for the same title and metadata.
macro_rules! own_print {
    () => {
        "md5(coalesce(s.title, '') || chr(1) || coalesce(s.metadata::text, ''))"
    };
}

pub(super) use own_print;

/// The microseconds of a time.
macro_rules! micros_of {
    ($time:literal) => {
        concat!("(extract(epoch from ", $time, ") * 1000000)::int8")
    };
}
pub(super) use micros_of;

/// The sessions whose messages this transaction changed, with `chr(1)` between them.
macro_rules! changed {
    () => {
        "current_setting('orion_chat.changed', true)"
    };
}

/// Notes the sessions of which `rows` has rows among those; gives these rows.
macro_rules! note_changed {
    ($rows:literal) => {
        concat!(
            ", noted as (select set_config('orion_chat.changed', concat_ws(chr(1), ",
            changed!(),
            ", string_agg(distinct r.session_id, chr(1))), true) from ",
            $rows,
            " r) select r.session_id::text from ",
            $rows,
            " r cross join noted"
        )
    };
}

/// Whether session `s` there is the user's who has it here, where addresses are in lower case.
macro_rules! same_owner {
    () => {
        "(s.user_id = x.user_id or (position('@' in s.user_id) > 0 and lower(btrim(s.user_id)) = x.user_id))"
    };
}

/// A time from microseconds.
macro_rules! time {
    ($micros:literal) => {
        concat!("(timestamptz 'epoch' + ", $micros, " * interval '1 microsecond')")
    };
}

/// Deletes sessions as of a time, with their messages up to then. One that has later messages stays.
pub(super) async fn delete_sessions(
    link: &Link,
    gone: &[(SessionId, Timestamp)],
) -> Result<(), SyncError> {
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = gone.iter().map(|(id, _)| id.as_str()).collect();
    let times: Vec<_> = gone.iter().map(|(_, at)| micros(*at)).collect();
    let parameters = [(&ids as _, Type::TEXT_ARRAY), (&times as _, Type::INT8_ARRAY)];
    let messages = link.query(
        "the deletion of sessions",
        concat!(
            "delete from chat_messages m using unnest($1, $2) x(id, at) where m.session_id = x.id",
            " and m.created_at <= ",
            time!("x.at")
        ),
        &parameters,
    );
    let sessions = link.query(
        "the deletion of sessions",
        concat!(
            "delete from chat_sessions s using unnest($1, $2) x(id, at) where s.session_id = x.id",
            " and coalesce(s.created_at, 'epoch') <= ",
            time!("x.at"),
            " and not exists (select from chat_messages m where m.session_id = s.session_id)"
        ),
        &parameters,
    );
    // Both at once, so that they come before whatever else is sent.
    futures_util::try_join!(messages, sessions)?;
    Ok(())
}

/// Inserts the sessions that are not there; gives the fingerprints of those.
pub(super) async fn insert_sessions(
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
pub(super) async fn fill_sessions(
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
/// not change them, they must be as many as here: what is repeated may be of long ago.
pub(super) async fn follow_messages(link: &Link, rows: &[SessionRow]) -> Result<(), SyncError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let firsts: Vec<_> = rows.iter().map(|row| row.first_message.as_deref()).collect();
    let lasts: Vec<_> = rows.iter().map(|row| row.last_message.as_deref()).collect();
    let counts: Vec<_> = rows.iter().map(|row| row.count).collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
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
            " from unnest($1, $2, $3, $4, $5, $6, $7)",
            " x(id, user_id, first_message, last_message, count, title, metadata)",
            " where s.session_id = x.id and ",
            same_owner!(),
            " and (s.first_message, s.last_message, s.message_count)",
            " is distinct from (x.first_message, x.last_message, x.count) and (x.metadata is null",
            " or (s.title, s.metadata) is not distinct from (x.title, x.metadata::jsonb))",
            " and (s.session_id = any(string_to_array(",
            changed!(),
            ", chr(1))) or x.count = coalesce((select c.count from counts c",
            " where c.session_id = s.session_id), 0))",
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
        ],
    )
    .await?;
    Ok(())
}

/// Notes in the extra schema when sessions' own changed last, and what has no column.
pub(super) async fn put_versions(link: &Link, rows: &[&SessionRow]) -> Result<(), SyncError> {
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
            " node = excluded.node, marks = excluded.marks where v.own_at < excluded.own_at"
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
pub(super) async fn update_sessions(
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

/// Inserts messages whose sessions are there, and changes those that were edited; gives how many
/// were sent that way. One that is there as it is counts as not sent.
pub(super) async fn upsert_messages(link: &Link, rows: &[MessageRow]) -> Result<usize, SyncError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let uuids: Vec<_> = rows.iter().map(|_| Uuid::new_v4().to_string()).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let sessions: Vec<_> = rows.iter().map(|row| row.session_id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let roles: Vec<_> = rows.iter().map(|row| role_name(row.role)).collect();
    let contents: Vec<_> = rows.iter().map(|row| row.content.as_str()).collect();
    let metadata: Vec<_> = rows.iter().map(|row| row.metadata.as_str()).collect();
    let times: Vec<_> = rows.iter().map(|row| micros(row.at)).collect();
    let edits = rows.iter().filter_map(|row| Some((row, row.edit?)));
    let edited: Vec<_> = edits.clone().map(|(row, _)| row.id.as_str()).collect();
    // An edit takes the place of what it is an edit of, and of nothing else.
    let replaceable: Vec<_> = edits
        .flat_map(|(row, edit)| {
            let prints = [Some(merge::print(&row.content)), edit.base];
            prints.into_iter().flatten().map(|print| row.id.to_string() + &hex(print))
        })
        .collect();
    let role_type = link.role_type().await?;
    let sent = link.query(
        "messages",
        &format!(concat!(
            "with put as (insert into chat_messages as m",
            " (id, message_id, session_id, role, content, metadata,",
            " created_at) select x.uuid::uuid, x.id, x.session_id, x.role::{}, x.content,",
            " x.metadata::jsonb, ",
            time!("x.at"),
            " from unnest($1, $2, $3, $4, $5, $6, $7, $8) with ordinality x(uuid, id, session_id,",
            " user_id, role, content, metadata, at, place)",
            " join chat_sessions s on s.session_id = x.session_id and ",
            same_owner!(),
            " order by x.place",
            " on conflict (message_id) do update set",
            " content = case when m.message_id = any($9) then excluded.content else m.content end,",
            " metadata = case when m.message_id = any($9) then excluded.metadata",
            " else m.metadata end, created_at = coalesce(m.created_at, excluded.created_at)",
            " where m.session_id = excluded.session_id and (m.message_id <> all($9)",
            " or m.message_id || md5(m.content) = any($10)) and (m.created_at is null",
            " or (m.message_id = any($9) and (m.content, m.metadata)",
            " is distinct from (excluded.content, excluded.metadata)))",
            " returning m.session_id)",
            note_changed!("put")
        ), role_type),
        &[
            (&uuids, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&sessions, Type::TEXT_ARRAY),
            (&users, Type::TEXT_ARRAY),
            (&roles, Type::TEXT_ARRAY),
            (&contents, Type::TEXT_ARRAY),
            (&metadata, Type::TEXT_ARRAY),
            (&times, Type::INT8_ARRAY),
            (&edited, Type::TEXT_ARRAY),
            (&replaceable, Type::TEXT_ARRAY),
        ],
    ).await?;
    Ok(sent.len())
}

/// Deletes messages.
pub(super) async fn delete_messages(
    link: &Link,
    gone: &[(SessionId, MessageId)],
) -> Result<(), SyncError> {
    if gone.is_empty() {
        return Ok(());
    }
    let sessions: Vec<_> = gone.iter().map(|(session, _)| session.as_str()).collect();
    let ids: Vec<_> = gone.iter().map(|(_, id)| id.as_str()).collect();
    link.query(
        "the deletion of messages",
        concat!(
            "with gone as (delete from chat_messages m using unnest($1, $2) x(session_id, id)",
            " where m.message_id = x.id and m.session_id = x.session_id",
            " returning m.session_id)",
            note_changed!("gone")
        ),
        &[(&sessions, Type::TEXT_ARRAY), (&ids, Type::TEXT_ARRAY)],
    )
    .await?;
    Ok(())
}

/// Which of the sessions are there, each with whether it is the same user's.
pub(super) async fn owners(
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

/// Where messages are that may not have been kept.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// Where they belong.
    pub(super) kept: HashSet<MessageId>,
    /// In another session.
    pub(super) elsewhere: HashSet<MessageId>,
    /// Sessions that are not there, or another user's.
    pub(super) homeless: HashSet<SessionId>,
    /// The fingerprints of the texts of those that were edited here.
    pub(super) prints: HashMap<MessageId, u128>,
}

/// Where these messages are.
pub(super) async fn whereabouts(
    link: &Link,
    rows: &[MessageRow],
) -> Result<Whereabouts, SyncError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let sessions: Vec<_> = rows.iter().map(|row| row.session_id.as_str()).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let edited = rows.iter().filter(|row| row.edit.is_some());
    let edited: Vec<_> = edited.map(|row| row.id.as_str()).collect();
    let found = link
        .query(
            "messages' whereabouts",
            concat!(
                "select x.id, x.session_id, s.session_id is not null, m.session_id::text,",
                " case when x.id = any($4) then md5(m.content) end",
                " from unnest($1, $2, $3) x(id, session_id, user_id)",
                " left join chat_messages m on m.message_id = x.id",
                " left join chat_sessions s on s.session_id = x.session_id and ",
                same_owner!()
            ),
            &[
                (&ids, Type::TEXT_ARRAY),
                (&sessions, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&edited, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let mut where_they_are = Whereabouts::default();
    for row in found {
        let (id, session) = (message_id(&row, 0)?, session_id(&row, 1)?);
        match get::<Option<String>>(&row, 3)? {
            Some(there) if there == session.as_str() => where_they_are.kept.insert(id),
            Some(_) => where_they_are.elsewhere.insert(id),
            None => false,
        };
        if let Some(text) = get::<Option<&str>>(&row, 4)? {
            where_they_are.prints.insert(message_id(&row, 0)?, print(text));
        }
        if !get::<bool>(&row, 2)? {
            where_they_are.homeless.insert(session);
        }
    }
    Ok(where_they_are)
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

/// The fingerprints in rows of an id and one.
fn prints(rows: &[Row]) -> Result<Prints, SyncError> {
    let print = |row: &Row| Ok((session_id(row, 0)?, print(&get::<String>(row, 1)?)));
    rows.iter().map(print).collect()
}

/// The number that PostgreSQL's MD5 text is.
pub(super) fn print(text: &str) -> u128 {
    u128::from_str_radix(text, 16).unwrap_or_default()
}

fn hex(print: u128) -> String {
    format!("{print:032x}")
}

/// A column's value.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, SyncError> {
    row.try_get(column).map_err(SyncError::from)
}

fn session_id(row: &Row, column: usize) -> Result<SessionId, SyncError> {
    SessionId::parse(get(row, column)?).map_err(|error| SyncError::Unable(error.to_string()))
}

fn message_id(row: &Row, column: usize) -> Result<MessageId, SyncError> {
    MessageId::parse(get(row, column)?).map_err(|error| SyncError::Unable(error.to_string()))
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
        Role::Tool => "tool",
    }
}
