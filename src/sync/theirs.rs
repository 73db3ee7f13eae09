//! Rows as they are there.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use tracing::debug;

use crate::model::{MessageId, Role, SessionId, Timestamp, UserId};
use crate::sessions::merge::{Own, TheirMessage, TheirSession};

use super::SyncError;
use super::link::Link;
use super::statements::{get, micros_of, own_print, print};

/// The columns of a session, without those of the extra schema.
macro_rules! session_columns {
    () => {
        concat!(
            "s.session_id::text, s.user_id::text, s.title::text, s.metadata::text, ",
            own_print!(),
            ", s.first_message, s.last_message, coalesce(s.message_count, 0)::int8, ",
            micros_of!("coalesce(s.created_at, s.updated_at, now())"),
            ", ",
            micros_of!("coalesce(s.updated_at, s.created_at, now())"),
            ", s.created_at is not null and s.title is not null"
        )
    };
}

/// The columns of a message.
macro_rules! message_columns {
    () => {
        concat!(
            "m.message_id::text, m.session_id::text, m.role::text, m.content, m.metadata::text, ",
            micros_of!("coalesce(m.created_at, now())"),
            ", m.created_at is not null"
        )
    };
}

/// How many rows are there.
pub(super) async fn count(link: &Link) -> Result<u64, SyncError> {
    let statement =
        "select (select count(*) from chat_sessions) + (select count(*) from chat_messages)";
    let rows = link.query_long("all rows", statement, &[]).await?;
    let count = rows.first().map(|row| get::<i64>(row, 0)).transpose()?.unwrap_or(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The sessions of these ids that are there.
pub(super) async fn sessions(
    link: &Link,
    ids: &[&str],
    installed: bool,
) -> Result<Vec<TheirSession>, SyncError> {
    let statement = if installed {
        concat!(
            "select ",
            session_columns!(),
            ", v.own_at, v.marks::text, coalesce(v.node collate \"C\" > $2, false)",
            " from chat_sessions s",
            " left join orion_chat.versions v on v.session_id = s.session_id",
            " where s.session_id = any($1)"
        )
    } else {
        concat!(
            "select ",
            session_columns!(),
            ", null::int8, null::text, $2 = '' from chat_sessions s where s.session_id = any($1)"
        )
    };
    let parameters = [(&ids as _, Type::TEXT_ARRAY), (&link.node() as _, Type::TEXT)];
    let rows = link.query("sessions", statement, &parameters).await?;
    Ok(rows.iter().filter_map(|row| kept(session(row))).collect())
}

/// The messages of these ids that are there, by session.
pub(super) async fn messages(
    link: &Link,
    ids: &[&str],
) -> Result<HashMap<SessionId, Vec<TheirMessage>>, SyncError> {
    let statement = concat!(
        "select ",
        message_columns!(),
        " from chat_messages m where m.message_id = any($1)"
    );
    let rows = link.query("messages", statement, &[(&ids, Type::TEXT_ARRAY)]).await?;
    let mut by_session: HashMap<_, Vec<_>> = HashMap::new();
    for (session, message) in rows.iter().filter_map(|row| kept(message(row))) {
        by_session.entry(session).or_default().push(message);
    }
    Ok(by_session)
}

/// What is known of a message without its text.
#[derive(Debug, Clone)]
pub(super) struct MessagePrint {
    pub(super) id: String,
    /// A fingerprint of its text.
    pub(super) print: u128,
    /// How long its text and its metadata are.
    pub(super) bytes: u64,
}

/// What is known of all messages of these sessions, by session and oldest first.
pub(super) async fn message_prints(
    link: &Link,
    sessions: &[&str],
) -> Result<HashMap<String, Vec<MessagePrint>>, SyncError> {
    // Nothing says that the tables have an index of messages by session.
    let statement = concat!(
        "select m.session_id::text, m.message_id::text, md5(m.content),",
        " octet_length(m.content)::int8 + coalesce(octet_length(m.metadata::text), 0)",
        " from chat_messages m where m.session_id = any($1)",
        " order by m.session_id, m.created_at, m.message_id"
    );
    let mut by_session: HashMap<_, Vec<_>> = HashMap::new();
    let keep = |row: Row| {
        let bytes = u64::try_from(get::<i64>(&row, 3)?).unwrap_or(0);
        let message = MessagePrint { id: get(&row, 1)?, print: print(get(&row, 2)?), bytes };
        by_session.entry(get(&row, 0)?).or_default().push(message);
        Ok(())
    };
    let parameters = [(&sessions as _, Type::TEXT_ARRAY)];
    link.each_long("messages' ids", (statement, &parameters), keep).await?;
    Ok(by_session)
}

/// What can be held here; the rest is told at `debug`, as it may be looked at often.
fn kept<T>(read: Result<T, String>) -> Option<T> {
    read.inspect_err(|problem| debug!("PostgreSQL has a row that is not taken: {problem}")).ok()
}

fn session(row: &Row) -> Result<TheirSession, String> {
    let id = SessionId::parse(column(row, 0)?).map_err(|error| error.to_string())?;
    let own_at: Option<i64> = column(row, 11)?;
    let updated_at = time(column(row, 9)?);
    let created_at = time(column(row, 8)?);
    let marks: Option<String> = column(row, 12)?;
    Ok(TheirSession {
        user_id: UserId::parse(column(row, 1)?).map_err(|error| error.to_string())?,
        own: Own {
            title: column(row, 2)?,
            metadata: column::<Option<String>>(row, 3)?.unwrap_or_else(|| "{}".to_owned()),
            marks: marks.and_then(|marks| serde_json::from_str(&marks).ok()),
        },
        print: print(column(row, 4)?),
        own_at: own_at.map_or(updated_at, time),
        first_message: column(row, 5)?,
        last_message: column(row, 6)?,
        count: u64::try_from(column::<i64>(row, 7)?).unwrap_or(0),
        created_at,
        updated_at,
        wins_ties: column(row, 13)?,
        is_whole: column(row, 10)?,
        goes_on: false,
        id,
    })
}

fn message(row: &Row) -> Result<(SessionId, TheirMessage), String> {
    let id = MessageId::parse(column(row, 0)?).map_err(|error| error.to_string())?;
    let session = SessionId::parse(column(row, 1)?).map_err(|error| error.to_string())?;
    let role: Option<&str> = column(row, 2)?;
    let message = TheirMessage {
        id,
        role: Role::parse(role.unwrap_or_default()).map_err(|error| error.to_string())?,
        content: column(row, 3)?,
        metadata: column::<Option<String>>(row, 4)?.unwrap_or_else(|| "{}".to_owned()),
        at: time(column(row, 5)?),
        put_at: None,
        is_whole: column(row, 6)?,
    };
    Ok((session, message))
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: usize,
) -> Result<T, String> {
    row.try_get(column).map_err(|error| error.to_string())
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}
