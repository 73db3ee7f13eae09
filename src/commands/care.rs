//! The commands that look after the data: what they print.

use std::path::{Path, PathBuf};

use crate::care;
use crate::cli::LogFormat;
use crate::model::Clock;

use super::log::start_log;
use super::{Failure, say};

pub(super) fn backup(data: &Path, file: Option<PathBuf>) -> Result<(), Failure> {
    if file.as_deref() == Some(Path::new("-")) {
        care::backup_to(data, &mut std::io::stdout().lock(), &mut complain_of)?;
        return Ok(());
    }
    let file = file.unwrap_or_else(|| format!("orion-chat-{}.redb", file_time()).into());
    let records = care::backup(data, &file, &mut complain_of)?;
    say(&format!("{} is a backup of {records} records", file.display()));
    Ok(())
}

pub(super) fn verify(file: &Path) -> Result<(), Failure> {
    let records = care::verify(file, &mut say)?;
    say(&format!("{} is good, with {records} records", file.display()));
    Ok(())
}

pub(super) fn restore(file: &Path, data: &Path) -> Result<(), Failure> {
    let restored = care::restore(file, data, &file_time(), &mut complain_of)?;
    say(&format!("{} holds the {} records of the backup", data.display(), restored.records));
    if let Some(kept) = restored.kept {
        say(&format!("{} is what was there before", kept.display()));
    }
    Ok(())
}

/// Does what an operator waits for: with a log that has no more than is amiss.
pub(super) fn look_after(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    start_log("warn", LogFormat::Text)?;
    work()
}

/// The time, such as `20261123T101112.345Z`, for names of files.
fn file_time() -> String {
    let now = Clock::system().now().to_string();
    now.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Says what is wrong with a file, where stdout may be a backup's.
#[expect(clippy::print_stderr, reason = "this is what stderr is for")]
fn complain_of(problem: &str) {
    eprintln!("{problem}");
}
