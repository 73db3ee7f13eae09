//! SIGHUP: secrets and origins are read again, while requests are served.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::ServeArgs;
use crate::config::{self, ConfigError};
use crate::http::{App, ModeChanged};
use crate::server::announce_access;

/// What the configuration was made of when the server started, to look at it again.
pub(super) struct Reload {
    pub(super) args: ServeArgs,
    /// Where the server listens.
    pub(super) listen: SocketAddr,
    pub(super) variable: fn(&str) -> Option<OsString>,
}

/// Why what is in force stays so.
#[derive(Debug, thiserror::Error)]
enum NotReloaded {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Mode(#[from] ModeChanged),
}

impl Reload {
    /// The hang-ups from now on, which would end a process that does not ask for them.
    pub(super) fn hang_ups() -> Result<Signal, std::io::Error> {
        signal(SignalKind::hangup())
    }

    /// Reads again at each of `hang_ups`, and has `app` go by that.
    pub(super) async fn run(self, mut hang_ups: Signal, app: App) {
        let reload = Arc::new(self);
        while hang_ups.recv().await.is_some() {
            let (reload, app) = (Arc::clone(&reload), app.clone());
            // Who reads a file may have to wait for it.
            let reading = tokio::task::spawn_blocking(move || reload.once(&app));
            match reading.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    error!(%error, "did not reload: {error}; what was in force before stays so");
                }
                // In the log by itself.
                Err(_panicked) => {}
            }
        }
    }

    fn once(&self, app: &App) -> Result<(), NotReloaded> {
        let (access, warnings) = config::reload(&self.args, self.listen, self.variable)?;
        for warning in warnings {
            warn!("{warning}");
        }
        let in_force = app.replace_access(access)?;
        info!("reloaded secrets and origins");
        announce_access(&in_force.auth, &in_force.origins);
        Ok(())
    }
}
