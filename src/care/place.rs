//! Where a file may be put: never in the place of what it is of, nor of a file that is in use.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::{Held, OpenError};

use super::{CareError, failed, is_same};

/// Where a file that is to stand at `target` is put, which is made of the data file at `data`: what
/// a link leads to, if it is one. It may take the place of a plain file that nobody has open as a
/// data file.
///
/// # Errors
/// [`CareError::Itself`], [`CareError::InUse`], or [`CareError::Copy`] for a folder, a device or a
/// link to nowhere.
pub(super) fn place(data: &Path, target: &Path) -> Result<PathBuf, CareError> {
    let found = match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target.to_owned()),
        found => found.map_err(|error| failed(target, &error))?,
    };
    let place = if found.is_symlink() {
        target.canonicalize().map_err(|error| failed(target, &format!("it is a link; {error}")))?
    } else {
        target.to_owned()
    };
    if !place.metadata().map_err(|error| failed(target, &error))?.is_file() {
        return Err(failed(target, &"it is no plain file, and - is for stdout"));
    }
    if is_same(data, &place) {
        return Err(CareError::Itself { path: target.to_owned() });
    }
    match Held::take(&place) {
        Err(OpenError::InUse { .. }) => Err(CareError::InUse { path: target.to_owned() }),
        // One that cannot be looked into is no data file of a server that runs as this user.
        Ok(_) | Err(_) => Ok(place),
    }
}
