//! A file that a newer release wrote, or another program.

use std::path::Path;

use orion_chat::store::{OpenError, SCHEMA_VERSION};
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::support::{create, get, new_file, open};

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");

/// Writes `version` where the file tells its schema's.
#[expect(clippy::disallowed_methods, reason = "as another release would")]
fn set_version(path: &Path, version: &[u8]) {
    let db = Database::open(path).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(META).unwrap().insert(b"schema_version".as_slice(), version).unwrap();
    // Releases before version 4 had none.
    tx.delete_table(TableDefinition::<&[u8], &[u8]>::new("user_to_usage")).unwrap();
    tx.commit().unwrap();
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_is() {
    let (_folder, path) = new_file();
    let store = open(&path).unwrap();
    create(&store, "ann", "s", "hello");
    store.close().unwrap();
    set_version(&path, &99_u64.to_be_bytes());
    let before = std::fs::read(&path).unwrap();

    let refused = open(&path).unwrap_err();

    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("99") && text.contains("run the newer release"), "{text}");
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}

#[test]
fn files_of_earlier_versions_are_taken_on_as_they_are() {
    for old in [1_u64, 2, 3, 4] {
        let (_folder, path) = new_file();
        let store = open(&path).unwrap();
        let created = create(&store, "ann", "s", "hello");
        store.close().unwrap();
        set_version(&path, &old.to_be_bytes());

        let store = open(&path).unwrap();

        assert_eq!(get(&store, "ann", "s").unwrap(), created);
        store.close().unwrap();
        let db = Database::open(&path).unwrap();
        let meta = db.begin_read().unwrap().open_table(META).unwrap();
        let version = meta.get(b"schema_version".as_slice()).unwrap().unwrap();
        assert_eq!(version.value(), SCHEMA_VERSION.to_be_bytes());
    }
}

#[test]
fn a_version_that_makes_no_sense_is_damage() {
    for version in [&0_u64.to_be_bytes()[..], b"", b"1", b"123456789"] {
        let (_folder, path) = new_file();
        open(&path).unwrap().close().unwrap();
        set_version(&path, version);
        let before = std::fs::read(&path).unwrap();

        let refused = open(&path).unwrap_err();

        assert!(matches!(refused, OpenError::Damaged { .. }), "{version:?}: {refused:?}");
        assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "as another program would")]
fn a_redb_file_of_another_program_is_refused_and_left_as_it_is() {
    let (_folder, path) = new_file();
    let db = Database::create(&path).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(TableDefinition::<&str, u64>::new("theirs")).unwrap().insert("a", 1).unwrap();
    tx.commit().unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();

    let refused = open(&path).unwrap_err();

    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("test.redb"), "{refused}");
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}
