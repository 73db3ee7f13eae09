//! The clock.

use std::path::Path;
use std::process::Command;

use crate::model::{Clock, Timestamp};

use super::Finding;

const CHECK: &str = "clock";

/// 2026-01-01: no release was made before.
const FIRST_MICROS: u64 = 1_767_225_600_000_000;

/// How far a file system's times and the clock may be apart.
const APART_MICROS: u64 = 60_000_000;

/// Whether the clock can be right: tokens are checked against it, and messages bear its time.
pub(super) fn clock(data: &Path, clock: &Clock) -> Finding {
    const MEND: &str = "set it: timedatectl set-ntp true";
    let now = clock.now();
    if now < Timestamp::from_micros(FIRST_MICROS) {
        return Finding::wrong(CHECK, format!("it says {now}, which is long past; {MEND}"));
    }
    if let Some(written) = written(data)
        && written.as_micros() > now.as_micros().saturating_add(APART_MICROS)
    {
        let text = format!("it says {now}, but the data file was written at {written}; {MEND}");
        return Finding::wrong(CHECK, text);
    }
    match is_synchronised() {
        Some(true) => Finding::well(CHECK, format!("{now}, in step with the network's time")),
        Some(false) => Finding::doubtful(
            CHECK,
            format!("{now}, and nothing keeps it in step: timedatectl set-ntp true"),
        ),
        None => Finding::well(CHECK, format!("{now}; nobody here tells whether it is in step")),
    }
}

fn written(data: &Path) -> Option<Timestamp> {
    let modified = data.metadata().ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

/// What the kernel was told by whatever keeps the time, as systemd shows it.
fn is_synchronised() -> Option<bool> {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output()
        .ok()?;
    match asked.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}
