//! Power that is lost at any moment, on a simulated disk: the store opens again whatever is left of
//! what was not synced, and is as it was after the last write that was acknowledged, or after the
//! one that was on its way.
//!
//! The disk gives errors, too: what it failed at was not acknowledged, and the rest is there.
//!
//! `ORION_CHAT_TORTURE_IMAGES` says how many images are tried, and `…_SEED` gives a seed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use orion_chat::model::{Clock, IdempotencyKey, Role};
use orion_chat::sessions::{self, MessageEdit, Once, SessionError, SessionUpdate, SortOrder};
use orion_chat::store::{OpenError, Store, StoreConfig, StoreError};

use crate::disk::{Ask, Disk, Fault, Loss, Moment};
use crate::support::{
    Listing, content, draft, history, list, message_id, new_file, open, problems, session_id,
    title, user, wait,
};

const USERS: [&str; 2] = ["ann", "bob"];

/// Chance that follows from a seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }
}

/// A store that settles all the time, as hardly anything may be fresh.
fn config() -> StoreConfig {
    StoreConfig::new(PathBuf::from("a simulated disk"), 16 * 1024)
}

fn open_on(disk: &Disk) -> Result<Store, OpenError> {
    Store::open_on(disk.clone(), &config(), Clock::system(), Arc::default())
}

/// Everything that users see.
fn view(store: &Store) -> Result<String, SessionError> {
    let mut view = Vec::new();
    for caller in USERS {
        for row in list(store, caller, Listing::NEWEST, 1000)? {
            let json: serde_json::Value = serde_json::from_str(&row).unwrap();
            let id = json["sessionId"].as_str().unwrap();
            let said = history(store, caller, id, SortOrder::Asc)?;
            assert_eq!(json["messageCount"], said.len(), "{row}");
            view.push(row);
            view.extend(said);
        }
    }
    Ok(view.join("\n"))
}

/// The same, with the number of the last change: what a deletion leaves may have been seen before.
fn dated(store: &Store) -> Result<(u64, String), SessionError> {
    let newest = store.read(|tx| Ok::<_, SessionError>(tx.newest()))?;
    Ok((newest, view(store)?))
}

/// Some of what users do: one write of each.
fn write(store: &Store, dice: &mut Dice, n: usize) -> Result<(), SessionError> {
    let caller = USERS[dice.below(2)];
    let id = session_id(&format!("{caller}-{}", dice.below(3)));
    let (session, said) = (id.as_str(), format!("{n} {}", "é\"x ".repeat(dice.below(400))));
    // Whoever wrote it before, it stays the same one.
    let id_of = |m: usize| message_id(&format!("m{m}"));
    let (earlier, who) = (id_of(n.saturating_sub(1 + dice.below(4))), || user(caller));
    let done = match dice.below(12) {
        0..2 => {
            let new = sessions::NewSession {
                id: Some(id),
                first_message: Some(content(&said)),
                ..sessions::NewSession::default()
            };
            wait(sessions::create(store, who(), new, None))
        }
        2 => wait(sessions::delete(store, who(), id, None, None)),
        3 => {
            let title = Some(title(&format!("title {n}")));
            let update = SessionUpdate { title, ..SessionUpdate::default() };
            wait(sessions::update(store, who(), id, update, None))
        }
        4 => {
            let edit = MessageEdit { content: Some(content(&said)), ..MessageEdit::default() };
            wait(sessions::edit_message(store, who(), (id, earlier), edit, None))
        }
        5 => wait(sessions::delete_message(store, who(), (id, earlier), None)),
        6 => {
            let key = IdempotencyKey::parse(&format!("key {n}")).unwrap();
            let once = Once { key, fingerprint: [7; 16] };
            wait(sessions::save_message(
                store,
                who(),
                draft(session, Role::User, &said),
                Some(once),
            ))
        }
        _ => {
            let draft = sessions::Draft { id: Some(id_of(n)), ..draft(session, Role::User, &said) };
            wait(sessions::save_message(store, who(), draft, None))
        }
    };
    match done {
        Err(SessionError::Store(error)) => Err(error.into()),
        // What the rules refuse is done too.
        _ => Ok(()),
    }
}

/// A data file without anything in it.
fn empty_image() -> Vec<u8> {
    let (_folder, path) = new_file();
    open(&path).unwrap().close().unwrap();
    std::fs::read(&path).unwrap()
}

/// What was seen after each write: before any, after the first, and so on.
struct Life {
    views: Vec<String>,
    moments: Vec<Moment>,
}

/// Lives for some writes, from an image that shows the first view.
fn live(image: Vec<u8>, dice: &mut Dice, writes: usize, from: usize) -> Life {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let disk = Disk::new(image, &acknowledged);
    let mut store = open_on(&disk).unwrap();
    let mut views = vec![view(&store).unwrap()];
    for n in 0..writes {
        write(&store, dice, from + n).unwrap();
        views.push(view(&store).unwrap());
        acknowledged.store(n + 1, Ordering::SeqCst);
        if n % 9 == 8 {
            // Put in order, and opened again.
            store.close().unwrap();
            store = open_on(&disk).unwrap();
        }
    }
    store.close().unwrap();
    Life { views, moments: disk.moments() }
}

/// A way to lose some of so many ops.
fn loss(dice: &mut Dice, pending: usize) -> Loss {
    let (n, bits) = (dice.below(pending + 1), dice.next());
    match dice.below(14) {
        0 => Loss::Nothing,
        1 => Loss::Everything,
        2 => Loss::Prefix(n),
        3 => Loss::Suffix(n),
        4 => Loss::Only(n),
        5 => Loss::AllBut(n),
        6 => Loss::Some(bits),
        7 | 8 => Loss::Torn(bits),
        // All of them, and each torn.
        9 => Loss::Torn(bits | u64::from(u32::MAX)),
        10 => Loss::TornByBytes(bits),
        11 => Loss::WithoutGrowth(bits),
        _ => Loss::Reordered(bits),
    }
}

/// Opens what is left, and gives the view of it, and the moments at which the power may go again.
#[track_caller]
fn recover(image: Vec<u8>, what: &str) -> (String, Disk, Store) {
    let disk = Disk::new(image, &Arc::default());
    let store = open_on(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = problems(&store.snapshot());
    assert_eq!(found, [""; 0], "{what}");
    let seen = view(&store).unwrap_or_else(|error| panic!("{what}: {error}"));
    (seen, disk, store)
}

/// Loses power at some moments of a life, in some ways each, and again after that.
fn lose_power(seed: u64, images: usize) {
    let mut dice = Dice::new(seed);
    let empty = empty_image();
    let (mut tried, mut again) = (0, 0);
    while tried < images {
        let life = live(empty.clone(), &mut dice, 60, 0);
        for _ in 0..life.moments.len().min((images - tried).div_ceil(2)).min(400) {
            let at = dice.below(life.moments.len());
            let moment = &life.moments[at];
            let loss = loss(&mut dice, moment.pending());
            let what = format!("seed {seed}, image {tried}, moment {at}, {loss:?}");
            let (shown, disk, store) = recover(moment.image(loss), &what);
            let may_be = &life.views[moment.acknowledged..];
            let may_be = may_be.iter().take(2).any(|view| *view == shown);
            assert!(may_be, "{what}: {} bytes of {}", shown.len(), moment.acknowledged);
            tried += 1;
            if tried % 3 == 0 {
                again += lose_power_again(&mut dice, disk, store, &shown, &what);
            }
        }
    }
    println!("seed {seed}: {tried} images after a loss of power, {again} after a second one");
}

/// Loses power while that recovers, or after it has recovered and gone on; gives how often.
fn lose_power_again(dice: &mut Dice, disk: Disk, store: Store, seen: &str, what: &str) -> usize {
    let recovering = disk.moments();
    let moment = match dice.below(2) {
        0 if !recovering.is_empty() => recovering[dice.below(recovering.len())].clone(),
        _ => {
            store.close().unwrap();
            let moments = disk.moments();
            moments[dice.below(moments.len())].clone()
        }
    };
    let loss = loss(dice, moment.pending());
    let what = format!("{what}, and then {loss:?}");
    let (seen_again, disk, store) = recover(moment.image(loss), &what);
    assert_eq!(seen_again, seen, "{what}");
    store.close().unwrap();

    // It goes on as if nothing had been.
    let life = live(disk.image(), dice, 4, 1000);
    let moment = &life.moments[dice.below(life.moments.len())];
    let loss = self::loss(dice, moment.pending());
    let what = format!("{what}, and then {loss:?}");
    let (seen, _, _) = recover(moment.image(loss), &what);
    let may_be = life.views[moment.acknowledged..].iter().take(2).any(|view| *view == seen);
    assert!(may_be, "{what}");
    2
}

fn figure(name: &str, usual: usize) -> usize {
    let given = std::env::var_os(format!("ORION_CHAT_TORTURE_{name}"));
    let given = given.filter(|given| !given.is_empty());
    given.map_or(usual, |given| given.to_str().unwrap().parse().expect(name))
}

#[test]
fn torture_by_simulated_power_loss() {
    lose_power(1, figure("IMAGES", 900));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "chance is wanted here")]
fn torture_by_simulated_power_loss_by_chance() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() as usize;
    let seed = figure("SEED", now);
    println!("ORION_CHAT_TORTURE_SEED={seed} repeats it");
    lose_power(seed as u64, figure("IMAGES", 900) / 3);
}

/// Works on a disk that fails once, or from then on, and looks what is there after a restart, and
/// after the power went too; tells whether it failed at all.
fn fail(fault: Fault, image: &[u8], dice: &mut Dice) -> bool {
    let what = format!("{fault:?}");
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let disk = Disk::new(image.to_vec(), &acknowledged);
    disk.fail(fault);
    let mut last = dated(&open_on(&Disk::new(image.to_vec(), &acknowledged)).unwrap()).unwrap();
    let mut refused = false;
    match open_on(&disk) {
        Ok(store) => {
            for n in 0..12 {
                match write(&store, dice, n) {
                    Ok(()) => {
                        // After a commit that failed nothing is taken any more.
                        assert!(!refused, "{what}");
                        match dated(&store) {
                            Ok(view) => last = view,
                            // A page that cannot be read now.
                            Err(SessionError::Store(StoreError::Io(_))) => return true,
                            Err(error) => panic!("{what}: {error}"),
                        }
                    }
                    Err(SessionError::Store(error)) => {
                        refused |= matches!(error, StoreError::Io(_) | StoreError::Closed);
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            // With the error that it ended by, if it was one.
            let _closed = store.close();
        }
        Err(OpenError::Io(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    let failed = disk.has_failed();
    disk.mend();
    let moment = disk.now();
    let images =
        [disk.image(), moment.image(Loss::Everything), moment.image(loss(dice, moment.pending()))];
    for (nth, image) in images.into_iter().enumerate() {
        let (_, _, store) = recover(image, &format!("{what}, image {nth}"));
        let seen = dated(&store).unwrap();
        assert!(seen.0 >= last.0, "{what}, image {nth}: an acknowledged write is gone");
        // The write that failed may be there, as nobody was told that it is not.
        let is_more = refused && seen.0 > last.0;
        assert!(seen == last || is_more, "{what}, image {nth}: {} bytes are seen", seen.1.len());
    }
    failed
}

#[test]
fn torture_by_a_failing_simulated_disk() {
    let mut dice = Dice::new(9);
    let image = {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let disk = Disk::new(empty_image(), &acknowledged);
        let store = open_on(&disk).unwrap();
        for n in 0..30 {
            write(&store, &mut dice, n).unwrap();
        }
        store.close().unwrap();
        disk.image()
    };
    let (began, mut faults) = (Instant::now(), 0);
    let step = figure("FAULT_STEP", 4);
    for (ask, kind, step) in [
        (Ask::Sync, io::ErrorKind::Other, 1),
        (Ask::Write, io::ErrorKind::Other, 2 * step),
        (Ask::Write, io::ErrorKind::WriteZero, 2 * step),
        (Ask::Write, io::ErrorKind::StorageFull, 2 * step),
        (Ask::SetLen, io::ErrorKind::StorageFull, 1),
        (Ask::Read, io::ErrorKind::Other, 2 * step),
    ] {
        // One that stays full is waited for without end, which is tried elsewhere.
        let lasts: &[bool] =
            if kind == io::ErrorKind::StorageFull { &[false] } else { &[false, true] };
        for stays in lasts.iter().copied() {
            let at_each = (1..).step_by(step).map(|at| Fault { ask, at, stays, kind });
            faults += at_each.take_while(|fault| fail(*fault, &image, &mut dice)).count();
        }
    }
    println!("{faults} errors of a disk, in {:?}", began.elapsed());
}
