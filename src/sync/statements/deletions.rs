//! The statements that delete. Whatever is another user's there, or came later, stays.

use tokio_postgres::types::Type;

use crate::sync::SyncError;
use crate::sync::link::Link;
use crate::sync::parcel::{MessageGone, Parcel, SessionGone};

use super::{changed, micros, note_changed, same_owner, time};

/// Deletes sessions as of a time, with their messages up to then. One that has later messages stays.
pub(in crate::sync) async fn delete_sessions(
    link: &Link,
    gone: &[SessionGone],
) -> Result<(), SyncError> {
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = gone.iter().map(|it| it.id.as_str()).collect();
    let users: Vec<_> = gone.iter().map(|it| it.user_id.as_str()).collect();
    let times: Vec<_> = gone.iter().map(|it| micros(it.at)).collect();
    let parameters = [
        (&ids as _, Type::TEXT_ARRAY),
        (&users as _, Type::TEXT_ARRAY),
        (&times as _, Type::INT8_ARRAY),
    ];
    let messages = link.query(
        "the deletion of sessions",
        concat!(
            "delete from chat_messages m using unnest($1, $2, $3) x(id, user_id, at)",
            // Of one that never was there no messages are looked for.
            " join chat_sessions s on s.session_id = x.id and ",
            same_owner!(),
            " where m.session_id = s.session_id and m.created_at <= ",
            time!("x.at")
        ),
        &parameters,
    );
    let sessions = link.query(
        "the deletion of sessions",
        concat!(
            "delete from chat_sessions s using unnest($1, $2, $3) x(id, user_id, at)",
            " where s.session_id = x.id and ",
            same_owner!(),
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

/// Deletes messages, each as of a time: one that was put there again since stays.
pub(in crate::sync) async fn delete_messages(
    link: &Link,
    gone: &[MessageGone],
) -> Result<(), SyncError> {
    if gone.is_empty() {
        return Ok(());
    }
    let sessions: Vec<_> = gone.iter().map(|it| it.session_id.as_str()).collect();
    let users: Vec<_> = gone.iter().map(|it| it.user_id.as_str()).collect();
    let ids: Vec<_> = gone.iter().map(|it| it.id.as_str()).collect();
    let times: Vec<_> = gone.iter().map(|it| micros(it.at)).collect();
    link.query(
        "the deletion of messages",
        concat!(
            "with gone as (delete from chat_messages m",
            " using unnest($1, $2, $3, $4) x(session_id, user_id, id, at)",
            " join chat_sessions s on s.session_id = x.session_id and ",
            same_owner!(),
            " where m.message_id = x.id and m.session_id = x.session_id",
            " and coalesce(m.created_at, 'epoch') <= ",
            time!("x.at"),
            " returning m.session_id)",
            note_changed!("gone")
        ),
        &[
            (&sessions, Type::TEXT_ARRAY),
            (&users, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&times, Type::INT8_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Has the outbox of the extra schema tell other nodes when what this transaction deletes was deleted,
/// which may be long before it is sent.
pub(in crate::sync) async fn date_deletions(link: &Link, parcel: &Parcel) -> Result<(), SyncError> {
    let Parcel { sessions_gone, messages_gone, .. } = parcel;
    if sessions_gone.is_empty() && messages_gone.is_empty() {
        return Ok(());
    }
    let sessions = sessions_gone.iter().map(|it| (it.id.as_str(), None, micros(it.at)));
    let messages = messages_gone.iter();
    let messages = messages.map(|it| (it.session_id.as_str(), Some(it.id.as_str()), micros(it.at)));
    let gone: Vec<_> = sessions.chain(messages).collect();
    let sessions: Vec<_> = gone.iter().map(|(session, ..)| *session).collect();
    let messages: Vec<_> = gone.iter().map(|(_, message, _)| *message).collect();
    let times: Vec<_> = gone.iter().map(|(.., at)| *at).collect();
    link.query(
        "the outbox",
        // Of several deletions the last.
        "with dated as (select o.id, max(x.at) as at from orion_chat.outbox o\
            \x20join unnest($1, $2, $3) x(session_id, message_id, at)\
            \x20on o.session_id = x.session_id and o.kind in ('S', 'M')\
            \x20and (x.message_id is null or o.message_id = x.message_id)\
            \x20where o.xid = pg_current_xact_id() group by o.id)\
            \x20update orion_chat.outbox o set at = d.at from dated d\
            \x20where o.xid = pg_current_xact_id() and o.id = d.id",
        &[(&sessions, Type::TEXT_ARRAY), (&messages, Type::TEXT_ARRAY), (&times, Type::INT8_ARRAY)],
    )
    .await?;
    Ok(())
}
