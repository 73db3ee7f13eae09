//! Backups that are made each night: how many are kept.

use super::*;

fn backups(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_newest_are_kept_and_what_is_no_backup_stays() {
    let folder = folder_with(&[("s", "hello")]);
    let nightly = folder.path().join("a/nightly");
    let back_up = || done(folder.path(), &["backup", "--into", "a/nightly", "--keep", "3"]);
    back_up();
    let first = backups(&nightly);
    assert_eq!(first.len(), 1);
    assert_eq!(nightly.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let others = [
        "notes.txt",
        "orion-chat-20200101T000000.000Z.redb.part",
        "orion-chat-before-the-move.redb",
        "orion-chat.redb",
    ];
    for name in others {
        fs::write(nightly.join(name), "").unwrap();
    }
    fs::create_dir(nightly.join("orion-chat-20200101T000000.001Z.redb")).unwrap();

    let said: Vec<_> = (0..4).map(|_| back_up()).collect();

    let left = backups(&nightly);
    assert!(!left.contains(&first[0]), "{left:?}");
    for name in others.iter().chain(&["orion-chat-20200101T000000.001Z.redb"]) {
        assert!(left.contains(&(*name).to_owned()), "{name} is gone from {left:?}");
    }
    let newest = said[1..].iter().map(|said| said.split_whitespace().next().unwrap());
    for path in newest {
        assert!(folder.path().join(path).exists(), "{path} is gone from {left:?}");
    }
    assert_eq!(left.len(), 3 + 5, "{left:?}");
}

#[test]
fn what_was_broken_off_an_hour_ago_is_removed() {
    let folder = folder_with(&[("s", "hello")]);
    let part = |time: &str| format!("orion-chat-{time}.redb.018f-77.part");
    let (old, young) = (part("20200101T000000.000Z"), part("20200102T000000.000Z"));
    for (name, age) in [(&old, 2), (&young, 0), (&"notes.part".to_owned(), 2)] {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let made = file.metadata().unwrap().modified().unwrap();
        file.set_modified(made - std::time::Duration::from_hours(age)).unwrap();
    }

    done(folder.path(), &["backup", "--into", ".", "--keep", "2"]);

    let left = backups(folder.path());
    assert!(!left.contains(&old), "{left:?}");
    assert!(left.contains(&young) && left.contains(&"notes.part".to_owned()), "{left:?}");
}

/// As after a night with a clock that was ahead.
#[test]
fn the_one_that_was_just_made_is_kept_whatever_the_clock_says() {
    let folder = folder_with(&[("s", "hello")]);
    let old = ["orion-chat-29990101T000000.000Z.redb", "orion-chat-29990102T000000.000Z.redb"];
    for name in old {
        fs::write(folder.path().join(name), "").unwrap();
    }

    let said = done(folder.path(), &["backup", "--into", ".", "--keep", "2"]);

    let left = backups(folder.path());
    assert!(!left.contains(&old[0].to_owned()) && left.contains(&old[1].to_owned()), "{left:?}");
    let name = said.split_whitespace().next().unwrap();
    assert!(folder.path().join(name).exists(), "{said}");
}

#[test]
fn a_backup_that_fails_removes_no_old_one() {
    let folder = folder_with(&[]);
    fs::write(folder.path().join(DATA), "no data file any more").unwrap();
    let old = "orion-chat-20200101T000000.000Z.redb";
    fs::write(folder.path().join(old), "").unwrap();

    refused(folder.path(), &["backup", "--into", ".", "--keep", "1"], 74, &["damaged"]);

    assert!(folder.path().join(old).exists());
}

#[test]
fn a_count_needs_a_folder_and_is_at_least_one() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["backup", "--keep", "3"][..],
        &["backup", "--into", ".", "--keep", "0"],
        &["backup", "--into", ".", "file.redb"],
    ] {
        assert_eq!(run(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
