//! The arguments of the commands that look after the data.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use std::path::PathBuf;

use clap::Args;

use super::DataArgs;

/// What to export.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Where to; - is stdout [default: orion-chat-TIME.ndjson in this folder]
    pub file: Option<PathBuf>,
    /// Only this user's
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Of which data file.
    #[command(flatten)]
    pub data: DataArgs,
}

/// What to import.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The lines; - is stdin
    #[arg(required_unless_present = "csv", conflicts_with = "csv")]
    pub file: Option<PathBuf>,
    /// Instead: the table chat_sessions or chat_messages of the Express service, as psql's \\copy
    /// writes it with csv header; name each
    #[arg(long, value_name = "FILE")]
    pub csv: Vec<PathBuf>,
    /// Tell of lines that cannot be stored, leave them out and go on
    #[arg(long)]
    pub keep_going: bool,
    /// Into which data file; made if it is not there.
    #[command(flatten)]
    pub data: DataArgs,
}
