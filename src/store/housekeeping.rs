//! What is done now and then: messages of deleted sessions, and answers and the log of long ago,
//! go.

use std::time::Instant;

use redb::{ReadableTable, WriteTransaction};

use crate::model::Timestamp;

use super::StoreError;
use super::record;
use super::step::Step;
use super::tables::{
    self, ANSWERED_AND_USER_AND_KEY, DELETED_SESSIONS, SEQ_TO_STEPS,
    SESSION_AND_MESSAGE_ID_TO_PLACE, SESSION_AND_PLACE_TO_MESSAGES, USER_AND_KEY_TO_ANSWER,
};

/// How much is done in one transaction, which operations wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// So many rows at most...
    pub(super) rows: usize,
    /// ...and no more from then on: a row may be a large piece of the log, or on a cold disk.
    pub(super) until: Instant,
}

impl Share {
    /// Whether there may be another row behind one that was taken.
    fn goes_on(&mut self) -> bool {
        self.rows = self.rows.saturating_sub(1);
        self.rows > 0 && Instant::now() < self.until
    }
}

/// Removes some runs of messages, and ids, of a deleted session; tells whether there was one.
pub(super) fn sweep(tx: &WriteTransaction, mut share: Share) -> Result<bool, StoreError> {
    let mut deleted = tx.open_table(DELETED_SESSIONS)?;
    let Some(number) = deleted.first()?.map(|(number, sealed)| {
        let key = number.value().to_be_bytes();
        record::unseal("deleted session", &key, sealed.value()).map(|_| number.value())
    }) else {
        return Ok(false);
    };
    let number = number?;
    let (from, to) = (number.to_be_bytes(), number.saturating_add(1).to_be_bytes());
    let keys = from.as_slice()..to.as_slice();
    let mut messages = tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?;
    for gone in messages.extract_from_if(keys.clone(), |_, _| true)? {
        gone?;
        if !share.goes_on() {
            return Ok(true);
        }
    }
    let mut ids = tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?;
    for gone in ids.extract_from_if(keys, |_, _| true)? {
        gone?;
        if !share.goes_on() {
            return Ok(true);
        }
    }
    deleted.remove(number)?;
    Ok(true)
}

/// Forgets some answers of before `before`; tells whether there were any.
pub(super) fn forget_answers(
    tx: &WriteTransaction,
    before: Timestamp,
    mut share: Share,
) -> Result<bool, StoreError> {
    let mut answered = tx.open_table(ANSWERED_AND_USER_AND_KEY)?;
    let mut answers = tx.open_table(USER_AND_KEY_TO_ANSWER)?;
    let end = tables::answered_key(before, &[]);
    let mut forgot = false;
    for gone in answered.extract_from_if::<&[u8], _>(..end.as_slice(), |_, _| true)? {
        let (gone, _) = gone?;
        forgot = true;
        if let Some((at, key)) = gone.value().split_first_chunk::<8>() {
            // The key may have been used again since.
            let is_this_one = match answers.get(key)? {
                Some(answer) => {
                    record::decode_answer(key, answer.value())?.at.as_micros()
                        == u64::from_be_bytes(*at)
                }
                None => false,
            };
            if is_this_one {
                answers.remove(key)?;
            }
        }
        if !share.goes_on() {
            break;
        }
    }
    Ok(forgot)
}

/// Forgets some commits of the log, of those whose steps are no more needed (up to number
/// `settled`), if they are older than `before` or not among the newest `keep` steps; tells whether
/// there were any. The newest stays, as it tells which number comes next.
pub(super) fn prune(
    tx: &WriteTransaction,
    settled: u64,
    before: Timestamp,
    keep: u64,
    mut share: Share,
) -> Result<bool, StoreError> {
    let mut log = tx.open_table(SEQ_TO_STEPS)?;
    let newest = log.last()?.map_or(0, |(seq, _)| seq.value());
    let too_many = newest.saturating_sub(keep).min(settled.saturating_add(1));
    let mut pruned = false;
    for gone in log.extract_from_if(..too_many, |_, _| true)? {
        gone?;
        pruned = true;
        if !share.goes_on() {
            break;
        }
    }
    if pruned {
        return Ok(true);
    }
    while let Some(seq) = first_of_before(&log, before)?
        && seq != newest
        && seq <= settled
    {
        log.remove(seq)?;
        pruned = true;
        if !share.goes_on() {
            break;
        }
    }
    Ok(pruned)
}

/// The number of the log's first commit, if all of it was before `before`.
fn first_of_before(
    log: &impl ReadableTable<u64, &'static [u8]>,
    before: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let Some((seq, steps)) = log.first()? else { return Ok(None) };
    let steps = record::decode_steps(seq.value(), steps.value())?;
    let is_before = steps.iter().filter_map(Step::at).all(|at| at < before);
    Ok(is_before.then_some(seq.value()))
}
