//! The flags of `serve` about limits.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help")]

use clap::{Args, ValueEnum};

/// How much callers may take.
#[derive(Debug, Clone, Default, Args)]
pub struct LimitArgs {
    /// How many requests a user, and an address, may send in 15 minutes; 0 for any number [env:
    /// RATE_LIMIT_MAX_REQUESTS] [default: 6000]
    #[arg(long, value_name = "REQUESTS")]
    pub rate_limit: Option<u32>,

    /// How much of the data file's disk to keep free, in MiB: below that, writes are refused [env:
    /// ORION_CHAT_RESERVE_MIB] [default: 64, or an eighth of a smaller disk]
    #[arg(long, value_name = "MIB")]
    pub reserve_mib: Option<u32>,

    /// How many sessions a user may have; 0 for any number [env: ORION_CHAT_MAX_SESSIONS]
    /// [default: 0]
    #[arg(long, value_name = "SESSIONS")]
    pub max_sessions: Option<u64>,

    /// How many bytes of sessions and messages a user may have; 0 for any number [env:
    /// ORION_CHAT_MAX_BYTES] [default: 0]
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,

    /// For how many days to keep sessions that nobody changes, but for pinned ones; 0 for ever
    /// [env: ORION_CHAT_RETAIN_DAYS] [default: 0]
    #[arg(long, value_name = "DAYS")]
    pub retain_days: Option<u32>,

    /// Who stands in front, on this machine, and tells the callers' addresses [env:
    /// ORION_CHAT_TRUST_PROXY] [default: nobody]
    #[arg(long, value_enum, value_name = "PROXY")]
    pub trust_proxy: Option<TrustedProxy>,
}

/// Who may tell the callers' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrustedProxy {
    /// A Cloudflare tunnel, by CF-Connecting-IP
    Cloudflare,
}
