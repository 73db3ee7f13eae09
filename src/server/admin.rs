//! The admin listener: for operators and their tools, with room of its own, so that it answers
//! however many others are connected.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{StartError, try_listen};

/// How many connections it serves at once; more wait.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// Where operators and their tools ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether the server is not to start without it.
    pub is_needed: bool,
}

/// The listener, bound.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Admin {
    /// Takes the address; where it cannot be had and is not needed, `warnings` says so.
    pub(super) fn bind(
        config: AdminConfig,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, StartError> {
        let AdminConfig { listen: address, is_needed } = config;
        let bound = try_listen(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        match bound {
            Ok(admin) => Ok(Some(admin)),
            Err(source) if !is_needed => {
                warnings.push(format!(
                    "no metrics: cannot listen on {address}: {source}; choose another address \
                     with --admin-listen, or off"
                ));
                Ok(None)
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                Err(StartError::AddressInUse { address, flag: "--admin-listen" })
            }
            Err(source) => Err(StartError::Listen { address, flag: "--admin-listen", source }),
        }
    }
}
