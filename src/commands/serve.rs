//! `serve`: the runtime, and the server between its beginning and its end.

use std::ffi::OsString;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::cli::ServeArgs;
use crate::config::{self, Config};
use crate::http::App;
use crate::model::Clock;
use crate::server::{self, Server, announce};
use crate::store::{Repair, StoreError};
use crate::systemd::{self, HandedOver, Manager};

use super::log::start_log;
use super::reload::Reload;
use super::stop::stop_on_signal;
use super::{Failure, variable_names};

/// Threads that serve requests beside the one that writes: some may wait for the disk while
/// others go on.
const WORKERS_MIN: usize = 2;

/// How long closing the file may take once requests have ended, on a slow disk.
const CLOSING: Duration = Duration::from_mins(1);

/// How long a step of a repair may take, and what it may take besides for each GiB of the file: a
/// disk that reads less than 20 MB a second does not get to the end.
const REPAIR: Duration = Duration::from_mins(1);

/// Serves until it is told to stop.
pub(super) fn serve(
    args: ServeArgs,
    variable: fn(&str) -> Option<OsString>,
) -> Result<(), Failure> {
    let handed_over = systemd::handed_over(variable("LISTEN_FDNAMES"))?;
    let address = handed_over.as_ref().map(|handed_over| handed_over.address);
    let config = config::load_for(address, args.clone(), variable)?;
    start_log(&config.log_filter, config.log_format)?;
    let manager = Manager::new(config.manager.clone());
    let reload = Reload { args, listen: config.server.listen, variable };
    let workers = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(WORKERS_MIN))
        .enable_all()
        .build()?;
    let served = runtime.block_on(run(config, handed_over, reload, &manager));
    // A file that is never read to its end must not keep the process.
    runtime.shutdown_background();
    if let Err(failure) = &served {
        manager.status(failure);
    }
    served
}

async fn run(
    mut config: Config,
    handed_over: Option<HandedOver>,
    reload: Reload,
    manager: &Manager,
) -> Result<(), Failure> {
    info!("orion-chat {}", env!("CARGO_PKG_VERSION"));
    config.warnings.extend(config::unknown_variables(variable_names()));
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    announce(&config.server);
    // What goes on beside the server ends with it.
    let mut beside = JoinSet::new();
    let patience = config.server.drain + CLOSING;
    let stop = stop_on_signal(&mut beside, manager.clone(), patience)?;
    let hang_ups = Reload::hang_ups()?;
    let listener = match handed_over {
        Some(HandedOver { listener, .. }) => listener,
        None => server::listen(config.server.listen)?,
    };
    let told = manager.clone();
    let on_repair = move |repair: Repair| told.extend(patience_with(repair), repair);
    let server = Server::on(listener, config.server, Clock::system(), on_repair).await?;
    let server = server.with_warnings(config.warnings);
    if let Some(address) = server.admin_address() {
        info!("metrics on http://{address}/metrics");
    }
    info!("listening on http://{}", server.address());
    manager.ready(format_args!("serving on http://{}", server.address()));
    let app = server.app().clone();
    beside.spawn(reload.run(hang_ups, app.clone()));
    beside.spawn(manager.clone().feed(move || check(app.clone())));
    server.run(stop).await?;
    info!("stopped");
    Ok(())
}

/// Whether the server is alive. One that waits for room on its disk is: to start it anew makes none.
async fn check(app: App) -> Result<(), StoreError> {
    match app.check().await {
        Err(StoreError::DiskFull { .. }) => Ok(()),
        checked => checked,
    }
}

/// How long the next step of a repair may take. A step is a third of it or so, and says nothing
/// while it lasts.
fn patience_with(repair: Repair) -> Duration {
    let gib = u32::try_from(repair.bytes >> 30).unwrap_or(u32::MAX);
    REPAIR.saturating_mul(gib.saturating_add(1))
}
