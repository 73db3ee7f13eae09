//! Why a configuration cannot be used.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::cors::InvalidPattern;
use crate::model::Invalid;
use crate::sync::BadTarget;

use super::access::SECRET;

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
    /// A server to ask is not named as one.
    #[error(
        "cannot ask {value:?}: {reason}; write http://ADDRESS:PORT, such as http://127.0.0.1:3002"
    )]
    Url {
        /// What was given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A server to ask listens on whatever port was free.
    #[error(
        "cannot ask the server that is configured here: it takes a free port; name it with --url, as its log does"
    )]
    FreePort,
    /// Tokens are asked for, and there is nothing to check them with.
    #[error("--auth jwt needs a secret; set {SECRET} or {SECRET}_FILE")]
    NoSecret,
    /// A token is asked for, and there is nothing to sign it with.
    #[error(
        "there is no secret to sign a token with; set {SECRET} or {SECRET}_FILE as the server has it, or name its file of them with --env-file"
    )]
    NoSigner,
    /// The file of variables cannot be read.
    #[error("cannot read the file {path} of --env-file: {source}; correct the path, or read it as root", path = path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A mode without tokens is asked for, and a secret is set.
    #[error("--auth {mode} does not use {SECRET}, which is set; unset it or use --auth jwt")]
    SecretUnused {
        /// The mode.
        mode: &'static str,
    },
    /// A value comes from two places.
    #[error("both {name} and {name}_FILE are set; unset one of them")]
    TwoSources {
        /// The variable.
        name: &'static str,
    },
    /// A value's file cannot be read.
    #[error("cannot read the file {path} that {name}_FILE names: {source}; create it or correct the path", path = path.display())]
    File {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A value's file holds none.
    #[error("the file {path} that {name}_FILE names is empty; write {value} into it", path = path.display())]
    EmptyFile {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        value: &'static str,
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
    /// The address of PostgreSQL is none.
    #[error("{name} {problem}; write postgresql://USER@HOST:6432/NAME")]
    Postgres {
        /// The variable or flag.
        name: &'static str,
        /// What is wrong with it.
        problem: BadTarget,
    },
    /// A password would be seen by everybody on the machine.
    #[error(
        "--postgres holds a password, which others see in the list of processes; set ORION_CHAT_POSTGRES, or DB_PASSWORD or DB_PASSWORD_FILE"
    )]
    PasswordInFlag,
    /// PostgreSQL is named by its parts, and one is missing.
    #[error("DB_HOST is set and DB_USER is not; set it, or unset DB_HOST to go without PostgreSQL")]
    NoDatabaseUser,
    /// A user who should be allowed is none.
    #[error("AUTHORIZED_USER_EMAIL: {0}; write user ids with commas between them")]
    AllowedUser(Invalid),
}
