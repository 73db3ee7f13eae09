//! Who may call: the mode, the secrets of tokens, the allowed users, and the origins of pages.

use std::net::SocketAddr;

use crate::cli::{AuthMode, ServeArgs};
use crate::http::Access;
use crate::http::auth::{Auth, TokenConfig, is_loopback};
use crate::http::cors::AllowedOrigins;
use crate::model::UserId;

use super::ConfigError;
use super::env::Env;

pub(super) const SECRET: &str = "ORION_SHARED_JWT_SECRET";
pub(super) const PREVIOUS: &str = "ORION_SHARED_JWT_SECRET_PREVIOUS";

const ALLOWED: &str = "AUTHORIZED_USER_EMAIL";

/// RFC 7518, section 3.2: a key for HS256 has at least the size of its hash.
const SECRET_MIN_BYTES: usize = 32;

impl Env<'_> {
    /// Who may call a server that listens on `listen`.
    pub(super) fn access(
        &self,
        args: &ServeArgs,
        listen: SocketAddr,
        warnings: &mut Vec<String>,
    ) -> Result<Access, ConfigError> {
        let auth = self.auth(args.auth, listen, warnings)?;
        if !matches!(auth, Auth::Jwt(_)) && self.allowed_users()?.is_some() {
            warnings.push(format!(
                "{ALLOWED} keeps nobody out in auth {}, where callers say who they are; set {SECRET}",
                auth.mode()
            ));
        }
        Ok(Access { auth, origins: self.origins(&args.allow_origins)? })
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
        let tokens = self.token_config(secret)?;
        for (name, secret) in [SECRET, PREVIOUS].iter().zip(&tokens.secrets) {
            let bytes = secret.len();
            if bytes < SECRET_MIN_BYTES {
                warnings.push(format!(
                    "{name} has {bytes} bytes, which can be guessed; use {SECRET_MIN_BYTES} or \
                     more, such as `openssl rand -base64 48` gives"
                ));
            }
        }
        Ok(Auth::jwt(tokens))
    }

    /// What tokens are checked against, if `secret` is what signs them.
    pub(super) fn token_config(&self, secret: Vec<u8>) -> Result<TokenConfig, ConfigError> {
        let text = |name, default: &str| self.text(name).unwrap_or_else(|| default.to_owned());
        Ok(TokenConfig {
            secrets: [secret].into_iter().chain(self.previous_secret()?).collect(),
            issuer: text("ORION_SHARED_JWT_ISS", "https://www.sidekickportal.com"),
            audience: text("ORION_SHARED_JWT_AUD", "orion-core"),
            allowed_users: self.allowed_users()?,
        })
    }

    /// The previous secret. Its file may be empty, so that it can be named before there is one.
    fn previous_secret(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        match self.secret(PREVIOUS) {
            Err(ConfigError::EmptyFile { .. }) => Ok(None),
            found => found,
        }
    }

    fn allowed_users(&self) -> Result<Option<Vec<UserId>>, ConfigError> {
        let Some(list) = self.text(ALLOWED) else {
            return Ok(None);
        };
        let users = list.split(',').map(str::trim).filter(|user| !user.is_empty());
        users
            .map(UserId::parse)
            .collect::<Result<_, _>>()
            .map(Some)
            .map_err(ConfigError::AllowedUser)
    }

    /// The origins whose pages may call: those of the flags, else of the variable or its file, else
    /// the portal's.
    fn origins(&self, flags: &[String]) -> Result<AllowedOrigins, ConfigError> {
        let lists =
            if flags.is_empty() { self.lines("ALLOWED_ORIGINS")? } else { Some(flags.to_vec()) };
        Ok(match lists {
            Some(lists) => AllowedOrigins::parse_list(lists.iter().map(String::as_str))?,
            None => AllowedOrigins::defaults(),
        })
    }
}
