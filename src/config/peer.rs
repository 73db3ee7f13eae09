//! Which server to ask: the one that is named, else the one that is configured here.

use hyper::Uri;

use crate::client::Peer;

use super::ConfigError;
use super::env::{Env, look_up};

impl Env<'_> {
    pub(super) fn peer(&self, url: Option<String>) -> Result<Peer, ConfigError> {
        match url {
            Some(value) => named(&value).map_err(|reason| ConfigError::Url { value, reason }),
            None => match self.listen(None)? {
                free if free.port() == 0 => Err(ConfigError::FreePort),
                address => Ok(Peer::listening_on(address)),
            },
        }
    }
}

fn named(url: &str) -> Result<Peer, String> {
    let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let has_port = uri.host().is_some_and(|host| host != authority);
    let name = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let is_bare = uri.path_and_query().is_none_or(|path| path == "/");
    match uri.scheme_str() {
        Some("http") if is_bare && !name.contains('@') => Ok(Peer::new(look_up(&name)?, name)),
        Some("http") => Err("more than a server is named".to_owned()),
        Some(scheme) => Err(format!("{scheme} is not spoken here")),
        None => Err("it has no scheme".to_owned()),
    }
}
