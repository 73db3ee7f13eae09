//! The teeth: each planted fault that this side can have is found by one of the ways to torture it,
//! and without a fault none of these finds anything. Those of the replica are found by scenarios
//! of `tests/postgres`, which `scripts/torture.sh` runs with them.
//!
//! Needs a binary with the feature `planted-faults`, which `ORION_CHAT` names.

use std::time::Duration;

use super::kills::{self, Amid, kill_again_and_again, kill_at_each};
use super::power::lose_after_restore;
use super::world::{End, Launch, World};

use Way::{Always, IfPossible};

/// A way to torture a server; gives what is wrong.
#[derive(Clone, Copy)]
enum Way {
    Always(fn(&Launch) -> Vec<String>),
    /// None where it cannot be tried.
    IfPossible(fn(&Launch) -> Option<Vec<String>>),
}

impl Way {
    fn go(self, launch: &Launch) -> Option<Vec<String>> {
        match self {
            Self::Always(way) => Some(way(launch)),
            Self::IfPossible(way) => way(launch),
        }
    }
}

/// Each fault of this side, with the way that must find it.
const FAULTS: [(&str, Way); 12] = [
    ("not-durable", Always(kill_on_a_slow_disk)),
    ("answer-before-commit", Always(kill_on_a_slow_disk)),
    ("event-before-commit", Always(kill_on_a_slow_disk)),
    ("mark-before-tables", Always(kill_at_each_sync)),
    ("number-not-kept", Always(start_and_stop)),
    ("deleted-row-stays", Always(start_and_stop)),
    ("answer-kept-after", Always(kill_on_a_slow_disk)),
    ("folder-not-synced", IfPossible(lose_after_restore)),
    ("full-disk-swallowed", Always(fill_the_disk)),
    ("failed-sync-retried", Always(fail_to_sync)),
    ("cursor-by-time", Always(start_and_stop)),
    ("slow-listener-skipped", Always(start_and_stop)),
];

/// Chance plays a part in some, so a few worlds are tried before it is said that a fault is not found.
const SEEDS: u64 = 4;

fn kill_on_a_slow_disk(launch: &Launch) -> Vec<String> {
    in_some_worlds(launch, |world| {
        let slow = launch.slow_disk(Duration::from_millis(20));
        kill_again_and_again(world, &slow, 6, &[End::Kill])
    })
}

fn start_and_stop(launch: &Launch) -> Vec<String> {
    in_some_worlds(launch, |world| kill_again_and_again(world, launch, 4, &[End::Stop]))
}

fn kill_at_each_sync(launch: &Launch) -> Vec<String> {
    kill_at_each(launch, Amid::Work, ("fdatasync", 1)).0
}

fn fail_to_sync(launch: &Launch) -> Vec<String> {
    kills::fail_to_sync(launch)
}

/// More is to be kept free than there is.
fn fill_the_disk(launch: &Launch) -> Vec<String> {
    in_some_worlds(launch, |world| {
        let (mut problems, process) = world.recover(launch);
        drop(process);
        let full = launch.clone().argument("--reserve-mib").argument("1000000000");
        match world.start(&full) {
            Ok(process) => {
                let moment = (50, Duration::from_millis(200));
                problems.extend(world.live(process, moment, |process| End::Stop.finish(process)));
            }
            Err(ended) => problems.push(format!("{ended:?}")),
        }
        problems.extend(world.recover(launch).0);
        problems
    })
}

fn in_some_worlds(launch: &Launch, mut way: impl FnMut(&mut World) -> Vec<String>) -> Vec<String> {
    let seeds = if launch.environment.is_empty() { 1 } else { SEEDS };
    let worlds = (0..seeds).map(|seed| way(&mut World::new(seed)));
    worlds.into_iter().find(|problems| !problems.is_empty()).unwrap_or_default()
}

#[test]
#[ignore = "needs a binary with faults: scripts/torture.sh"]
fn torture_finds_each_planted_fault() {
    let (mut found, mut missed, mut not_tried) = (0, Vec::new(), 0);
    for (fault, way) in FAULTS {
        match way.go(&Launch::with_fault(Some(fault))) {
            Some(problems) if problems.is_empty() => missed.push(fault),
            Some(problems) => {
                found += 1;
                let first = problems[0].chars().take(150).collect::<String>();
                println!("found {fault}, by {} violations: {first}", problems.len());
            }
            None => not_tried += 1,
        }
    }
    println!("planted faults found: {found} of {}, not tried: {not_tried}", FAULTS.len());
    assert_eq!(missed, [""; 0], "faults that nothing finds");
}

#[test]
#[ignore = "needs a binary with faults: scripts/torture.sh"]
fn torture_finds_nothing_where_no_fault_is_planted() {
    let launch = Launch::with_fault(None);
    let ways: [Way; 6] = [
        Always(kill_on_a_slow_disk),
        Always(start_and_stop),
        Always(kill_at_each_sync),
        Always(fill_the_disk),
        Always(fail_to_sync),
        IfPossible(lose_after_restore),
    ];
    for way in ways {
        assert_eq!(way.go(&launch).unwrap_or_default(), [""; 0]);
    }
}
