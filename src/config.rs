//! The configuration: flags, environment and files, brought together and checked once.
//!
//! The only reader of the environment. A flag beats a variable, a variable beats the default; an
//! empty variable counts as unset. Sections live beside the code that they configure.

mod access;
mod admin;
mod env;
mod env_file;
mod error;
mod limits;
mod manager;
mod peer;
mod postgres;
mod unknown;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{DataArgs, LogFormat, ReplicaArgs, ServeArgs};
use crate::client::Peer;
use crate::http::Access;
use crate::http::auth::TokenConfig;
use crate::server::{Patience, ServerConfig};
use crate::store::StoreConfig;
use crate::sync::Target;
use crate::systemd::ManagerConfig;

use access::SECRET;
use env::Env;
pub use env_file::EnvFile;
pub use error::ConfigError;
pub use unknown::unknown_variables;

/// Everything that was configured.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub server: ServerConfig,
    /// How to write the log; as its reader likes it, if not said.
    pub log_format: Option<LogFormat>,
    /// What of the log to write, such as `debug` or `info,orion_chat::http=debug`.
    pub log_filter: String,
    /// Who started this process and wants to be told how it is.
    pub manager: ManagerConfig,
    /// What works and is no good.
    pub warnings: Vec<String>,
}

/// Brings `args` and the environment, as `variable` shows it, together.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used.
pub fn load(
    args: ServeArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    load_for(None, args, variable)
}

/// As [`load`], for a server whose listener was handed over: at this address, whatever is asked
/// for.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used.
pub fn load_for(
    handed_over: Option<SocketAddr>,
    args: ServeArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    let mut warnings = Vec::new();
    let listen = match handed_over {
        Some(address) => {
            let asked = env.asked_address(args.listen.clone())?;
            if let Some(asked) = asked.filter(|asked| *asked != address) {
                warnings.push(format!(
                    "listening on {address}, the socket that was handed over, and not on {asked}; \
                     write the address that is meant into the socket unit"
                ));
            }
            address
        }
        None => env.listen(args.listen.clone())?,
    };
    let Access { auth, origins } = env.access(&args, listen, &mut warnings)?;
    let limits = env.limits(&args.limits)?;
    let cache_mib = match args.cache_mib {
        Some(mib) => mib,
        None => env.number("ORION_CHAT_CACHE_MIB")?.unwrap_or(64),
    };
    let server = ServerConfig {
        listen,
        admin: env.admin(args.admin, &mut warnings)?,
        store: StoreConfig {
            path: args.data.unwrap_or_else(|| env.data()),
            cache_bytes: usize::try_from(cache_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
            reserve_bytes: env.reserve_bytes(&args.limits)?,
            quota: env.quota(&args.limits)?,
        },
        postgres: env.postgres(args.postgres)?,
        auth,
        origins,
        limits,
        patience: Patience::default(),
        // Below the number of operations that may wait for the writer.
        max_connections: 8000,
        drain: Duration::from_secs(10),
        retention: env.retention(&args.limits)?,
    };
    let log_format = match args.log_format {
        Some(format) => Some(format),
        None => env.choice("ORION_CHAT_LOG_FORMAT", "text or json")?,
    };
    let log_filter = env.text("ORION_CHAT_LOG").unwrap_or_else(|| "info".to_owned());
    let manager = env.manager(std::process::id());
    Ok(Config { server, log_format, log_filter, manager, warnings })
}

/// Reads again who may call a server that listens on `listen`: what the environment and flags say is
/// the same for as long as a process lives, but what the files hold that they name is not. Gives
/// the warnings too.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used.
pub fn reload(
    args: &ServeArgs,
    listen: SocketAddr,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(Access, Vec<String>), ConfigError> {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    let mut warnings = Vec::new();
    let access = env.access(args, listen, &mut warnings)?;
    Ok((access, warnings))
}

/// The data file that `args` and the environment, as `variable` shows it, name.
pub fn data(args: DataArgs, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    args.data.unwrap_or_else(|| env.data())
}

/// What tokens are checked against; `None` without a secret.
///
/// # Errors
/// [`ConfigError`] for the first thing about tokens that cannot be used.
pub fn tokens(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<TokenConfig>, ConfigError> {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    env.secret(SECRET)?.map(|secret| env.token_config(secret)).transpose()
}

/// The server that `url` names, else the one that the environment, as `variable` shows it,
/// configures.
///
/// # Errors
/// [`ConfigError`] when that is none.
pub fn peer(
    url: Option<String>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Peer, ConfigError> {
    Env(&|name| variable(name).filter(|value| !value.is_empty())).peer(url)
}

/// The data file, and PostgreSQL if it is configured, that `args` and the environment name.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used.
pub fn replica(
    args: &ReplicaArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(PathBuf, Option<Target>), ConfigError> {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    let data = args.data.data.clone().unwrap_or_else(|| env.data());
    Ok((data, env.postgres(args.postgres.clone())?))
}

#[cfg(test)]
mod tests;
