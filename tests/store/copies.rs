//! Copies of a data file, taken while it is written and put in the place of another.

use std::path::Path;

use orion_chat::sessions::SortOrder;
use orion_chat::store::{FinishedFile, NewFile, OpenError, Piece, Snapshot, StoreError};

use crate::support::{create, history, new_file, open, problems, save};

fn copy(snapshot: &Snapshot, target: &Path) -> FinishedFile {
    let mut copy = NewFile::create(target).unwrap();
    snapshot.pieces(|piece| copy.put(piece)).unwrap();
    copy.finish().unwrap()
}

#[test]
fn a_copy_holds_what_was_saved_before_it_and_nothing_of_later() {
    let (folder, path) = new_file();
    let target = folder.path().join("copy.redb");
    let store = open(&path).unwrap();
    create(&store, "ann", "settled", "hello");
    store.close().unwrap();
    let store = open(&path).unwrap();
    let before = save(&store, "ann", "settled", "before").unwrap();
    create(&store, "bob", "fresh", "hello");

    let snapshot = store.snapshot();
    save(&store, "ann", "settled", "after").unwrap();
    copy(&snapshot, &target).publish(&target).unwrap();

    assert_eq!(problems(&Snapshot::open(&target).unwrap()), [""; 0]);
    let copied = open(&target).unwrap();
    let messages = history(&copied, "ann", "settled", SortOrder::Asc).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages.last(), Some(&before));
    assert_eq!(history(&copied, "bob", "fresh", SortOrder::Asc).unwrap().len(), 1);
}

#[test]
fn the_changes_of_a_copy_are_not_those_of_its_original() {
    let (folder, path) = new_file();
    let target = folder.path().join("copy.redb");
    let store = open(&path).unwrap();

    copy(&store.snapshot(), &target).publish(&target).unwrap();

    assert_ne!(open(&target).unwrap().log_id(), store.log_id());
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing() {
    let (folder, path) = new_file();
    let store = open(&path).unwrap();
    let before = std::fs::read_dir(folder.path()).unwrap().count();

    let mut unfinished = NewFile::create(&folder.path().join("copy.redb")).unwrap();
    store.snapshot().pieces(|piece| unfinished.put(piece)).unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > before, "it is on its way");
    drop(unfinished);

    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
}

/// As when the machine stops in the middle of it.
#[test]
fn a_copy_that_lacks_its_end_is_never_opened() {
    let (folder, path) = new_file();
    let store = open(&path).unwrap();
    create(&store, "ann", "s", "hello");
    let mut tables = 0;
    let mut unfinished = NewFile::create(&folder.path().join("copy.redb")).unwrap();
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let part = files.find(|path| path.extension().is_some_and(|end| end == "part")).unwrap();

    let cut = store.snapshot().pieces(|piece| {
        tables += u32::from(matches!(piece, Piece::Table(_)));
        // The tenth is the last.
        if tables < 10 { unfinished.put(piece) } else { Err(StoreError::Closed) }
    });
    let left = folder.path().join("left.redb");
    std::fs::copy(part, &left).unwrap();

    assert!(matches!(cut, Err(StoreError::Closed)), "{cut:?}");
    let refused = Snapshot::open(&left).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}
