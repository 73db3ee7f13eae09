//! Giving room back: a copy without what is free takes the file's place.

use std::path::Path;

use crate::store::Snapshot;

use super::source::{fill, size_of};
use super::{CareError, News, check, failed, filled, sound};

/// Puts a copy of the data file at `data`, which no server may have open, in its place, without the room
/// that nothing is in. Gives its size before and after, in bytes.
///
/// The copy is checked first, and belongs to whoever owned the file. At any moment, even one of a
/// crash, there is the old file or the new one under its name. There must be room for both.
///
/// # Errors
/// [`CareError`], with which the data file is as it was.
pub fn compact(data: &Path, news: &mut dyn FnMut(News<'_>)) -> Result<(u64, u64), CareError> {
    // The file itself, where its name is a link to it.
    let target = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let before = size_of(&target);
    // Kept until the other is there: no server starts with the old one meanwhile.
    let snapshot = Snapshot::open(&target)?;
    let copy = filled(&target, |copy| fill(copy, &snapshot, (&target, before), news))?;
    let copy = copy.finish_compact().map_err(|error| failed(&target, &error))?;
    let (_, problems) = check(&Snapshot::open(copy.path())?, news);
    sound(data, problems, "it was left as it is: restore a backup, or salvage what can be had")?;
    let after = size_of(copy.path());
    copy.replace(&target, None).map_err(|error| failed(&target, &error))?;
    Ok((before, after))
}
