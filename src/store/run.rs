//! Runs: neighbouring rows packed into one value, so that a page of a list or history is a few
//! reads of some kilobytes, and not one for each row.
//!
//! A run holds the rows from its key's place up to the next run's, oldest first. The first run
//! of a prefix begins at [`Place::FIRST`], so that every row has a run to go to. Rows are mostly
//! added at the end: a run that grows too large is cut so that the older part is full.

use std::collections::{BTreeMap, HashSet};
use std::ops::{Bound, ControlFlow, RangeBounds as _};

use redb::{ReadableTable, Table};

use crate::model::Timestamp;

use super::StoreError;
use super::record;
use super::tables::{Place, place_in, place_key};

type ByteKey = &'static [u8];

/// Bytes of one entry of a run's index: place, creation, end of the row's text.
const ENTRY: usize = 28;

/// A row of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedRow<'a> {
    pub(super) place: Place,
    /// When the session was created; not used for messages.
    pub(super) created_at: Timestamp,
    pub(super) json: &'a [u8],
}

/// A run, as it lies on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    index: &'a [[u8; ENTRY]],
    json: &'a [u8],
}

impl<'a> Run<'a> {
    pub(super) fn decode(key: &[u8], bytes: &'a [u8]) -> Result<Self, StoreError> {
        let (index, json) = record::decode_run(key, bytes)?;
        match index.as_chunks::<ENTRY>() {
            (index, []) => Ok(Self { index, json }),
            _ => Err(record::damaged("run", key)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The `n`th row, the oldest being the 0th. None for one that the index describes wrongly,
    /// which a checksum has ruled out.
    pub(super) fn row(&self, n: usize) -> Option<PackedRow<'a>> {
        let begin = match n.checked_sub(1) {
            Some(before) => end_of(self.index.get(before)?)?,
            None => 0,
        };
        let entry = self.index.get(n)?;
        let json = self.json.get(begin..end_of(entry)?)?;
        let at = Timestamp::from_micros(number_in(entry, 0)?);
        let created_at = Timestamp::from_micros(number_in(entry, 16)?);
        Some(PackedRow { place: Place { at, number: number_in(entry, 8)? }, created_at, json })
    }

    pub(super) fn rows(self) -> impl DoubleEndedIterator<Item = PackedRow<'a>> {
        (0..self.len()).filter_map(move |n| self.row(n))
    }
}

fn number_in(entry: &[u8; ENTRY], at: usize) -> Option<u64> {
    entry.get(at..at + 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn end_of(entry: &[u8; ENTRY]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*entry.last_chunk()?)).ok()
}

/// Shows `each` the rows under `prefix` within `bounds`, oldest or newest first, until it breaks
/// off; tells whether it did.
pub(super) fn scan(
    table: &impl ReadableTable<ByteKey, ByteKey>,
    prefix: &[u8],
    bounds: (Bound<Place>, Bound<Place>),
    newest_first: bool,
    mut each: impl FnMut(PackedRow<'_>) -> Result<ControlFlow<()>, StoreError>,
) -> Result<ControlFlow<()>, StoreError> {
    let from = first_key(table, prefix, bounds.0)?;
    let to = place_key(
        prefix,
        match bounds.1 {
            Bound::Included(place) | Bound::Excluded(place) => place,
            Bound::Unbounded => Place::LAST,
        },
    );
    if from > to {
        return Ok(ControlFlow::Continue(()));
    }
    let mut runs = table.range::<&[u8]>(from.as_slice()..=to.as_slice())?;
    while let Some(entry) = if newest_first { runs.next_back() } else { runs.next() } {
        let (key, value) = entry?;
        let run = Run::decode(key.value(), value.value())?;
        let mut rows = run.rows();
        while let Some(row) = if newest_first { rows.next_back() } else { rows.next() } {
            if bounds.contains(&row.place) && each(row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The key of the run that may hold the first row within a lower bound.
fn first_key(
    table: &impl ReadableTable<ByteKey, ByteKey>,
    prefix: &[u8],
    from: Bound<Place>,
) -> Result<Vec<u8>, StoreError> {
    let place = match from {
        Bound::Included(place) | Bound::Excluded(place) => place,
        Bound::Unbounded => Place::FIRST,
    };
    if place == Place::FIRST {
        return Ok(place_key(prefix, place));
    }
    Ok(place_key(prefix, floor(table, prefix, place)?.unwrap_or(Place::FIRST)))
}

/// Where the run begins that a row at `place` is in, or would go to.
pub(super) fn floor(
    table: &impl ReadableTable<ByteKey, ByteKey>,
    prefix: &[u8],
    place: Place,
) -> Result<Option<Place>, StoreError> {
    let (from, to) = (place_key(prefix, Place::FIRST), place_key(prefix, place));
    let last = table.range::<&[u8]>(from.as_slice()..=to.as_slice())?.next_back().transpose()?;
    Ok(last.and_then(|(key, _)| place_in(key.value())))
}

/// A row that is to go into a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewRow {
    pub(super) created_at: Timestamp,
    pub(super) json: Box<[u8]>,
}

/// Changes to the rows under one prefix, done with as few rewritten runs as possible.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    /// By the place where a run begins: which of its rows go, by number.
    removed: BTreeMap<Place, HashSet<u64>>,
    added: BTreeMap<Place, NewRow>,
}

impl Rewrite {
    /// Takes the row with this `number` out of the run that begins at `run`.
    pub(super) fn remove(&mut self, run: Place, number: u64) {
        self.removed.entry(run).or_default().insert(number);
    }

    /// Puts a row at `place`, in the place of one that is there.
    pub(super) fn add(&mut self, place: Place, row: NewRow) {
        self.added.insert(place, row);
    }

    /// Does it, with runs of about `size` bytes, and tells `placed` of each row of a rewritten
    /// run in which run it was, if it is not new, and in which it is now.
    pub(super) fn apply(
        self,
        table: &mut Table<'_, ByteKey, ByteKey>,
        prefix: &[u8],
        size: usize,
        mut placed: impl FnMut(PackedRow<'_>, Option<Place>, Place) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut runs: BTreeMap<Place, (HashSet<u64>, BTreeMap<Place, NewRow>)> =
            self.removed.into_iter().map(|(run, gone)| (run, (gone, BTreeMap::new()))).collect();
        let mut last = None;
        for (place, row) in self.added.into_iter().rev() {
            // Descending, so that most rows go where the one before went, without a look-up.
            let run = match last {
                Some(run) if run <= place => run,
                _ => floor(table, prefix, place)?.unwrap_or(Place::FIRST),
            };
            last = Some(run);
            runs.entry(run).or_default().1.insert(place, row);
        }
        for (run, (gone, added)) in runs {
            rewrite(table, prefix, run, &gone, added, size, &mut placed)?;
        }
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "one run's share of what `Rewrite::apply` has")]
fn rewrite(
    table: &mut Table<'_, ByteKey, ByteKey>,
    prefix: &[u8],
    run: Place,
    gone: &HashSet<u64>,
    added: BTreeMap<Place, NewRow>,
    size: usize,
    placed: &mut impl FnMut(PackedRow<'_>, Option<Place>, Place) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let key = place_key(prefix, run);
    let old = table.get(key.as_slice())?.map(|old| old.value().to_vec()).unwrap_or_default();
    let kept = match old.is_empty() {
        true => None,
        false => Some(Run::decode(&key, &old)?),
    };
    let kept = kept.into_iter().flat_map(Run::rows);
    let kept =
        kept.filter(|row| !gone.contains(&row.place.number) && !added.contains_key(&row.place));
    let mut rows: Vec<(PackedRow<'_>, Option<Place>)> = kept.map(|row| (row, Some(run))).collect();
    rows.extend(added.iter().map(|(place, row)| {
        let (place, created_at, json) = (*place, row.created_at, &*row.json);
        (PackedRow { place, created_at, json }, None)
    }));
    rows.sort_by_key(|(row, _)| row.place);
    let mut begin = run;
    let mut packed = Packed::default();
    for (row, was) in rows {
        if !packed.is_empty() && packed.len() + row.json.len() + ENTRY > size {
            packed.put(table, &place_key(prefix, begin))?;
            (packed, begin) = (Packed::default(), row.place);
        }
        packed.push(row);
        placed(row, was, begin)?;
    }
    if packed.is_empty() {
        table.remove(key.as_slice())?;
        return Ok(());
    }
    packed.put(table, &place_key(prefix, begin))
}

/// A run that is being put together.
#[derive(Debug, Default)]
struct Packed {
    index: Vec<u8>,
    json: Vec<u8>,
}

impl Packed {
    fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn len(&self) -> usize {
        self.index.len() + self.json.len()
    }

    fn push(&mut self, row: PackedRow<'_>) {
        self.json.extend_from_slice(row.json);
        self.index.extend_from_slice(&row.place.at.as_micros().to_le_bytes());
        self.index.extend_from_slice(&row.place.number.to_le_bytes());
        self.index.extend_from_slice(&row.created_at.as_micros().to_le_bytes());
        // A run is cut long before its text has 4 GiB.
        let end = u32::try_from(self.json.len()).unwrap_or(u32::MAX);
        self.index.extend_from_slice(&end.to_le_bytes());
    }

    fn put(&self, table: &mut Table<'_, ByteKey, ByteKey>, key: &[u8]) -> Result<(), StoreError> {
        table.insert(key, record::encode_run(key, &self.index, &self.json)?.as_slice())?;
        Ok(())
    }
}
