//! The text that Prometheus reads, in either of two formats.

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4, which everything understands.
    Prometheus,
}

impl Format {
    /// What a client wants that accepts this, by the `Accept` header of its request: `OpenMetrics`
    /// only if it asks for that by name.
    pub fn accepted(accept: &str) -> Self {
        let mut ranges = accept.split(',').map(str::trim);
        let wanted = ranges.any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
            is_named && parts.all(|part| part.replace(' ', "").trim_end_matches(['.', '0']) != "q=")
        });
        if wanted { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The metrics of `registry`.
    pub(super) fn of(self, registry: &Registry) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _written = encode_registry(&mut text, registry);
        match self {
            Self::OpenMetrics => {
                let _written = encode_eof(&mut text);
                text
            }
            Self::Prometheus => older(&text),
        }
    }
}

/// `text`, which is `OpenMetrics`, as the older format has it: that knows no `info` and no units, and
/// the help and type of a counter stand under its whole name.
fn older(text: &str) -> String {
    let (mut older, mut help) = (String::with_capacity(text.len() + 1024), "");
    for line in text.lines() {
        let comment = line.strip_prefix("# ").map(|comment| comment.splitn(3, ' '));
        let parts: Vec<_> = comment.into_iter().flatten().collect();
        match parts.as_slice() {
            [] => older.extend([line, "\n"]),
            // Its name is known when its type is.
            ["HELP", _, text] => help = text,
            ["TYPE", name, kind] => {
                let (ending, kind) = match *kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                older.extend(["# HELP ", name, ending, " ", help, "\n"]);
                older.extend(["# TYPE ", name, ending, " ", kind, "\n"]);
            }
            _ => {}
        }
    }
    older
}
