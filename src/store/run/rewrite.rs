//! Changing runs: what goes and what comes, with each run rewritten once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use redb::{ReadableTable as _, Table};

use crate::store::StoreError;
use crate::store::facts::Facts;
use crate::store::record;
use crate::store::tables::{Place, place_in, place_key};

use super::{ENTRY, PackedRow, Run, key_for};

type ByteKey = &'static [u8];

/// A row that is to go into a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct NewRow {
    pub(in crate::store) facts: Facts,
    pub(in crate::store) json: Arc<[u8]>,
}

/// Changes to the rows under one prefix, done with as few rewritten runs as possible.
#[derive(Debug)]
pub(in crate::store) struct Rewrite<'p> {
    prefix: &'p [u8],
    /// The size that a run is cut at, in bytes.
    size: usize,
    /// By the place under which a run is kept: which of its rows go, by number.
    removed: BTreeMap<Place, HashSet<u64>>,
    /// What stands at a place from now on, if anything.
    put: BTreeMap<Place, Option<NewRow>>,
}

/// One run's share of a [`Rewrite`].
#[derive(Debug, Default)]
struct Share {
    removed: HashSet<u64>,
    put: BTreeMap<Place, Option<NewRow>>,
}

/// Is told of each row of a rewritten run: in which run it was, unless it is new, and in which it
/// is now.
type Placed<'a> = dyn FnMut(PackedRow<'_>, Option<Place>, Place) -> Result<(), StoreError> + 'a;

impl<'p> Rewrite<'p> {
    /// Changes nothing yet.
    pub(in crate::store) fn new(prefix: &'p [u8], size: usize) -> Self {
        Self { prefix, size, removed: BTreeMap::new(), put: BTreeMap::new() }
    }

    /// Takes the row with this `number` out of the run that is kept under `run`.
    pub(in crate::store) fn remove(&mut self, run: Place, number: u64) {
        self.removed.entry(run).or_default().insert(number);
    }

    /// Puts a row at `place`, in the place of one that is there.
    pub(in crate::store) fn add(&mut self, place: Place, row: NewRow) {
        self.put.insert(place, Some(row));
    }

    /// Leaves nothing at `place`, whichever run it is in.
    pub(in crate::store) fn clear(&mut self, place: Place) {
        self.put.insert(place, None);
    }

    /// Does it.
    pub(in crate::store) fn apply(
        mut self,
        table: &mut Table<'_, ByteKey, ByteKey>,
        placed: &mut Placed<'_>,
    ) -> Result<(), StoreError> {
        let removed = std::mem::take(&mut self.removed).into_iter();
        let mut shares: BTreeMap<Place, Share> =
            removed.map(|(run, removed)| (run, Share { removed, ..Share::default() })).collect();
        let mut last = None;
        for (place, row) in std::mem::take(&mut self.put) {
            // Ascending, so that most rows go where the one before went, without a search.
            let run = match last {
                Some(run) if place <= run => run,
                _ => self.run_for(table, place)?,
            };
            last = Some(run);
            shares.entry(run).or_default().put.insert(place, row);
        }
        shares.into_iter().try_for_each(|(run, share)| self.rewrite(table, run, &share, placed))
    }

    /// Under which place the run is, or will be, kept that the row at `place` goes to.
    fn run_for(
        &self,
        table: &Table<'_, ByteKey, ByteKey>,
        place: Place,
    ) -> Result<Place, StoreError> {
        Ok(place_in(&key_for(table, self.prefix, place)?).unwrap_or(Place::LAST))
    }

    fn rewrite(
        &self,
        table: &mut Table<'_, ByteKey, ByteKey>,
        run: Place,
        share: &Share,
        placed: &mut Placed<'_>,
    ) -> Result<(), StoreError> {
        let key = place_key(self.prefix, run);
        let old = table.get(key.as_slice())?.map(|old| old.value().to_vec());
        let old = old.as_deref().map(|old| Run::decode(&key, old)).transpose()?;
        let is_first = match old {
            Some(old) => old.is_first,
            None => self.is_empty(table)?,
        };
        let kept = old.into_iter().flat_map(Run::rows).filter(|row| {
            !share.removed.contains(&row.place.number) && !share.put.contains_key(&row.place)
        });
        let mut rows: Vec<(PackedRow<'_>, Option<Place>)> =
            kept.map(|row| (row, Some(run))).collect();
        let added = share.put.iter().filter_map(|(place, row)| Some((*place, row.as_ref()?)));
        rows.extend(
            added
                .map(|(place, row)| (PackedRow { place, facts: row.facts, json: &row.json }, None)),
        );
        rows.sort_by_key(|(row, _)| row.place);
        if rows.is_empty() {
            table.remove(key.as_slice())?;
        }
        let mut packed = Packed { is_first, ..Packed::default() };
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let (taken, rest) = rows.split_at(packed.fill(rows, self.size));
            let now = match taken.last() {
                Some((last, _)) if !rest.is_empty() => last.place,
                _ => run,
            };
            packed.put(table, &place_key(self.prefix, now))?;
            taken.iter().try_for_each(|(row, was)| placed(*row, *was, now))?;
            (packed, rows) = (Packed::default(), rest);
        }
        Ok(())
    }

    /// Whether there is no run under the prefix.
    fn is_empty(&self, table: &Table<'_, ByteKey, ByteKey>) -> Result<bool, StoreError> {
        let (from, to) =
            (place_key(self.prefix, Place::FIRST), place_key(self.prefix, Place::LAST));
        Ok(table.range::<&[u8]>(from.as_slice()..=to.as_slice())?.next().transpose()?.is_none())
    }
}

/// A run that is being put together.
#[derive(Debug, Default)]
struct Packed {
    is_first: bool,
    index: Vec<u8>,
    json: Vec<u8>,
}

impl Packed {
    /// Takes of `rows` what fits in `size`, but at least one; tells how many.
    fn fill(&mut self, rows: &[(PackedRow<'_>, Option<Place>)], size: usize) -> usize {
        for (count, (row, _)) in rows.iter().enumerate() {
            let len = self.index.len() + self.json.len();
            if count > 0 && len + row.json.len() + ENTRY > size {
                return count;
            }
            self.push(*row);
        }
        rows.len()
    }

    fn push(&mut self, row: PackedRow<'_>) {
        self.json.extend_from_slice(row.json);
        self.index.extend_from_slice(&row.place.at.as_micros().to_le_bytes());
        self.index.extend_from_slice(&row.place.number.to_le_bytes());
        self.index.extend_from_slice(&row.facts.to_bits().to_le_bytes());
        // A run is cut long before its text has 4 GiB.
        let end = u32::try_from(self.json.len()).unwrap_or(u32::MAX);
        self.index.extend_from_slice(&end.to_le_bytes());
    }

    fn put(&self, table: &mut Table<'_, ByteKey, ByteKey>, key: &[u8]) -> Result<(), StoreError> {
        let record = record::encode_run(key, self.is_first, &self.index, &self.json)?;
        table.insert(key, record.as_slice())?;
        Ok(())
    }
}
