//! The configuration: flags, environment and files, brought together and checked once.
//!
//! The only reader of the environment. A flag beats a variable, a variable beats the default; an
//! empty variable counts as unset. Sections live beside the code that they configure.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::{AuthMode, DataArgs, LogFormat, ServeArgs};
use crate::http::Limits;
use crate::http::auth::{Auth, TokenConfig, is_loopback};
use crate::http::cors::{AllowedOrigins, InvalidPattern};
use crate::model::{Invalid, UserId};
use crate::server::{Patience, ServerConfig};
use crate::store::StoreConfig;

const SECRET: &str = "ORION_SHARED_JWT_SECRET";
const PREVIOUS: &str = "ORION_SHARED_JWT_SECRET_PREVIOUS";

/// RFC 7518, section 3.2: a key for HS256 has at least the size of its hash.
const SECRET_MIN_BYTES: usize = 32;

/// Everything that was configured.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub server: ServerConfig,
    /// How to write the log.
    pub log_format: LogFormat,
    /// What of the log to write, such as `debug` or `info,orion_chat::http=debug`.
    pub log_filter: String,
    /// What works and is no good.
    pub warnings: Vec<String>,
}

/// Why a configuration cannot be used. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable holds a value that is not one of its kind.
    #[error("{name} is {value:?}; it must be {expected}")]
    Value {
        /// The variable or flag.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// An address to listen on makes no sense.
    #[error("cannot listen on {value:?}: {reason}; write ADDRESS:PORT, such as 127.0.0.1:3002")]
    Listen {
        /// What was given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Tokens are asked for, and there is nothing to check them with.
    #[error("--auth jwt needs a secret; set {SECRET} or {SECRET}_FILE")]
    NoSecret,
    /// A mode without tokens is asked for, and a secret is set.
    #[error("--auth {mode} does not use {SECRET}, which is set; unset it or use --auth jwt")]
    SecretUnused {
        /// The mode.
        mode: &'static str,
    },
    /// A secret comes from two places.
    #[error("both {name} and {name}_FILE are set; unset one of them")]
    TwoSecrets {
        /// The variable.
        name: &'static str,
    },
    /// A secret's file cannot be read.
    #[error("cannot read the file {path} that {name}_FILE names: {source}; create it or correct the path", path = path.display())]
    SecretFile {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A secret is empty.
    #[error("the file {path} that {name}_FILE names is empty; write the secret into it", path = path.display())]
    EmptySecret {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Others could connect to a server that only answers callers on this machine.
    #[error(
        "--auth local answers only callers on this machine, and {address} can be reached by others; set {SECRET}, or listen on 127.0.0.1, or use --auth off on a trusted network"
    )]
    LocalOnly {
        /// The address.
        address: SocketAddr,
    },
    /// An origin is malformed.
    #[error(transparent)]
    Origin(#[from] InvalidPattern),
    /// A user who should be allowed is none.
    #[error("AUTHORIZED_USER_EMAIL: {0}; write user ids with commas between them")]
    AllowedUser(Invalid),
}

/// Brings `args` and the environment, as `variable` shows it, together.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used.
pub fn load(
    args: ServeArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    let listen = env.listen(args.listen)?;
    let mut warnings = Vec::new();
    let auth = env.auth(args.auth, listen, &mut warnings)?;
    let origins = match (args.allow_origins.is_empty(), env.text("ALLOWED_ORIGINS")) {
        (false, _) => AllowedOrigins::parse_list(args.allow_origins.iter().map(String::as_str))?,
        (true, Some(list)) => AllowedOrigins::parse_list([list.as_str()])?,
        (true, None) => AllowedOrigins::defaults(),
    };
    let cache_mib = match args.cache_mib {
        Some(mib) => mib,
        None => env.number("ORION_CHAT_CACHE_MIB")?.unwrap_or(64),
    };
    let server = ServerConfig {
        listen,
        store: StoreConfig {
            path: args.data.unwrap_or_else(|| env.data()),
            cache_bytes: usize::try_from(cache_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
        },
        auth,
        origins,
        limits: Limits::default(),
        patience: Patience::default(),
        // Below the number of operations that may wait for the writer.
        max_connections: 8000,
        drain: Duration::from_secs(10),
    };
    let log_format = match args.log_format {
        Some(format) => format,
        None => env.choice("ORION_CHAT_LOG_FORMAT", "text or json")?.unwrap_or(LogFormat::Text),
    };
    let log_filter = env.text("ORION_CHAT_LOG").unwrap_or_else(|| "info".to_owned());
    Ok(Config { server, log_format, log_filter, warnings })
}

/// The data file that `args` and the environment, as `variable` shows it, name.
pub fn data(args: DataArgs, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let env = Env(&|name| variable(name).filter(|value| !value.is_empty()));
    args.data.unwrap_or_else(|| env.data())
}

struct Env<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, ConfigError> {
        let parse = |value: String| {
            value.parse().map_err(|_| ConfigError::Value {
                name,
                value,
                expected: "a whole number",
            })
        };
        self.text(name).map(parse).transpose()
    }

    fn choice<T: ValueEnum>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let parse = |value: String| {
            T::from_str(&value, false).map_err(|_| ConfigError::Value { name, value, expected })
        };
        self.text(name).map(parse).transpose()
    }

    fn data(&self) -> PathBuf {
        if let Some(path) = (self.0)("ORION_CHAT_DATA") {
            return path.into();
        }
        let folder = (self.0)("STATE_DIRECTORY").map(PathBuf::from).unwrap_or_default();
        folder.join("orion-chat.redb")
    }

    fn listen(&self, flag: Option<String>) -> Result<SocketAddr, ConfigError> {
        if let Some(value) = flag.or_else(|| self.text("ORION_CHAT_LISTEN")) {
            return resolve(value);
        }
        let expected = "a port from 0 to 65535";
        let port = match self.text("PORT") {
            Some(value) => {
                value.parse().map_err(|_| ConfigError::Value { name: "PORT", value, expected })?
            }
            None => 3002,
        };
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    fn auth(
        &self,
        flag: Option<AuthMode>,
        listen: SocketAddr,
        warnings: &mut Vec<String>,
    ) -> Result<Auth, ConfigError> {
        let secret = self.secret(SECRET)?;
        let mode = match flag {
            Some(mode) => Some(mode),
            None => self.choice("ORION_CHAT_AUTH", "jwt, local or off")?,
        };
        match (mode, secret) {
            (Some(AuthMode::Jwt) | None, Some(secret)) => self.tokens(secret, warnings),
            (Some(AuthMode::Jwt), None) => Err(ConfigError::NoSecret),
            (Some(AuthMode::Off), None) => Ok(Auth::Off),
            (Some(AuthMode::Off), Some(_)) => Err(ConfigError::SecretUnused { mode: "off" }),
            (Some(AuthMode::Local), Some(_)) => Err(ConfigError::SecretUnused { mode: "local" }),
            (Some(AuthMode::Local) | None, None) if is_loopback(listen.ip()) => Ok(Auth::Local),
            (Some(AuthMode::Local) | None, None) => Err(ConfigError::LocalOnly { address: listen }),
        }
    }

    fn tokens(&self, secret: Vec<u8>, warnings: &mut Vec<String>) -> Result<Auth, ConfigError> {
        let secrets: Vec<_> = [secret].into_iter().chain(self.secret(PREVIOUS)?).collect();
        for (name, secret) in [SECRET, PREVIOUS].iter().zip(&secrets) {
            let bytes = secret.len();
            if bytes < SECRET_MIN_BYTES {
                warnings.push(format!(
                    "{name} has {bytes} bytes, which can be guessed; use {SECRET_MIN_BYTES} or \
                     more, such as `openssl rand -base64 48` gives"
                ));
            }
        }
        let text = |name, default: &str| self.text(name).unwrap_or_else(|| default.to_owned());
        Ok(Auth::jwt(TokenConfig {
            secrets,
            issuer: text("ORION_SHARED_JWT_ISS", "https://www.sidekickportal.com"),
            audience: text("ORION_SHARED_JWT_AUD", "orion-core"),
            allowed_users: self.allowed_users()?,
        }))
    }

    fn allowed_users(&self) -> Result<Option<Vec<UserId>>, ConfigError> {
        let Some(list) = self.text("AUTHORIZED_USER_EMAIL") else {
            return Ok(None);
        };
        let users = list.split(',').map(str::trim).filter(|user| !user.is_empty());
        users
            .map(UserId::parse)
            .collect::<Result<_, _>>()
            .map(Some)
            .map_err(ConfigError::AllowedUser)
    }

    /// The secret of variable `name`, or of the file that `name_FILE` names; line ends behind it
    /// are not part of it, as editors and `echo` add them.
    fn secret(&self, name: &'static str) -> Result<Option<Vec<u8>>, ConfigError> {
        use std::os::unix::ffi::OsStringExt as _;

        let path = (self.0)(&format!("{name}_FILE")).map(PathBuf::from);
        let (direct, path) = match ((self.0)(name), path) {
            (Some(_), Some(_)) => return Err(ConfigError::TwoSecrets { name }),
            (Some(secret), None) => (secret.into_vec(), None),
            (None, None) => return Ok(None),
            (None, Some(path)) => match std::fs::read(&path) {
                Ok(secret) => (secret, Some(path)),
                Err(source) => return Err(ConfigError::SecretFile { name, path, source }),
            },
        };
        let end = direct.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
        let secret = direct.get(..end.map_or(0, |end| end + 1)).unwrap_or_default().to_vec();
        match path {
            Some(path) if secret.is_empty() => Err(ConfigError::EmptySecret { name, path }),
            // Of a variable that holds line ends alone, nothing is left: it counts as unset.
            None if secret.is_empty() => Ok(None),
            _ => Ok(Some(secret)),
        }
    }
}

/// The address that `value` names. A host name is looked up; see [`crate::nss`].
fn resolve(value: String) -> Result<SocketAddr, ConfigError> {
    if let Ok(address) = value.parse() {
        return Ok(address);
    }
    match value.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(ConfigError::Listen { value, reason: "no address is known".to_owned() }),
        Err(error) => Err(ConfigError::Listen { value, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
