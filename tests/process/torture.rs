//! Torture: whatever is done to the server, its file and its disk, the client's journal and what is
//! there afterwards agree (`oracle` has the twelve invariants).
//!
//! `scripts/torture.sh` runs all of it. The figures are those of every run; a release is tried with
//! more of each, by `ORION_CHAT_TORTURE_…` (see there), and with the seed of `ORION_CHAT_TORTURE_SEED`.
//! Where chance plays a part there are two worlds: one of a fixed seed, and one of a seed that is
//! printed.

mod client;
#[path = "../postgres/rig/dice.rs"]
#[expect(dead_code, reason = "made for tests/postgres, which uses all of it")]
mod dice;
mod faults;
mod journal;
mod kills;
mod limits;
mod listener;
mod oracle;
mod power;
mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use world::World;

/// A figure, which a release takes from the environment.
fn figure(name: &str, usual: usize) -> usize {
    let name = format!("ORION_CHAT_TORTURE_{name}");
    let given = std::env::var_os(&name).filter(|given| !given.is_empty());
    given.map_or(usual, |given| given.to_str().unwrap().parse().expect(&name))
}

/// The fixed seed, and one that is another in each run.
#[expect(clippy::disallowed_methods, reason = "chance is wanted here")]
fn seeds() -> [u64; 2] {
    let given = u64::try_from(figure("SEED", 0)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    [1, if given == 0 { u64::from(now) } else { given }]
}

/// Fails with what is wrong, if something is, and says where the journal is.
#[track_caller]
fn assert_sound(world: &World, what: &str, problems: &[String]) {
    if problems.is_empty() {
        return;
    }
    let (journal, count) = (world.journal.keep(), problems.len());
    let first: Vec<_> = problems.iter().take(10).map(String::as_str).collect();
    panic!("{what}: {count} violations; journal {}:\n{}", journal.display(), first.join("\n"));
}
