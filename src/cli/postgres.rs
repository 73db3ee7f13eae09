//! The flags that say where PostgreSQL is.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use clap::Args;

/// Where PostgreSQL is.
#[derive(Debug, Clone, Default, Args)]
pub struct PostgresArgs {
    /// PostgreSQL to keep the same, as postgresql://USER@HOST:6432/NAME; its password comes by
    /// environment [env: ORION_CHAT_POSTGRES, or DB_HOST, DB_PORT, DB_NAME, DB_USER; DB_PASSWORD or
    /// DB_PASSWORD_FILE, DB_SSL] [default: none]
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
}
