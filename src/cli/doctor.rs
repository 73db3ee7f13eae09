//! The flags of `doctor`.

use clap::Args;

use super::{EnvArgs, ServeArgs};

/// What to look over.
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// The server's address as the world sees it, such as <https://chat.example.org>: asked by
    /// curl, from here, what comes of requests that take that way
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// The environment of the server.
    #[command(flatten)]
    pub env: EnvArgs,

    /// The flags of the server.
    #[command(flatten)]
    pub serve: ServeArgs,
}
