//! How much there is of everything, as is known without looking for it.

use redb::{ReadableTable as _, ReadableTableMetadata as _, TableHandle as _};
use serde::Serialize;

use super::tables::{NAMED, NUMBERED, SETTLED};
use super::tx::{ReadTx, read_number};
use super::{StoreError, Stored};

/// How much there is of everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreSizes {
    /// Sessions and messages.
    #[serde(flatten)]
    pub stored: Stored,
    /// The number of the last step.
    pub newest_step: u64,
    /// Steps in the log, for those who were away.
    pub log_steps: u64,
    /// Steps that are in the log alone.
    pub unsettled_steps: u64,
    /// Memory for these, in bytes.
    pub unsettled_bytes: u64,
    /// Every table.
    pub tables: Vec<TableSize>,
}

/// How much there is in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// What it is called.
    pub name: String,
    /// Its records, each of which may hold many rows.
    pub records: u64,
}

impl ReadTx<'_> {
    /// How much there is of everything.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn sizes(self) -> Result<StoreSizes, StoreError> {
        let (view, tx) = (self.0, &self.0.tables.tx);
        let mut tables = Vec::new();
        for table in NUMBERED {
            let records = tx.open_table(table)?.len()?;
            tables.push(TableSize { name: table.name().to_owned(), records });
        }
        for table in NAMED {
            let records = tx.open_table(table)?.len()?;
            tables.push(TableSize { name: table.name().to_owned(), records });
        }
        let settled = read_number(&tx.open_table(super::tables::META)?, SETTLED)?.unwrap_or(0);
        let oldest = view.tables.log.first()?.map_or(view.newest + 1, |(seq, _)| seq.value());
        Ok(StoreSizes {
            stored: view.stored,
            newest_step: view.newest,
            log_steps: (view.newest + 1).saturating_sub(oldest),
            unsettled_steps: view.newest.saturating_sub(settled),
            unsettled_bytes: view.fresh.bytes() as u64,
            tables,
        })
    }
}
