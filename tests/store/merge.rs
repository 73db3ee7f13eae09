//! What is missing elsewhere is deleted here, and nothing that was done here since.

use orion_chat::model::{MessageId, SessionId};
use orion_chat::sessions::merge::{Known, Missing, delete_session, forget_messages, row_print};
use orion_chat::store::{Store, StoreError, WriteTx};

use crate::support::{create, new_file, open, save, session_id, wait};

/// The number of the session of that id, and the fingerprint of its row.
fn seen(store: &Store, id: &SessionId) -> Option<(u64, u128)> {
    let found = store.read(|tx| match tx.session(id)? {
        Some(session) => Ok::<_, StoreError>(Some((session.number, tx.row(&session)?))),
        None => Ok(None),
    });
    found.unwrap().map(|(number, row)| (number, row_print(&row.json)))
}

#[test]
fn a_session_that_is_missing_there_is_deleted_unless_something_was_done_with_it_since() {
    let (_folder, path) = new_file();
    let (store, id) = (open(&path).unwrap(), session_id("s"));
    create(&store, "ann", "s", "hello");
    let delete = |(number, row)| {
        let (id, known) = (id.clone(), Known::ByAbsence(number, row));
        wait(store.write("delete", move |tx| delete_session(tx, &id, &known))).unwrap()
    };
    let before = seen(&store, &id).unwrap();
    save(&store, "ann", "s", "and more").unwrap();

    assert_eq!(delete(before), 0, "something was said in it");
    let now = seen(&store, &id).unwrap();
    assert_eq!(delete((now.0 + 1, now.1)), 0, "it was made again");
    assert_eq!(delete(now), 1);
    assert_eq!(seen(&store, &id), None);
}

#[test]
fn a_message_that_is_missing_there_is_deleted_unless_it_is_another_by_now() {
    let (_folder, path) = new_file();
    let (store, id) = (open(&path).unwrap(), session_id("s"));
    create(&store, "ann", "s", "hello");
    let saved = save(&store, "ann", "s", "and more").unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    let message = MessageId::parse(saved["id"].as_str().unwrap()).unwrap();
    let (number, _) = seen(&store, &id).unwrap();
    let stored = store.read(|tx| tx.message(&tx.session(&id)?.unwrap(), &message));
    let stored = stored.unwrap().unwrap();
    let (place, print) = (stored.place, row_print(&stored.json));
    let forget = |number, missing: Missing| {
        let id = id.clone();
        let work = move |tx: &mut WriteTx<'_>| {
            forget_messages(tx, (&id, number), std::slice::from_ref(&missing))
        };
        wait(store.write("forget", work)).unwrap()
    };
    let of = |place, print| (message.clone(), place, print);

    assert_eq!(forget(number + 1, of(place, print)), 0, "its session was made again");
    assert_eq!(forget(number, of(place.next(), print)), 0, "it was saved again");
    assert_eq!(forget(number, of(place, print + 1)), 0, "it was edited");
    assert_eq!(forget(number, of(place, print)), 1);
    assert_eq!(forget(number, of(place, print)), 0, "it is gone");
}
