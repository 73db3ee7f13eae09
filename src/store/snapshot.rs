//! The file as of one commit, for those who look at all of it while others write.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, TableHandle as _,
};

use super::open::open_backend;
use super::space::Space;
use super::tables::{NAMED, NUMBERED};
use super::unwritable::Unwritable;
use super::{OpenError, StoreError, open_held};

/// Memory for pages of a file that nobody serves, in bytes: it is read from one end to the other.
pub(super) const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Everything that was committed at one moment, whatever is written since.
pub struct Snapshot {
    pub(super) tx: Arc<ReadTransaction>,
    /// The file, if it was opened for this alone.
    opened: Option<Database>,
}

/// A piece of what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The name of the table that the rows behind it are of.
    Table(&'a str),
    /// A row: its key and its value.
    Row(&'a [u8], &'a [u8]),
}

impl Snapshot {
    pub(super) fn new(tx: Arc<ReadTransaction>) -> Self {
        Self { tx, opened: None }
    }

    /// The data file at `path`, which stays as it is, and is in use for as long as this is kept; also
    /// one that can only be read.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let on = || (Arc::new(Space::endless()), Arc::default());
        // No gate is ever opened.
        let db = match open_held(path, CACHE_BYTES, on(), |_| {}) {
            Err(OpenError::Access { source, .. }) if Unwritable::is_reason(&source) => {
                let (file, bytes) = Unwritable::open(path)?;
                open_backend(file, (path, bytes), CACHE_BYTES, on(), |_| {})?.0
            }
            opened => opened?.0,
        };
        let tx = db.begin_read().map_err(|error| OpenError::unreadable(path, error.into()))?;
        Ok(Self { tx: Arc::new(tx), opened: Some(db) })
    }

    /// Shows `each` all that the file holds, as it lies there.
    ///
    /// # Errors
    /// What `each` returns; [`StoreError`] when the file cannot be read or its structure is damaged.
    pub fn pieces<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // redb may panic on a page that is damaged.
        catch_unwind(AssertUnwindSafe(|| self.show_pieces(&mut each))).unwrap_or_else(|_| {
            Err(StoreError::Structure("its structure makes no sense".into()).into())
        })
    }

    fn show_pieces<E: From<StoreError>>(
        &self,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for table in NUMBERED {
            each(Piece::Table(table.name()))?;
            for row in self.table(table)?.iter().map_err(StoreError::from)? {
                let (key, value) = row.map_err(StoreError::from)?;
                each(Piece::Row(&key.value().to_be_bytes(), value.value()))?;
            }
        }
        for table in NAMED {
            each(Piece::Table(table.name()))?;
            for row in self.table(table)?.iter().map_err(StoreError::from)? {
                let (key, value) = row.map_err(StoreError::from)?;
                each(Piece::Row(key.value(), value.value()))?;
            }
        }
        Ok(())
    }

    pub(super) fn table<K: Key>(
        &self,
        definition: TableDefinition<'_, K, &'static [u8]>,
    ) -> Result<ReadOnlyTable<K, &'static [u8]>, StoreError> {
        Ok(self.tx.open_table(definition)?)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let opened = self.opened.take();
        // redb looks at its own pages as it closes, and may panic on one that is damaged. Nothing of it
        // is written.
        let _damaged = catch_unwind(AssertUnwindSafe(|| drop(opened)));
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
