//! The log on stderr: its format, how much of it, and panics in it.

mod discreet;

use std::io::IsTerminal as _;

use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;

use super::Failure;
use discreet::Discreet;
pub(super) use discreet::without_addresses;

/// Starts the log; without a format, text for a terminal and else JSON. Panics are told in it too.
///
/// # Errors
/// [`Failure::LogFilter`].
pub(super) fn start_log(filter: &str, format: Option<LogFormat>) -> Result<(), Failure> {
    let filter = check_filter(filter)?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Discreet(std::io::stderr()))
        .with_ansi(is_terminal)
        .with_target(false)
        // A log that cannot be written must not stop the service.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    let by_reader = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    match format.unwrap_or(by_reader) {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    log_panics();
    Ok(())
}

/// What `filter` lets through.
///
/// # Errors
/// [`Failure::LogFilter`].
pub(super) fn check_filter(filter: &str) -> Result<Targets, Failure> {
    filter.parse().map_err(|error| Failure::LogFilter(filter.to_owned(), error))
}

/// Tells of panics in the log, in one line and in its format, where Rust would write several lines
/// of its own. Whoever catches one says what came of it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("of unknown cause").replace('\n', " ");
        error!(location, "panicked: {}", without_quoted(&text));
    }));
}

/// `text` without what stands between the first and the last quote, which may be a message's: Rust
/// shows the string that is cut at the wrong place, and the value that should not be.
fn without_quoted(text: &str) -> String {
    let is_quote = |c| matches!(c, '"' | '`');
    match (text.find(is_quote), text.rfind(is_quote)) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (text.get(..=from), text.get(to..));
            format!("{}\u{2026}{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::string_slice, clippy::unnecessary_literal_unwrap, reason = "it is to panic")]
    fn a_panic_tells_no_text_that_it_is_about() {
        let cut = std::panic::catch_unwind(|| "\u{e9} a `secret` word"[..1].len());
        let unwrapped = std::panic::catch_unwind(|| Err::<(), _>("a secret word").unwrap());
        for panic in [cut.unwrap_err(), unwrapped.unwrap_err()] {
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains("secret"), "{text}");
            let shown = without_quoted(text);
            assert!(!shown.contains("secret") && shown.contains('\u{2026}'), "{shown}");
        }
        let plain = "index out of bounds: the len is 3 but the index is 5";
        assert_eq!(without_quoted(plain), plain);
    }
}
