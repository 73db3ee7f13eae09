//! Power that is lost: a file system of its own, on a loop device, which is shut down under the
//! server so that nothing gets to disk any more that was not synced.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::world::{End, Launch, World};
use super::{assert_sound, figure};
use crate::support::{Connection, Process};

/// What the disk still does when the power goes.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// Nothing any more.
    AtOnce,
    /// It writes its journal to the end.
    AfterJournal,
}

/// A file system of its own.
pub(super) struct Disk {
    folder: TempDir,
    image: PathBuf,
}

impl Disk {
    /// One of so many MiB; `None`, with a line that says so, where that is not possible.
    pub(super) fn new(mib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let disk = Self { folder, image };
        std::fs::create_dir(disk.path()).unwrap();
        std::fs::File::create(&disk.image).unwrap().set_len(u64::from(mib) << 20).unwrap();
        let made = run("mkfs.ext4", &["-q".as_ref(), "-m0".as_ref(), &disk.image]);
        if let Err(why) = made.and_then(|()| disk.mount()) {
            println!("not tried: a file system on a loop device, which needs root: {why}");
            return None;
        }
        Some(disk)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), &self.image, &self.path()])
    }

    fn lose_power(&self, loss: Loss) {
        Switch::of(self, loss).turn();
    }

    fn come_back(&self) {
        run("umount", &[&self.path()]).unwrap();
        self.mount().unwrap();
    }
}

/// What ends the power, ready to be turned at once.
struct Switch(Child);

impl Switch {
    fn of(disk: &Disk, loss: Loss) -> Self {
        let flag = match loss {
            Loss::AfterJournal => "1",
            Loss::AtOnce => "2",
        };
        // EXT4_IOC_SHUTDOWN
        let script = "import fcntl, os, struct, sys
disk, flag = os.open(sys.argv[1], os.O_RDONLY), struct.pack('I', int(sys.argv[2]))
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(disk, 0x8004587d, flag)";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(disk.path()).arg(flag);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "it needs python3");
        Self(child)
    }

    fn turn(mut self) {
        self.0.stdin.take().unwrap().write_all(b"now\n").unwrap();
        assert!(self.0.wait().unwrap().success(), "an ext4 that can be shut down");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, as a test that failed may leave somebody there.
        let _unmounted = run("umount", &["-l".as_ref(), &self.path()]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Loses power. From then on no write may be taken, and the server must end.
///
/// A real loss of power ends the machine with the disk, and nobody gets an answer. This one ends the
/// disk amid what it is doing: now and then Linux 6.18 says of a sync that is on its way that it is
/// done, and it is not, also to ten lines that write and sync a file and nothing else. So what
/// is acknowledged from the moment on that this is asked for is in doubt.
fn lose(switch: Switch, doubt: &AtomicBool, process: &mut Process) -> Vec<String> {
    doubt.store(true, Ordering::SeqCst);
    switch.turn();
    let late = Connection::open(&process.address)
        .and_then(|mut late| late.post("/api/sessions", &json!({ "userId": "bob" })));
    let ended = process.end_within(Duration::from_secs(10));
    process.kill_if_alive();
    if let Ok(reply) = late
        && reply.status < 300
    {
        return vec![format!("O12: its disk is gone, and it takes a write: {reply:?}")];
    }
    match ended {
        Some(ended) if ended.code() == Some(74) => Vec::new(),
        other => vec![format!("O12: its disk is gone, and {other:?}: {}", process.whole_log())],
    }
}

/// Loses power under load, again and again.
fn lose_again_and_again(disk: &Disk, world: &mut World, losses: usize) -> Vec<String> {
    let launch = Launch::default();
    for n in 0..losses {
        let (problems, process) = world.recover(&launch);
        let Some(process) = process.filter(|_| problems.is_empty()) else { return problems };
        let moment = (world.dice.below(300), world.dice.time(Duration::from_millis(40)));
        let loss = if n % 4 == 3 { Loss::AfterJournal } else { Loss::AtOnce };
        let (switch, doubt) = (Switch::of(disk, loss), world.journal.doubt());
        let problems = world.live(process, moment, |process| lose(switch, &doubt, process));
        doubt.store(false, Ordering::SeqCst);
        disk.come_back();
        if !problems.is_empty() {
            return problems;
        }
    }
    world.recover(&launch).0
}

#[test]
fn torture_by_power_loss() {
    let Some(disk) = Disk::new(256) else { return };
    let losses = figure("POWER_LOSSES", 8);
    let mut world = World::on(&disk.path(), 5);

    let problems = lose_again_and_again(&disk, &mut world, losses);

    let (acknowledged, unknown) = world.journal.counts();
    println!("{losses} losses of power, {acknowledged} acknowledged, {unknown} unknown");
    assert_sound(&world, "power lost", &problems);
}

/// Loses power right after a restore has said that it is done. `None` if that cannot be tried.
pub(super) fn lose_after_restore(launch: &Launch) -> Option<Vec<String>> {
    let disk = Disk::new(64)?;
    let mut world = World::on(&disk.path(), 6);
    let backup = world.outside.path().join("backup.redb");
    let backup = backup.to_str().unwrap();
    let mut problems = work(&mut world, launch);
    let mut done = |world: &World, arguments: &[&str]| {
        let output = world.run(launch, arguments);
        if !output.status.success() {
            problems.push(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        output.stdout
    };
    done(&world, &["backup", backup]);
    let more = work(&mut world, launch);
    done(&world, &["restore", backup]);
    disk.lose_power(Loss::AtOnce);
    disk.come_back();
    if done(&world, &["export", "-"]) != done(&world, &["export", "-", "--data", backup]) {
        problems.push("O11: it was restored, and after a loss of power it is not".to_owned());
    }
    problems.extend(more);
    Some(problems)
}

/// A life in which something is written.
fn work(world: &mut World, launch: &Launch) -> Vec<String> {
    let (mut problems, process) = world.recover(launch);
    if let Some(process) = process {
        problems.extend(world.live(process, (100, Duration::ZERO), |it| End::Stop.finish(it)));
    }
    problems
}

#[test]
fn torture_by_power_loss_after_a_restore() {
    if let Some(problems) = lose_after_restore(&Launch::default()) {
        assert_eq!(problems, [""; 0]);
    }
}
