//! A walk past everybody's sessions, for housekeeping.

use std::ops::Bound;

use redb::ReadableTable as _;

use crate::model::Timestamp;
use crate::store::run::{PackedRow, Run};
use crate::store::step::Step;
use crate::store::{StoreError, record};

use super::{ListedRow, ReadTx};

/// How far a walk has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walked(Vec<u8>);

impl ReadTx<'_> {
    /// Shows `each` the rows of the next `runs` runs of sessions after `walked`; tells how far that
    /// was, or `None` at the end. What is not settled yet is not shown, or as it was before;
    /// what is damaged is passed over.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn walk_sessions(
        self,
        walked: &Walked,
        runs: usize,
        mut each: impl FnMut(ListedRow<'_>),
    ) -> Result<Option<Walked>, StoreError> {
        let behind = (Bound::Excluded(walked.0.as_slice()), Bound::Unbounded);
        let mut last = None;
        for entry in self.0.tables.sessions.range::<&[u8]>(behind)?.take(runs) {
            let (key, value) = entry?;
            last = Some(Walked(key.value().to_vec()));
            let rows = Run::decode(key.value(), value.value()).map(Run::rows);
            for PackedRow { place, facts, json } in rows.into_iter().flatten() {
                // The walk is in the order of the last changes.
                each(ListedRow { place, facts, updated_at: place.at, json });
            }
        }
        Ok(last)
    }

    /// When the newest step of the log was done; `None` if it has none that tells.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn newest_at(self) -> Result<Option<Timestamp>, StoreError> {
        let Some((seq, steps)) = self.0.tables.log.last()? else { return Ok(None) };
        let steps = record::decode_steps(seq.value(), steps.value())?;
        Ok(steps.iter().filter_map(Step::at).max())
    }
}
