//! The corpus of the fuzz targets (`tests/fuzz`), and changes to it by a fixed seed.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// How many changes of each seed are tried; more by hand.
const CHANGES: usize = 40;

fn changes() -> usize {
    let given = std::env::var_os("ORION_CHAT_TORTURE_CHANGES").filter(|given| !given.is_empty());
    given.map_or(CHANGES, |given| given.to_str().unwrap().parse().unwrap())
}

/// Each file of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert!(files.len() > 3, "{target} has a corpus");
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Chance that is the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end.max(1)
    }

    /// Changes some bytes, or drops, repeats or adds some, or goes on as another file does.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
            3 => bytes.extend_from_within(at..),
            _ => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.below(other.len())..]);
            }
        }
    }
}

/// Runs a target on its corpus, and on what becomes of that when it is changed.
fn replay(target: &str, run: fn(&[u8])) {
    let (corpus, mut dice) = (corpus(target), Dice(0x9e37_79b9_7f4a_7c15));
    for seed in &corpus {
        run(seed);
        for _ in 0..changes() {
            let mut changed = seed.clone();
            for _ in 0..=dice.below(4) {
                let other = dice.below(corpus.len());
                dice.change(&mut changed, &corpus[other]);
            }
            run(&changed);
        }
    }
}

#[test]
fn bodies_that_were_fuzzed_are_done_or_refused() {
    replay("body", targets::body);
}

#[test]
fn tokens_that_were_fuzzed_let_in_whom_the_secret_signed() {
    replay("token", targets::token);
}

#[test]
fn origins_that_were_fuzzed_are_those_of_the_rule() {
    replay("origin", targets::origin);
}

#[test]
fn cursors_that_were_fuzzed_lead_somewhere_or_are_refused() {
    replay("cursor", targets::cursor);
}

#[test]
fn files_that_were_fuzzed_are_refused_or_served() {
    replay("record", targets::record);
}

#[test]
fn lines_that_were_fuzzed_are_stored_whole_or_refused() {
    replay("import", targets::import);
}
