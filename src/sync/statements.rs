//! The statements that send rows. Each takes many of them at once, as arrays, and changes nothing
//! when it is repeated.

mod deletions;
mod messages;
mod sessions;

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::model::{MessageId, SessionId, Timestamp};

use super::SyncError;

pub(super) use deletions::{date_deletions, delete_messages, delete_sessions};
pub(super) use messages::{upsert_messages, whereabouts};
pub(super) use sessions::{
    fill_sessions, follow_messages, insert_sessions, owners, put_versions, update_sessions,
};

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
use changed;

/// Whether session `s` there is the user's who has it here, where addresses are in lower case.
macro_rules! same_owner {
    () => {
        "(s.user_id = x.user_id or (position('@' in s.user_id) > 0 and lower(btrim(s.user_id, E' \\t\\n\\r')) = x.user_id))"
    };
}
use same_owner;

/// A time from microseconds.
macro_rules! time {
    ($micros:literal) => {
        concat!("(timestamptz 'epoch' + ", $micros, " * interval '1 microsecond')")
    };
}
use time;

/// The fingerprints in rows of an id and one.
fn prints(rows: &[Row]) -> Result<Prints, SyncError> {
    let print = |row: &Row| Ok((session_id(row, 0)?, print(&get::<String>(row, 1)?)));
    rows.iter().map(print).collect()
}

/// The number that PostgreSQL's MD5 text is.
pub(super) fn print(text: &str) -> u128 {
    u128::from_str_radix(text, 16).unwrap_or_default()
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
use note_changed;

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
