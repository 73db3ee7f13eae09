//! Parses the command line, starts the log, and runs the chosen command.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use orion_chat::care::{self, CareError};
use orion_chat::cli::{Cli, Command, LogFormat};
use orion_chat::config::{self, Config, ConfigError};
use orion_chat::model::Clock;
use orion_chat::nss;
use orion_chat::server::{Server, StartError, announce};
use orion_chat::store::{OpenError, StoreError};

/// glibc's allocator spends a fifth of the writer's time on buffers of some kilobytes, and keeps
/// them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that serve requests beside the one that writes: some may wait for the disk while
/// others go on.
const WORKERS_MIN: usize = 2;

fn main() -> ExitCode {
    nss::pin();
    let cli = Cli::parse();
    let variable = |name: &str| std::env::var_os(name);
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => config::load(args, variable).map_err(Failure::from).and_then(serve),
        Command::Backup { file, data } => {
            look_after(|| backup(&config::data(data, variable), file))
        }
        Command::Verify { file, data } => {
            look_after(|| verify(&file.unwrap_or_else(|| config::data(data, variable))))
        }
        Command::Restore { file, data } => {
            look_after(|| restore(&file, &config::data(data, variable)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Why the process ends other than by being told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("ORION_CHAT_LOG is {0:?}: {1}; write a level such as info or debug")]
    LogFilter(String, tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}; stopped, so that a new process can open the data file again")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Care(#[from] CareError),
    #[error("cannot start: {0}; see the system's limits on threads and descriptors")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// The numbers of sysexits.h where it has one, and EADDRINUSE.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::LogFilter(..)
            | Self::Start(StartError::Listen { .. } | StartError::Store(OpenError::Newer { .. })) => {
                78
            }
            Self::Start(StartError::AddressInUse { .. }) => 98,
            Self::Start(StartError::Store(error)) | Self::Care(CareError::Open(error)) => {
                match error {
                    OpenError::Create { .. } | OpenError::Access { .. } => 73,
                    OpenError::InUse { .. } => 75,
                    OpenError::Newer { .. } | OpenError::Damaged { .. } | OpenError::Io(_) => 74,
                }
            }
            Self::Care(CareError::Copy { .. } | CareError::Itself { .. }) => 73,
            Self::Care(CareError::Ask { .. }) => 75,
            Self::Care(CareError::Damaged { .. } | CareError::BrokenOff(_))
            | Self::Store(_)
            | Self::System(_) => 74,
        }
    }
}

fn backup(data: &Path, file: Option<PathBuf>) -> Result<(), Failure> {
    if file.as_deref() == Some(Path::new("-")) {
        care::backup_to(data, &mut std::io::stdout().lock(), &mut complain_of)?;
        return Ok(());
    }
    let file = file.unwrap_or_else(|| format!("orion-chat-{}.redb", file_time()).into());
    let records = care::backup(data, &file, &mut complain_of)?;
    say(&format!("{} is a backup of {records} records", file.display()));
    Ok(())
}

fn verify(file: &Path) -> Result<(), Failure> {
    let records = care::verify(file, &mut say)?;
    say(&format!("{} is good, with {records} records", file.display()));
    Ok(())
}

fn restore(file: &Path, data: &Path) -> Result<(), Failure> {
    let restored = care::restore(file, data, &file_time(), &mut complain_of)?;
    say(&format!("{} holds the {} records of the backup", data.display(), restored.records));
    if let Some(kept) = restored.kept {
        say(&format!("{} is what was there before", kept.display()));
    }
    Ok(())
}

/// Does what an operator waits for: with a log that has no more than is amiss.
fn look_after(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    start_log("warn", LogFormat::Text)?;
    log_panics();
    work()
}

/// The time, such as `20261123T101112.345Z`, for names of files.
fn file_time() -> String {
    let now = Clock::system().now().to_string();
    now.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

fn serve(config: Config) -> Result<(), Failure> {
    start_log(&config.log_filter, config.log_format)?;
    log_panics();
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
        info!("listening on http://{}", server.address());
        server.run(stop).await?;
        info!("stopped");
        Ok(())
    })
}

fn start_log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter: Targets =
        filter.parse().map_err(|error| Failure::LogFilter(filter.to_owned(), error))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A log that cannot be written must not stop the service.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    Ok(())
}

/// Tells of panics in the log, in one line and in its format, where Rust would write several lines
/// of its own. Whoever catches one says what came of it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("of unknown cause").replace('\n', " ");
        error!(location, "panicked: {text}");
    }));
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

/// Says why on stderr, whether or not the log has started.
#[expect(clippy::print_stderr, reason = "this is what stderr is for")]
fn complain(failure: &Failure) {
    eprintln!("orion-chat: {failure}");
}

/// Says what is wrong with a file, where stdout may be a backup's.
#[expect(clippy::print_stderr, reason = "this is what stderr is for")]
fn complain_of(problem: &str) {
    eprintln!("{problem}");
}

/// Says what was asked for, to whoever may have gone away.
fn say(line: &str) {
    let _gone = writeln!(std::io::stdout(), "{line}");
}
