//! A new data file, made from the pieces of another.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem::take;
use std::path::Path;
use std::time::Instant;

use redb::backends::FileBackend;
use redb::{Builder, Database, TableHandle as _};

use crate::fault::{Fault, is_planted};

use super::file::{self, Unfinished};
use super::snapshot::CACHE_BYTES;
use super::tables::{LOG_ID, META, NAMED, NUMBERED};
use super::{OpenError, Piece, StoreError, new_log_id};

/// How much goes into one commit, in bytes: each is a sync, which others on the disk wait for.
const COMMIT_BYTES: usize = 2 * 1024 * 1024;

/// The same where others are to have the disk in between.
const TURN_BYTES: usize = 512 * 1024;

/// A data file that is being made. It goes when this does.
///
/// Its log gets a number of its own, unless it is ended otherwise: whoever followed the changes of the other file may have seen
/// some that are not in this one, and is told to look anew.
pub struct NewFile {
    unfinished: Unfinished,
    file: File,
    db: Database,
    table: String,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    takes_turns: bool,
}

/// A data file that is whole and on disk, under a name of its own beside its target. It goes when
/// this does.
#[derive(Debug)]
pub struct FinishedFile(Unfinished);

impl NewFile {
    /// Begins a file that is to stand at `target`, with mode 0600.
    ///
    /// # Errors
    /// [`OpenError::Create`] when it cannot be made in that folder.
    pub fn create(target: &Path) -> Result<Self, OpenError> {
        let (unfinished, file) = file::create_beside(target, "part")?;
        let failed = |source: io::Error| OpenError::Create { path: target.to_owned(), source };
        let backend = FileBackend::new(file.try_clone().map_err(failed)?)?;
        let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        let (table, rows) = (String::new(), Vec::new());
        Ok(Self { unfinished, file, db, table, rows, bytes: 0, takes_turns: false })
    }

    /// From now on leaves the disk to others for as long as it had it: for who copies what is written
    /// to meanwhile.
    pub fn take_turns(&mut self) {
        self.takes_turns = true;
    }

    /// Puts the next piece of the other file.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written, or is of a table that this release does not know.
    pub fn put(&mut self, piece: Piece<'_>) -> Result<(), StoreError> {
        match piece {
            Piece::Table(name) => {
                self.commit()?;
                name.clone_into(&mut self.table);
                // Also one without rows must be there.
                self.commit()
            }
            Piece::Row(key, value) => {
                self.bytes += key.len() + value.len();
                self.rows.push((key.to_vec(), value.to_vec()));
                let enough = if self.takes_turns { TURN_BYTES } else { COMMIT_BYTES };
                if self.bytes >= enough { self.commit() } else { Ok(()) }
            }
        }
    }

    /// Ends it, and waits until it is on disk.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn finish(mut self) -> Result<FinishedFile, StoreError> {
        self.put(Piece::Table(META.name()))?;
        self.put(Piece::Row(LOG_ID, &new_log_id()))?;
        self.end()
    }

    /// Ends it as [`NewFile::finish`] does, without the room that nothing is in, and with the number
    /// of the other file's log: nobody can have seen changes that are not in this one.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn finish_compact(mut self) -> Result<FinishedFile, StoreError> {
        self.commit()?;
        self.db.compact().map_err(|error| StoreError::Io(error.to_string().into()))?;
        self.end()
    }

    fn end(mut self) -> Result<FinishedFile, StoreError> {
        self.commit()?;
        self.db.close()?;
        self.file.sync_all().map_err(|error| StoreError::Io(error.to_string().into()))?;
        Ok(FinishedFile(self.unfinished))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file has no writer, and its disk is shared"
    )]
    fn commit(&mut self) -> Result<(), StoreError> {
        if self.table.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let (rows, name) = (take(&mut self.rows), self.table.as_str());
        let transaction = self.db.begin_write()?;
        if let Some(table) = NUMBERED.into_iter().find(|table| table.name() == name) {
            let mut table = transaction.open_table(table)?;
            for (key, value) in rows {
                let key = key.try_into().map_err(|_| unknown(name))?;
                table.insert(u64::from_be_bytes(key), value.as_slice())?;
            }
        } else if let Some(table) = NAMED.into_iter().find(|table| table.name() == name) {
            let mut table = transaction.open_table(table)?;
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        } else {
            return Err(unknown(name));
        }
        let began = Instant::now();
        transaction.commit()?;
        if self.takes_turns {
            std::thread::sleep(began.elapsed());
        }
        Ok(())
    }
}

fn unknown(table: &str) -> StoreError {
    StoreError::Structure(format!("this release has no table {table} of that kind").into())
}

impl FinishedFile {
    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// Puts it at `target`, in the place of what is there: at any moment, even one of a crash, there
    /// is either of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(self, target: &Path) -> io::Result<()> {
        std::fs::rename(self.path(), target)?;
        if is_planted(Fault::FolderNotSynced) {
            return Ok(());
        }
        file::sync_folder(target)
    }

    /// Puts it at `target`, as [`FinishedFile::publish`] does, for whoever owns what is there, or the
    /// folder. What is there is called `kept` from then on.
    ///
    /// # Errors
    /// What the system says.
    pub fn replace(self, target: &Path, kept: Option<&Path>) -> io::Result<()> {
        let (user, group) = file::owner_of(target)?;
        if file::owner_of(self.path())? != (user, group) {
            std::os::unix::fs::chown(self.path(), Some(user), Some(group))?;
        }
        if let Some(kept) = kept {
            // A file system without links; the window until the file is renamed is all that is lost.
            std::fs::hard_link(target, kept).or_else(|_| std::fs::rename(target, kept))?;
            file::sync_folder(kept)?;
        }
        self.publish(target)
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("at", &self.unfinished).finish_non_exhaustive()
    }
}
