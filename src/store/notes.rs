//! Keys of notes: what is kept of single rows, for the replica's sake and for what is due some day.
//! The replica's own keys begin with another letter (see `sync::notes`).

use crate::model::{MessageId, SessionId, Timestamp, UserId};

/// What a session's own, or a message's text, was when it was the same on both sides last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    /// Of a session: when it had changed here, in microseconds; 0 if it had not since it was
    /// created. Of a message: when it was edited here since; 0 if it was not.
    pub own_at: u64,
    /// The replica's fingerprint of it.
    pub print: u128,
}

/// When something of the session's own changed last, here: as big-endian microseconds.
pub fn own_at(number: u64) -> Vec<u8> {
    [b"o".as_slice(), &number.to_be_bytes()].concat()
}

/// What of the session's own was the same on both sides last.
pub fn base(number: u64) -> Vec<u8> {
    [b"b".as_slice(), &number.to_be_bytes()].concat()
}

/// Of a message that was edited here, what its text was when it was the same on both sides last.
pub fn edit(number: u64, place: Timestamp) -> Vec<u8> {
    [edits(number).as_slice(), &place.as_micros().to_be_bytes()].concat()
}

/// What the keys of all [`edit`]s of a session begin with.
pub fn edits(number: u64) -> Vec<u8> {
    [b"t".as_slice(), &number.to_be_bytes()].concat()
}

/// What the keys of [`session_gone`] begin with.
pub const SESSIONS_GONE: &[u8] = b"s";
/// What the keys of [`message_gone`] begin with.
pub const MESSAGES_GONE: &[u8] = b"m";

/// When the session of that id was deleted, and whose it was: as [`deletion`] has it.
pub fn session_gone(id: &SessionId) -> Vec<u8> {
    [SESSIONS_GONE, id.as_str().as_bytes()].concat()
}

/// When that message was deleted: as big-endian microseconds.
pub fn message_gone(session_id: &SessionId, id: &MessageId) -> Vec<u8> {
    [MESSAGES_GONE, session_id.as_str().as_bytes(), &[0], id.as_str().as_bytes()].concat()
}

/// The deletion of a session, as it is noted.
pub fn deletion(at: Timestamp, user: &UserId) -> Vec<u8> {
    [&at.as_micros().to_be_bytes(), user.as_str().as_bytes()].concat()
}

/// What [`deletion`] noted.
pub fn deletion_in(note: &[u8]) -> Option<(Timestamp, UserId)> {
    let (at, user) = note.split_first_chunk::<8>()?;
    let user = UserId::parse(std::str::from_utf8(user).ok()?).ok()?;
    Some((Timestamp::from_micros(u64::from_be_bytes(*at)), user))
}

/// When the last backup was made while a server had the file: as big-endian microseconds.
pub const BACKED_UP: &[u8] = b"B";

/// The beginning of the keys that [`expiry`] gives.
pub const EXPIRIES: &[u8] = b"e";

/// That session number `number` is to be deleted at `at`, with its id: in the order of time.
pub fn expiry(at: Timestamp, number: u64) -> Vec<u8> {
    [EXPIRIES, &at.as_micros().to_be_bytes(), &number.to_be_bytes()].concat()
}

/// What the key of an [`expiry`] tells: when, and the number of the session.
pub fn expiry_in(key: &[u8]) -> Option<(Timestamp, u64)> {
    let (at, number) = key.strip_prefix(EXPIRIES)?.split_first_chunk::<8>()?;
    let number = number.try_into().ok()?;
    Some((Timestamp::from_micros(u64::from_be_bytes(*at)), u64::from_be_bytes(number)))
}

/// The time that a note of a deletion or a change begins with; the beginning of time if it tells none.
pub fn time(note: Vec<u8>) -> Timestamp {
    Timestamp::from_micros(note.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

impl Base {
    /// How it is noted.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.own_at.to_be_bytes().as_slice(), &self.print.to_be_bytes()].concat()
    }

    /// What is noted as `bytes`; `None` of what is none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (own_at, print) = bytes.split_first_chunk::<8>()?;
        let print = print.first_chunk::<16>()?;
        let (own_at, print) = (u64::from_be_bytes(*own_at), u128::from_be_bytes(*print));
        Some(Self { own_at, print })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_read_as_it_was_written() {
        let base = Base { own_at: 7, print: u128::MAX - 1 };

        assert_eq!(Base::of(&base.to_bytes()), Some(base));
        assert_eq!(Base::of(b"short"), None);
    }
}
