//! Runs against a map: whatever is added and removed, each row is found, in order, once.

use std::collections::{BTreeMap, HashMap};

use std::sync::Arc;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _, TableDefinition};

use super::*;
use crate::model::Marks;
use crate::store::tables::place_in;

const RUNS: TableDefinition<'_, ByteKey, ByteKey> = TableDefinition::new("runs");

/// Small, so that a few rows fill one.
const SIZE: usize = 200;

/// What a user's rows go through between two looks at them.
#[derive(Debug, Clone)]
struct Change {
    /// The number of the row, and its new place; it is removed if there is none.
    moves: Vec<(u64, Option<u64>)>,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = prop_oneof![1 => Just(None), 5 => (1..60_u64).prop_map(Some)];
    let moves = proptest::collection::btree_map(0..12_u64, place, 0..8);
    let change = moves.prop_map(|moves| Change { moves: moves.into_iter().collect() });
    proptest::collection::vec(change, 1..12)
}

fn place(at: u64, number: u64) -> Place {
    Place { at: Timestamp::from_micros(at), number }
}

/// What is in the table, by number: the place of the row and of its run. By place: the text.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Place, Vec<u8>>,
    places: HashMap<u64, (Place, Place)>,
}

impl Model {
    #[expect(clippy::disallowed_methods, reason = "there is no writer here")]
    fn apply(&mut self, db: &Database, prefix: &[u8], change: &Change) {
        let transaction = db.begin_write().unwrap();
        let mut rewrite = Rewrite::new(prefix, SIZE);
        for (number, to) in &change.moves {
            if let Some((place, run)) = self.places.remove(number) {
                rewrite.remove(run, *number);
                self.rows.remove(&place);
            }
            if let Some(at) = to {
                let json = format!("row {number} at {at}").repeat([1, 3][usize::from(at % 3 == 0)]);
                let json: Arc<[u8]> = json.into_bytes().into();
                let marks = Marks { pinned: at % 2 == 0, ..Marks::default() };
                let facts = Facts { created_at: Timestamp::MAX, marks };
                self.rows.insert(place(*at, *number), json.to_vec());
                rewrite.add(place(*at, *number), NewRow { facts, json });
            }
        }
        let placed = &mut self.places;
        let mut told = |row: PackedRow<'_>, was: Option<Place>, now: Place| {
            let before = placed.insert(row.place.number, (row.place, now));
            assert_eq!(before.map(|(_, run)| run), was, "where row {row:?} was");
            Ok(())
        };
        rewrite.apply(&mut transaction.open_table(RUNS).unwrap(), &mut told).unwrap();
        transaction.commit().unwrap();
    }

    fn expected(&self, span: Span) -> Vec<(Place, Vec<u8>)> {
        let rows = self.rows.iter().filter(|(place, _)| span.bounds.contains(place));
        let mut rows: Vec<_> = rows.map(|(place, json)| (*place, json.clone())).collect();
        if span.newest_first {
            rows.reverse();
        }
        rows
    }
}

fn found(db: &Database, prefix: &[u8], span: Span) -> Vec<(Place, Vec<u8>)> {
    let table = db.begin_read().unwrap().open_table(RUNS).unwrap();
    let mut rows = Vec::new();
    let scanned = scan(&table, prefix, span, |row| {
        rows.push((row.place, row.json.to_vec()));
        ControlFlow::Continue(())
    });
    assert!(scanned.unwrap().is_continue());
    rows
}

fn spans() -> Vec<Span> {
    let ends = [
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Included(Place::FIRST), Bound::Included(Place::LAST)),
        (Bound::Excluded(place(20, 5)), Bound::Unbounded),
        (Bound::Unbounded, Bound::Excluded(place(20, 5))),
        (Bound::Included(place(10, 0)), Bound::Included(place(40, u64::MAX))),
        (Bound::Included(place(59, 0)), Bound::Unbounded),
        (Bound::Unbounded, Bound::Included(place(1, 11))),
        (Bound::Included(place(30, 0)), Bound::Included(place(30, 0))),
        (Bound::Included(Place::LAST), Bound::Unbounded),
    ];
    let both = |bounds| [true, false].map(|newest_first| Span { bounds, newest_first });
    ends.into_iter().flat_map(both).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_found_as_in_a_map(changes in changes()) {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let (mut ours, mut neighbours) = (Model::default(), Model::default());
        let bystanders = Change { moves: (0..9).map(|number| (number, Some(number * 7))).collect() };
        neighbours.apply(&db, b"a", &bystanders);
        neighbours.apply(&db, b"c", &Change { moves: Vec::new() });

        for change in &changes {
            ours.apply(&db, b"b", change);

            for span in spans() {
                prop_assert_eq!(found(&db, b"b", span), ours.expected(span), "{:?}", span);
            }
        }
        let all = Span { bounds: (Bound::Unbounded, Bound::Unbounded), newest_first: false };
        prop_assert_eq!(found(&db, b"a", all), neighbours.expected(all));
    }
}

#[test]
fn the_newest_run_is_found_under_the_last_place_and_the_others_are_full() {
    let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    let mut model = Model::default();

    for at in 1..=40 {
        model.apply(&db, b"p", &Change { moves: vec![(at, Some(at))] });
    }

    let table = db.begin_read().unwrap().open_table(RUNS).unwrap();
    let runs: Vec<(Place, usize)> = table
        .range::<&[u8]>(..)
        .unwrap()
        .map(|run| run.unwrap())
        .map(|(key, run)| (place_in(key.value()).unwrap(), run.value().len()))
        .collect();
    assert!(runs.len() > 3 && runs.last().unwrap().0 == Place::LAST, "{runs:?}");
    assert!(runs.iter().rev().skip(1).all(|(_, len)| (SIZE / 2..SIZE + 50).contains(len)));
}
