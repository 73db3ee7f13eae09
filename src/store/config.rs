//! What a store is opened with.

use std::path::PathBuf;

use super::usage::Quota;

/// Where the data is and how much memory it may use.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data file; created when it is not there.
    pub path: PathBuf,
    /// Memory for pages of the file, and for what is not yet in its place there, in bytes.
    pub cache_bytes: usize,
    /// How much of the disk is kept free, in bytes: below that, writes are refused. If `None`,
    /// 64 MiB, or an eighth of a smaller disk.
    pub reserve_bytes: Option<u64>,
    /// The most that a user may store.
    pub quota: Quota,
}

impl StoreConfig {
    /// The file at `path`, so much memory, and the default for the rest.
    pub fn new(path: PathBuf, cache_bytes: usize) -> Self {
        Self { path, cache_bytes, reserve_bytes: None, quota: Quota::default() }
    }

    pub(super) fn pages_bytes(&self) -> usize {
        self.cache_bytes / 8 * PAGES_EIGHTHS
    }

    pub(super) fn fresh_bytes(&self) -> usize {
        self.cache_bytes / 8 * FRESH_EIGHTHS
    }
}

/// How the cache is shared out, in eighths: to pages, and to what is fresh. The more may be fresh,
/// the more rows go into each page that is rewritten when it is settled. The eighth that is left
/// is what the allocator rounds pages up by.
const PAGES_EIGHTHS: usize = 4;
const FRESH_EIGHTHS: usize = 3;
