//! Being told to stop.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::systemd::Manager;

/// A token that is cancelled by the first SIGTERM or SIGINT. `manager` is told then, and that it may
/// take `patience` to the end. A second one ends the process at once, as it would without us.
pub(super) fn stop_on_signal(
    beside: &mut JoinSet<()>,
    manager: Manager,
    patience: Duration,
) -> Result<CancellationToken, std::io::Error> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = stop.clone();
    beside.spawn(async move {
        let name = first(&mut terminate, &mut interrupt).await;
        info!("stopping on {name}");
        manager.stopping(patience, format_args!("stopping on {name}"));
        stopped.cancel();
        let name = first(&mut terminate, &mut interrupt).await;
        warn!("ending at once on a second {name}; what was answered is on disk");
        #[expect(clippy::exit, reason = "whoever sends a second signal does not want to wait")]
        std::process::exit(0);
    });
    Ok(stop)
}

async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
