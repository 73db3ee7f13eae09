//! The admin listener: where it is, and whether the server goes without it.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::AdminArgs;
use crate::server::AdminConfig;

use super::ConfigError;
use super::env::{Env, resolve};

const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9302);

impl Env<'_> {
    /// The admin listener that is asked for; the default one if there is no word of it.
    pub(super) fn admin(&self, args: AdminArgs) -> Result<Option<AdminConfig>, ConfigError> {
        match args.admin_listen.or_else(|| self.text("ORION_CHAT_ADMIN_LISTEN")) {
            None => Ok(Some(AdminConfig { listen: DEFAULT, is_needed: false })),
            Some(off) if off == "off" => Ok(None),
            Some(value) => Ok(Some(AdminConfig { listen: resolve(value)?, is_needed: true })),
        }
    }
}
