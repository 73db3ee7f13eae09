//! The data file: created whole or not at all, locked, and left untouched until it is known to
//! be ours.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redb::backends::FileBackend;
use redb::{BackendError, Builder, StorageBackend};
use uuid::Uuid;

use crate::metrics::Metrics;

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

/// A backend that keeps writes in memory until they are let through, and measures from then on.
///
/// To open a file is to write to it, more so when it was not closed cleanly and is repaired.
/// Holding these writes back until the schema version has been read leaves the file of a newer
/// release as it was, whatever its state.
#[derive(Debug)]
pub(super) struct HeldBackend<B>(Arc<Gate<B>>);

/// Lets the writes of a [`HeldBackend`] through.
#[derive(Debug)]
pub(super) struct Gate<B> {
    inner: B,
    metrics: Arc<Metrics>,
    /// What was done and is held back, in order.
    held: Mutex<Vec<Step>>,
    /// Whether nothing is held back any more; read without the lock on every access.
    through: AtomicBool,
}

#[derive(Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl<B: StorageBackend> HeldBackend<B> {
    /// A backend over `inner`, and the gate that ends the holding.
    pub(super) fn new(inner: B, metrics: Arc<Metrics>) -> (Self, Arc<Gate<B>>) {
        let (held, through) = (Mutex::default(), AtomicBool::new(false));
        let gate = Arc::new(Gate { inner, metrics, held, through });
        (Self(Arc::clone(&gate)), gate)
    }
}

impl<B: StorageBackend> Gate<B> {
    /// Does what was held back, in the order in which it was asked for, and holds no more.
    pub(super) fn let_through(&self) -> io::Result<()> {
        let mut held = self.held();
        for step in held.drain(..) {
            match step {
                Step::Write { offset, data } => self.inner.write(offset, &data)?,
                Step::SetLen(len) => self.inner.set_len(len)?,
                Step::Sync => self.inner.sync_data()?,
            }
        }
        self.through.store(true, Ordering::Release);
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Vec<Step>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_through(&self) -> bool {
        self.through.load(Ordering::Acquire)
    }

    fn held_len(&self, held: &[Step]) -> io::Result<u64> {
        let set = held.iter().rev().find_map(|step| match step {
            Step::SetLen(len) => Some(*len),
            Step::Write { .. } | Step::Sync => None,
        });
        set.map_or_else(|| self.inner.len(), Ok)
    }

    /// Reads what the file would hold if nothing were held back.
    fn read_held(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.held();
        out.fill(0);
        let on_disk = self.inner.len()?.min(self.held_len(&held)?).saturating_sub(offset);
        let on_disk = usize::try_from(on_disk).unwrap_or(usize::MAX).min(out.len());
        if let Some(out) = out.get_mut(..on_disk).filter(|out| !out.is_empty()) {
            self.inner.read(offset, out)?;
        }
        for step in held.iter() {
            if let Step::Write { offset: at, data } = step {
                overlay(out, offset, data, *at);
            }
        }
        Ok(())
    }
}

/// Copies into `out`, which stands at `offset`, what overlaps of `data`, which stands at `at`.
fn overlay(out: &mut [u8], offset: u64, data: &[u8], at: u64) {
    let skip = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let out = out.iter_mut().skip(skip(offset, at));
    let data = data.iter().skip(skip(at, offset));
    out.zip(data).for_each(|(out, byte)| *out = *byte);
}

impl<B: StorageBackend> StorageBackend for HeldBackend<B> {
    fn len(&self) -> io::Result<u64> {
        if self.0.is_through() { self.0.inner.len() } else { self.0.held_len(&self.0.held()) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.0.is_through() {
            return self.0.read_held(offset, out);
        }
        self.0.metrics.file_reads.inc();
        self.0.metrics.file_read_bytes.inc_by(out.len() as u64);
        self.0.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.0.is_through() {
            return self.0.inner.set_len(len);
        }
        self.0.held().push(Step::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.is_through() {
            let began = Instant::now();
            let synced = self.0.inner.sync_data();
            self.0.metrics.fsync_duration_seconds.took(began.elapsed());
            return synced;
        }
        self.0.held().push(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.0.is_through() {
            self.0.metrics.file_written_bytes.inc_by(data.len() as u64);
            return self.0.inner.write(offset, data);
        }
        self.0.held().push(Step::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.inner.query_lock_range(start, end)
    }
}
