//! What is counted and measured: one struct, a documented field for each metric.
//!
//! A field is known to Prometheus as `orion_chat_` and its name, and its documentation is the help
//! that is told with it. Labels are bounded: they never hold what a caller sent. [`Metrics`] is
//! passed to where things happen; whatever happens for each request takes its handle of a family
//! once, at the start.

mod histogram;
mod process;
mod text;

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;

pub use histogram::{Amounts, Counts, Durations, Histogram, Kind, Seconds, Steps};
pub use text::Format;

/// Makes the struct, and a constructor that registers each field under its name, with its
/// documentation as help.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty,)+) => {
        /// All that is counted and measured.
        #[derive(Debug)]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $kind,)+
            /// The handles of all routes.
            routes: Mutex<Vec<Requests>>,
            registry: Registry,
        }

        impl Metrics {
            /// Everything at zero.
            pub fn new() -> Self {
                let mut registry = Registry::default();
                $(
                    let $field = <$kind>::default();
                    let name = concat!("orion_chat_", stringify!($field));
                    registry.register(name, help(concat!($($help),+)), $field.clone());
                )+
                let version = [("version", env!("CARGO_PKG_VERSION"))];
                registry.register("orion_chat_build", "What was built", Info::new(version));
                registry.register_collector(Box::new(process::Process));
                Self { $($field,)+ routes: Mutex::default(), registry }
            }
        }
    };
}

metrics! {
    /// Requests that were answered: unknown paths are `route="unknown"`, other methods than a
    /// route has `route="other"`, and HEAD counts as GET.
    http_requests: Family<RouteStatus, Counter>,
    /// From a request's arrival to the head of its answer.
    http_request_duration_seconds: Family<RouteName, Durations>,
    /// Requests of which the head of the answer is not sent yet.
    http_requests_in_flight: Gauge,
    /// Answers that say what is wrong, by their code.
    http_errors: Family<Code, Counter>,
    /// Requests of pages whose origin may not call.
    http_origins_refused: Counter,
    /// Tokens that were refused, by what is wrong with them.
    tokens_refused: Family<Reason, Counter>,
    /// Connections that are open.
    connections: Gauge,
    /// Connections that were closed since their other end was too slow.
    connections_given_up: Counter,
    /// Streams and WebSockets that are open.
    listeners: Family<ListenerKind, Gauge>,
    /// How many changes a listener was behind when it had to read the log.
    listener_lag_changes: Histogram<Steps>,
    /// Listeners that were told to load anew, as the log had no more what they missed.
    listener_resyncs: Counter,
    /// Operations on the data file that were done, by their verb.
    writes: Family<Verb, Counter>,
    /// Operations that wait for the writer.
    writes_waiting: Gauge,
    /// Commits of operations.
    commits: Counter,
    /// How long a commit of operations took, until it was on disk.
    commit_duration_seconds: Durations,
    /// How many operations a commit had.
    commit_operations: Histogram<Amounts>,
    /// How long it took to move some of what is in the log alone to where it belongs.
    settle_duration_seconds: Durations,
    /// How long the system took to have what was written on disk.
    fsync_duration_seconds: Durations,
    /// Reads of the data file, for want of the pages in the cache.
    file_reads: Counter,
    /// Bytes read from the data file.
    file_read_bytes: Counter,
    /// Bytes written to the data file.
    file_written_bytes: Counter,
    /// Size of the data file.
    file_bytes: Gauge,
    /// Room on its disk for this user.
    disk_free_bytes: Gauge,
    /// Steps in the log, for those who were away to catch up on.
    log_steps: Gauge,
    /// Steps that are in the log alone.
    log_unsettled_steps: Gauge,
    /// Memory for what is in the log alone.
    log_unsettled_bytes: Gauge,
    /// Sessions that are stored.
    sessions: Gauge,
    /// Messages that are stored.
    messages: Gauge,
    /// When the last backup was made while a server had the file, in seconds since 1970; 0 if none was.
    last_backup_timestamp_seconds: Gauge,
    /// Whether PostgreSQL is configured and there is a connection to it: 1 if so.
    postgres_connected: Gauge,
    /// Rows that wait to be sent to PostgreSQL.
    postgres_queue_rows: Gauge,
    /// How long the oldest of them has been waiting.
    postgres_oldest_pending_seconds: Gauge,
    /// How long ago everything in PostgreSQL was here.
    postgres_pull_lag_seconds: Gauge,
    /// Rows that PostgreSQL refused.
    postgres_dead_letters: Gauge,
    /// Changes that lost against later ones on the other side.
    postgres_conflicts: Gauge,
    /// Whether nothing is taken from PostgreSQL until somebody says so: 1 if so.
    postgres_paused: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Where the requests of a route are counted, and their answers by the class of their status.
    /// To be taken once.
    pub fn route(&self, method: &'static str, route: &'static str) -> Requests {
        let count =
            |status| self.http_requests.get_or_create_owned(&RouteStatus { method, route, status });
        let requests = Requests {
            name: (method, route),
            classes: CLASSES.map(count),
            duration: self
                .http_request_duration_seconds
                .get_or_create_owned(&RouteName { method, route }),
        };
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).push(requests.clone());
        requests
    }

    /// How long all requests took, and how many of them failed by our fault.
    pub fn answered(&self) -> (Counts, u64) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut took, mut failed) = (Counts::default(), 0);
        for route in routes.iter() {
            took.add(&route.duration.counts());
            failed += route.classes.last().map_or(0, Counter::get);
        }
        (took, failed)
    }

    /// All of it as text, for Prometheus or what speaks as it does.
    pub fn text(&self, format: Format) -> String {
        format.of(&self.registry)
    }
}

/// Classes of statuses, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the requests of one route are counted. Clones share it.
#[derive(Debug, Clone)]
pub struct Requests {
    name: (&'static str, &'static str),
    classes: [Counter; 5],
    duration: Durations,
}

impl Requests {
    /// The method and the route.
    pub fn name(&self) -> (&'static str, &'static str) {
        self.name
    }

    /// One was answered with this status, after so long.
    pub fn answered(&self, status: u16, took: Duration) {
        self.duration.took(took);
        if let Some(count) = self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            count.inc();
        }
    }
}

/// One of those that a gauge counts, for as long as it is kept.
#[derive(Debug)]
pub struct Present(Gauge);

impl Present {
    /// One more of those that `gauge` counts.
    pub fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whose path and method a request has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteName {
    /// Such as `GET`.
    pub method: &'static str,
    /// Such as `/api/sessions/{sessionId}`.
    pub route: &'static str,
}

/// Whose path and method a request has, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteStatus {
    /// Such as `GET`.
    pub method: &'static str,
    /// Such as `/api/sessions/{sessionId}`.
    pub route: &'static str,
    /// The class, such as `2xx`.
    pub status: &'static str,
}

/// What is wrong with a request, as its caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// Such as `session_not_found`.
    pub code: Cow<'static, str>,
}

/// Why something was refused, as its caller is not told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// Such as `expired`.
    pub reason: &'static str,
}

/// By what somebody listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerKind {
    /// `sse` or `websocket`.
    pub kind: &'static str,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verb {
    /// Such as `save_message`.
    pub verb: &'static str,
}

/// A documentation in one line, without the full stop that the registry adds.
fn help(documentation: &str) -> &str {
    documentation.trim().trim_end_matches('.')
}

#[cfg(test)]
mod tests;
