//! The flags of `serve`.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{AdminArgs, LimitArgs, PostgresArgs};

/// How to serve.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The data file; created if it is not there [env: ORION_CHAT_DATA] [default:
    /// $STATE_DIRECTORY/orion-chat.redb under systemd, else orion-chat.redb in this folder]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// Where to listen; port 0 picks a free one [env: ORION_CHAT_LISTEN; PORT changes the port]
    /// [default: 127.0.0.1:3002]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// How callers are told apart [env: ORION_CHAT_AUTH] [default: jwt if a secret is set, else
    /// local]
    #[arg(long, value_enum)]
    pub auth: Option<AuthMode>,

    /// A web origin whose pages may call, such as <https://*.example.org>; repeat it for more
    /// [env: ALLOWED_ORIGINS, with commas, or ALLOWED_ORIGINS_FILE] [default: the portal's, Vercel's and localhost's]
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Vec<String>,

    /// Memory for the data file's pages and for what is not yet in its place there, in MiB [env:
    /// ORION_CHAT_CACHE_MIB] [default: 64]
    #[arg(long, value_name = "MIB")]
    pub cache_mib: Option<u32>,

    /// PostgreSQL.
    #[command(flatten)]
    pub postgres: PostgresArgs,

    /// How to write the log on stderr [env: ORION_CHAT_LOG_FORMAT]
    /// [default: text on a terminal, else json]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,

    /// Where operators and their tools ask.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// How much callers may take.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// How callers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// By a signed token
    Jwt,
    /// By what they say, if they are on this machine
    Local,
    /// By what they say, whoever they are: for a trusted network
    Off,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}
