//! The environment, and the files that it names: what a variable holds, by kind.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::ValueEnum;

use super::ConfigError;

/// The environment, in which an empty variable counts as unset.
pub(super) struct Env<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.to_string_lossy().into_owned())
    }

    pub(super) fn number(&self, name: &'static str) -> Result<Option<u32>, ConfigError> {
        let parse = |value: String| {
            value.parse().map_err(|_| ConfigError::Value {
                name,
                value,
                expected: "a whole number",
            })
        };
        self.text(name).map(parse).transpose()
    }

    pub(super) fn choice<T: ValueEnum>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let parse = |value: String| {
            T::from_str(&value, false).map_err(|_| ConfigError::Value { name, value, expected })
        };
        self.text(name).map(parse).transpose()
    }

    pub(super) fn data(&self) -> PathBuf {
        if let Some(path) = (self.0)("ORION_CHAT_DATA") {
            return path.into();
        }
        let folder = (self.0)("STATE_DIRECTORY").map(PathBuf::from).unwrap_or_default();
        folder.join("orion-chat.redb")
    }

    pub(super) fn listen(&self, flag: Option<String>) -> Result<SocketAddr, ConfigError> {
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

    /// The secret of variable `name`, or of the file that `name_FILE` names; line ends behind it
    /// are not part of it, as editors and `echo` add them.
    pub(super) fn secret(&self, name: &'static str) -> Result<Option<Vec<u8>>, ConfigError> {
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

pub(super) fn resolve(value: String) -> Result<SocketAddr, ConfigError> {
    look_up(&value).map_err(|reason| ConfigError::Listen { value, reason })
}

/// The address that `value`, host and port, names. A host name is looked up; see [`crate::nss`].
pub(super) fn look_up(value: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = value.parse() {
        return Ok(address);
    }
    match value.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err("no address is known".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
