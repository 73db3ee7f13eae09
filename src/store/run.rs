//! Runs: neighbouring rows packed into one value, so that a page of a list or history is a few
//! reads of some kilobytes, and not one for each row.
//!
//! A run is kept under the place of its last row, and holds the rows after the run before it,
//! oldest first. The newest run of a prefix is kept under [`Place::LAST`] instead: it is the one
//! that is read and added to most, and is found without a search. A run that grows too large is
//! cut so that the older part is full.

use std::ops::{Bound, ControlFlow, RangeBounds as _};

use redb::{AccessGuard, ReadableTable, StorageError};

use crate::model::Timestamp;

use super::StoreError;
use super::facts::Facts;
use super::record;
use super::tables::{Place, place_key};

mod rewrite;
#[cfg(test)]
mod tests;

pub(super) use rewrite::{NewRow, Rewrite};

type ByteKey = &'static [u8];

/// Bytes of one entry of a run's index: place, facts, end of the row's text.
const ENTRY: usize = 28;

/// A row of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedRow<'a> {
    pub(super) place: Place,
    /// Not used for messages.
    pub(super) facts: Facts,
    pub(super) json: &'a [u8],
}

/// A run, as it lies on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    /// Whether no run of its prefix holds older rows. May be false for one that is.
    is_first: bool,
    index: &'a [[u8; ENTRY]],
    json: &'a [u8],
}

/// Which rows of a prefix to read, and which of them first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) bounds: (Bound<Place>, Bound<Place>),
    pub(super) newest_first: bool,
}

impl Span {
    /// The earliest and the latest place that it may hold.
    fn ends(self) -> (Place, Place) {
        let end = |bound, unbounded| match bound {
            Bound::Included(place) | Bound::Excluded(place) => place,
            Bound::Unbounded => unbounded,
        };
        (end(self.bounds.0, Place::FIRST), end(self.bounds.1, Place::LAST))
    }
}

impl<'a> Run<'a> {
    pub(super) fn decode(key: &[u8], bytes: &'a [u8]) -> Result<Self, StoreError> {
        let (is_first, index, json) = record::decode_run(key, bytes)?;
        match index.as_chunks::<ENTRY>() {
            (index, []) => Ok(Self { is_first, index, json }),
            _ => Err(record::damaged("run", key)),
        }
    }

    /// The `n`th row, the oldest being the 0th. None for one that the index describes wrongly,
    /// which a checksum has ruled out.
    fn row(&self, n: usize) -> Option<PackedRow<'a>> {
        let begin = match n.checked_sub(1) {
            Some(before) => end_of(self.index.get(before)?)?,
            None => 0,
        };
        let entry = self.index.get(n)?;
        let json = self.json.get(begin..end_of(entry)?)?;
        let at = Timestamp::from_micros(number_in(entry, 0)?);
        let facts = Facts::from_bits(number_in(entry, 16)?);
        Some(PackedRow { place: Place { at, number: number_in(entry, 8)? }, facts, json })
    }

    pub(super) fn rows(self) -> impl DoubleEndedIterator<Item = PackedRow<'a>> {
        (0..self.index.len()).filter_map(move |n| self.row(n))
    }

    /// Checks that its rows may be those of the run that is kept under `place`, with `before` being
    /// that of the run before it; else says what is wrong.
    pub(super) fn check(self, place: Place, before: Option<Place>) -> Result<(), &'static str> {
        if self.is_first && before.is_some() {
            return Err("a run stands before the one that is said to be the first");
        }
        if self.rows().count() != self.index.len() {
            return Err("a row cannot be read");
        }
        let places = before.into_iter().chain(self.rows().map(|row| row.place));
        if !places.is_sorted_by(|one, next| one < next) {
            return Err("rows are not in their order");
        }
        match self.rows().next_back() {
            Some(last) if last.place > place => Err("a row stands behind the end of its run"),
            _ => Ok(()),
        }
    }

    fn show(
        self,
        span: Span,
        each: &mut dyn FnMut(PackedRow<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut rows = self.rows();
        while let Some(row) = if span.newest_first { rows.next_back() } else { rows.next() } {
            if span.bounds.contains(&row.place) {
                each(row)?;
            }
        }
        ControlFlow::Continue(())
    }
}

fn number_in(entry: &[u8; ENTRY], at: usize) -> Option<u64> {
    entry.get(at..at + 8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn end_of(entry: &[u8; ENTRY]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*entry.last_chunk()?)).ok()
}

/// Shows `each` the rows of `span` under `prefix`, until it breaks off; tells whether it did.
pub(super) fn scan(
    table: &impl ReadableTable<ByteKey, ByteKey>,
    prefix: &[u8],
    span: Span,
    mut each: impl FnMut(PackedRow<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    let (from, to) = span.ends();
    if from > to {
        return Ok(ControlFlow::Continue(()));
    }
    let (first, last) = (place_key(prefix, from), key_for(table, prefix, to)?);
    let newest_key = place_key(prefix, Place::LAST);
    let mut end = Bound::Included(last.as_slice());
    // The newest run is looked up before others are searched for: it mostly has all that is wanted.
    let is_asked = if span.newest_first { last == newest_key } else { from == Place::FIRST };
    if is_asked && let Some(newest) = table.get(newest_key.as_slice())? {
        let newest = Run::decode(&newest_key, newest.value())?;
        if span.newest_first || newest.is_first {
            let shown = newest.show(span, &mut each);
            if shown.is_break() || newest.is_first {
                return Ok(shown);
            }
            end = Bound::Excluded(newest_key.as_slice());
        }
    }
    let runs = table.range::<&[u8]>((Bound::Included(first.as_slice()), end))?;
    if span.newest_first {
        show_runs(runs.rev(), span, &mut each, |_, run| run.is_first)
    } else {
        show_runs(runs, span, &mut each, |key, _| key == last)
    }
}

/// The key of the run that holds the row at `place`, or would.
fn key_for(
    table: &impl ReadableTable<ByteKey, ByteKey>,
    prefix: &[u8],
    place: Place,
) -> Result<Vec<u8>, StoreError> {
    let newest_key = place_key(prefix, Place::LAST);
    if place == Place::LAST {
        return Ok(newest_key);
    }
    let key = place_key(prefix, place);
    let run = table.range::<&[u8]>(key.as_slice()..=newest_key.as_slice())?.next().transpose()?;
    Ok(run.map_or(newest_key, |(key, _)| key.value().to_vec()))
}

/// A run with its key, as redb's ranges give them.
type Entry<'a> = (AccessGuard<'a, ByteKey>, AccessGuard<'a, ByteKey>);

/// Stops behind a run that `is_last`: to look for the next would be to read a neighbour's.
fn show_runs<'a>(
    runs: impl Iterator<Item = Result<Entry<'a>, StorageError>>,
    span: Span,
    each: &mut dyn FnMut(PackedRow<'_>) -> ControlFlow<()>,
    is_last: impl Fn(&[u8], Run<'_>) -> bool,
) -> Result<ControlFlow<()>, StoreError> {
    for entry in runs {
        let (key, value) = entry?;
        let run = Run::decode(key.value(), value.value())?;
        if run.show(span, each).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if is_last(key.value(), run) {
            break;
        }
    }
    Ok(ControlFlow::Continue(()))
}
