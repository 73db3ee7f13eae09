//! The way back: a backup takes the place of the data file.

use std::path::{Path, PathBuf};

use crate::store::{Held, Snapshot};

use super::source::{copy, size_of};
use super::{CareError, News, check, failed, is_same, sound};

/// What a restored file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many records it holds.
    pub records: u64,
    /// What the file that was there before is called now.
    pub kept: Option<PathBuf>,
}

/// Puts a copy of the backup at `from` in the place of the data file at `data`, which no server may
/// have open; it belongs to whoever owned that, which is called `….before-restore-TIME` from then on. The backup is checked first, and `news` is told
/// what is wrong with it, one line each.
///
/// The copy is not the backup itself, so that the backup stays one. Whoever followed the changes of
/// the old file is told to look anew, as the number of its log is another.
///
/// At any moment, even one of a crash, there is the old file or the new one under its name.
///
/// # Errors
/// [`CareError`], with which the data file is as it was.
pub fn restore(
    from: &Path,
    data: &Path,
    time: &str,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Restored, CareError> {
    if is_same(from, data) {
        return Err(CareError::Itself { path: from.to_owned() });
    }
    // The file itself, where its name is a link to it.
    let target = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    // Kept until the other is there: no server starts with the old one meanwhile.
    let held = Held::take(&target)?;
    let snapshot = Snapshot::open(from)?;
    let (records, problems) = check(&snapshot, news);
    sound(from, problems, "nothing was restored: choose another backup")?;
    let kept = held.is_some().then(|| kept_name(&target, time));
    let restored = copy(&snapshot, &target, size_of(from), news)?;
    restored.replace(&target, kept.as_deref()).map_err(|error| failed(&target, &error))?;
    Ok(Restored { records, kept })
}

fn kept_name(data: &Path, time: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(format!(".before-restore-{time}"));
    name.into()
}
