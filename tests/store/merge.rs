//! What others did is taken here: what is missing there is deleted, and nothing that was done here since;
//! of two changes the later wins.

use orion_chat::model::{MessageId, SessionId};
use orion_chat::sessions::merge::{
    Known, Missing, Own, TheirSession, delete_session, forget_messages, merge, row_print,
};
use orion_chat::sessions::{SessionUpdate, update};
use orion_chat::store::{Store, StoreError, WriteTx, notes};

use crate::support::{create, get, new_file, open, save, session_id, title, user, wait};

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

#[test]
fn of_two_titles_of_one_moment_that_of_the_greater_node_wins() {
    for wins_ties in [false, true] {
        let (_folder, path) = new_file();
        let (store, id) = (open(&path).unwrap(), session_id("s"));
        // Beside PostgreSQL, it is noted when titles change.
        store.hold_log(0);
        create(&store, "ann", "s", "hello");
        let renamed = SessionUpdate { title: Some(title("ours")), ..SessionUpdate::default() };
        wait(update(&store, user("ann"), id.clone(), renamed, None)).unwrap();
        let (number, _) = seen(&store, &id).unwrap();
        let own_at = store.read(|tx| tx.note(&notes::own_at(number))).unwrap().unwrap();
        let row = store.read(|tx| tx.row(&tx.session(&id)?.unwrap())).unwrap();
        let own_at = notes::time(own_at);
        let theirs = TheirSession {
            id: id.clone(),
            user_id: user("ann"),
            own: Own { title: Some("theirs".to_owned()), ..Own::default() },
            print: 1,
            own_at,
            first_message: None,
            last_message: None,
            count: 1,
            created_at: row.facts.created_at,
            updated_at: own_at,
            wins_ties,
            is_whole: true,
            goes_on: false,
        };
        wait(store.write("merge", move |tx| merge(tx, &theirs, &[]))).unwrap();
        let shown = get(&store, "ann", "s").unwrap();
        let winner = if wins_ties { "theirs" } else { "ours" };
        assert!(shown.contains(&format!("\"title\":\"{winner}\"")), "{shown}");
        let conflicts = store.read(|tx| tx.notes(b"c", &[], 10)).unwrap();
        assert_eq!(conflicts.len(), 1, "the other is kept");
    }
}
