//! The commands that look after the data: what they print.

use std::path::{Path, PathBuf};

use crate::care::{self, Lines, News, Salvaged};
use crate::cli::{ExportArgs, ImportArgs, LogFormat, SeriesArgs};
use crate::exchange::{Found, OnProblem, Tally};
use crate::model::{Clock, UserId};

use super::log::start_log;
use super::progress::{Progress, Tell};
use super::{Failure, say};

pub(super) fn backup(
    data: &Path,
    file: Option<PathBuf>,
    series: SeriesArgs,
) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    if file.as_deref() == Some(Path::new("-")) {
        care::backup_to(data, &mut std::io::stdout().lock(), &mut |news| progress.hear(news))?;
        return Ok(());
    }
    let folder = series.into.unwrap_or_default();
    let file = file.unwrap_or_else(|| folder.join(care::backup_name(&file_time())));
    // Of no folder nothing is made.
    care::make_folder(&folder)?;
    let records = care::backup(data, &file, &mut |news| progress.hear(news))?;
    drop(progress);
    say(&format!("{} is a backup of {records} records", file.display()));
    series.keep.map_or(Ok(()), |keep| Ok(care::prune(&folder, &file, keep)?))
}

pub(super) fn verify(file: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stdout);
    let records = care::verify(file, &mut |news| progress.hear(news))?;
    drop(progress);
    say(&format!("{} is good, with {records} records", file.display()));
    Ok(())
}

pub(super) fn restore(file: &Path, data: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    let restored = care::restore(file, data, &file_time(), &mut |news| progress.hear(news))?;
    drop(progress);
    say(&format!("{} holds the {} records of the backup", data.display(), restored.records));
    if let Some(kept) = restored.kept {
        say(&format!("{} is what was there before", kept.display()));
    }
    Ok(())
}

pub(super) fn export(args: ExportArgs, data: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    let user = args.user.as_deref().map(UserId::parse).transpose().map_err(Failure::User)?;
    let mut hear = |news: News<'_>| progress.hear(news);
    if args.file.as_deref() == Some(Path::new("-")) {
        care::export_to(data, user.as_ref(), &mut std::io::stdout().lock(), &mut hear)?;
        return Ok(());
    }
    let file = args.file.unwrap_or_else(|| format!("orion-chat-{}.ndjson", file_time()).into());
    let tally = care::export(data, user.as_ref(), &file, &mut hear)?;
    drop(progress);
    let (file, Tally { sessions, messages, .. }) = (file.display(), tally);
    say(&format!("{file} holds {sessions} sessions with {messages} messages"));
    Ok(())
}

pub(super) fn import(args: ImportArgs, data: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    let lines = args.file.map_or(Lines::Csv(args.csv), Lines::File);
    let on_problem = if args.keep_going { OnProblem::GoOn } else { OnProblem::Stop };
    let tally = care::import(data, &lines, on_problem, &mut |news| progress.hear(news))?;
    drop(progress);
    say(&care::stored(tally));
    Ok(())
}

pub(super) fn salvage(file: &Path, out: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    let salvaged = care::salvage(file, out, &mut |news| progress.hear(news))?;
    drop(progress);
    let Salvaged { found, lost, refused } = salvaged;
    let Found { sessions, rebuilt, messages, missing, beyond } = found;
    say(&format!("{} holds {sessions} sessions with {messages} messages", out.display()));
    for (count, what) in [
        (
            u64::try_from(lost).unwrap_or(u64::MAX),
            "stretches of the file could not be read: whole sessions may be missing",
        ),
        (missing, "messages that their sessions tell of were not found"),
        (rebuilt, "sessions lost their title, marks and metadata"),
        (beyond, "messages are there beyond what their sessions tell of: maybe deleted ones"),
        (refused, "sessions or messages were found and left out, as told above"),
    ] {
        if count > 0 {
            say(&format!("{count} {what}"));
        }
    }
    Ok(())
}

pub(super) fn compact(data: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new(Tell::Stderr);
    let (before, after) = care::compact(data, &mut |news| progress.hear(news))?;
    drop(progress);
    say(&format!("{} had {before} bytes, and has {after}", data.display()));
    Ok(())
}

/// Does what an operator waits for: with a log that has no more than is amiss.
pub(super) fn look_after(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    start_log("warn", Some(LogFormat::Text))?;
    work()
}

/// The time, such as `20261123T101112.345Z`, for names of files.
fn file_time() -> String {
    let now = Clock::system().now().to_string();
    now.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}
