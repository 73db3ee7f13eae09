//! Where the environment of a server is that another process started.
#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use std::path::PathBuf;

use clap::Args;

/// Whose environment counts.
#[derive(Debug, Clone, Default, Args)]
pub struct EnvArgs {
    /// The server's file of variables, read as systemd reads an EnvironmentFile, such as
    /// /etc/orion-chat/orion-chat.env; what it holds beats this shell's environment
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}
