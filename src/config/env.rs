//! The environment, and the files that it names: what a variable holds, by kind.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;

use super::ConfigError;

/// The port unless another is asked for.
const PORT: u16 = 3002;

/// The environment, in which an empty variable counts as unset.
pub(super) struct Env<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.to_string_lossy().into_owned())
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
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

    /// The address to listen on.
    pub(super) fn listen(&self, flag: Option<String>) -> Result<SocketAddr, ConfigError> {
        Ok(self.asked_address(flag)?.unwrap_or((Ipv4Addr::LOCALHOST, PORT).into()))
    }

    /// The address to listen on, if one is asked for.
    pub(super) fn asked_address(
        &self,
        flag: Option<String>,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        if let Some(value) = flag.or_else(|| self.text("ORION_CHAT_LISTEN")) {
            return resolve(value).map(Some);
        }
        let expected = "a port from 0 to 65535";
        let parse = |value: String| {
            value.parse().map_err(|_| ConfigError::Value { name: "PORT", value, expected })
        };
        let port: Option<u16> = self.text("PORT").map(parse).transpose()?;
        Ok(port.map(|port| (Ipv4Addr::LOCALHOST, port).into()))
    }

    /// The secret of variable `name`, or of the file that `name_FILE` names; line ends behind it
    /// are not part of it, as editors and `echo` add them.
    pub(super) fn secret(&self, name: &'static str) -> Result<Option<Vec<u8>>, ConfigError> {
        let (mut secret, file) = match self.source(name)? {
            Some(Source::Variable(value)) => (value.into_vec(), None),
            Some(Source::File(path)) => (read(name, &path)?, Some(path)),
            None => return Ok(None),
        };
        let end = secret.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
        secret.truncate(end.map_or(0, |end| end + 1));
        match file {
            Some(path) if secret.is_empty() => {
                Err(ConfigError::EmptyFile { name, path, value: "the secret" })
            }
            // Of a variable that holds line ends alone, nothing is left: it counts as unset.
            None if secret.is_empty() => Ok(None),
            _ => Ok(Some(secret)),
        }
    }

    /// The lines of variable `name`, or of the file that `name_FILE` names; in a file, what stands
    /// behind a `#` is not part of it.
    pub(super) fn lines(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let path = match self.source(name)? {
            Some(Source::Variable(value)) => {
                return Ok(Some(vec![value.to_string_lossy().into_owned()]));
            }
            Some(Source::File(path)) => path,
            None => return Ok(None),
        };
        let text = String::from_utf8_lossy(&read(name, &path)?).into_owned();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(ConfigError::EmptyFile { name, path, value: "one value a line" });
        }
        Ok(Some(lines))
    }

    /// Where the value of variable `name` is.
    fn source(&self, name: &'static str) -> Result<Option<Source>, ConfigError> {
        match ((self.0)(name), (self.0)(&format!("{name}_FILE"))) {
            (Some(_), Some(_)) => Err(ConfigError::TwoSources { name }),
            (Some(value), None) => Ok(Some(Source::Variable(value))),
            (None, Some(path)) => Ok(Some(Source::File(path.into()))),
            (None, None) => Ok(None),
        }
    }
}

/// Where a value is.
enum Source {
    Variable(OsString),
    File(PathBuf),
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::File { name, path: path.to_owned(), source })
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
