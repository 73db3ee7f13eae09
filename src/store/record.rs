//! Bytes on disk: a version, a checksum, and what they are about.
//!
//! Every value is an envelope: one byte of version, four of CRC-32 (IEEE, little-endian) over the
//! record's key and the rest, then the rest. redb does not verify its pages when it reads them,
//! so a damaged value, or one that stands under another's key, is found out here.
//!
//! The only file that names bincode. Rules: a released struct is never edited, a new version gets
//! a new struct and a new number; no serde in between; a limit on every decode, without which a
//! damaged length would abort the process.

use std::sync::Arc;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::model::{Change, ChangeKind, MessageId, SessionId, Timestamp, UserId};

use super::StoreError;
use super::fresh::{FreshSession, Step};
use super::tables::Place;

/// Larger than any record: the journal is written in pieces of a few MiB.
const MAX_BYTES: usize = 16 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_BYTES>> =
    bincode::config::standard().with_limit::<MAX_BYTES>();

const V1: u8 = 1;
const ENVELOPE: usize = 5;

/// Where a session's row is, found by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) user_id: UserId,
    pub(super) number: u64,
    /// Where the run begins that holds the row.
    pub(super) run: Place,
}

#[derive(Encode, BorrowDecode)]
struct HeadV1<'a> {
    user_id: &'a str,
    number: u64,
    run_at_micros: u64,
    run_number: u64,
}

#[derive(Encode, BorrowDecode)]
struct RunV1<'a> {
    index: &'a [u8],
    json: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
struct ChangeV1<'a> {
    user_id: &'a str,
    at_micros: u64,
    session_id: &'a str,
    kind: KindV1<'a>,
}

#[derive(Encode, BorrowDecode)]
enum KindV1<'a> {
    SessionCreated,
    SessionUpdated,
    SessionDeleted,
    MessageSaved { message_id: &'a str },
}

#[derive(Encode, BorrowDecode)]
enum StepV1<'a> {
    PutSession {
        user_id: &'a str,
        id: &'a str,
        number: u64,
        created_at_micros: u64,
        updated_at_micros: u64,
        json: &'a [u8],
    },
    DeleteSession {
        user_id: &'a str,
        id: &'a str,
        number: u64,
        created_at_micros: u64,
    },
    PutMessage {
        user_id: &'a str,
        number: u64,
        at_micros: u64,
        chosen: Option<&'a str>,
        json: &'a [u8],
    },
}

impl Head {
    pub(super) fn encode(&self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        encode(
            key,
            HeadV1 {
                user_id: self.user_id.as_str(),
                number: self.number,
                run_at_micros: self.run.at.as_micros(),
                run_number: self.run.number,
            },
        )
    }

    pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Result<Self, StoreError> {
        let head: HeadV1<'_> = decode("session head", key, bytes)?;
        let at = Timestamp::from_micros(head.run_at_micros);
        Ok(Self {
            user_id: UserId::parse(head.user_id).map_err(|_| damaged("session head", key))?,
            number: head.number,
            run: Place { at, number: head.run_number },
        })
    }
}

pub(super) fn encode_run(key: &[u8], index: &[u8], json: &[u8]) -> Result<Vec<u8>, StoreError> {
    encode(key, RunV1 { index, json })
}

/// The index and the text of a run.
pub(super) fn decode_run<'a>(
    key: &[u8],
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), StoreError> {
    let run: RunV1<'a> = decode("run", key, bytes)?;
    Ok((run.index, run.json))
}

/// The changes of one commit, the first of which has sequence number `seq`.
pub(super) fn encode_changes(seq: u64, changes: &[Change]) -> Result<Vec<u8>, StoreError> {
    let changes = changes.iter().map(|change| ChangeV1 {
        user_id: change.user_id.as_str(),
        at_micros: change.at.as_micros(),
        session_id: change.session_id.as_str(),
        kind: match &change.kind {
            ChangeKind::SessionCreated => KindV1::SessionCreated,
            ChangeKind::SessionUpdated => KindV1::SessionUpdated,
            ChangeKind::SessionDeleted => KindV1::SessionDeleted,
            ChangeKind::MessageSaved(id) => KindV1::MessageSaved { message_id: id.as_str() },
        },
    });
    encode(&seq.to_be_bytes(), changes.collect::<Vec<_>>())
}

pub(super) fn decode_changes(seq: u64, bytes: &[u8]) -> Result<Vec<Change>, StoreError> {
    let key = &seq.to_be_bytes();
    let bad = |_| damaged("changes", key);
    let changes: Vec<ChangeV1<'_>> = decode("changes", key, bytes)?;
    let parse = |change: ChangeV1<'_>| {
        Ok(Change {
            user_id: UserId::parse(change.user_id).map_err(bad)?,
            at: Timestamp::from_micros(change.at_micros),
            session_id: SessionId::parse(change.session_id).map_err(bad)?,
            kind: match change.kind {
                KindV1::SessionCreated => ChangeKind::SessionCreated,
                KindV1::SessionUpdated => ChangeKind::SessionUpdated,
                KindV1::SessionDeleted => ChangeKind::SessionDeleted,
                KindV1::MessageSaved { message_id } => {
                    ChangeKind::MessageSaved(MessageId::parse(message_id).map_err(bad)?)
                }
            },
        })
    };
    changes.into_iter().map(parse).collect()
}

/// A piece of the journal.
pub(super) fn encode_steps(number: u64, steps: &[Step]) -> Result<Vec<u8>, StoreError> {
    let steps = steps.iter().map(|step| match step {
        Step::PutSession(session) => StepV1::PutSession {
            user_id: session.user_id.as_str(),
            id: session.id.as_str(),
            number: session.number,
            created_at_micros: session.created_at.as_micros(),
            updated_at_micros: session.updated_at.as_micros(),
            json: &session.json,
        },
        Step::DeleteSession { user_id, id, number, created_at } => StepV1::DeleteSession {
            user_id: user_id.as_str(),
            id: id.as_str(),
            number: *number,
            created_at_micros: created_at.as_micros(),
        },
        Step::PutMessage { user_id, number, at, chosen, json } => StepV1::PutMessage {
            user_id: user_id.as_str(),
            number: *number,
            at_micros: at.as_micros(),
            chosen: chosen.as_ref().map(MessageId::as_str),
            json,
        },
    });
    encode(&number.to_be_bytes(), steps.collect::<Vec<_>>())
}

pub(super) fn decode_steps(number: u64, bytes: &[u8]) -> Result<Vec<Step>, StoreError> {
    let key = &number.to_be_bytes();
    let bad = |_| damaged("journal", key);
    let steps: Vec<StepV1<'_>> = decode("journal", key, bytes)?;
    let parse = |step: StepV1<'_>| {
        Ok(match step {
            StepV1::PutSession {
                user_id,
                id,
                number,
                created_at_micros,
                updated_at_micros,
                json,
            } => Step::PutSession(Arc::new(FreshSession {
                id: SessionId::parse(id).map_err(bad)?,
                user_id: UserId::parse(user_id).map_err(bad)?,
                number,
                created_at: Timestamp::from_micros(created_at_micros),
                updated_at: Timestamp::from_micros(updated_at_micros),
                json: json.into(),
            })),
            StepV1::DeleteSession { user_id, id, number, created_at_micros } => {
                Step::DeleteSession {
                    user_id: UserId::parse(user_id).map_err(bad)?,
                    id: SessionId::parse(id).map_err(bad)?,
                    number,
                    created_at: Timestamp::from_micros(created_at_micros),
                }
            }
            StepV1::PutMessage { user_id, number, at_micros, chosen, json } => Step::PutMessage {
                user_id: UserId::parse(user_id).map_err(bad)?,
                number,
                at: Timestamp::from_micros(at_micros),
                chosen: chosen.map(MessageId::parse).transpose().map_err(bad)?,
                json: json.into(),
            },
        })
    };
    steps.into_iter().map(parse).collect()
}

/// Seals text: a session's id.
pub(super) fn seal(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENVELOPE + text.len());
    bytes.extend_from_slice(&[V1, 0, 0, 0, 0]);
    bytes.extend_from_slice(text);
    stamp(key, bytes)
}

/// The text that [`seal`] sealed under `key`.
///
/// # Errors
/// [`StoreError::Damaged`], naming `what`, when the bytes are not what was sealed.
pub(super) fn unseal<'a>(
    what: &'static str,
    key: &[u8],
    bytes: &'a [u8],
) -> Result<&'a [u8], StoreError> {
    match bytes.split_first_chunk::<ENVELOPE>() {
        Some((&[V1, a, b, c, d], rest)) if [a, b, c, d] == checksum(key, rest) => Ok(rest),
        _ => Err(damaged(what, key)),
    }
}

fn encode(key: &[u8], record: impl Encode) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![V1, 0, 0, 0, 0];
    bincode::encode_into_std_write(record, &mut bytes, CONFIG)
        .map_err(|_| StoreError::TooLarge { limit: MAX_BYTES })?;
    Ok(stamp(key, bytes))
}

fn decode<'a, R: BorrowDecode<'a, ()>>(
    what: &'static str,
    key: &[u8],
    bytes: &'a [u8],
) -> Result<R, StoreError> {
    let rest = unseal(what, key, bytes)?;
    match bincode::borrow_decode_from_slice(rest, CONFIG) {
        Ok((record, used)) if used == rest.len() => Ok(record),
        _ => Err(damaged(what, key)),
    }
}

fn stamp(key: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some((envelope, rest)) = bytes.split_first_chunk_mut::<ENVELOPE>() {
        let [_, sum @ ..] = envelope;
        *sum = checksum(key, rest);
    }
    bytes
}

fn checksum(key: &[u8], rest: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize().to_le_bytes()
}

pub(super) fn damaged(what: &'static str, key: &[u8]) -> StoreError {
    StoreError::Damaged { what, key: key.escape_ascii().to_string() }
}

#[cfg(test)]
mod tests;
