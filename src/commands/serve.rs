//! `serve`: the runtime, the signals, and the server between them.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::model::Clock;
use crate::server::{Server, announce};

use super::Failure;
use super::log::start_log;

/// Threads that serve requests beside the one that writes: some may wait for the disk while
/// others go on.
const WORKERS_MIN: usize = 2;

/// Serves until it is told to stop.
pub(super) fn serve(config: Config) -> Result<(), Failure> {
    start_log(&config.log_filter, config.log_format)?;
    let workers = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(WORKERS_MIN))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        info!("orion-chat {}", env!("CARGO_PKG_VERSION"));
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        announce(&config.server);
        let stop = stop_on_signal()?;
        let server = Server::bind(config.server, Clock::system()).await?;
        let server = server.with_warnings(config.warnings);
        if let Some(address) = server.admin_address() {
            info!("metrics on http://{address}/metrics");
        }
        info!("listening on http://{}", server.address());
        server.run(stop).await?;
        info!("stopped");
        Ok(())
    })
}

/// A token that is cancelled by the first SIGTERM or SIGINT. A second one ends the process at
/// once, as it would without us.
fn stop_on_signal() -> Result<CancellationToken, std::io::Error> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process")]
    tokio::spawn(async move {
        let name = first(&mut terminate, &mut interrupt).await;
        info!("stopping on {name}");
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
