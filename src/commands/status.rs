//! `status`: how a server is doing, on one screen.

use std::fmt::Write as _;
use std::path::Path;

use crate::care::{self, CareError};
use crate::status::{Recent, Status};

use super::{Failure, say};

/// Shows how the server is doing that has the data file at `data`.
pub(super) fn status(data: &Path, as_json: bool) -> Result<(), Failure> {
    let json = care::status(data)?;
    if as_json {
        say(&json);
        return Ok(());
    }
    let status = Status::from_json(&json).map_err(CareError::BrokenOff)?;
    say(screen(&status).trim_end());
    Ok(())
}

/// The screen: a line for each thing, and one for each warning.
fn screen(status: &Status) -> String {
    let Status { version, address, data, recent, .. } = status;
    let listening = format!("{} streams, {} WebSockets", status.streams, status.web_sockets);
    let free = data.free_bytes.map(|free| format!("; {} free on its disk", bytes(free)));
    let lines = [
        (
            "server",
            format!("orion-chat {version} on http://{address}, for {}", ago(status.uptime_secs)),
        ),
        (
            "metrics",
            status
                .admin_address
                .as_ref()
                .map_or("off".to_owned(), |address| format!("http://{address}/metrics")),
        ),
        ("data", format!("{}, {}{}", data.path, bytes(data.bytes), free.unwrap_or_default())),
        (
            "holds",
            format!("{} sessions, {} messages", grouped(data.sessions), grouped(data.messages)),
        ),
        ("requests", requests(recent)),
        ("saves", saves(recent)),
        ("listening", format!("{listening}, of {} connections", status.connections)),
        (
            "backup",
            status.last_backup.clone().unwrap_or_else(|| "none while a server ran".to_owned()),
        ),
    ];
    let mut screen = String::new();
    let warnings = status.warnings.iter().map(|warning| ("warning", warning.clone()));
    for (name, text) in lines.into_iter().chain(warnings) {
        // Writing to a String cannot fail.
        let _written = writeln!(screen, "{name:<10} {text}");
    }
    screen
}

fn requests(recent: &Recent) -> String {
    let failed =
        if recent.failed == 0 { String::new() } else { format!(", {} failed", recent.failed) };
    let times = times(recent.request_p50_secs, recent.request_p99_secs, "answered");
    format!(
        "{:.1}/s over the last {:.0} s{failed}{times}",
        recent.requests_per_sec,
        recent.secs.ceil()
    )
}

fn saves(recent: &Recent) -> String {
    let times = times(recent.commit_p50_secs, recent.commit_p99_secs, "on disk");
    format!("{:.1}/s{times}", recent.saves_per_sec)
}

fn times(half: Option<f64>, most: Option<f64>, done: &str) -> String {
    match (half, most) {
        (Some(half), Some(most)) => {
            format!("; half {done} in {}, 99 of 100 in {}", millis(half), millis(most))
        }
        _ => String::new(),
    }
}

fn millis(secs: f64) -> String {
    format!("{:.2} ms", secs * 1000.0)
}

/// A size with three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(bytes: u64) -> String {
    let (mut size, mut units) = (bytes as f64, ["kB", "MB", "GB", "TB"].into_iter());
    let mut unit = "B";
    while let Some(next) = units.next().filter(|_| size >= 999.5) {
        (size, unit) = (size / 1000.0, next);
    }
    match size {
        _ if unit == "B" => format!("{size:.0} {unit}"),
        size if size < 9.995 => format!("{size:.2} {unit}"),
        size if size < 99.95 => format!("{size:.1} {unit}"),
        size => format!("{size:.0} {unit}"),
    }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A time in its two largest units.
fn ago(secs: u64) -> String {
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => format!("{minutes} min {} s", secs % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
        for (size, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
            (2_600_000_000, "2.60 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
        for (secs, expected) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(ago(secs), expected);
        }
    }
}
