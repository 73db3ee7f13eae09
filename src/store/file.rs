//! The data file: created whole or not at all, and locked.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, StorageBackend as _};
use uuid::Uuid;

use super::{OpenError, lay_out};

/// Opens the file for reading and writing, without creating it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Creates the data file at `path`, unless another process is quicker.
///
/// It is made beside `path` and linked there when it is complete and on disk, so that a crash
/// never leaves half a file that a later start would have to tell from a damaged one.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |source: io::Error| OpenError::Create { path: path.to_owned(), source };
    let (unfinished, file) = create_beside(path, "new")?;
    let synced = file.try_clone().map_err(failed)?;
    let db = Builder::new().create_with_backend(FileBackend::new(file)?)?;
    lay_out(&db)?;
    db.close()?;
    synced.sync_all().map_err(failed)?;
    match std::fs::hard_link(&unfinished.0, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // A file system without links; the window between the two calls is all that is lost.
        Err(_) if !path.exists() => std::fs::rename(&unfinished.0, path).map_err(failed)?,
        linked => linked.map_err(failed)?,
    }
    sync_folder(path).map_err(failed)
}

/// Creates a file for this user alone beside `path`, under a name that nobody has and that ends in
/// `ending`.
pub(super) fn create_beside(path: &Path, ending: &str) -> Result<(Unfinished, File), OpenError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Not by the process's number, which others on a shared volume may have too.
    name.push(format!(".{}.{ending}", Uuid::new_v4()));
    let unfinished = Unfinished(path.with_file_name(name));
    let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).clone();
    match options.open(&unfinished.0) {
        Ok(file) => Ok((unfinished, file)),
        Err(source) => Err(OpenError::Create { path: path.to_owned(), source }),
    }
}

/// Waits until the names in the folder of `path` are on disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Who owns the file at `path`, or its folder where there is none: user and group.
pub(super) fn owner_of(path: &Path) -> io::Result<(u32, u32)> {
    let found = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder_of(path)))?;
    Ok((found.uid(), found.gid()))
}

/// Gives a data file that root has made to whoever owns its folder, and so runs the server.
///
/// # Errors
/// What the system says.
pub fn hand_over(path: &Path) -> io::Result<()> {
    let folder = std::fs::metadata(folder_of(path))?;
    if std::fs::metadata(path)?.uid() == 0 && folder.uid() != 0 {
        std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

/// A data file, whole or damaged, that no other process can open for as long as this is kept.
#[derive(Debug)]
pub struct Held(FileBackend);

impl Held {
    /// Takes the file at `path`, or nothing where there is none.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process has it open, [`OpenError::Access`] when it cannot
    /// be opened.
    pub fn take(path: &Path) -> Result<Option<Self>, OpenError> {
        let file = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => {
                opened.map_err(|source| OpenError::Access { path: path.to_owned(), source })?
            }
        };
        let held = Self(FileBackend::new(file)?);
        match held.0.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) => Ok(Some(held)),
            Ok(false) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(error) => Err(OpenError::Io(error.to_string())),
        }
    }
}

/// A file that goes when this does.
#[derive(Debug)]
pub(super) struct Unfinished(pub(super) PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It may have been renamed, which is as good.
        let _removed = std::fs::remove_file(&self.0);
    }
}
