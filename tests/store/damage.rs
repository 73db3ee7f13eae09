//! Files that were damaged while nobody had them open.
//!
//! Whatever was done to a file: opening it ends, without a panic; a file that is refused is left
//! as it is; and of one that is opened, each answer is what was saved, byte for byte, or an error.
//! A shorter history or an empty list would be a lie that nobody notices.

use std::path::Path;

use orion_chat::model::{Clock, Timestamp};
use orion_chat::sessions::{self, NewSession, SessionError, SortOrder, Stuck};
use orion_chat::store::{OpenError, Snapshot, Store};

use crate::support::{self, Listing, create, new_file, open, save, session_id, wait};

const USERS: [&str; 2] = ["ann", "bob@example.org"];
const PAGE: usize = 4096;

/// What a file holds, as clients read it.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    lists: Vec<Vec<String>>,
    /// Of each user's sessions: the id, the session and its messages.
    sessions: Vec<(&'static str, String, String, Vec<String>)>,
}

/// A file that was closed, or one as a killed process leaves it; with what it holds.
struct Original {
    bytes: Vec<u8>,
    saved: Saved,
    /// What it held before the last write. A commit that was damaged later looks like one that
    /// was cut short by the kill, so that this is what redb goes back to.
    before: Option<Saved>,
}

impl Original {
    fn closed() -> Self {
        let (_folder, path) = new_file();
        let store = open(&path).unwrap();
        fill(&store, 0..4);
        let saved = Saved::read(&store);
        store.close().unwrap();
        Self { bytes: std::fs::read(&path).unwrap(), saved, before: None }
    }

    /// Some of it has its final place, some was saved just before the end.
    fn killed() -> Self {
        let (_folder, path) = new_file();
        let store = open(&path).unwrap();
        fill(&store, 0..3);
        store.close().unwrap();
        let store = open(&path).unwrap();
        fill(&store, 2..4);
        let before = Saved::read(&store);
        save(&store, USERS[0], &format!("{}-0", USERS[0]), "the last words").unwrap();
        let saved = Saved::read(&store);
        Self { bytes: read_between_writes(&path), saved, before: Some(before) }
    }

    /// Opens a file of `bytes`, and looks whether what is promised of it is true.
    fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let (_folder, path) = new_file();
        std::fs::write(&path, bytes).unwrap();
        match open(&path) {
            Err(refused) => {
                is_damage(&refused, &path)?;
                let is_untouched = std::fs::read(&path).unwrap() == bytes;
                is_untouched.then_some(()).ok_or_else(|| format!("refused and changed: {refused}"))
            }
            Ok(store) => {
                self.is_served(&store)?;
                // Neither must it lie later, when what was fresh has found its place.
                match store.close().ok().and_then(|()| open(&path).ok()) {
                    Some(store) => self.is_served(&store),
                    None => Ok(()),
                }
            }
        }
    }

    /// As [`check`](Self::check), but for a damaged key: what it is of is not found under it any
    /// more, as redb verifies no page that it reads. `verify` must tell of that.
    fn check_or_verify(&self, bytes: &[u8]) -> Result<(), String> {
        self.check(bytes).or_else(|lie| {
            let (_folder, path) = new_file();
            std::fs::write(&path, bytes).unwrap();
            let verified = Snapshot::open(&path).map(|snapshot| support::problems(&snapshot));
            let is_told = verified.is_ok_and(|problems| !problems.is_empty());
            (lie.ends_with(" was not found") && is_told).then_some(()).ok_or(lie)
        })
    }

    fn is_served(&self, store: &Store) -> Result<(), String> {
        let truth = self.saved.is_served(store);
        match &self.before {
            Some(before) => truth.or_else(|lie| before.is_served(store).map_err(|_| lie)),
            None => truth,
        }
    }
}

/// The file as it is between two writes: it is read until it did not change meanwhile.
fn read_between_writes(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    loop {
        let again = std::fs::read(path).unwrap();
        if again == bytes {
            return bytes;
        }
        bytes = again;
    }
}

impl Saved {
    fn read(store: &Store) -> Self {
        let mut saved = Self { lists: Vec::new(), sessions: Vec::new() };
        for user in USERS {
            saved.lists.push(support::list(store, user, Listing::NEWEST, 1000).unwrap());
            for n in 0..4 {
                let id = format!("{user}-{n}");
                let session = support::get(store, user, &id).unwrap();
                let history = support::history(store, user, &id, SortOrder::Asc).unwrap();
                saved.sessions.push((user, id, session, history));
            }
        }
        saved
    }

    fn is_served(&self, store: &Store) -> Result<(), String> {
        for (user, list) in USERS.iter().zip(&self.lists) {
            let found = support::list(store, user, Listing::NEWEST, 1000);
            is_true(found, list, &format!("list of {user}"))?;
        }
        for (user, id, session, messages) in &self.sessions {
            is_true(support::get(store, user, id), session, &format!("session {id}"))?;
            for limit in [2, 1000] {
                let found = support::history_by_page(store, user, id, SortOrder::Asc, limit);
                is_true(found, messages, &format!("messages of {id}"))?;
            }
        }
        Ok(())
    }
}

/// The truth, or an error that says that the data cannot be read; `NotFound` would be a lie.
fn is_true<T: PartialEq>(
    found: Result<T, SessionError>,
    saved: &T,
    what: &str,
) -> Result<(), String> {
    match found {
        Ok(found) if found == *saved => Ok(()),
        Ok(_) => Err(format!("{what} is another than was saved")),
        Err(SessionError::Store(_)) => Ok(()),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

fn is_damage(refused: &OpenError, path: &Path) -> Result<(), String> {
    let text = refused.to_string();
    let is_damage = matches!(refused, OpenError::Damaged { .. })
        && text.contains(&path.display().to_string())
        && !text.contains('\n');
    if is_damage { Ok(()) } else { Err(format!("refused for another reason: {refused:?}")) }
}

/// What went wrong with all of them, so that one run shows it whole.
#[derive(Default)]
struct Lies(Vec<String>);

impl Lies {
    fn note(&mut self, damage: &str, checked: Result<(), String>) {
        self.0.extend(checked.err().map(|lie| format!("{damage}: {lie}")));
    }

    #[track_caller]
    fn assert_none(&self) {
        assert!(self.0.is_empty(), "{}:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Sessions of each user, with short and long messages.
fn fill(store: &Store, sessions: std::ops::Range<usize>) {
    for user in USERS {
        for n in sessions.clone() {
            let id = format!("{user}-{n}");
            create(store, user, &id, "What is a monad?");
            for message in 0..6 {
                let text = format!("{id} {message} {}", "lorem ipsum ".repeat(message * 60));
                save(store, user, &id, &text).unwrap();
            }
        }
    }
}

#[test]
fn what_was_not_damaged_is_served() {
    for original in [Original::closed(), Original::killed()] {
        let (_folder, path) = new_file();
        std::fs::write(&path, &original.bytes).unwrap();

        let store = open(&path).unwrap();

        assert_eq!(Saved::read(&store), original.saved);
        assert!(original.saved.lists.iter().all(|list| list.len() == 4));
        assert!(original.saved.sessions.iter().all(|(.., messages)| messages.len() >= 7));
    }
}

#[test]
fn a_truncated_file_is_refused_or_tells_the_truth() {
    let mut lies = Lies::default();
    for original in [Original::closed(), Original::killed()] {
        let len = original.bytes.len();
        let pages = (1..8).map(|n| len * n / 8 / PAGE * PAGE);
        let odd = [1, 8, 100, 319, 320, 321, 1000, PAGE - 1, PAGE, len / 3, len - PAGE, len - 1];
        for len in pages.chain(odd) {
            let checked = original.check(&original.bytes[..len]);

            lies.note(&format!("truncated to {len} bytes"), checked);
        }
    }
    lies.assert_none();
}

#[test]
fn a_closed_file_with_a_flipped_bit_is_refused_or_tells_the_truth() {
    flip_bits(&Original::closed());
}

#[test]
fn a_killed_processs_file_with_a_flipped_bit_is_refused_or_tells_the_truth() {
    flip_bits(&Original::killed());
}

/// The id of a session stands in records of every kind, and in keys.
#[test]
fn a_file_with_a_flipped_bit_in_a_record_is_refused_or_tells_the_truth() {
    let mut lies = Lies::default();
    for original in [Original::closed(), Original::killed()] {
        let id = format!("{}-3", USERS[1]).into_bytes();
        let is_there = |at: &usize| original.bytes[*at..].starts_with(&id);
        let places: Vec<_> = (0..original.bytes.len()).filter(is_there).collect();
        for at in places.iter().step_by(places.len() / 60 + 1) {
            let mut bytes = original.bytes.clone();
            bytes[*at] ^= 1;

            lies.note(&format!("an id at byte {at} is another"), original.check_or_verify(&bytes));
        }
    }
    lies.assert_none();
}

/// Flips one bit at a time: in the header, and spread over what is not zero of the rest.
fn flip_bits(original: &Original) {
    let mut lies = Lies::default();
    let header = (0..320).step_by(7);
    let is_used = |at: &usize| original.bytes[*at] != 0;
    let used: Vec<_> = (320..original.bytes.len()).filter(is_used).collect();
    let spread = used.iter().copied().step_by(used.len() / 100);
    for (n, at) in header.chain(spread).enumerate() {
        let (mut bytes, bit) = (original.bytes.clone(), n % 8);
        bytes[at] ^= 1 << bit;

        lies.note(&format!("bit {bit} of byte {at} flipped"), original.check_or_verify(&bytes));
    }
    lies.assert_none();
}

#[test]
fn what_verify_finds_no_fault_with_is_served_whole() {
    let (original, mut lies, mut found) = (Original::closed(), Lies::default(), 0);
    let is_used = |at: &usize| original.bytes[*at] != 0;
    let used: Vec<_> = (320..original.bytes.len()).filter(is_used).collect();
    for (n, at) in used.iter().step_by(used.len() / 250).enumerate() {
        let (_folder, path) = new_file();
        let mut bytes = original.bytes.clone();
        bytes[*at] ^= 1 << (n % 8);
        std::fs::write(&path, &bytes).unwrap();

        let verified = Snapshot::open(&path).map(|snapshot| support::problems(&snapshot));
        assert!(std::fs::read(&path).unwrap() == bytes, "it was changed");
        let checked = match verified {
            Err(refused) => is_damage(&refused, &path),
            Ok(problems) if problems.is_empty() => {
                let served = open(&path).map(|store| Saved::read(&store) == original.saved);
                served.is_ok_and(|is_whole| is_whole).then_some(()).ok_or("a lie".to_owned())
            }
            Ok(_) => {
                found += 1;
                Ok(())
            }
        };
        lies.note(&format!("bit {} of byte {at} flipped", n % 8), checked);
    }
    lies.assert_none();
    assert!(found > 50, "of 250 bits, {found} were found to be wrong");
}

#[test]
fn a_file_with_a_page_of_zeros_is_refused_or_tells_the_truth() {
    let mut lies = Lies::default();
    for original in [Original::closed(), Original::killed()] {
        let is_used = |page: &usize| original.bytes[page * PAGE..][..PAGE].iter().any(|b| *b != 0);
        let used: Vec<_> = (0..original.bytes.len() / PAGE).filter(is_used).collect();
        for page in used.iter().step_by(used.len() / 30 + 1) {
            let mut bytes = original.bytes.clone();
            bytes[page * PAGE..][..PAGE].fill(0);

            lies.note(&format!("page {page} of zeros"), original.check(&bytes));
        }
    }
    lies.assert_none();
}

#[test]
fn a_file_that_goes_on_with_garbage_is_refused_or_tells_the_truth() {
    let mut lies = Lies::default();
    let original = Original::closed();
    for more in [1, PAGE, 10 * PAGE + 7] {
        let garbage = (0..more).map(|n| u8::try_from(n % 251).unwrap());
        let bytes: Vec<_> = original.bytes.iter().copied().chain(garbage).collect();

        lies.note(&format!("{more} bytes of garbage behind it"), original.check(&bytes));
    }
    lies.assert_none();
}

#[test]
fn what_is_no_data_file_is_refused_and_left_as_it_is() {
    let text = "Dear diary,\n".repeat(1000);
    let zeros = vec![0; 100_000];
    let magic = [b"redb".as_slice(), &[0x1A, 0x0A, 0xA9, 0x0D, 0x0A], &zeros].concat();
    for (what, bytes) in [
        ("an empty file", b"".as_slice()),
        ("one byte", b"x"),
        ("a short text", b"hello\n"),
        ("a long text", text.as_bytes()),
        ("zeros", &zeros),
        ("another database", b"SQLite format 3\0"),
        ("the first bytes of a data file", &magic),
    ] {
        let (folder, path) = new_file();
        std::fs::write(&path, bytes).unwrap();

        let refused = open(&path).unwrap_err();

        is_damage(&refused, &path).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{what} was changed");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{what}");
    }
}

#[test]
fn a_folder_or_a_dangling_link_in_its_place_is_refused() {
    let (folder, path) = new_file();
    std::fs::create_dir(&path).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("nowhere").join("file"), &link).unwrap();

    for path in [path, link] {
        let refused = open(&path).unwrap_err();

        assert!(
            matches!(refused, OpenError::Access { .. } | OpenError::Create { .. }),
            "{refused:?}"
        );
        assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
    }
}

/// A clock of the year 1970, as on a machine whose battery is flat, is no damage.
#[test]
fn a_clock_that_stands_at_the_beginning_of_time_hides_nothing() {
    let original = Original::closed();
    let (_folder, path) = new_file();
    std::fs::write(&path, &original.bytes).unwrap();

    let store = support::open_at(&path, Clock::new(Default::default)).unwrap();
    assert_eq!(Saved::read(&store), original.saved);
    let (user, id, _, messages) = &original.saved.sessions[0];
    let new = save(&store, user, id, "later").unwrap();

    let history = support::history(&store, user, id, SortOrder::Asc).unwrap();
    assert_eq!(history[..messages.len()], messages[..]);
    assert_eq!(history[messages.len()..], [new]);
}

#[test]
fn a_damaged_session_whose_time_has_come_does_not_keep_the_others() {
    let (_folder, path) = new_file();
    let store = open(&path).unwrap();
    // Of users of their own, so that they lie in records of their own.
    for (user, id) in [("ann", "before"), ("bob", "damaged"), ("eve", "behind")] {
        let id = Some(session_id(id));
        let new = NewSession { id, expires_at: Some(Timestamp::MAX), ..NewSession::default() };
        wait(sessions::create(&store, support::user(user), new, None)).unwrap();
    }
    store.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let row = br#"{"sessionId":"damaged""#;
    let places: Vec<_> =
        (0..bytes.len() - row.len()).filter(|at| bytes[*at..].starts_with(row)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 15] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let store = open(&path).unwrap();
    let mut stuck = Stuck::default();
    let mut expire = || wait(sessions::expire(&store, Timestamp::MAX, &mut stuck)).unwrap();

    assert_eq!((expire(), expire()), (2, 0));

    let left = |user, id| support::get(&store, user, id);
    assert!(matches!(left("ann", "before"), Err(SessionError::NotFound(_))));
    assert!(matches!(left("bob", "damaged"), Err(SessionError::Store(_))));
    assert!(matches!(left("eve", "behind"), Err(SessionError::NotFound(_))));
}
