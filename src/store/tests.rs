//! What the store promises to the verbs, seen through its own door.

mod upkeep;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redb::backends::InMemoryBackend;
use redb::{ReadableTableMetadata as _, TableDefinition};

use super::fresh::{Fresh, FreshUser, Owner};
use super::housekeeping::Share;
use super::step::{Cause, FreshSession, Step};
use super::*;
use crate::model::{Change, ChangeKind, MessageId, SessionId, Timestamp, UserId};

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn session_id(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn config(folder: &tempfile::TempDir, cache_bytes: usize) -> StoreConfig {
    StoreConfig::new(folder.path().join("test.redb"), cache_bytes)
}

/// A clock that ticks a microsecond with each look at it.
fn clock() -> Clock {
    let micros = AtomicU64::new(1_000_000);
    Clock::new(move || Timestamp::from_micros(micros.fetch_add(1, Ordering::Relaxed)))
}

fn row(id: &SessionId, at: Timestamp) -> Row {
    let json = format!(r#"{{"sessionId":"{id}"}}"#).into_bytes();
    Row { facts: Facts::created(at), updated_at: at, json }
}

async fn create(store: &Store, id: &str, owner: &str) -> SessionRef {
    let (id, owner) = (session_id(id), user(owner));
    let work = move |tx: &mut WriteTx<'_>| tx.create_session(&id, &owner, row(&id, tx.now()));
    store.write("create", work).await.unwrap()
}

async fn save(store: &Store, session: &SessionRef, id: &str) -> Result<(), StoreError> {
    let (session, id) = (session.clone(), MessageId::parse(id).unwrap());
    let work = move |tx: &mut WriteTx<'_>| {
        let session = tx.session(&session.id)?.unwrap();
        let stored = tx.row(&session)?;
        let at = stored.updated_at.next();
        let json = format!(r#"{{"id":"{id}","sessionId":"{}"}}"#, session.id).into_bytes();
        let message = NewMessage { id: id.clone(), id_is_chosen: true, at, json };
        tx.save_message(&session, message, Row { updated_at: at, ..stored });
        Ok(())
    };
    store.write("save_message", work).await
}

async fn delete_message(store: &Store, session: &SessionRef, id: &str) {
    let (session, id) = (session.clone(), MessageId::parse(id).unwrap());
    let work = move |tx: &mut WriteTx<'_>| {
        let (message, stored) = (tx.message(&session, &id)?.unwrap(), tx.row(&session)?);
        let at = stored.updated_at.next();
        tx.delete_message(&session, &id, &message, Row { updated_at: at, ..stored });
        Ok::<_, StoreError>(())
    };
    store.write("delete_message", work).await.unwrap();
}

async fn delete(store: &Store, session: &SessionRef) {
    let session = session.clone();
    let work = move |tx: &mut WriteTx<'_>| {
        let session = tx.session(&session.id)?.unwrap();
        let row = tx.row(&session)?;
        tx.delete_session(&session, &row, row.updated_at.next());
        Ok::<_, StoreError>(())
    };
    store.write("delete", work).await.unwrap();
}

fn messages(store: &Store, session: &SessionRef) -> usize {
    let mut count = 0;
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let counted = store.read(|tx| {
        tx.messages(session, all, false, |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        })
    });
    assert!(counted.unwrap().is_continue());
    count
}

#[tokio::test]
async fn a_write_that_panics_or_fails_does_not_touch_those_beside_it() {
    let store = Store::in_memory(clock()).unwrap();
    let session = create(&store, "s", "ann").await;
    let (panicking, failing) = (session.clone(), session.clone());

    let outcomes = tokio::join!(
        save(&store, &session, "before"),
        store.write("panic", move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
            tx.delete_session(&panicking, &tx.row(&panicking)?, tx.now());
            panic!("on purpose")
        }),
        store.write("fail", move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
            tx.delete_session(&failing, &tx.row(&failing)?, tx.now());
            Err(StoreError::Structure("on purpose".into()))
        }),
        save(&store, &session, "behind"),
    );

    assert!(matches!(outcomes, (Ok(()), Err(StoreError::Panicked), Err(_), Ok(()))));
    assert_eq!(messages(&store, &session), 2);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_has_gone() {
    let store = Store::in_memory(clock()).unwrap();
    let session = create(&store, "s", "ann").await;

    let mut saving = Box::pin(save(&store, &session, "m"));
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(saving.as_mut().poll(context).is_ready())
    });
    polled.await;
    drop(saving);

    // The writer takes them in turn: when this one is answered, that one is done.
    store.write("wait", |_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(messages(&store, &session), 1);
}

#[tokio::test]
async fn changes_are_told_in_the_order_in_which_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    create(&store, "other", "bob").await;
    save(&store, &session, "m").await.unwrap();
    delete(&store, &session).await;

    let told = |store: &Store, after| -> Vec<Change> {
        store.read(|tx| tx.changes(&user("ann"), after)).unwrap().unwrap().changes
    };
    let all = told(&store, 0);
    let kinds: Vec<_> = all.iter().map(|change| change.kind.clone()).collect();
    let saved = br#"{"id":"m","sessionId":"s"}"#.as_slice().into();
    let saved = ChangeKind::MessageCreated(saved);
    assert_eq!(kinds, [ChangeKind::SessionCreated, saved, ChangeKind::SessionDeleted]);
    assert!(all.iter().all(|change| change.session_id == session_id("s")));
    assert!(all[1].session.is_some(), "the row that the message changed comes with it");
    assert_eq!(told(&store, all[0].seq), all[1..], "after the first");
    assert!(told(&store, all[2].seq).is_empty(), "after the last");
    let ahead = store.read(|tx| tx.changes(&user("ann"), tx.newest() + 1)).unwrap();
    assert_eq!(ahead, None, "after one that is yet to come");

    store.close().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    assert_eq!(told(&store, 0), all, "after a restart");
    let (next, again) = (create(&store, "s", "ann").await, told(&store, all[2].seq));
    assert!(again[0].seq > all[2].seq, "numbers go on");
    assert_ne!(next.number, session.number);
}

#[tokio::test]
async fn an_id_may_change_hands_at_once_and_shows_nothing_of_before() {
    let store = Store::in_memory(clock()).unwrap();
    let anns = create(&store, "s", "ann").await;
    save(&store, &anns, "m").await.unwrap();
    delete(&store, &anns).await;

    let bobs = create(&store, "s", "bob").await;

    assert_eq!(messages(&store, &bobs), 0);
    let owner = store.read(|tx| tx.session(&session_id("s"))).unwrap().unwrap();
    assert_eq!(owner.user_id, user("bob"));
}

async fn note(store: &Store, key: &'static [u8], value: Option<&'static [u8]>) {
    let work = move |tx: &mut WriteTx<'_>| {
        tx.put_note(key, value);
        Ok::<_, StoreError>(())
    };
    store.write("note", work).await.unwrap();
}

fn notes(store: &Store, prefix: &[u8], after: &[u8]) -> Vec<Vec<u8>> {
    let found = store.read(|tx| tx.notes(prefix, after, 2)).unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn notes_are_found_in_order_before_and_after_they_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    for key in [b"b1".as_slice(), b"a", b"b3", b"b2", b"c"] {
        note(&store, key, Some(b"x")).await;
    }
    note(&store, b"b2", None).await;
    let look = |store: &Store| {
        assert_eq!(notes(store, b"b", b""), [b"b1", b"b3"]);
        assert_eq!(notes(store, b"b", b"b1"), [b"b3"]);
        assert_eq!(notes(store, b"", b""), [b"a".as_slice(), b"b1"]);
        assert_eq!(store.read(|tx| tx.note(b"c")).unwrap(), Some(b"x".to_vec()));
        assert_eq!(store.read(|tx| tx.note(b"b2")).unwrap(), None);
    };
    look(&store);
    store.close().unwrap();

    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    look(&store);
    note(&store, b"b3", None).await;
    note(&store, b"b2", Some(b"again")).await;
    assert_eq!(notes(&store, b"b", b""), [b"b1", b"b2"]);
    store.close().unwrap();
}

#[tokio::test]
async fn the_journal_names_what_was_touched_here_and_not_what_came_from_the_replica() {
    let store = Store::in_memory(clock()).unwrap();
    let session = create(&store, "s", "ann").await;
    let (id, other) = (session_id("theirs"), user("bob"));
    let work = move |tx: &mut WriteTx<'_>| {
        tx.mirrored(|tx| tx.create_session(&id, &other, row(&id, tx.now()))).map(|_| ())
    };
    store.write("merge", work).await.unwrap();
    save(&store, &session, "m").await.unwrap();
    delete_message(&store, &session, "m").await;
    delete(&store, &session).await;

    let journal = store.read(|tx| tx.journal(0, 100)).unwrap().unwrap();

    let (s, m) = (session_id("s"), MessageId::parse("m").unwrap());
    let kinds: Vec<_> =
        journal.touched.iter().filter(|it| !matches!(it, Touched::Session(_))).collect();
    let sessions = journal.touched.iter().filter(|it| **it == Touched::Session(s.clone())).count();
    assert_eq!((sessions, journal.touched.len()), (3, 6), "{journal:?}");
    assert!(matches!(kinds[0], Touched::Message(owner, 1, _) if *owner == user("ann")));
    assert!(matches!(kinds[1], Touched::MessageGone(of, session, id, at)
            if (of.as_str(), session, id) == ("ann", &s, &m) && *at > Timestamp::default()));
    assert!(
        matches!(kinds[2], Touched::SessionGone(of, gone, _) if (of.as_str(), gone) == ("ann", &s))
    );
    assert_eq!(journal.until, store.read(|tx| Ok::<_, StoreError>(tx.newest())).unwrap());
    let rest = store.read(|tx| tx.journal(journal.until, 100)).unwrap().unwrap();
    assert_eq!((rest.touched.len(), rest.until), (0, journal.until));
    assert_eq!(store.read(|tx| tx.journal(journal.until + 1, 100)).unwrap(), None);
}

#[tokio::test]
async fn deletions_leave_traces_for_a_replica_alone() {
    let store = Store::in_memory(clock()).unwrap();
    for (id, held) in [("without", false), ("with", true)] {
        if held {
            store.hold_log(0);
        }
        let session = create(&store, id, "ann").await;
        save(&store, &session, "m").await.unwrap();
        delete_message(&store, &session, "m").await;
        delete(&store, &session).await;

        let session_gone = notes::session_gone(&session.id);
        let message_gone = notes::message_gone(&session.id, &MessageId::parse("m").unwrap());
        for key in [session_gone, message_gone] {
            assert_eq!(store.read(|tx| tx.note(&key)).unwrap().is_some(), held, "{id}");
        }
    }
}

#[tokio::test]
async fn sessions_are_walked_by_id_whoever_owns_them_and_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    for (id, owner) in [("d", "ann"), ("b", "bob"), ("e", "ann")] {
        create(&store, id, owner).await;
    }
    store.close().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    create(&store, "a", "bob").await;
    create(&store, "c", "ann").await;
    let gone = store.read(|tx| tx.session(&session_id("d"))).unwrap().unwrap();
    delete(&store, &gone).await;
    let page = |after: &str, limit| -> Vec<String> {
        let page = store.read(|tx| tx.sessions_by_id(after, limit)).unwrap();
        page.into_iter().map(|session| session.id.to_string()).collect()
    };

    assert_eq!(page("", 100), ["a", "b", "c", "e"]);
    for limit in 1..5 {
        let (mut walked, mut after) = (Vec::new(), String::new());
        while let Some(last) = page(&after, limit).last() {
            walked.extend(page(&after, limit));
            after.clone_from(last);
        }
        assert_eq!(walked, ["a", "b", "c", "e"], "{limit} at a time");
    }
}

/// What is wrong in one table.
fn problems(snapshot: &Snapshot, table: &str) -> Vec<String> {
    let mut problems = Vec::new();
    snapshot.verify(&mut |note| {
        // The rows here are no real sessions, which is told too.
        if let Note::Problem(what) = note
            && what.starts_with(table)
        {
            problems.push(what);
        }
        std::ops::ControlFlow::Continue(())
    });
    problems
}

#[tokio::test]
async fn an_expiry_that_is_not_that_of_its_session_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, 1 << 20);
    let in_tables = |store: Store| {
        store.close().unwrap();
        Store::open(&config, clock(), Arc::default()).unwrap()
    };
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    let (at, number) = (Timestamp::from_micros(7), session.number);
    let key = notes::expiry(at, number);
    let work = move |tx: &mut WriteTx<'_>| {
        tx.put_note(&key, Some(b"s"));
        Ok::<_, StoreError>(())
    };
    store.write("note", work).await.unwrap();

    let found = problems(&in_tables(store).snapshot(), "notes");

    let one = format!("notes: session number {number} is not to be deleted at {at}");
    assert!(found.contains(&one), "{found:?}");
}

/// What is wrong with the usage that is told of ann, and what that is.
fn told_usage(store: &Store) -> (Vec<String>, Option<Usage>) {
    let snapshot = store.snapshot();
    let problems = problems(&snapshot, "user_to_usage");
    let told = snapshot.table(tables::USER_TO_USAGE).unwrap().get(b"ann".as_slice()).unwrap();
    let told = told.map(|told| record::decode_usage(b"ann", told.value()).unwrap());
    (problems, told)
}

#[tokio::test]
async fn what_a_user_has_is_counted_as_it_changes_and_a_wrong_count_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { sessions: std::num::NonZeroU64::new(9), bytes: None };
    let config = StoreConfig { quota, ..config(&folder, 1 << 20) };
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let (kept, gone) = (create(&store, "kept", "ann").await, create(&store, "gone", "ann").await);
    for id in ["m1", "m2"] {
        save(&store, &kept, id).await.unwrap();
        save(&store, &gone, id).await.unwrap();
    }
    delete_message(&store, &kept, "m1").await;
    delete(&store, &gone).await;
    store.close().unwrap();

    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let row = store.read(|tx| tx.row(&kept_again(tx))).unwrap();
    let bytes = row.json.len() + br#"{"id":"m2","sessionId":"kept"}"#.len();
    let counted = Usage { sessions: 1, bytes: bytes as u64 };
    assert_eq!(told_usage(&store), (vec![], Some(counted)));

    let work = |tx: &mut WriteTx<'_>| {
        tx.log_wrong_usage(user("ann"), Usage { sessions: 2, bytes: 7 });
        Ok::<_, StoreError>(())
    };
    store.write("count wrongly", work).await.unwrap();
    store.close().unwrap();
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let (problems, _) = told_usage(&store);
    assert!(matches!(&problems[..], [one] if one.contains("ann")), "{problems:?}");
}

fn kept_again(tx: ReadTx<'_>) -> SessionRef {
    tx.session(&session_id("kept")).unwrap().unwrap()
}
