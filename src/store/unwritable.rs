//! A data file that this user may read and not write, or that lies on a disk that nobody can write,
//! such as where backups are kept.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use redb::StorageBackend;

use super::OpenError;

/// The file. What redb would write never gets here: it is held back, and never let through.
#[derive(Debug)]
pub(super) struct Unwritable(File);

impl Unwritable {
    /// Opens the file at `path` unless another process has it open to write; gives its length too.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), OpenError> {
        let access = |source: io::Error| OpenError::Access { path: path.to_owned(), source };
        let file = File::open(path).map_err(access)?;
        // redb's own locks are for those who can write; beside them, whoever writes holds this one.
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: path.to_owned() });
            }
            // Some network file systems have no locks: nobody can hold one there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(access(error)),
        }
        let bytes = file.metadata().map_err(access)?.len();
        Ok((Self(file), bytes))
    }

    /// Whether a file that cannot be opened to write, for this reason, may be read.
    pub(super) fn is_reason(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
    }
}

impl StorageBackend for Unwritable {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|found| found.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
