//! The statements about messages.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::model::{MessageId, Role, SessionId};
use crate::sessions::merge;
use crate::sync::SyncError;
use crate::sync::link::Link;
use crate::sync::parcel::MessageRow;

use super::{
    changed, get, hex, message_id, micros, note_changed, print, same_owner, session_id, time,
};

/// Inserts messages whose sessions are there, and changes those that were edited; gives how many
/// were sent that way. One that is there as it is counts as not sent.
pub(in crate::sync) async fn upsert_messages(
    link: &Link,
    rows: &[MessageRow],
) -> Result<usize, SyncError> {
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

/// Where messages are that may not have been kept.
#[derive(Debug, Default)]
pub(in crate::sync) struct Whereabouts {
    /// Where they belong.
    pub(in crate::sync) kept: HashSet<MessageId>,
    /// In another session.
    pub(in crate::sync) elsewhere: HashSet<MessageId>,
    /// Sessions that are not there, or another user's.
    pub(in crate::sync) homeless: HashSet<SessionId>,
    /// The fingerprints of the texts of those that were edited here.
    pub(in crate::sync) prints: HashMap<MessageId, u128>,
}

/// Where these messages are.
pub(in crate::sync) async fn whereabouts(
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

fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
        Role::Tool => "tool",
    }
}
