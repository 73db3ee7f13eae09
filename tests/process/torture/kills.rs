//! SIGKILL amid everything: by chance under load, and at each system call that reaches the disk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::world::{End, Launch, World};
use super::{assert_sound, figure, seeds};
use crate::support::command;

/// After so many kills the copies are compared too, which takes longer than all the rest.
const COMPARE: usize = 5;

/// Lets everybody work and kills the server, again and again on the same file.
pub(super) fn kill_again_and_again(
    world: &mut World,
    launch: &Launch,
    kills: usize,
    ends: &[End],
) -> Vec<String> {
    let plain = Launch { strace: Vec::new(), ..launch.clone() };
    for kill in 0..kills {
        let (problems, process) = world.recover(launch);
        let Some(process) = process.filter(|_| problems.is_empty()) else { return problems };
        let enough = world.dice.below(160);
        let longer = world.dice.time(Duration::from_millis(30));
        let end = ends[kill % ends.len()];
        let problems = world.live(process, (enough, longer), |process| end.finish(process));
        if !problems.is_empty() {
            return problems;
        }
        if kill % COMPARE == COMPARE - 1 {
            let problems = compare(world, &plain);
            if !problems.is_empty() {
                return problems;
            }
        }
    }
    // Twice, as what was found once must be found again.
    for _ in 0..2 {
        let (problems, process) = world.recover(&plain);
        drop(process);
        if !problems.is_empty() {
            return problems;
        }
    }
    Vec::new()
}

fn compare(world: &mut World, launch: &Launch) -> Vec<String> {
    let (mut problems, process) = world.recover(launch);
    if let Some(process) = process.filter(|_| problems.is_empty()) {
        problems = world.compare_copies(launch, &process);
    }
    problems
}

/// What a server is killed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amid {
    /// Making its file.
    Creation,
    /// Work, and stopping.
    Work,
}

/// A short life in which a call of the server does what `injected` says; tells whether it came to
/// its end without that, as there are not so many of these calls.
fn live_doomed(
    world: &mut World,
    launch: &Launch,
    (call, injected): (&str, &str),
    amid: Amid,
) -> bool {
    let Ok(mut process) = world.start(&launch.inject(call, injected)) else { return false };
    if amid == Amid::Work {
        world.work_alone(&process, 20);
        process.signal_if_alive("TERM");
        return process.exit_code() == Some(0);
    }
    process.kill_if_alive();
    true
}

/// Kills the server at its first, second, third ... call of one kind, each time in another life; of
/// each, every `step`th. Gives what is wrong, and at how many points it was killed.
pub(super) fn kill_at_each(
    launch: &Launch,
    amid: Amid,
    (call, step): (&str, usize),
) -> (Vec<String>, usize) {
    let mut points = 0;
    for point in (1..).step_by(step) {
        let mut world = World::new(7);
        if amid == Amid::Work {
            // The file is there then. strace counts the calls of each thread.
            drop(world.recover(launch));
        }
        let killed = format!("signal=KILL:when={point}");
        if live_doomed(&mut world, launch, (call, &killed), amid) {
            break;
        }
        points += 1;
        if point % 3 == 0 {
            // ...and again while it recovers from that.
            drop(world.start(&launch.inject(call, "signal=KILL:when=1")));
            drop(world.start(&launch.inject(call, "signal=KILL:when=2")));
        }
        for _ in 0..2 {
            let (problems, process) = world.recover(launch);
            drop(process);
            if !problems.is_empty() {
                let at = format!("killed at {call} {point}: {problems:?}");
                return (vec![at], points);
            }
        }
    }
    (Vec::new(), points)
}

#[test]
fn torture_by_kill() {
    let kills = figure("KILLS", 60);
    let ends = [End::Kill, End::Kill, End::KillStopping, End::Kill, End::Stop];
    for (seed, kills) in seeds().into_iter().zip([kills - kills / 3, kills / 3]) {
        let mut world = World::new(seed);
        let problems = kill_again_and_again(&mut world, &Launch::default(), kills, &ends);
        let (acknowledged, unknown) = world.journal.counts();
        println!("seed {seed}: {kills} kills, {acknowledged} acknowledged, {unknown} unknown");
        assert_sound(&world, &format!("killed, seed {seed}"), &problems);
        assert!(acknowledged > 10 * kills as u64, "there was little to lose: {acknowledged}");
    }
}

#[test]
fn torture_by_kill_on_a_slow_disk() {
    let launch = Launch::default().slow_disk(Duration::from_millis(20));
    let mut world = World::new(3);
    let kills = figure("SLOW_KILLS", 10);
    let problems = kill_again_and_again(&mut world, &launch, kills, &[End::Kill]);
    let (acknowledged, unknown) = world.journal.counts();
    println!("{kills} kills on a slow disk, {acknowledged} acknowledged, {unknown} unknown");
    assert_sound(&world, "killed on a slow disk", &problems);
    assert!(acknowledged > 10 * kills as u64, "there was little to lose: {acknowledged}");
}

#[test]
fn torture_by_kill_at_each_system_call() {
    let every = figure("EVERY", 6);
    let mut points = 0;
    for (amid, call, step) in [
        (Amid::Creation, "fdatasync", every.div_ceil(4)),
        (Amid::Creation, "pwrite64", every),
        (Amid::Creation, "ftruncate", 1),
        (Amid::Creation, "fsync", 1),
        (Amid::Creation, "link,linkat", 1),
        (Amid::Work, "fdatasync", every.div_ceil(4)),
        (Amid::Work, "pwrite64", every),
        (Amid::Work, "ftruncate", 1),
    ] {
        let (problems, killed) = kill_at_each(&Launch::default(), amid, (call, step));
        assert_eq!(problems, [""; 0], "{amid:?} {call}");
        println!("{amid:?} {call} {killed}");
        points += killed;
    }
    println!("killed at {points} system calls");
    assert!(points > 30, "{points}");
}

/// What an error of the disk may do to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It ends, with the exit code of a failed disk, and is started again.
    Ends,
    /// It waits, or refuses, and goes on.
    GoesOn,
}

/// Has calls fail under load, and looks how the server takes it and what is there afterwards.
fn fail(launch: &Launch, call: &str, how: &str, then: Then) -> Vec<String> {
    let mut world = World::new(11);
    let failing = launch.inject(call, how);
    let process = match world.start(&failing) {
        Ok(process) => process,
        // Already then.
        Err(ended) if matches!(ended.code, Some(73 | 74)) => return Vec::new(),
        Err(ended) => return vec![format!("O12: {call} {how}: {ended:?}")],
    };
    let _set_up = world.set_up(&process);
    let moment = (400, Duration::from_millis(50));
    let mut problems = world.live(process, moment, |process| match then {
        Then::GoesOn => End::Stop.finish(process),
        Then::Ends => match process.end_within(Duration::from_secs(5)) {
            Some(ended) if ended.code() == Some(74) => Vec::new(),
            other => {
                process.kill_if_alive();
                vec![format!("O12: {call} failed, and then {other:?}: {}", process.whole_log())]
            }
        },
    });
    for _ in 0..2 {
        if problems.is_empty() {
            problems = world.recover(launch).0;
        }
    }
    problems.into_iter().map(|problem| format!("{call} {how}: {problem}")).collect()
}

/// A sync fails once, or from then on.
pub(super) fn fail_to_sync(launch: &Launch) -> Vec<String> {
    let ways = ["error=EIO:when=20", "error=EIO:when=25+", "error=ENOSPC:when=30"];
    ways.iter().flat_map(|how| fail(launch, "fdatasync", how, Then::Ends)).collect()
}

#[test]
fn torture_by_failing_system_calls() {
    let launch = Launch::default();
    let mut problems = fail_to_sync(&launch);
    for (call, how, then) in [
        ("fdatasync", "error=EIO:when=1", Then::Ends),
        ("fdatasync", "error=EIO:when=5+3", Then::Ends),
        ("pwrite64", "error=EIO:when=200", Then::Ends),
        ("pwrite64", "error=EIO:when=300+", Then::Ends),
        // What there is no room for waits until there is.
        ("pwrite64", "error=ENOSPC:when=100..130", Then::GoesOn),
        ("pwrite64", "error=EDQUOT:when=150..160", Then::GoesOn),
        ("pwrite64", "error=EINTR:when=50+5", Then::GoesOn),
        ("ftruncate", "error=ENOSPC:when=2..6", Then::GoesOn),
        ("fstatfs,statfs", "error=EIO:when=3+2", Then::GoesOn),
    ] {
        problems.extend(fail(&launch, call, how, then));
    }
    assert_eq!(problems, [""; 0]);
}

/// What `export` says of a data file.
fn export(folder: &Path, file: &str) -> Vec<u8> {
    let output = command(folder, &["export", "-", "--data", file]).output().unwrap();
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A data file of each name, with what was done in so many calls.
fn folder_of_files(files: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, calls) in files {
        let mut world = World::new(31);
        let (_, process) = world.recover(&Launch::default());
        let mut process = process.unwrap();
        world.work_alone(&process, *calls);
        assert_eq!(End::Stop.finish(&mut process), [""; 0]);
        std::fs::copy(world.folder.join("orion-chat.redb"), folder.path().join(name)).unwrap();
    }
    folder
}

/// Runs a command that makes `data` what `new` is, in the place of what `old` is, and kills it at its
/// `point`th `call`; tells whether it came to its end without that.
fn make_new(folder: &Path, arguments: &[&str], (call, point): (&str, usize)) -> bool {
    std::fs::copy(folder.join("old"), folder.join("data")).unwrap();
    let mut doomed = Command::new("strace");
    doomed.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    doomed.args(["-e", &format!("inject={call}:signal=KILL:when={point}")]);
    doomed.arg(command(folder, arguments).get_program()).args(arguments);
    doomed.current_dir(folder).output().unwrap().status.success()
}

#[test]
fn torture_by_kill_amid_a_restore_and_a_backup() {
    let files = folder_of_files(&[("old", 5), ("new", 25)]);
    let [old, new] = ["old", "new"].map(|name| export(files.path(), name));
    let ways = [["restore", "new", "--data", "data"], ["backup", "data", "--data", "new"]];
    let calls = [
        ("fsync", 1),
        ("rename,renameat,renameat2", 1),
        ("link,linkat", 1),
        ("fdatasync", 1),
        ("pwrite64", 2 * figure("EVERY", 6)),
        ("unlink,unlinkat", 1),
    ];
    let mut points = 0;
    for (arguments, (call, step)) in ways.iter().flat_map(|way| calls.map(|call| (way, call))) {
        for point in (1..).step_by(step) {
            let is_done = make_new(files.path(), arguments, (call, point));
            let found = export(files.path(), "data");
            let is_either = found == new || (found == old && !is_done);
            assert!(is_either, "{arguments:?} killed at {call} {point}: neither file");
            if is_done {
                break;
            }
            points += 1;
        }
    }
    println!("killed at {points} system calls of a restore and a backup");
    assert!(points > 12, "{points}");
}
