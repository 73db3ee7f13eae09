//! One data file, one server.

use std::sync::Barrier;

use orion_chat::sessions::SortOrder;
use orion_chat::store::OpenError;

use crate::support::{create, history, new_file, open, save};

#[test]
fn a_file_in_use_is_not_opened_again_by_whatever_name() {
    let (folder, path) = new_file();
    let first = open(&path).unwrap();
    create(&first, "ann", "s", "hello");
    let (symlink, hardlink) = (folder.path().join("symlink"), folder.path().join("hardlink"));
    std::os::unix::fs::symlink(&path, &symlink).unwrap();
    std::fs::hard_link(&path, &hardlink).unwrap();
    let roundabout = folder.path().join(".").join("test.redb");

    for name in [&path, &symlink, &hardlink, &roundabout] {
        let refused = open(name).unwrap_err();

        assert!(matches!(&refused, OpenError::InUse { path } if path == name), "{refused:?}");
        assert!(refused.to_string().contains("in use by another process"), "{refused}");
    }
    save(&first, "ann", "s", "still here").unwrap();
    assert_eq!(history(&first, "ann", "s", SortOrder::Asc).unwrap().len(), 2);
    first.close().unwrap();

    let second = open(&symlink).unwrap();
    assert_eq!(history(&second, "ann", "s", SortOrder::Asc).unwrap().len(), 2);
}

/// All of them find no file and make one; only one may win, and what it then saves must stay.
#[test]
fn of_many_that_create_a_file_at_once_one_opens_it() {
    for _ in 0..20 {
        let (folder, path) = new_file();
        let together = Barrier::new(4);

        let opened: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                together.wait();
                open(&path)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        let (stores, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        for refused in refused {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
        }
        let [Ok(store)] = stores.as_slice() else { panic!("{} opened it", stores.len()) };
        create(store, "ann", "s", "hello");
        store.close().unwrap();
        assert_eq!(history(&open(&path).unwrap(), "ann", "s", SortOrder::Asc).unwrap().len(), 1);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing unfinished is left beside the file");
    }
}
