//! The flags that say where PostgreSQL is, and the commands that look after it as a replica.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use clap::{Args, Subcommand};

use super::{DataArgs, EnvArgs};

/// Where PostgreSQL is.
#[derive(Debug, Clone, Default, Args)]
pub struct PostgresArgs {
    /// PostgreSQL to keep the same, as postgresql://USER@HOST:6432/NAME; its password comes by
    /// environment [env: ORION_CHAT_POSTGRES, or DB_HOST, DB_PORT, DB_NAME, DB_USER; DB_PASSWORD or
    /// DB_PASSWORD_FILE, DB_SSL, DB_SSL_CA] [default: none]
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
}

/// A data file and its replica.
#[derive(Debug, Clone, Default, Args)]
pub struct ReplicaArgs {
    /// The data file.
    #[command(flatten)]
    pub data: DataArgs,
    /// PostgreSQL.
    #[command(flatten)]
    pub postgres: PostgresArgs,
    /// Where the server's configuration is.
    #[command(flatten)]
    pub env: EnvArgs,
}

/// What can be done about PostgreSQL.
#[derive(Debug, Subcommand)]
pub enum PostgresCommand {
    /// Add the schema orion_chat: triggers that tell of every change, so that none is missed.
    Install(ReplicaArgs),
    /// Remove the schema orion_chat and its triggers.
    Uninstall(ReplicaArgs),
    /// Take everything that is there now, while a server has the data file or not; makes one if there is
    /// none.
    Pull {
        /// Delete here what is not there any more, even if it is much
        #[arg(long)]
        accept_deletions: bool,
        /// Into which data file.
        #[command(flatten)]
        place: ReplicaArgs,
    },
    /// Show how it is doing: what waits, what was refused, what is wrong.
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// Of which data file.
        #[command(flatten)]
        place: ReplicaArgs,
    },
    /// List what lost against other changes, a line each: titles, metadata and messages.
    Conflicts {
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
        /// Of which data file.
        #[command(flatten)]
        place: ReplicaArgs,
    },
    /// Say where both sides differ, a line for each session; ends with 1 if they do.
    Diff(ReplicaArgs),
    /// Send again what was refused; ends with 1 if some of it is refused still.
    Retry(ReplicaArgs),
}

impl PostgresCommand {
    /// The data file and its replica.
    pub fn place(&self) -> &ReplicaArgs {
        match self {
            Self::Install(place)
            | Self::Uninstall(place)
            | Self::Diff(place)
            | Self::Retry(place)
            | Self::Pull { place, .. }
            | Self::Status { place, .. }
            | Self::Conflicts { place, .. } => place,
        }
    }
}
