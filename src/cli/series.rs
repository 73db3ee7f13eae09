//! The flags of backups that are made again and again.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

/// Backups that are made again and again.
#[derive(Debug, Clone, Default, Args)]
pub struct SeriesArgs {
    /// The folder for a backup that is named by its time; made if it is not there
    #[arg(long, value_name = "FOLDER", conflicts_with = "file")]
    pub into: Option<PathBuf>,

    /// How many of that folder's backups to keep: the oldest go once the new one is whole
    #[arg(long, value_name = "COUNT", requires = "into")]
    pub keep: Option<NonZeroUsize>,
}
