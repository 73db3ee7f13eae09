use std::future::{pending, ready};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::advance;

use super::*;

const LIMIT: Duration = Duration::from_mins(1);

/// A manager that asks for proofs of life, and what it is told.
fn manager() -> (Manager, UnixDatagram, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_nonblocking(true).unwrap();
    let config = ManagerConfig { notify: Some(path.into()), watchdog: Some(LIMIT) };
    (Manager::new(config), told, folder)
}

/// What it was told since it was last asked.
fn heard(told: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 1000];
    let next = || told.recv(&mut bytes).ok().map(|n| String::from_utf8_lossy(&bytes[..n]).into());
    std::iter::from_fn(next).collect()
}

/// Lets `time` pass, in steps in which everything that is due is done.
async fn pass(time: Duration) {
    for _ in 0..10 {
        advance(time / 10).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_life_comes_twice_in_the_time_allowed() {
    let (manager, told, _folder) = manager();
    let feeding = manager.feed(|| ready(Ok::<(), String>(())));
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(feeding);
    tokio::task::yield_now().await;
    assert_eq!(heard(&told), ["WATCHDOG=1"], "at once");

    for _ in 0..3 {
        pass(Duration::from_secs(29)).await;
        assert_eq!(heard(&told), [""; 0]);
        pass(Duration::from_secs(1)).await;
        assert_eq!(heard(&told), ["WATCHDOG=1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_does_not_end_proves_nothing() {
    let (manager, told, _folder) = manager();
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(manager.feed(pending::<Result<(), String>>));

    pass(LIMIT * 10).await;

    assert_eq!(heard(&told), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_is_tried_again_within_the_time_allowed() {
    let (manager, told, _folder) = manager();
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let check = move || match counted.fetch_add(1, Ordering::SeqCst) {
        0..3 => ready(Err("busy")),
        _ => ready(Ok(())),
    };
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(manager.feed(check));

    pass(LIMIT / 4).await;
    assert_eq!(heard(&told), [""; 0]);
    pass(LIMIT / 4).await;

    assert_eq!(heard(&told), ["WATCHDOG=1"]);
    assert_eq!(tries.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_who_does_not_ask() {
    let (_, told, folder) = manager();
    let notify = Some(folder.path().join("notify").into());
    let check = || -> std::future::Ready<Result<(), String>> { panic!("why look?") };
    for config in [
        ManagerConfig { notify, watchdog: None },
        ManagerConfig { notify: None, watchdog: Some(LIMIT) },
    ] {
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(Manager::new(config).feed(check));
        pass(LIMIT).await;
        assert!(beside.try_join_next().is_none(), "it goes on, and does nothing");
    }
    Manager::new(ManagerConfig::default()).ready("to nobody");

    assert_eq!(heard(&told), [""; 0]);
}

#[test]
fn a_status_is_one_line_whatever_is_in_it() {
    let (manager, told, _folder) = manager();

    manager.ready("at\nWATCHDOG=trigger");
    manager.extend(Duration::from_secs(2), "repairing");
    manager.stopping(Duration::from_secs(70), "on SIGTERM");
    manager.status("done");

    assert_eq!(
        heard(&told),
        [
            "READY=1\nSTATUS=at WATCHDOG=trigger",
            "EXTEND_TIMEOUT_USEC=2000000\nSTATUS=repairing",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\nSTATUS=on SIGTERM",
            "STATUS=done"
        ]
    );
}

#[test]
fn a_manager_that_cannot_be_told_is_done_without() {
    let (manager, told, folder) = manager();
    drop((told, folder));
    manager.ready("to nobody any more");

    for address in ["", "notify", "vsock:2:1234", "/no/such/socket"] {
        let config = ManagerConfig { notify: Some(address.into()), watchdog: None };
        Manager::new(config).ready("to nobody");
    }
}
