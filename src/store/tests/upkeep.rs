//! What the writer does beside operations: what is fresh, settled, swept and forgotten.

use super::*;

/// By hand here: the writer sweeps when nothing else is asked for, which shows in nothing but the
/// file.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the writer has ended")]
async fn a_deleted_session_is_swept_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, 1 << 20);
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    for n in 0..50 {
        save(&store, &session, &format!("m{n}")).await.unwrap();
    }
    store.close().unwrap();
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    delete(&store, &session).await;
    store.close().unwrap();

    let db = Database::open(&config.path).unwrap();
    let sweeping = db.begin_write().unwrap();
    while housekeeping::sweep(&sweeping, share(7)).unwrap() {}
    sweeping.commit().unwrap();

    let tx = db.begin_read().unwrap();
    let len = |table: TableDefinition<'static, &'static [u8], &'static [u8]>| {
        tx.open_table(table).unwrap().len().unwrap()
    };
    assert_eq!(len(tables::SESSION_ID_TO_HEAD), 0);
    assert_eq!(len(tables::USER_AND_UPDATED_TO_SESSIONS), 0);
    assert_eq!(len(tables::USER_AND_CREATED_TO_SESSION_ID), 0);
    assert_eq!(len(tables::SESSION_AND_PLACE_TO_MESSAGES), 0);
    let ids = tx.open_table(tables::SESSION_AND_MESSAGE_ID_TO_PLACE).unwrap();
    assert_eq!(ids.len().unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_message_leaves_nothing_in_the_file() {
    for is_settled in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, 1 << 20);
        let mut store = Store::open(&config, clock(), Arc::default()).unwrap();
        let session = create(&store, "s", "ann").await;
        save(&store, &session, "m").await.unwrap();
        if is_settled {
            store.close().unwrap();
            store = Store::open(&config, clock(), Arc::default()).unwrap();
        }
        let session = store.read(|tx| tx.session(&session.id)).unwrap().unwrap();
        delete_message(&store, &session, "m").await;
        store.close().unwrap();

        let db = Database::open(&config.path).unwrap();
        let tx = db.begin_read().unwrap();
        let ids = tx.open_table(tables::SESSION_AND_MESSAGE_ID_TO_PLACE).unwrap();
        assert_eq!(ids.len().unwrap(), 0);
        let messages = tx.open_table(tables::SESSION_AND_PLACE_TO_MESSAGES).unwrap();
        assert_eq!(messages.len().unwrap(), 0);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the writer has ended")]
async fn the_log_forgets_what_is_old_or_too_much_but_not_what_is_unsettled() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, 1 << 20);
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    for n in 0..10 {
        create(&store, &format!("s{n}"), "ann").await;
    }
    store.close().unwrap();
    let db = Database::open(&config.path).unwrap();
    let left = |settled, before: u64, keep| {
        let tx = db.begin_write().unwrap();
        let before = Timestamp::from_micros(before);
        housekeeping::prune(&tx, settled, before, keep, share(100)).unwrap();
        let left = tx.open_table(tables::SEQ_TO_STEPS).unwrap().len().unwrap();
        tx.abort().unwrap();
        left
    };

    assert_eq!(left(10, 0, 100), 10, "young and few");
    assert_eq!(left(10, u64::MAX, 100), 1, "all old; the newest tells the next number");
    assert_eq!(left(10, 0, 3), 4, "more than 3 behind the newest");
    assert_eq!(left(4, u64::MAX, 0), 6, "the rest is not settled");
}

/// So many rows, however long they take.
fn share(rows: usize) -> Share {
    Share { rows, until: Instant::now() + Duration::from_hours(1) }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the writer has ended")]
fn what_is_pruned_at_once_is_bounded_by_time_too() {
    let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    let tx = db.begin_write().unwrap();
    for seq in 1..=10 {
        let steps = record::encode_steps(seq, &[]).unwrap();
        tx.open_table(tables::SEQ_TO_STEPS).unwrap().insert(seq, steps.as_slice()).unwrap();
    }
    let late = Share { rows: 100, until: Instant::now() };
    for (before, keep, left) in [(0, 0, 9), (u64::MAX, 100, 8)] {
        let before = Timestamp::from_micros(before);
        assert!(housekeeping::prune(&tx, 10, before, keep, late).unwrap());
        let log = tx.open_table(tables::SEQ_TO_STEPS).unwrap();
        assert_eq!(log.len().unwrap(), left, "one at least, so that it comes to an end");
    }
}

fn save_in(tx: &mut WriteTx<'_>, of: &SessionId, id: MessageId) -> Result<(), StoreError> {
    let session = tx.session(of)?.unwrap();
    let stored = tx.row(&session)?;
    let at = stored.updated_at.next();
    let message = NewMessage { id, id_is_chosen: true, at, json: b"{}".to_vec() };
    tx.save_message(&session, message, Row { updated_at: at, ..stored });
    Ok(())
}

/// Somebody who writes alone has everything settled bit by bit, and not all of it at once.
#[tokio::test]
async fn much_of_one_user_is_settled_before_others_must_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 30), clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    let mut most = 0;
    for n in 0..60 {
        let ids = (0..100).map(move |m| MessageId::parse(&format!("{n}.{m}")).unwrap());
        let of = session.id.clone();
        let work = move |tx: &mut WriteTx<'_>| ids.clone().try_for_each(|id| save_in(tx, &of, id));
        store.write("save_messages", work).await.unwrap();
        // What comes behind it is begun with when that was settled.
        store.write("nothing", |_| Ok::<_, StoreError>(())).await.unwrap();
        let fresh = |tx: ReadTx<'_>| tx.0.fresh.user(&user("ann")).map_or(0, FreshUser::bytes);
        most = most.max(store.read(|tx| Ok::<_, StoreError>(fresh(tx))).unwrap());
    }

    assert!(most < 600_000, "{most} bytes were fresh at once");
}

fn save_in_each(tx: &mut WriteTx<'_>, sessions: &[SessionId], n: usize) -> Result<(), StoreError> {
    let ids = (0..80).map(|m| MessageId::parse(&format!("{n}.{m}")).unwrap());
    sessions.iter().try_for_each(|session| ids.clone().try_for_each(|id| save_in(tx, session, id)))
}

/// What is taken from a replica counts as well, though settling it may wait for those who wait.
#[tokio::test]
async fn not_too_much_is_fresh_however_patient_those_are_who_write_much() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, 1 << 20);
    let store = Store::open(&config, clock(), Arc::default()).unwrap();
    let mut sessions = Vec::new();
    for n in 0..32 {
        sessions.push(create(&store, &format!("s{n}"), &format!("user-{n}")).await.id);
    }
    let write_much = async |of: &[SessionId]| {
        let mut most = 0;
        for n in 0..8 {
            let of = of.to_vec();
            let much = move |tx: &mut WriteTx<'_>| save_in_each(tx, &of, n);
            store.write_patiently("much", much).await.unwrap();
            most = most.max(store.read(|tx| Ok::<_, StoreError>(tx.0.fresh.bytes())).unwrap());
        }
        most
    };
    let (one, next) = sessions.split_at(16);
    let (one, next) = tokio::join!(write_much(one), write_much(next));

    let most = one.max(next);
    assert!(most < 8 * config.fresh_bytes(), "{most} bytes were fresh at once");
}

/// What has its place need not be read again after a crash, though its user never rests.
#[tokio::test]
async fn what_one_user_has_written_is_known_to_be_settled_while_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 20), clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    let mut furthest = 0;
    for n in 0..100 {
        let ids = (0..100).map(move |m| MessageId::parse(&format!("{n}.{m}")).unwrap());
        let of = session.id.clone();
        let work = move |tx: &mut WriteTx<'_>| ids.clone().try_for_each(|id| save_in(tx, &of, id));
        store.write("save_messages", work).await.unwrap();
        let behind = |tx: ReadTx<'_>| {
            let meta = tx.0.tables.tx.open_table(tables::META)?;
            let settled = tx::read_number(&meta, tables::SETTLED)?.unwrap_or(0);
            Ok::<_, StoreError>(tx.newest() - settled)
        };
        furthest = furthest.max(store.read(behind).unwrap());
    }

    assert!(furthest < 15_000, "of 20,101 steps, a crash would have had {furthest} read again");
}

/// After a crash more may be fresh than should be. It becomes less bit by bit, along with what is
/// written: whoever writes first does not wait for all of it.
#[tokio::test]
async fn what_a_crash_left_is_settled_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let before = config(&folder, 1 << 30);
    let store = Store::open(&before, clock(), Arc::default()).unwrap();
    for n in 0..60 {
        let session = create(&store, &format!("s{n}"), &format!("user-{n}")).await;
        let ids = (0..100).map(|m| MessageId::parse(&m.to_string()).unwrap());
        let work =
            move |tx: &mut WriteTx<'_>| ids.clone().try_for_each(|id| save_in(tx, &session.id, id));
        store.write("save_messages", work).await.unwrap();
    }
    // While the writer is at this, it changes nothing.
    let after = StoreConfig::new(folder.path().join("after.redb"), 1 << 20);
    let (from, to) = (before.path, after.path.clone());
    let copy = move |_: &mut WriteTx<'_>| Ok::<_, StoreError>(std::fs::copy(&from, &to).unwrap());
    store.write("copy", copy).await.unwrap();
    store.close().unwrap();

    let store = Store::open(&after, clock(), Arc::default()).unwrap();
    let (mut fresh, mut writes) = (Vec::new(), 0);
    while fresh.last().is_none_or(|left| *left > after.fresh_bytes()) {
        // What comes behind it is begun with when that was settled.
        store.write("nothing", |_| Ok::<_, StoreError>(())).await.unwrap();
        fresh.push(store.read(|tx| Ok::<_, StoreError>(tx.0.fresh.bytes())).unwrap());
        writes += 1;
        assert!(writes < 100, "{fresh:?} bytes were fresh at each write");
    }

    assert!(fresh[0] > 4 * after.fresh_bytes(), "{fresh:?}");
    let most = fresh.windows(2).map(|pair| pair[0] - pair[1]).max().unwrap();
    assert!(most < 600_000, "{most} bytes were settled at once: {fresh:?}");
}

fn deleted(user_id: &UserId, id: &SessionId, number: u64) -> Step {
    let at = Timestamp::from_micros(number);
    Step::DeleteSession { user_id: user_id.clone(), id: id.clone(), number, created_at: at, at }
}

fn created(user_id: &UserId, id: &SessionId, number: u64) -> Step {
    let at = Timestamp::from_micros(number);
    let (id, user_id, json) = (id.clone(), user_id.clone(), row(id, at).json.into());
    let facts = Facts::created(at);
    let session = FreshSession { id, user_id, number, facts, updated_at: at, json };
    Step::PutSession { cause: Cause::Created, session: Arc::new(session) }
}

/// After a crash between the two, the log has both: that one user deleted a session, and that
/// another created one of the same id. Settling the first made the second vanish until it was
/// settled too.
#[test]
fn settling_who_had_an_id_does_not_hide_who_has_it() {
    let (ann, bob, id) = (user("ann"), user("bob"), session_id("s"));
    let mut fresh = Fresh::default();
    fresh.apply(deleted(&ann, &id, 1));
    fresh.apply(created(&bob, &id, 2));

    fresh.forget(&ann);

    assert_eq!(fresh.owner(&id), Some(&Owner::Live(bob.clone(), 2)));
    fresh.forget(&bob);
    assert_eq!(fresh.owner(&id), None);
}

/// Sessions that are created and deleted again took up memory that nobody counted, so that it
/// was never settled.
#[test]
fn what_was_deleted_counts_as_memory_until_it_is_forgotten() {
    let (ann, id) = (user("ann"), session_id("s"));
    let mut fresh = Fresh::default();
    fresh.apply(created(&ann, &id, 1));
    fresh.apply(deleted(&ann, &id, 1));
    let one = fresh.bytes();

    for number in 2..=1000 {
        fresh.apply(created(&ann, &id, number));
        fresh.apply(deleted(&ann, &id, number));
        fresh.apply(deleted(&ann, &id, number));
    }

    assert!(fresh.bytes() > one + 999 * 100, "{} after {one}", fresh.bytes());
    fresh.forget(&ann);
    assert_eq!(fresh.bytes(), 0);
}

/// Commits are not shown before a read ends: one of the log ends soon, however much each commit did.
#[tokio::test]
async fn the_log_is_read_in_short_pieces_that_miss_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder, 1 << 30), clock(), Arc::default()).unwrap();
    let session = create(&store, "s", "ann").await;
    for n in 0..30 {
        let ids = (0..100).map(move |m| MessageId::parse(&format!("{n}.{m}")).unwrap());
        let of = session.id.clone();
        let work = move |tx: &mut WriteTx<'_>| ids.clone().try_for_each(|id| save_in(tx, &of, id));
        store.write("save_messages", work).await.unwrap();
    }

    let (mut until, mut saved) = (0, 0);
    while let Some(piece) = store.read(|tx| tx.journal(until, usize::MAX)).unwrap()
        && piece.until > until
    {
        // An entry is read to its end.
        assert!(piece.until - until <= 1000, "{} steps in one go", piece.until - until);
        let is_message = |touched: &&Touched| matches!(touched, Touched::Message(..));
        (until, saved) = (piece.until, saved + piece.touched.iter().filter(is_message).count());
    }
    assert_eq!(saved, 3000);
}
