//! A file for its owner alone, which gets its name when it is whole and on disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The file. It goes when this does, unless it was finished.
pub(super) struct OutFile {
    part: PathBuf,
    pub(super) file: File,
}

impl OutFile {
    /// Begins a file that is to stand at `target`.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", Uuid::new_v4()));
        let part = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Self { part, file })
    }

    /// Waits until it is on disk, and puts it at `target`, in the place of what is there.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.part, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // It may have been renamed, which is as good.
        let _removed = std::fs::remove_file(&self.part);
    }
}
