//! The admin listener: where it is, and whether the server goes without it.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::AdminArgs;
use crate::server::AdminConfig;

use super::ConfigError;
use super::env::{Env, resolve};

const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9302);

impl Env<'_> {
    /// The admin listener that is asked for; the default one if there is no word of it.
    pub(super) fn admin(
        &self,
        args: AdminArgs,
        warnings: &mut Vec<String>,
    ) -> Result<Option<AdminConfig>, ConfigError> {
        match args.admin_listen.or_else(|| self.text("ORION_CHAT_ADMIN_LISTEN")) {
            None => Ok(Some(AdminConfig { listen: DEFAULT, is_needed: false })),
            Some(off) if off == "off" => Ok(None),
            Some(value) => {
                let listen = resolve(value)?;
                if !listen.ip().is_loopback() {
                    warnings.push(format!(
                        "--admin-listen {listen}: whoever reaches it sees metrics and the \
                         configuration without a token; only for a trusted network"
                    ));
                }
                Ok(Some(AdminConfig { listen, is_needed: true }))
            }
        }
    }
}
