//! Looking after the data: backups, checks, and the way back.
//!
//! Each verb works while a server has the file, which is then asked through its control socket
//! (see [`crate::control`]), and on the file itself when none does. None of them changes the file that
//! it reads.

mod compact;
mod exchange;
mod news;
mod out_file;
mod place;
mod restore;
mod salvage;
mod series;
mod source;

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::control::Verb;
use crate::store::{FinishedFile, NewFile, Note, OpenError, Snapshot};

pub use compact::compact;
pub use exchange::{Lines, export, export_to, import, stored};
pub use news::{News, Unit};
use place::place;
pub use restore::{Restored, restore};
pub use salvage::{Salvaged, salvage};
pub use series::{backup_name, make_folder, prune};
use source::{Server, Source};

/// Why something could not be done. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CareError {
    /// A data file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A server has the file and cannot be asked.
    #[error("cannot ask the server through {socket}: {source}; run this as the server's user or as root, or stop the server", socket = socket.display())]
    Ask {
        /// Its control socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No server has the file.
    #[error("no server has the data file {path}; start one, or name another file with --data", path = path.display())]
    NoServer {
        /// The file.
        path: PathBuf,
    },
    /// A data file that no server has cannot be read to its end.
    #[error("cannot read data file {path}: {reason}; salvage it, or restore a backup", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The server broke off.
    #[error("the server broke off: {0}; nothing was changed: see its log and try again")]
    BrokenOff(String),
    /// The file that was made of another cannot be read or written.
    #[error("cannot make {path}: {reason}; nothing was changed: choose another place, or make room there", path = path.display())]
    Copy {
        /// Where it was to be.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// A file is damaged.
    #[error("data file {path} is damaged, in {problems} places; {outcome}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many problems were told.
        problems: u64,
        /// What was not done, and what to do.
        outcome: &'static str,
    },
    /// Lines of an import were not stored.
    #[error(
        "{problems} problems, told above; {stored}; to import again adds nothing twice: mend what is told, or leave it out with --keep-going, which ends so too"
    )]
    Refused {
        /// How many problems were told.
        problems: u64,
        /// What was stored, and what was there.
        stored: String,
    },
    /// An import did not come to its end.
    #[error(
        "the import broke off: {why}; {stored}; see the server's log, and import again to go on"
    )]
    Unfinished {
        /// What is in the way.
        why: String,
        /// What was stored, and what was there.
        stored: String,
    },
    /// What was to be imported cannot be read.
    #[error("cannot read {path}: {source}; {stored}", path = path.display())]
    Lines {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
        /// What was stored, and what was there.
        stored: String,
    },
    /// An old backup cannot be removed.
    #[error("made the backup, and cannot remove the old one {path}: {source}; remove it by hand", path = path.display())]
    Prune {
        /// The old one, or the folder that cannot be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file would take the place of one that a server has open.
    #[error("{path} is a data file in use by another process; choose another name", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file would take the place of what it is of.
    #[error("{path} is the data file itself; choose another name", path = path.display())]
    Itself {
        /// The file.
        path: PathBuf,
    },
}

/// Writes a backup of the data file at `data` to `target`, of mode 0600, in the place of a file that
/// is there. It holds all that was acknowledged before, and is checked before it gets its name.
///
/// Gives how many records it holds; tells `news` what is wrong with it, one line each.
///
/// # Errors
/// [`CareError`], with which nothing is at `target` that was not there before.
pub fn backup(
    data: &Path,
    target: &Path,
    news: &mut dyn FnMut(News<'_>),
) -> Result<u64, CareError> {
    let target = &place(data, target)?;
    let (copy, records) = checked_copy(data, target, news)?;
    copy.publish(target).map_err(|error| failed(target, &error))?;
    note_backup(data);
    Ok(records)
}

/// Has a server that has the file keep in mind that a backup was made. It was, whatever comes of
/// this.
fn note_backup(data: &Path) {
    if let Ok(Some(server)) = Server::of(data) {
        let _noted = server.ask(&Verb::BackedUp, &mut |_| Ok(()));
    }
}

/// Writes a backup as [`backup`] does, to `out`. It is made beside the data file until then.
///
/// # Errors
/// [`CareError`], with which nothing was written unless it was writing that failed.
pub fn backup_to(
    data: &Path,
    out: &mut impl io::Write,
    news: &mut dyn FnMut(News<'_>),
) -> Result<u64, CareError> {
    let (copy, records) = checked_copy(data, data, news)?;
    std::fs::File::open(copy.path())
        .and_then(|mut copy| io::copy(&mut copy, out))
        .and_then(|_| out.flush())
        .map_err(|error| failed(Path::new("-"), &error))?;
    note_backup(data);
    Ok(records)
}

/// Looks at every record of the data file at `data`, and at every index against what it is of.
///
/// Gives how many records there are; tells `news` what is wrong with them, one line each.
///
/// # Errors
/// [`CareError::Damaged`] if something is wrong, else what kept it from being looked at.
pub fn verify(data: &Path, news: &mut dyn FnMut(News<'_>)) -> Result<u64, CareError> {
    let (records, problems) = Source::of(data)?.verify(news)?;
    sound(data, problems, "restore a backup")?;
    Ok(records)
}

/// How the server is doing that has the data file at `data`, in JSON: a
/// [`Status`](crate::status::Status).
///
/// # Errors
/// [`CareError::NoServer`] if none has it, [`CareError::Ask`] if it cannot be asked.
pub fn status(data: &Path) -> Result<String, CareError> {
    let server = Server::of(data)?;
    server.ok_or_else(|| CareError::NoServer { path: data.to_owned() })?.status()
}

/// A copy of the data file at `data` that is to stand at `target`, checked.
fn checked_copy(
    data: &Path,
    target: &Path,
    news: &mut dyn FnMut(News<'_>),
) -> Result<(FinishedFile, u64), CareError> {
    let copy = Source::of(data)?.copy(target, news)?;
    let (records, problems) = check(&Snapshot::open(copy.path())?, news);
    let outcome = "no backup was written: what can be read is had by export, or by salvage of the stopped file";
    sound(data, problems, outcome)?;
    Ok((copy, records))
}

/// How many records there are, and how many problems.
fn check(snapshot: &Snapshot, news: &mut dyn FnMut(News<'_>)) -> (u64, u64) {
    let mut problems = 0;
    let records = snapshot.verify(&mut |note| {
        match note {
            Note::Checked(records) => {
                news(News::progress("checking", records, None, Unit::Records));
            }
            Note::Problem(what) => {
                problems += 1;
                news(News::Problem(&what));
            }
        }
        ControlFlow::Continue(())
    });
    (records.unwrap_or(0), problems)
}

fn sound(path: &Path, problems: u64, outcome: &'static str) -> Result<(), CareError> {
    match problems {
        0 => Ok(()),
        problems => Err(CareError::Damaged { path: path.to_owned(), problems, outcome }),
    }
}

/// Whether both are names of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    file(one).is_some_and(|one| Some(one) == file(other))
}

fn failed(path: &Path, reason: &impl ToString) -> CareError {
    CareError::Copy { path: path.to_owned(), reason: reason.to_string() }
}

/// A new file that is to stand at `target`, with what `fill` puts into it.
fn filled(
    target: &Path,
    fill: impl FnOnce(&mut NewFile) -> Result<(), CareError>,
) -> Result<NewFile, CareError> {
    let mut copy = NewFile::create(target).map_err(|error| match error {
        OpenError::Create { source, .. } => failed(target, &source),
        other => other.into(),
    })?;
    fill(&mut copy)?;
    Ok(copy)
}
