//! Backups that are made again and again: in a folder of their own, named by their time.

use std::fs::DirBuilder;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::Held;

use super::{CareError, failed};

const BEFORE: &str = "orion-chat-";
const BEHIND: &str = ".redb";

/// What a backup of `time`, such as `20261123T101112.345Z`, is called.
pub fn backup_name(time: &str) -> String {
    format!("{BEFORE}{time}{BEHIND}")
}

/// Makes `folder`, for its owner alone, unless it is there.
///
/// # Errors
/// [`CareError::Copy`].
pub fn make_folder(folder: &Path) -> Result<(), CareError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed(folder, &error))
}

/// How old a file must be that a backup left which was broken off: younger ones may be on their way.
const LEFT_OVER: Duration = Duration::from_hours(1);

/// Removes what backups left in `folder` that were broken off, an hour ago or more; and backups but for `newest` and those that come next by the time of their names,
/// `keep` in all. What has another name stays.
///
/// # Errors
/// [`CareError::Prune`].
pub fn prune(folder: &Path, newest: &Path, keep: NonZeroUsize) -> Result<(), CareError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source: io::Error| CareError::Prune { path, source }
    };
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let (found, path) = (entry.metadata().map_err(failed(folder))?, entry.path());
        if !found.is_file() || path == newest {
            continue;
        }
        if is_backup(&path) {
            others.push(path);
        } else if is_part(&path)
            && found.modified().and_then(|at| at.elapsed().map_err(io::Error::other)).is_ok_and(|age| age > LEFT_OVER)
            // Nobody works on it.
            && Held::take(&path).is_ok()
        {
            std::fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    others.sort_unstable();
    let too_many = others.len().saturating_sub(keep.get() - 1);
    others
        .iter()
        .take(too_many)
        .try_for_each(|old: &PathBuf| std::fs::remove_file(old).map_err(failed(old)))
}

/// Whether a file is called as a backup of the series that is on its way: `NAME.UUID.part`.
fn is_part(path: &Path) -> bool {
    let name = path.file_stem().map(Path::new).and_then(Path::file_stem);
    path.extension().is_some_and(|end| end == "part") && name.map(Path::new).is_some_and(is_backup)
}

/// Whether a file is called as [`backup_name`] calls one.
fn is_backup(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let time = name.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(BEHIND));
    time.is_some_and(|time| {
        let shape = time.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
        shape.eq(*b"00000000T000000.000Z")
    })
}
