//! Where PostgreSQL is, and a connection to it.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SyncError;

/// How long a connection may take: to find the address, to reach it, and to be let in.
const CONNECT: Duration = Duration::from_secs(3);

/// How long the other machine may be silent, on a connection that is open.
const SILENCE: Duration = Duration::from_secs(10);

/// What is wrong with an address of PostgreSQL. Holds nothing of it, as it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It is no URL of PostgreSQL.
    #[error("is no URL such as postgresql://USER@HOST:6432/NAME")]
    Url,
    /// It names no host, several, or the folder of a socket.
    #[error("must name one host")]
    Host,
    /// It names no user.
    #[error("names no user")]
    User,
    /// It asks for TLS that may be left out.
    #[error("has an sslmode other than disable, require and verify-full")]
    Tls,
}

/// Where PostgreSQL is, and how to be let in. The password is never shown.
#[derive(Clone)]
pub struct Target {
    config: Config,
    host: String,
    port: u16,
    /// Whose signatures are trusted, if not those that the system trusts.
    ca: Option<PathBuf>,
}

impl Target {
    /// Takes `url` as an address. Without `sslmode` there is no TLS, unless [`Target::with_tls`] adds it;
    /// with `require` or `verify-full` the server must prove who it is.
    ///
    /// # Errors
    /// [`BadTarget`].
    pub fn parse(url: &str) -> Result<Self, BadTarget> {
        // The driver knows no such mode, and checks certificates whenever there is TLS.
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let asks_for_tls = url.contains("sslmode=");
        let mut config = Config::from_str(&url).map_err(|_| BadTarget::Url)?;
        match (asks_for_tls, config.get_ssl_mode()) {
            (false, _) => config.ssl_mode(SslMode::Disable),
            (true, SslMode::Disable | SslMode::Require) => &mut config,
            _ => return Err(BadTarget::Tls),
        };
        let [Host::Tcp(host)] = config.get_hosts() else {
            return Err(BadTarget::Host);
        };
        let (host, port) = (host.clone(), config.get_ports().first().copied().unwrap_or(5432));
        if config.get_user().is_none() {
            return Err(BadTarget::User);
        }
        config.application_name("orion-chat");
        Ok(Self { config, host, port, ca: None })
    }

    /// An address by its parts, without a password and without TLS.
    pub fn of_parts(host: &str, port: u16, name: &str, user: &str) -> Self {
        let mut config = Config::new();
        config.host(host).port(port).dbname(name).user(user);
        config.application_name("orion-chat").ssl_mode(SslMode::Disable);
        Self { config, host: host.to_owned(), port, ca: None }
    }

    /// Whether it has a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Whether it asks for TLS.
    pub fn has_tls(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    /// The same with this password.
    #[must_use]
    pub fn with_password(mut self, password: &[u8]) -> Self {
        self.config.password(password);
        self
    }

    /// The same with TLS, for which the server must have a certificate of those in `ca`, or else of
    /// those whom the system trusts.
    #[must_use]
    pub fn with_tls(mut self, ca: Option<PathBuf>) -> Self {
        self.config.ssl_mode(SslMode::Require);
        self.ca = ca;
        self
    }

    /// Connects. The future must be polled for as long as the client is used.
    pub(super) async fn connect(
        &self,
    ) -> Result<(Client, impl Future<Output = Result<(), tokio_postgres::Error>> + use<>), SyncError>
    {
        let connecting = async {
            let addresses = self.resolve().await?;
            let stream = TcpStream::connect(addresses.as_slice())
                .await
                .map_err(|error| self.failed(&error))?;
            stream.set_nodelay(true).map_err(|error| self.failed(&error))?;
            notice_silence(&stream).map_err(|error| self.failed(&error))?;
            let mut tls = self.tls()?;
            let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &self.host);
            let tls = tls.map_err(|error| self.failed(&error))?;
            Ok(self.config.connect_raw(stream, tls).await?)
        };
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        connected.unwrap_or_else(|_| {
            let secs = CONNECT.as_secs();
            Err(self.failed(&format!("no answer within {secs} s")))
        })
    }

    /// The addresses of the host, each of which may be tried: by a thread that may wait for them, for whom
    /// nobody waits too long.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, SyncError> {
        let host = (self.host.clone(), self.port);
        let found = tokio::task::spawn_blocking(move || host.to_socket_addrs().map(Vec::from_iter));
        match found.await.map_err(|error| self.failed(&error))? {
            Ok(addresses) if addresses.is_empty() => Err(self.failed(&"no address is known")),
            found => found.map_err(|error| self.failed(&error)),
        }
    }

    fn tls(&self) -> Result<MakeRustlsConnect, SyncError> {
        let mut roots = rustls::RootCertStore::empty();
        if self.config.get_ssl_mode() != SslMode::Disable {
            for certificate in self.certificates()? {
                // One that is broken vouches for nobody; the others may.
                let _broken = roots.add(certificate);
            }
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| self.failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, SyncError> {
        match &self.ca {
            None => Ok(rustls_native_certs::load_native_certs().certs),
            Some(path) => read_certificates(path)
                .map_err(|error| self.failed(&format!("DB_SSL_CA {}: {error}", path.display()))),
        }
    }

    fn failed(&self, why: &dyn fmt::Display) -> SyncError {
        SyncError::Unreachable(format!("cannot connect to {self}: {why}"))
    }
}

/// Has the connection break off when nothing of the other machine is heard for so long, be it that some
/// statement may take longer.
fn notice_silence(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE / 2)?;
    sockopt::set_tcp_keepintvl(stream, SILENCE / 5)?;
    let millis = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}

fn read_certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "{name} at {}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_host_and_a_user_and_never_shows_the_password() {
        let target = Target::parse("postgresql://ann:s3cret@db.example:6432/orion_core").unwrap();

        assert_eq!(target.to_string(), "orion_core at db.example:6432");
        assert!(target.has_password() && !format!("{target:?}").contains("s3cret"));
        for (url, problem) in [
            ("mysql://ann@db/x", BadTarget::Url),
            ("postgresql://ann@a,b/x", BadTarget::Host),
            ("postgresql:///x?user=ann", BadTarget::Host),
            ("postgresql://db/x", BadTarget::User),
            ("postgresql://ann@db/x?sslmode=prefer", BadTarget::Tls),
        ] {
            assert_eq!(Target::parse(url).unwrap_err(), problem, "{url}");
        }
    }

    #[test]
    fn tls_is_off_or_checked() {
        for (url, mode) in [
            ("postgresql://ann@db/x", SslMode::Disable),
            ("postgresql://ann@db/x?sslmode=disable", SslMode::Disable),
            ("postgresql://ann@db/x?sslmode=require", SslMode::Require),
            ("postgresql://ann@db/x?sslmode=verify-full", SslMode::Require),
        ] {
            assert_eq!(Target::parse(url).unwrap().config.get_ssl_mode(), mode, "{url}");
        }
    }
}
