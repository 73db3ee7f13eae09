//! The flags of the admin listener.
#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use clap::Args;

/// Where operators and their tools ask.
#[derive(Debug, Clone, Default, Args)]
pub struct AdminArgs {
    /// Where to listen for metrics and /debug, or off [env: ORION_CHAT_ADMIN_LISTEN] [default:
    /// 127.0.0.1:9302 if that is free]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
}
