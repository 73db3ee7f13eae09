//! What is done now and then: messages of deleted sessions, and changes of long ago, go.

use redb::{ReadableTable as _, WriteTransaction};

use crate::model::Timestamp;

use super::StoreError;
use super::record;
use super::tables::{
    DELETED_SESSIONS, SEQ_TO_CHANGES, SESSION_AND_MESSAGE_ID_TO_PLACE,
    SESSION_AND_PLACE_TO_MESSAGES,
};

/// Removes up to `limit` runs of messages, and ids, of a deleted session; tells whether there was
/// one.
pub(super) fn sweep(tx: &WriteTransaction, limit: usize) -> Result<bool, StoreError> {
    let mut deleted = tx.open_table(DELETED_SESSIONS)?;
    let Some(number) = deleted.first()?.map(|(number, _)| number.value()) else {
        return Ok(false);
    };
    let (from, to) = (number.to_be_bytes(), number.saturating_add(1).to_be_bytes());
    let keys = from.as_slice()..to.as_slice();
    let mut left = limit;
    let mut messages = tx.open_table(SESSION_AND_PLACE_TO_MESSAGES)?;
    for gone in messages.extract_from_if(keys.clone(), |_, _| true)?.take(left) {
        gone?;
        left -= 1;
    }
    let mut ids = tx.open_table(SESSION_AND_MESSAGE_ID_TO_PLACE)?;
    for gone in ids.extract_from_if(keys, |_, _| true)?.take(left) {
        gone?;
        left -= 1;
    }
    if left > 0 {
        deleted.remove(number)?;
    }
    Ok(true)
}

/// Forgets the changes of up to `limit` commits that are older than `before` or not among the
/// newest `keep`, and tells whether there were any. The newest stay, as they tell which number
/// comes next.
pub(super) fn prune(
    tx: &WriteTransaction,
    before: Timestamp,
    keep: u64,
    limit: usize,
) -> Result<bool, StoreError> {
    let mut table = tx.open_table(SEQ_TO_CHANGES)?;
    let newest = table.last()?.map_or(0, |(seq, _)| seq.value());
    let mut pruned = false;
    for _ in 0..limit {
        let first = match table.first()? {
            Some((seq, changes)) => (seq.value(), changes.value().to_vec()),
            None => break,
        };
        let (seq, changes) = (first.0, record::decode_changes(first.0, &first.1)?);
        let is_old = changes.iter().all(|change| change.at < before);
        if seq == newest || !(is_old || newest - seq > keep) {
            break;
        }
        table.remove(seq)?;
        pruned = true;
    }
    Ok(pruned)
}
