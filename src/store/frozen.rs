//! A snapshot, read as the store is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::open::load;
use super::tx::View;
use super::{ReadTx, Snapshot, StoreError};

/// What a [`Snapshot`] shows, with what was not settled then: it stays as it is, and keeps nobody
/// from writing. Takes as much memory as what was fresh.
pub struct Frozen {
    view: View,
    /// What keeps it open.
    _snapshot: Snapshot,
}

impl Snapshot {
    /// What it shows, to be read as the store is.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged where it begins.
    pub fn freeze(self) -> Result<Frozen, StoreError> {
        let loaded = catch_unwind(AssertUnwindSafe(|| load(Arc::clone(&self.tx))));
        let loaded = loaded.unwrap_or_else(|_| {
            Err(StoreError::Structure("its structure makes no sense".into()))
        })?;
        Ok(Frozen { view: loaded.view, _snapshot: self })
    }
}

impl Frozen {
    /// Shows `work` what it holds.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::Structure`] where redb trips over a damaged page.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        catch_unwind(AssertUnwindSafe(|| work(ReadTx(&self.view))))
            .unwrap_or_else(|_| Err(StoreError::Structure("a read panicked".into()).into()))
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").finish_non_exhaustive()
    }
}
