//! What can go wrong with the data file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::DatabaseError;

use crate::model::UserId;

use super::QUEUE;

/// Why the data could not be read or written. Cheap to clone: one failure answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file could not be read or written, now or before; it must be opened again.
    #[error("data file: {0}")]
    Io(Arc<str>),
    /// The file holds something that was never written there.
    #[error("data file is damaged: {what} under key {key}")]
    Damaged {
        /// The kind of record.
        what: &'static str,
        /// Its key, escaped.
        key: String,
    },
    /// The file's structure is damaged.
    #[error("data file is damaged: {0}")]
    Structure(Arc<str>),
    /// A record would be larger than records may be.
    #[error("record is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// An operation panicked; it was undone.
    #[error("operation panicked; the panic is in the log")]
    Panicked,
    /// What was asked for must wait until this user's writes are settled.
    /// Leaves the store only if something of theirs is damaged, so that they are not.
    #[error("a write must wait for another user's")]
    Unsettled(UserId),
    /// The writer does not keep up.
    #[error("{QUEUE} operations are waiting for the writer")]
    Busy,
    /// The disk has no room for a write beyond what is kept free; it was not done.
    #[error("{free} bytes are free on the data file's disk, and {reserve} are kept free")]
    DiskFull {
        /// How much is free, in bytes.
        free: u64,
        /// How much is kept free, in bytes.
        reserve: u64,
    },
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the file can no longer be used without opening it again.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// Errors of an operation: what the rules refuse, or a [`StoreError`].
pub trait OperationError: From<StoreError> + Send + 'static {
    /// The storage error that this is, if it is one.
    fn storage(&self) -> Option<&StoreError>;
}

/// Why a data file could not be opened. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none and it cannot be made.
    #[error("cannot create data file {path}: {source}; choose a writable folder with --data", path = path.display())]
    Create {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is one, and this process may not write it; or there is none where one is needed.
    #[error("cannot open data file {path} for writing: {source}; {}", access_hint(source), path = path.display())]
    Access {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("data file {path} is in use by another process; stop that one or choose another file with --data", path = path.display())]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error("data file {path} has schema version {found}, this release knows up to {known}; it was left untouched: run the newer release", path = path.display())]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// The file's version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// It is not a data file, or not a whole one.
    #[error("data file {path} is damaged or not a data file: {reason}; it was left as it is: restore a backup, salvage what can be had, or move it away to begin anew", path = path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("cannot open data file: {0}; see whether its disk is full or failing")]
    Io(String),
}

fn access_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "name one that is there, as the argument or with --data",
        io::ErrorKind::ReadOnlyFilesystem => {
            "copy it to a place that can be written, and name that"
        }
        _ => "give this user access or choose another with --data",
    }
}

impl OpenError {
    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// What it means that something in the file at `path` could not be read.
    pub(crate) fn unreadable(path: &Path, error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => Self::Io(error.to_string()),
            other => Self::damaged(path, other.to_string()),
        }
    }

    /// What redb's refusal to open `path` means.
    pub(super) fn refused(path: &Path, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse { path: path.to_owned() },
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::Io(error.to_string())
            }
            other => Self::damaged(path, other.to_string()),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        Self::Io(error.to_string())
    }
}

impl OperationError for StoreError {
    fn storage(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(what) => Self::Structure(what.into()),
            // Ours has all the tables, and of these types: this is another's, or damaged.
            error @ (redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => {
                Self::Structure(error.to_string().into())
            }
            other => Self::Io(other.to_string().into()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    DatabaseError
);
