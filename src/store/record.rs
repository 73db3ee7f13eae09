//! Bytes on disk: a version, a checksum, and what they are about.
//!
//! Every value but the schema version is an envelope: one byte of version, four of CRC-32 (IEEE, little-endian) over the
//! record's key and the rest, then the rest. redb does not verify its pages when it reads them,
//! so a damaged value, or one that stands under another's key, is found out here.
//!
//! The only files that name bincode are this and those within. Rules: a released struct is never edited, a new version gets
//! a new struct and a new number; no serde in between; a limit on every decode, without which a
//! damaged length would abort the process.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::model::{Timestamp, UserId};

use super::StoreError;
use super::tables::Place;

mod steps;

pub(super) use steps::{
    decode_answer, decode_steps, decode_steps_of, decode_usage, encode_answer, encode_steps,
    encode_usage,
};

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
