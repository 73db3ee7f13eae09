//! The flags of `health`.
#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use super::EnvArgs;

/// More than any sensible answer needs.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// Which server to ask, and for what.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// The server, such as http://127.0.0.1:3002 [default: where ORION_CHAT_LISTEN or PORT says that
    /// one listens, else that]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Ask whether reads and writes work, and not only whether it answers
    #[arg(long)]
    pub ready: bool,

    /// How long to wait for the answer, such as 500ms or 10s; 1h at most
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = timeout)]
    pub timeout: Duration,

    /// Say nothing when it is well
    #[arg(long, short)]
    pub quiet: bool,

    /// Where the server's configuration is.
    #[command(flatten)]
    pub env: EnvArgs,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|time: SignedDuration| Duration::try_from(time).ok());
    match time {
        Some(time) if !time.is_zero() && time <= TIMEOUT_MAX => Ok(time),
        _ => Err("write a time such as 500ms or 10s, 1h at most".to_owned()),
    }
}
