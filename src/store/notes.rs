//! Keys of notes: what is kept of single rows for the replica's sake. Its own keys begin with
//! another letter (see `sync::notes`).

use crate::model::{MessageId, SessionId};

/// When something of the session's own changed last, here: as big-endian microseconds.
pub fn own_at(number: u64) -> Vec<u8> {
    [b"o".as_slice(), &number.to_be_bytes()].concat()
}

/// What of the session's own was the same on both sides last.
pub fn base(number: u64) -> Vec<u8> {
    [b"b".as_slice(), &number.to_be_bytes()].concat()
}

/// When the session of that id was deleted: as big-endian microseconds.
pub fn session_gone(id: &SessionId) -> Vec<u8> {
    [b"s".as_slice(), id.as_str().as_bytes()].concat()
}

/// When that message was deleted: as big-endian microseconds.
pub fn message_gone(session_id: &SessionId, id: &MessageId) -> Vec<u8> {
    [b"m", session_id.as_str().as_bytes(), &[0], id.as_str().as_bytes()].concat()
}
