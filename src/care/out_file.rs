//! A file for its owner alone, which gets its name when it is whole and on disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The file. It goes when this does, unless it was finished.
pub(super) struct OutFile {
    part: Part,
    pub(super) file: File,
}

impl OutFile {
    /// Begins a file that is to stand at `target`.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let part = Part::beside(target);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part.path())?;
        Ok(Self { part, file })
    }

    /// Waits until it is on disk, and puts it at `target`, in the place of what is there.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(self.part.path(), target)?;
        sync_folder(target)
    }
}

/// The name of a file that is on its way. What has it goes when this does.
pub(super) struct Part(PathBuf);

impl Part {
    /// A name beside `target` that nobody has.
    pub(super) fn beside(target: &Path) -> Self {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", Uuid::new_v4()));
        Self(target.with_file_name(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts what has it, which is on disk, at `target`, where nothing may be.
    pub(super) fn publish_new(self, target: &Path) -> io::Result<()> {
        std::fs::hard_link(&self.0, target)?;
        sync_folder(target)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have been renamed, which is as good.
        let _removed = std::fs::remove_file(&self.0);
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
