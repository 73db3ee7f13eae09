//! What is had of damaged files: never what was not there, and nearly all that was.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use orion_chat::care::{self, CareError, Salvaged};
use orion_chat::exchange::{Import, OnProblem, export};
use orion_chat::sessions;
use orion_chat::store::{Snapshot, Store};
use tempfile::TempDir;

use crate::support::{create, message_id, new_file, open, problems, save, session_id, user, wait};

const SESSIONS: usize = 16;
const MESSAGES: usize = 30;

/// A file of some hundred KiB, closed, and the lines of its export.
fn file_of_much() -> (TempDir, PathBuf, HashSet<String>) {
    let (folder, path) = new_file();
    let store = open(&path).unwrap();
    let mut text = String::new();
    for session in 0..SESSIONS {
        let user = if session % 2 == 0 { "ann" } else { "bob" };
        let _written = writeln!(
            text,
            "{{\"type\":\"session\",\"sessionId\":\"s{session}\",\"userId\":\"{user}\",\
             \"title\":\"title {session}\",\"createdAt\":\"2026-01-01T00:00:{session:02}Z\"}}"
        );
        for n in 0..MESSAGES {
            let words = format!("{session} {n} ").repeat(40);
            let _written = writeln!(
                text,
                "{{\"type\":\"message\",\"sessionId\":\"s{session}\",\"id\":\"m{n}\",\
                 \"role\":\"user\",\"content\":\"{words}\",\
                 \"timestamp\":\"2026-01-02T00:00:{n:02}Z\"}}"
            );
        }
    }
    let mut told = |_| ControlFlow::Continue(());
    let tally = Import::new(&store, OnProblem::Stop, &mut told).run(text.as_bytes()).unwrap();
    assert_eq!(tally.problems, 0);
    let lines = lines(&store);
    store.close().unwrap();
    (folder, path, lines)
}

fn lines(store: &Store) -> HashSet<String> {
    let mut lines = Vec::new();
    export(&store.snapshot().freeze().unwrap(), None, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().filter(|line| !line.contains("\"end\"")).map(str::to_owned).collect()
}

/// Salvages the file, checks the new one, and gives what came of it with the lines of its export.
#[track_caller]
fn salvaged(path: &Path) -> Result<(Salvaged, HashSet<String>), CareError> {
    let out = path.with_extension("out");
    let _gone = fs::remove_file(&out);
    let before = fs::read(path).unwrap();
    let salvaged = care::salvage(path, &out, &mut |_| {})?;
    assert!(fs::read(path).unwrap() == before, "the damaged file stays as it is");
    assert_eq!(problems(&Snapshot::open(&out).unwrap()), [""; 0]);
    let store = open(&out).unwrap();
    let lines = lines(&store);
    store.close().unwrap();
    Ok((salvaged, lines))
}

fn messages(lines: &HashSet<String>) -> HashSet<&String> {
    lines.iter().filter(|line| line.starts_with("{\"type\":\"message\"")).collect()
}

#[test]
fn of_a_good_file_everything_is_salvaged() {
    let (_folder, path, all) = file_of_much();
    let store = open(&path).unwrap();
    save(&store, "ann", "s0", "fresh").unwrap();
    let all_and_fresh = lines(&store);
    assert!(all_and_fresh.len() > all.len());
    store.close().unwrap();

    let (salvaged, lines) = salvaged(&path).unwrap();

    assert_eq!((salvaged.lost, salvaged.refused), (0, 0));
    assert_eq!((salvaged.found.missing, salvaged.found.beyond), (0, 0));
    assert_eq!(lines, all_and_fresh);
}

#[test]
fn of_a_slowly_tried_file_with_a_flipped_bit_no_more_is_lost_than_lies_there() {
    let (_folder, path, all) = file_of_much();
    let whole = fs::read(&path).unwrap();
    let mut lost_something = 0;
    for at in (0..whole.len()).step_by(whole.len() / 25) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();

        let (salvaged, lines) = salvaged(&path).unwrap();

        let (found, all) = (messages(&lines), messages(&all));
        assert!(found.is_subset(&all), "at {at}: something that was not there");
        let missing = all.len() - found.len();
        // A run of messages has 8,000 bytes, which these fill with some 20.
        assert!(missing <= 40, "at {at}: {missing} messages are missing");
        assert_eq!(u64::try_from(SESSIONS), Ok(salvaged.found.sessions), "at {at}");
        lost_something += u32::from(missing > 0);
    }
    assert!(lost_something < 15, "{lost_something}");
}

#[test]
fn without_its_head_or_its_roots_a_files_records_are_found() {
    let (_folder, path, all) = file_of_much();
    let whole = fs::read(&path).unwrap();
    for damage in [0..4096, 64..320, 0..9, 9..10, 12..24] {
        let mut damaged = whole.clone();
        damaged[damage.clone()].fill(0xee);
        fs::write(&path, damaged).unwrap();

        let (salvaged, lines) = salvaged(&path).unwrap();

        assert_eq!(messages(&lines), messages(&all), "{damage:?}: {salvaged:?}");
        assert_eq!(lines, all, "{damage:?}");
    }
}

#[test]
fn of_a_file_that_was_cut_what_is_left_is_salvaged() {
    let (_folder, path, all) = file_of_much();
    let whole = fs::read(&path).unwrap();
    let mut found = Vec::new();
    for fifth in 0..5 {
        fs::write(&path, &whole[..whole.len() * fifth / 5]).unwrap();
        match salvaged(&path) {
            Ok((_, lines)) => {
                assert!(messages(&lines).is_subset(&messages(&all)), "{fifth}");
                found.push(messages(&lines).len());
            }
            Err(CareError::Damaged { .. }) => found.push(0),
            Err(error) => panic!("{fifth}: {error}"),
        }
    }
    assert!(found[4] > 0 && found[0] == 0, "{found:?}");
}

#[test]
fn what_was_deleted_does_not_come_back_while_the_log_tells_of_it() {
    let (_folder, path) = new_file();
    let store = open(&path).unwrap();
    create(&store, "ann", "kept", "stays");
    create(&store, "ann", "gone", "goes");
    store.close().unwrap();
    let store = open(&path).unwrap();
    wait(sessions::delete(&store, user("ann"), session_id("gone"), None, None)).unwrap();
    let said = save(&store, "ann", "kept", "goes too").unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let of = (session_id("kept"), message_id(said["id"].as_str().unwrap()));
    wait(sessions::delete_message(&store, user("ann"), of, None)).unwrap();
    let all = lines(&store);
    store.close().unwrap();
    let mut damaged = fs::read(&path).unwrap();
    // Without its roots: all that is found is found by looking through the whole file.
    damaged[64..320].fill(0);
    fs::write(&path, damaged).unwrap();

    let (_, lines) = salvaged(&path).unwrap();

    assert!(!lines.iter().any(|line| line.contains("goes")), "{lines:?}");
    assert_eq!(messages(&lines), messages(&all));
}

#[test]
fn a_hostile_file_is_an_error_and_costs_no_more_than_its_size() {
    let (folder, path) = new_file();
    let leaf = |end: u32| {
        // One row without a key, whose value is as long as it says.
        let mut page = vec![0_u8; 4096];
        page[..4].copy_from_slice(&[1, 0, 1, 0]);
        page[4..8].copy_from_slice(&12_u32.to_le_bytes());
        page[8..12].copy_from_slice(&end.to_le_bytes());
        page[12] = 1;
        page
    };
    let mut noise = Vec::new();
    let mut state = 7_u64;
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push(state.to_be_bytes()[0]);
    }
    let greedy: Vec<u8> = (0..2000).flat_map(|_| leaf(60 << 20)).collect();
    for bytes in [Vec::new(), b"nothing".to_vec(), noise, greedy, leaf(u32::MAX)] {
        fs::write(&path, &bytes).unwrap();

        let refused = salvaged(&path).unwrap_err();

        assert!(matches!(refused, CareError::Damaged { .. }), "{refused:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
