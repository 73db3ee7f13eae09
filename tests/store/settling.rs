//! Readers while what they read is moved into the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orion_chat::model::Clock;
use orion_chat::sessions::SortOrder;
use orion_chat::store::{Store, StoreConfig};

use crate::support::{create, history, new_file, save};

#[test]
fn a_long_history_is_read_whole_while_its_messages_are_settled() {
    let (_folder, path) = new_file();
    // Hardly anything may be fresh, so that each message is settled right after its commit.
    let store = Store::open(&StoreConfig::new(path, 1), Clock::system(), Arc::default()).unwrap();
    create(&store, "ann", "long", "hello");
    // More than is sent at once.
    (0..10).for_each(|_| drop(save(&store, "ann", "long", &"x".repeat(10_000)).unwrap()));
    let saved = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..60).for_each(|n| drop(save(&store, "ann", "long", &n.to_string()).unwrap()));
            saved.store(true, Ordering::SeqCst);
        });
        let read = || {
            let mut said = 0;
            while !saved.load(Ordering::SeqCst) {
                let now = history(&store, "ann", "long", SortOrder::Asc).unwrap().len();
                assert!(now >= said.max(11), "{now} messages after {said}");
                said = now;
            }
        };
        (0..4).for_each(|_| drop(scope.spawn(read)));
    });
    store.close().unwrap();
}
