//! SIGKILL in the middle of what changes files: what is there is the old file or the new one.

use std::path::Path;
use std::time::{Duration, Instant};

use orion_chat::care;

use super::{DATA, done, folder_with, fs};
use crate::support::command;

const KILLS: u32 = 20;

/// Runs it, and kills it after `time` unless it has ended.
fn run_and_kill(folder: &Path, arguments: &[&str], time: Duration) {
    let began = Instant::now();
    let mut child = command(folder, arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
    while began.elapsed() < time && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    // It may have ended, which is as good.
    let _killed = child.kill();
    child.wait().unwrap();
}

/// A folder with a data file of some hundred KiB, and how long `arguments` take in it.
fn folder_and_time(arguments: &[&str]) -> (tempfile::TempDir, Duration) {
    let text = "lorem ipsum ".repeat(800);
    let ids: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let sessions: Vec<_> = ids.iter().map(|id| (id.as_str(), text.as_str())).collect();
    let folder = folder_with(&sessions);
    done(folder.path(), &["backup", "backup.redb"]);
    let began = Instant::now();
    done(folder.path(), arguments);
    (folder, began.elapsed())
}

/// Kills it at points all over its time; `file` must be whole each time and hold the same, and some
/// kills must have come while a new one was on its way.
fn kill_all_over(arguments: &[&str], file: &str) {
    let (folder, whole) = folder_and_time(arguments);
    let lines = |file: &str| done(folder.path(), &["export", "-", "--data", file]);
    let (expected, name) = (lines(DATA), file);
    let file = folder.path().join(file);
    let mut old_ones = 0;
    for n in 0..KILLS {
        let before = fs::read(&file).unwrap();
        run_and_kill(folder.path(), arguments, whole * n / KILLS);

        let mut problems = Vec::new();
        let verified = care::verify(&file, &mut |news| {
            if let care::News::Problem(what) = news {
                problems.push(what.to_owned());
            }
        });
        assert!(verified.is_ok(), "after {n}/{KILLS}: {verified:?} {problems:?}");
        assert!(lines(name) == expected, "after {n}/{KILLS}: it holds something else");
        old_ones += u32::from(fs::read(&file).unwrap() == before);
        // What a crash leaves is easily told from what is whole.
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_known = [DATA, "backup.redb"].contains(&name);
            let is_kept = name.starts_with("orion-chat.redb.before-restore-");
            assert!(
                is_known || is_kept || path.extension().is_some_and(|end| end == "part"),
                "{name}"
            );
        }
    }
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let broken_off =
        entries.filter(|path| path.extension().is_some_and(|end| end == "part")).count();
    assert!(
        broken_off > 2 && old_ones > 2,
        "{broken_off} were broken off, {old_ones} old ones left"
    );
}

#[test]
fn after_a_crash_in_a_backup_there_is_the_old_one_or_the_new_one() {
    kill_all_over(&["backup", "backup.redb"], "backup.redb");
}

#[test]
fn after_a_crash_in_a_restore_there_is_the_old_file_or_the_new_one() {
    kill_all_over(&["restore", "backup.redb"], DATA);
}

#[test]
fn after_a_crash_while_compacting_there_is_the_old_file_or_the_new_one() {
    kill_all_over(&["compact"], DATA);
}

#[test]
fn after_a_crash_in_a_salvage_there_is_a_whole_file_or_none() {
    let (folder, whole) = folder_and_time(&["salvage", DATA, "first.redb"]);
    let out = folder.path().join("out.redb");
    let mut none = 0;
    for n in 0..KILLS {
        run_and_kill(folder.path(), &["salvage", DATA, "out.redb"], whole * n / KILLS);
        if out.exists() {
            done(folder.path(), &["verify", "out.redb"]);
            fs::remove_file(&out).unwrap();
        } else {
            none += 1;
        }
    }
    assert!(none > 0, "none was killed before its end");
    done(folder.path(), &["verify"]);
}

/// However often it is broken off, what is there in the end is there once.
#[test]
fn an_import_that_crashed_is_done_by_importing_again() {
    let (source, _) = folder_and_time(&["export", "lines"]);
    let lines = source.path().join("lines");
    let import = ["import", lines.to_str().unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    done(folder.path(), &import);
    let whole = began.elapsed();
    for n in 0..KILLS {
        let folder = tempfile::tempdir().unwrap();
        run_and_kill(folder.path(), &import, whole * n / KILLS);
        if folder.path().join(DATA).exists() {
            done(folder.path(), &["verify"]);
        }

        done(folder.path(), &import);

        done(folder.path(), &["export", "again"]);
        let (one, other) =
            (fs::read(&lines).unwrap(), fs::read(folder.path().join("again")).unwrap());
        assert!(one == other, "after {n}/{KILLS}");
    }
}
