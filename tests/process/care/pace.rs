//! What a backup costs those who write meanwhile.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{DATA, done, fs};
use crate::support::{Connection, Process, command, server};

const WRITERS: usize = 8;
const ROUNDS: usize = 3;

/// What a write may wait for a backup.
const LIMIT: Duration = Duration::from_millis(100);

/// Makes a data file of more than a GB: each message stands in the log and in the tables.
fn fill(folder: &Path) {
    let mut import = command(folder, &["import", "-"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufWriter::new(import.stdin.take().unwrap());
    let words = "lorem ipsum dolor sit amet ".repeat(75);
    for session in 0..3000 {
        writeln!(
            lines,
            r#"{{"type":"session","sessionId":"s{session}","userId":"u{session}","createdAt":"2026-01-01T00:00:00Z"}}"#
        )
        .unwrap();
        for n in 0..100 {
            writeln!(
                lines,
                r#"{{"type":"message","sessionId":"s{session}","id":"m{n}","role":"user","content":"{words}","timestamp":"2026-01-01T00:00:01Z"}}"#
            )
            .unwrap();
        }
    }
    drop(lines);
    assert!(import.wait().unwrap().success());
    assert!(folder.join(DATA).metadata().unwrap().len() > 1_000_000_000);
}

/// How long each write takes while `work` is done.
fn latencies(address: &str, work: impl FnOnce()) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                scope.spawn({
                    let stop = &stop;
                    move || write(address, n, stop)
                })
            })
            .collect();
        work();
        stop.store(true, Ordering::Relaxed);
        let mut all: Vec<_> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        all.sort_unstable();
        all
    })
}

/// How long each write of the `n`th writer takes until it is told to stop.
fn write(address: &str, n: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = Connection::open(address).unwrap();
    let body = json!({ "userId": format!("u{n}"), "sessionId": format!("s{n}"),
        "role": "user", "content": "how long does it take?" });
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.post("/api/sessions/save-message", &body).unwrap().expect(201);
        took.push(began.elapsed());
    }
    took
}

fn tell(what: &str, took: &[Duration]) -> Duration {
    let at = |thousandths: usize| took[(took.len() - 1) * thousandths / 1000];
    let max = at(1000);
    eprintln!(
        "{what}: {} writes, p50 {:?}, p99 {:?}, p99.9 {:?}, max {max:?}",
        took.len(),
        at(500),
        at(990),
        at(999)
    );
    max
}

/// Takes minutes, and says something only of an optimised build on a machine that has nothing
/// else to do: `cargo nextest run --release --run-ignored only -E 'test(care::pace)' --no-capture`.
#[test]
#[ignore = "a measure, which takes minutes and a quiet machine"]
fn no_write_waits_long_for_a_slowly_made_backup() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let process = Process::start(server(folder.path()));
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut seconds = Duration::ZERO;
        let with = latencies(&process.address, || {
            let began = Instant::now();
            done(folder.path(), &["backup", "backup.redb"]);
            seconds = began.elapsed();
        });
        busy.push(tell(&format!("round {round}, {seconds:?} of backup"), &with));
        let without = latencies(&process.address, || {
            let began = Instant::now();
            // The same time, with nothing but the writers.
            while began.elapsed() < seconds {
                done(folder.path(), &["--version"]);
            }
        });
        quiet.push(tell(&format!("round {round}, without"), &without));
        fs::remove_file(folder.path().join("backup.redb")).unwrap();
    }
    let (busy, quiet) = (busy.into_iter().max(), quiet.into_iter().max());
    assert!(quiet < Some(LIMIT), "the machine is busy with something else: {quiet:?} without");
    assert!(busy < Some(LIMIT), "a write took {busy:?}; without a backup {quiet:?}");
}
