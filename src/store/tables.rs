//! Every table of the data file, and the shape of its keys.
//!
//! Keys sort as they are read: a page of sessions or messages is one range scan. Only byte
//! strings and integers are used as redb types, whose encoding redb keeps across its versions.
//! Keys of places are `prefix be64 be64`, big-endian sorting as the number; the prefix is a user with a
//! NUL behind, which ids do not hold, or a session's number.

use redb::TableDefinition;

use crate::model::{IdempotencyKey, MessageId, Timestamp, UserId};

/// The shape of this file. A file with a greater number is refused. 1 had no answers, and no
/// edits and deletions of messages in its log; 2 had no notes; 3 did not tell how much users have
/// stored. They are taken for 4 as they are.
pub const SCHEMA_VERSION: u64 = 5;

type Bytes = &'static [u8];

/// `schema_version` → big-endian u64, for every release to read; all else →
/// the same, sealed.
pub(super) const META: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("meta");

/// The log: sequence number of the first → the steps of one commit, in full. All that a write
/// must reach the disk with is at this table's end. It is the journal of what the tables below do
/// not show yet, and from there back the change log.
pub(super) const SEQ_TO_STEPS: TableDefinition<'_, u64, Bytes> =
    TableDefinition::new("seq_to_steps");

/// Session id → whose it is, and which run holds its row if the newest one does not.
pub(super) const SESSION_ID_TO_HEAD: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("session_id_to_head");

/// (user, updated at, session number) of the last → a run of sessions as clients read them.
pub(super) const USER_AND_UPDATED_TO_SESSIONS: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("user_and_updated_to_sessions");

/// (user, created at, session number) → session id, for lists by `createdAt`.
pub(super) const USER_AND_CREATED_TO_SESSION_ID: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("user_and_created_to_session_id");

/// (session number, place, 0) of the last → a run of messages as clients read them. The place is
/// a message's time in microseconds, unique within the session.
pub(super) const SESSION_AND_PLACE_TO_MESSAGES: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("session_and_place_to_messages");

/// (session number, message id) → place, only for ids that callers chose: one minted here tells
/// its place itself, which saves a random insertion for each message.
pub(super) const SESSION_AND_MESSAGE_ID_TO_PLACE: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("session_and_message_id_to_place");

/// Number of a deleted session whose messages are still to be swept → nothing, sealed. A number is never used
/// again, so a new session of the same id does not see them.
pub(super) const DELETED_SESSIONS: TableDefinition<'_, u64, Bytes> =
    TableDefinition::new("deleted_sessions");

/// (user, idempotency key) → how the request was answered.
pub(super) const USER_AND_KEY_TO_ANSWER: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("user_and_key_to_answer");

/// (time of an answer, user, idempotency key) → nothing, sealed: what to forget first.
pub(super) const ANSWERED_AND_USER_AND_KEY: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("answered_and_user_and_key");

/// What is kept of single rows, and for nobody's eyes: a key of [`super::notes`] or of the replica's own
/// making → a note, sealed.
pub(super) const NOTES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("notes");

/// User → how much they have stored, where that is known.
pub(super) const USER_TO_USAGE: TableDefinition<'_, Bytes, Bytes> =
    TableDefinition::new("user_to_usage");

/// The tables whose keys are numbers.
pub(super) const NUMBERED: [TableDefinition<'_, u64, Bytes>; 2] = [SEQ_TO_STEPS, DELETED_SESSIONS];

/// The tables whose keys are bytes. [`META`] comes last: without it, a file is none of ours, so that
/// a copy that is cut short is never taken for a whole one.
pub(super) const NAMED: [TableDefinition<'_, Bytes, Bytes>; 10] = [
    SESSION_ID_TO_HEAD,
    USER_AND_UPDATED_TO_SESSIONS,
    USER_AND_CREATED_TO_SESSION_ID,
    SESSION_AND_PLACE_TO_MESSAGES,
    SESSION_AND_MESSAGE_ID_TO_PLACE,
    USER_AND_KEY_TO_ANSWER,
    ANSWERED_AND_USER_AND_KEY,
    NOTES,
    USER_TO_USAGE,
    META,
];

/// Key in [`META`] of the number of the last step up to which the tables show everything.
pub(super) const SETTLED: &[u8] = b"settled";
/// Key in [`META`] of a random number that tells this log from others: a cursor of another file,
/// or of one that was restored from a backup since, means nothing here.
pub(super) const LOG_ID: &[u8] = b"log_id";
/// Key in [`META`] of the number of the last step that the two below count.
pub(super) const COUNTED: &[u8] = b"counted";
/// Key in [`META`] of how many sessions there were.
pub(super) const STORED_SESSIONS: &[u8] = b"sessions";
/// Key in [`META`] of how many messages there were.
pub(super) const STORED_MESSAGES: &[u8] = b"messages";
/// Key in [`META`] of the number that the next session gets.
pub(super) const NEXT_SESSION: &[u8] = b"next_session";
/// Key in [`META`] of the file's [`SCHEMA_VERSION`].
pub(super) const SCHEMA_VERSION_KEY: &[u8] = b"schema_version";

/// Where a row stands among those of its user or session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The time that is sorted by.
    pub at: Timestamp,
    /// The session's number, which breaks ties; 0 for a message.
    pub number: u64,
}

impl Place {
    /// Before every other place.
    pub const FIRST: Self = Self { at: Timestamp::from_micros(0), number: 0 };
    /// After every other place.
    pub const LAST: Self = Self { at: Timestamp::MAX, number: u64::MAX };

    /// The place of the message that was saved at `at`.
    pub const fn of_message(at: Timestamp) -> Self {
        Self { at, number: 0 }
    }
}

/// What the keys of `user`'s sessions begin with.
pub(super) fn user_prefix(user: &UserId) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(user.as_str().len() + 17);
    prefix.extend_from_slice(user.as_str().as_bytes());
    prefix.push(0);
    prefix
}

/// Behind every key of `user`'s sessions, and before those of the next user.
pub(super) fn user_end(user: &UserId) -> Vec<u8> {
    [user_prefix(user).as_slice(), &[u8::MAX; 17]].concat()
}

/// The user whose keys begin like `key`, which ends with a place.
pub(super) fn user_in(key: &[u8]) -> Option<UserId> {
    let prefix = key.get(..key.len().checked_sub(17)?)?;
    UserId::parse(std::str::from_utf8(prefix).ok()?).ok()
}

/// The key of what stands at `place` among those that begin with `prefix`.
pub(super) fn place_key(prefix: &[u8], place: Place) -> Vec<u8> {
    let (at, number) = (place.at.as_micros().to_be_bytes(), place.number.to_be_bytes());
    [prefix, &at, &number].concat()
}

/// The place that a key made by [`place_key`] tells.
pub(super) fn place_in(key: &[u8]) -> Option<Place> {
    let (rest, number) = key.split_last_chunk::<8>()?;
    let (_, at) = rest.split_last_chunk::<8>()?;
    let at = Timestamp::from_micros(u64::from_be_bytes(*at));
    Some(Place { at, number: u64::from_be_bytes(*number) })
}

/// The key of a message that is found by `id`.
pub(super) fn message_id_key(session: u64, id: &MessageId) -> Vec<u8> {
    [&session.to_be_bytes(), id.as_str().as_bytes()].concat()
}

/// The key of the answer that `user` got under `key`.
pub(super) fn answer_key(user: &UserId, key: &IdempotencyKey) -> Vec<u8> {
    [&user_prefix(user), key.as_str().as_bytes()].concat()
}

/// The key under which it is noted that what stands under `answer_key` was answered at `at`.
pub(super) fn answered_key(at: Timestamp, answer_key: &[u8]) -> Vec<u8> {
    [&at.as_micros().to_be_bytes(), answer_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn place(at: u64, number: u64) -> Place {
        Place { at: Timestamp::from_micros(at), number }
    }

    fn key(user_id: &str, place: Place) -> Vec<u8> {
        place_key(&user_prefix(&user(user_id)), place)
    }

    #[test]
    fn keys_sort_by_user_then_time_then_number() {
        let keys = [
            key("a", Place::FIRST),
            key("a", place(1, 2)),
            key("a", place(256, 1)),
            key("a", Place::LAST),
            key("a b", place(1, 1)),
            key("aa", place(1, 1)),
        ];

        assert!(keys.is_sorted());
        assert_eq!(place_in(&key("a", place(7, 9))), Some(place(7, 9)));
        assert_eq!(place_in(b"short"), None);
    }
}
