//! Bytes on disk: a version, a checksum, and what they are about.
//!
//! Every value but the schema version is an envelope: one byte of version, four of CRC-32 (IEEE, little-endian) over the
//! record's key and the rest, then the rest. redb does not verify its pages when it reads them,
//! so a damaged value, or one that stands under another's key, is found out here.
//!
//! The only file that names bincode. Rules: a released struct is never edited, a new version gets
//! a new struct and a new number; no serde in between; a limit on every decode, without which a
//! damaged length would abort the process.

use std::sync::Arc;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::model::{Invalid, MessageId, SessionId, Timestamp, UserId};

use super::StoreError;
use super::fresh::{Cause, FreshSession, Step};
use super::tables::Place;

/// Larger than any record: the log is written in pieces of a few MiB.
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
    /// The run that holds the row, if the user's newest does not.
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
    is_first: bool,
    index: &'a [u8],
    json: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
enum CauseV1 {
    Created,
    Updated,
    MessageSaved,
}

#[derive(Encode, BorrowDecode)]
enum StepV1<'a> {
    PutSession {
        cause: CauseV1,
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
        at_micros: u64,
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
            300,
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

/// A run's parts: whether no run before it can hold rows, what says where its rows are, and their
/// text.
pub(super) fn encode_run(
    key: &[u8],
    is_first: bool,
    index: &[u8],
    json: &[u8],
) -> Result<Vec<u8>, StoreError> {
    encode(key, 16 + index.len() + json.len(), RunV1 { is_first, index, json })
}

/// What [`encode_run`] was given.
pub(super) fn decode_run<'a>(
    key: &[u8],
    bytes: &'a [u8],
) -> Result<(bool, &'a [u8], &'a [u8]), StoreError> {
    let run: RunV1<'a> = decode("run", key, bytes)?;
    Ok((run.is_first, run.index, run.json))
}

/// Steps, the first of which has sequence number `seq`.
pub(super) fn encode_steps(seq: u64, steps: &[Step]) -> Result<Vec<u8>, StoreError> {
    let size = steps.iter().map(Step::bytes).sum();
    let steps = steps.iter().map(|step| match step {
        Step::PutSession { cause, session } => StepV1::PutSession {
            cause: match cause {
                Cause::Created => CauseV1::Created,
                Cause::Updated => CauseV1::Updated,
                Cause::MessageSaved => CauseV1::MessageSaved,
            },
            user_id: session.user_id.as_str(),
            id: session.id.as_str(),
            number: session.number,
            created_at_micros: session.created_at.as_micros(),
            updated_at_micros: session.updated_at.as_micros(),
            json: &session.json,
        },
        Step::DeleteSession { user_id, id, number, created_at, at } => StepV1::DeleteSession {
            user_id: user_id.as_str(),
            id: id.as_str(),
            number: *number,
            created_at_micros: created_at.as_micros(),
            at_micros: at.as_micros(),
        },
        Step::PutMessage { user_id, number, at, chosen, json } => StepV1::PutMessage {
            user_id: user_id.as_str(),
            number: *number,
            at_micros: at.as_micros(),
            chosen: chosen.as_ref().map(MessageId::as_str),
            json,
        },
    });
    encode(&seq.to_be_bytes(), size, steps.collect::<Vec<_>>())
}

/// What [`encode_steps`] was given.
pub(super) fn decode_steps(seq: u64, bytes: &[u8]) -> Result<Vec<Step>, StoreError> {
    let key = &seq.to_be_bytes();
    let steps: Vec<StepV1<'_>> = decode("log entry", key, bytes)?;
    let steps = steps.into_iter().map(StepV1::parse).collect::<Result<_, _>>();
    steps.map_err(|_| damaged("log entry", key))
}

impl StepV1<'_> {
    fn parse(self) -> Result<Step, Invalid> {
        Ok(match self {
            Self::PutSession {
                cause,
                user_id,
                id,
                number,
                created_at_micros,
                updated_at_micros,
                json,
            } => Step::PutSession {
                cause: match cause {
                    CauseV1::Created => Cause::Created,
                    CauseV1::Updated => Cause::Updated,
                    CauseV1::MessageSaved => Cause::MessageSaved,
                },
                session: Arc::new(FreshSession {
                    id: SessionId::parse(id)?,
                    user_id: UserId::parse(user_id)?,
                    number,
                    created_at: Timestamp::from_micros(created_at_micros),
                    updated_at: Timestamp::from_micros(updated_at_micros),
                    json: json.into(),
                }),
            },
            Self::DeleteSession { user_id, id, number, created_at_micros, at_micros } => {
                Step::DeleteSession {
                    user_id: UserId::parse(user_id)?,
                    id: SessionId::parse(id)?,
                    number,
                    created_at: Timestamp::from_micros(created_at_micros),
                    at: Timestamp::from_micros(at_micros),
                }
            }
            Self::PutMessage { user_id, number, at_micros, chosen, json } => Step::PutMessage {
                user_id: UserId::parse(user_id)?,
                number,
                at: Timestamp::from_micros(at_micros),
                chosen: chosen.map(MessageId::parse).transpose()?,
                json: json.into(),
            },
        })
    }
}

/// Seals text: a session's id, or nothing where the key says all.
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

/// Seals a number: a place, or one of the meta table.
pub(super) fn seal_number(key: &[u8], number: u64) -> Vec<u8> {
    seal(key, &number.to_be_bytes())
}

/// The number that [`seal_number`] sealed under `key`.
///
/// # Errors
/// [`StoreError::Damaged`], naming `what`, when the bytes are not what was sealed.
pub(super) fn unseal_number(
    what: &'static str,
    key: &[u8],
    bytes: &[u8],
) -> Result<u64, StoreError> {
    let number = unseal(what, key, bytes)?.try_into().map_err(|_| damaged(what, key))?;
    Ok(u64::from_be_bytes(number))
}

/// `size` is what the record is likely to take.
fn encode(key: &[u8], size: usize, record: impl Encode) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(ENVELOPE + size);
    bytes.extend_from_slice(&[V1, 0, 0, 0, 0]);
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
