//! What is kept in our own file about the replica: how far each way has come, what was refused,
//! and what lost against another change. Beside it, `store::notes` has what is kept of single rows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{MessageId, SessionId};
use crate::store::{ReadTx, StoreError, WriteTx};

/// How far what was done here has been sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The log that this is of; one that was restored from a backup is another.
    pub(super) log: u64,
    /// The number of the last step that was sent.
    pub(super) seq: u64,
}

/// How far what was done there has been taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    /// Our log that this is of.
    pub(super) log: u64,
    /// What tells the tables there from others of the same names.
    pub(super) incarnation: String,
    /// The server's timeline.
    #[serde(default)]
    pub(super) timeline: String,
    /// The snapshot up to which all was taken; empty without the extra schema, and as long as nothing
    /// tells of all that is done.
    pub(super) from: String,
    /// The newest snapshot that was seen: a server that went back has older ones.
    #[serde(default)]
    pub(super) seen: String,
    /// The mark that we left there.
    pub(super) mark: i64,
    /// How many rows both sides have, as far as is known.
    pub(super) known: u64,
    /// When everything was taken last, in microseconds; 0 if it never was.
    #[serde(default)]
    pub(super) pulled_at: u64,
}

/// A row that PostgreSQL refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The SQLSTATE; empty where it only did not keep the row.
    pub(super) state: String,
    /// What it says.
    pub(super) message: String,
    /// When, in microseconds.
    pub(super) at: u64,
    /// Which version of a session's own was refused.
    pub(super) own_at: u64,
}

/// The SQLSTATE of a row that another transaction holds.
pub(super) const HELD: &str = "55P03";

pub(super) const SENT: &[u8] = b"Rsent";
pub(super) const FOLLOWED: &[u8] = b"Rfollowed";
pub(super) const LETTERS: &[u8] = b"Rx";

/// The key of the letter about a session, or a message of it.
pub(super) fn letter(session: &SessionId, message: Option<&MessageId>) -> Vec<u8> {
    let message = message.map_or("", MessageId::as_str);
    [LETTERS, session.as_str().as_bytes(), &[0], message.as_bytes()].concat()
}

/// The session, and the message, that a letter is about.
pub(super) fn letter_about(key: &[u8]) -> Option<(SessionId, Option<MessageId>)> {
    let about = std::str::from_utf8(key.strip_prefix(LETTERS)?).ok()?;
    let (session, message) = about.split_once('\0')?;
    let message = (!message.is_empty()).then(|| MessageId::parse(message)).transpose().ok()?;
    Some((SessionId::parse(session).ok()?, message))
}

/// What is noted under `key`; `None` also of what another release wrote.
pub(super) fn read<T: DeserializeOwned>(
    tx: ReadTx<'_>,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    Ok(tx.note(key)?.and_then(|note| serde_json::from_slice(&note).ok()))
}

/// Notes `value` under `key`.
pub(super) fn write(tx: &mut WriteTx<'_>, key: &[u8], value: &impl Serialize) {
    // Plain structs of numbers and text always have a JSON text.
    if let Ok(json) = serde_json::to_vec(value) {
        tx.put_note(key, Some(&json));
    }
}

/// The number that a note of eight bytes holds, or 0.
pub(super) fn number(note: Option<Vec<u8>>) -> u64 {
    note.and_then(|note| note.try_into().ok()).map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_tells_what_it_is_about() {
        let (session, message) = (SessionId::parse("s").unwrap(), MessageId::parse("m").unwrap());
        let about = Some((session.clone(), Some(message.clone())));

        assert_eq!(letter_about(&letter(&session, Some(&message))), about);
        assert_eq!(letter_about(&letter(&session, None)), Some((session, None)));
        assert_eq!(letter_about(b"Rx"), None);
    }
}
