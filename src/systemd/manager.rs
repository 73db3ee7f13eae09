//! Telling a service manager how we are: one datagram for each thing that is to be known.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

/// How long a manager may take to read what it is told before it is told no more of that.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a manager says in the environment.
#[derive(Debug, Clone, Default)]
pub struct ManagerConfig {
    /// Where it wants to be told: a path, or `@` and an abstract name (`NOTIFY_SOCKET`).
    pub notify: Option<OsString>,
    /// After how long without a proof of life it ends us (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

/// Whoever started us and wants to be told; or nobody. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Manager {
    line: Option<Arc<Line>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Manager {
    /// The manager that `config` describes. One that cannot be told is warned about, and done
    /// without.
    pub fn new(config: ManagerConfig) -> Self {
        let line = config.notify.and_then(|to| {
            let line = Line::to(&to).inspect_err(|error| {
                warn!(%error, "cannot tell the service manager at {}: {error}", to.display());
            });
            line.ok().map(Arc::new)
        });
        Self { line, watchdog: config.watchdog }
    }

    /// We serve.
    pub fn ready(&self, status: impl Display) {
        self.tell("READY=1", Some(&status));
    }

    /// We are about to end, and may take `time` for it.
    pub fn stopping(&self, time: Duration, status: impl Display) {
        self.tell(&format!("STOPPING=1\n{}", extended(time)), Some(&status));
    }

    /// What we are at may take `time` from now on: longer than it would be waited for.
    pub fn extend(&self, time: Duration, status: impl Display) {
        self.tell(&extended(time), Some(&status));
    }

    /// How we are, for people.
    pub fn status(&self, status: impl Display) {
        self.tell("", Some(&status));
    }

    /// Proves that we live, twice in the time after which we would be ended, for as long as `check`
    /// succeeds; tries sooner again when it does not. Never returns, and does nothing when no proof is
    /// asked for.
    pub async fn feed<E: Display, C: Future<Output = Result<(), E>>>(self, check: impl Fn() -> C) {
        let (Some(_), Some(limit)) = (&self.line, self.watchdog) else {
            return std::future::pending().await;
        };
        let mut ticks = interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            while let Err(error) = check().await {
                warn!(%error, "no proof of life for the watchdog: {error}");
                sleep(limit / 10).await;
            }
            debug!("proved to be alive");
            self.tell("WATCHDOG=1", None);
        }
    }

    fn tell(&self, what: &str, status: Option<&dyn Display>) {
        let Some(line) = &self.line else { return };
        // What stood behind a line end would be taken for more of ours.
        let status = status.map(|status| format!("STATUS={status}").replace('\n', " "));
        let message = [what, status.as_deref().unwrap_or_default()].join("\n");
        if let Err(error) = line.socket.send_to_addr(message.trim().as_bytes(), &line.to) {
            warn!(%error, "cannot tell the service manager {what:?}: {error}");
        }
    }
}

fn extended(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

impl Line {
    fn to(address: &OsStr) -> io::Result<Self> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::other("it is no path and no @name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, to })
    }
}

#[cfg(test)]
mod tests;
