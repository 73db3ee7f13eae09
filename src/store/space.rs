//! Room on the disk: what is kept free of it, and what becomes of writes when there is none.
//!
//! redb gives up for good after a write that failed. So a write is only begun when its disk has
//! room for it beyond a reserve, which is left to deletions, to settling and to housekeeping. Below
//! that, writes are refused; but for as long as the file does not grow there is room within it,
//! such as deletions leave. Should the disk fill up all the same, by others' doing, the thread that
//! writes waits within the write until there is room, or until it is told to stop.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tracing::{error, info, warn};

use super::StoreError;

/// What is kept free if nothing else is said: twice what settling takes at a time with the
/// default cache.
const RESERVE_BYTES: u64 = 64 << 20;
/// But no more than this part of the disk.
const RESERVE_PART: u64 = 8;

/// What a write takes on disk at most for each byte of it: its place in the log and its place in
/// the tables, each of which may leave half a page empty.
const BYTES_TAKEN: u64 = 4;

/// What of the reserve is left to deletions alone, and what to those who make room afterwards.
const DELETION_PART: u64 = 8;
const TIDYING_PART: u64 = 4;

/// So many commits may let the file grow before it is taken for full, once something was deleted:
/// pages come free one or two commits later.
const GROWING_MAX: u32 = 8;

/// How long to wait before a write is tried again that the disk had no room for.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The room on one data file's disk.
#[derive(Debug)]
pub(super) struct Space {
    /// None of a store in memory.
    file: Option<PathBuf>,
    /// How much of the disk is kept free, in bytes.
    reserve: u64,
    /// How much of the disk the file takes, in blocks.
    blocks: AtomicU64,
    /// How many commits may still let it grow although too little is free.
    growing: AtomicU32,
    /// Whether something has gone from the file.
    freed: AtomicBool,
    /// Whether writes were refused the last time that somebody asked.
    refusing: AtomicBool,
    /// Whether the writer waits in the middle of a write.
    stalled: AtomicBool,
    /// Whether nobody waits any more.
    closing: AtomicBool,
}

impl Space {
    /// The room for the file at `path`, of which `reserve` bytes are to be kept free.
    pub(super) fn of(path: &Path, reserve: Option<u64>) -> Arc<Self> {
        let total = disk(path).map_or(u64::MAX, |disk| disk.total);
        let reserve = reserve.unwrap_or_else(|| RESERVE_BYTES.min(total / RESERVE_PART));
        Arc::new(Self { file: Some(path.to_owned()), reserve, ..Self::endless() })
    }

    /// Room without end.
    pub(super) fn endless() -> Self {
        Self {
            file: None,
            reserve: 0,
            blocks: AtomicU64::new(0),
            growing: AtomicU32::new(0),
            freed: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    /// Whether there is room for a write of so many `bytes`. A system call, some microseconds.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.admits(self.free(), bytes)
    }

    /// Sees to it that there is room for a write of so many `bytes`, and remembers what came of it.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`].
    pub(super) fn check(&self, bytes: usize) -> Result<(), StoreError> {
        let free = self.free();
        if self.admits(free, bytes) {
            if self.refusing.swap(false, Ordering::Relaxed) {
                info!("there is room for writes again: {} MiB are free", mib(free));
            }
            return Ok(());
        }
        if !self.refusing.swap(true, Ordering::Relaxed) {
            warn!(
                "writes are refused: {} MiB are free on the data file's disk, and {} MiB are kept \
                 free by --reserve-mib; make room there, or delete sessions",
                mib(free),
                mib(self.reserve)
            );
        }
        Err(self.full(free))
    }

    /// Sees to it that there is room for a deletion, which takes some before it gives more.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`].
    pub(super) fn check_deletion(&self) -> Result<(), StoreError> {
        let free = self.free();
        if free >= self.reserve / DELETION_PART { Ok(()) } else { Err(self.full(free)) }
    }

    /// Whether there is room for settling and housekeeping.
    pub(super) fn may_tidy(&self) -> bool {
        self.free() >= self.reserve / TIDYING_PART
    }

    fn admits(&self, free: u64, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BYTES_TAKEN);
        // Somewhat more than there was when it began to refuse, so that this does not flicker.
        let more = if self.is_refusing() { self.reserve / 8 } else { 0 };
        let is_within = self.growing.load(Ordering::Relaxed) > 0 && free >= self.reserve / 2;
        let needed = self.reserve.saturating_add(more).saturating_add(bytes);
        !self.is_stalled() && (free >= needed || is_within)
    }

    /// How much is free on the disk. As much as there can be where the system does not tell.
    pub(super) fn free(&self) -> u64 {
        self.file.as_deref().and_then(disk).map_or(u64::MAX, |disk| disk.free)
    }

    fn full(&self, free: u64) -> StoreError {
        StoreError::DiskFull { free, reserve: self.reserve }
    }

    /// Whether writes were refused the last time that somebody asked.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// Whether no write goes on, not even one that makes room.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Looks whether a commit has let the file grow.
    pub(super) fn committed(&self) {
        let found = self.file.as_deref().and_then(|file| file.metadata().ok());
        let blocks = found.map_or(0, |found| found.blocks());
        if blocks > self.blocks.swap(blocks, Ordering::Relaxed) {
            let one_less = |left: u32| left.checked_sub(1);
            // Nothing is left of nothing.
            let _left = self.growing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
    }

    /// A part of what is in the file is gone.
    pub(super) fn freed(&self) {
        self.freed.store(true, Ordering::Relaxed);
    }

    /// All is gone from the file that can go: if it was something, there may be room within it.
    pub(super) fn tidied(&self) {
        if self.freed.swap(false, Ordering::Relaxed) {
            self.growing.store(GROWING_MAX, Ordering::Relaxed);
        }
    }

    /// Lets nobody wait any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Does `write`, again and again while the disk has no room for it. A write may be done again
    /// in whole after it was done in part.
    pub(super) fn wait_for(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            let written = write();
            let waits =
                written.as_ref().is_err_and(is_full) && !self.closing.load(Ordering::Relaxed);
            let waited = self.stalled.swap(waits, Ordering::Relaxed);
            match (waited, waits) {
                (false, true) => {
                    error!("the data file's disk is full: writing waits until there is room on it");
                }
                (true, false) => info!("a write that waited for room on the disk has ended"),
                _ => {}
            }
            if !waits {
                return written;
            }
            std::thread::park_timeout(TRY_AGAIN);
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// The disk that a file is on, in bytes.
#[derive(Debug, Clone, Copy)]
struct Disk {
    total: u64,
    /// Of that, for users other than root.
    free: u64,
}

/// None where the system does not tell.
fn disk(file: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(file).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The room for a file in a folder of its own, of which so much is to be kept free.
    fn space(reserve: impl FnOnce(u64) -> u64) -> (tempfile::TempDir, Arc<Space>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.redb");
        std::fs::write(&path, b"x").unwrap();
        let reserve = reserve(disk(&path).unwrap().free);
        let space = Space::of(&path, Some(reserve));
        space.committed();
        (folder, space)
    }

    #[test]
    fn a_write_must_leave_the_reserve_free() {
        let (_folder, roomy) = space(|free| free / 2);
        let (_folder, tight) = space(|free| free * 4);

        roomy.check(1000).unwrap();
        assert!(roomy.check(usize::MAX).is_err());
        assert!(matches!(tight.check(0), Err(StoreError::DiskFull { .. })));
        assert!(tight.is_refusing());
    }

    #[test]
    fn what_was_freed_is_room_for_as_long_as_the_file_does_not_grow() {
        let (folder, space) = space(|free| free + free / 2);
        let grow = |to: usize| {
            std::fs::write(folder.path().join("test.redb"), vec![1; to << 20]).unwrap();
            space.committed();
        };
        assert!(space.check(0).is_err());

        space.freed();
        assert!(space.check(0).is_err(), "more may go");
        space.tidied();
        for _ in 0..100 {
            space.check(0).unwrap();
            space.committed();
        }

        for mib in 1..8 {
            grow(mib);
            space.check(0).unwrap();
        }
        grow(8);
        assert!(space.check(0).is_err());
    }

    #[test]
    fn half_the_reserve_is_left_whatever_is_freed() {
        let (_folder, space) = space(|free| free * 3);

        space.freed();
        space.tidied();

        assert!(space.check(0).is_err());
    }

    #[test]
    fn a_write_that_finds_the_disk_full_waits_for_room() {
        let (_folder, space) = space(|_| 0);
        let tries = Cell::new(0);

        let written = space.wait_for(|| {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 | 2 => Err(io::ErrorKind::StorageFull.into()),
                _ => {
                    assert!(space.is_stalled() && space.check(0).is_err());
                    Ok(())
                }
            }
        });

        written.unwrap();
        assert_eq!((tries.get(), space.is_stalled()), (3, false));
        space.check(0).unwrap();
    }

    #[test]
    fn other_failures_and_a_store_that_closes_do_not_wait() {
        let (_folder, space) = space(|_| 0);
        let fail = |kind: io::ErrorKind| space.wait_for(|| Err(kind.into())).unwrap_err().kind();

        assert_eq!(fail(io::ErrorKind::Other), io::ErrorKind::Other);
        space.close();
        assert_eq!(fail(io::ErrorKind::StorageFull), io::ErrorKind::StorageFull);
        assert!(!space.is_stalled());
    }
}
