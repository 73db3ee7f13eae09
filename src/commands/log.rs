//! The log on stderr: its format, how much of it, and panics in it.

use std::io::IsTerminal as _;

use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;

use super::Failure;

/// Starts the log. Panics are told in it too.
///
/// # Errors
/// [`Failure::LogFilter`].
pub(super) fn start_log(filter: &str, format: LogFormat) -> Result<(), Failure> {
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
    log_panics();
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
