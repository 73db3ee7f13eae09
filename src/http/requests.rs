//! How many requests there are, how they are answered, and how long that takes.
//!
//! Each route's handles are taken once, at the start: to count a request is to look up its path, and
//! to add to a few numbers.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::http::{Method, StatusCode};

use crate::metrics::{Gauge, Metrics, Present, Requests as Handles};

use super::route::Route;

/// Where requests are counted.
#[derive(Debug)]
pub(super) struct Requests {
    paths: matchit::Router<Vec<(Method, Handles)>>,
    /// Other methods than a path has.
    other: Handles,
    /// Other paths.
    unknown: Handles,
    in_flight: Gauge,
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    handles: &'a Handles,
    began: Instant,
    _in_flight: Present,
}

impl Requests {
    /// Counts requests to these routes, from zero on.
    pub(super) fn new(routes: &[Route], metrics: &Metrics) -> Self {
        let mut methods = BTreeMap::<_, Vec<_>>::new();
        for Route { method, path, .. } in routes {
            let handles = metrics.route(method_name(method), path);
            methods.entry(*path).or_default().push((method.clone(), handles));
        }
        let mut paths = matchit::Router::new();
        for (path, methods) in methods {
            // axum has taken these paths, by the same rules.
            paths.insert(path, methods).unwrap_or_default();
        }
        let other = metrics.route("other", "other");
        let unknown = metrics.route("other", "unknown");
        Self { paths, other, unknown, in_flight: metrics.http_requests_in_flight.clone() }
    }

    /// A request begins.
    pub(super) fn begin(&self, method: &Method, path: &str) -> Begun<'_> {
        let handles = self.paths.at(path).map_or(&self.unknown, |found| {
            let method = if *method == Method::HEAD { &Method::GET } else { method };
            let found = found.value.iter().find(|(of, _)| of == method);
            found.map_or(&self.other, |(_, handles)| handles)
        });
        Begun { handles, began: Instant::now(), _in_flight: Present::of(&self.in_flight) }
    }
}

impl Begun<'_> {
    /// Its answer begins. Gives the method and the route under which it is counted.
    pub(super) fn answered(self, status: StatusCode) -> (&'static str, &'static str) {
        self.handles.answered(status.as_u16(), self.began.elapsed());
        self.handles.name()
    }
}

/// The methods that routes have.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{SESSION, routes};
    use crate::metrics::Format;

    #[test]
    fn a_request_is_counted_under_its_route_and_never_under_what_it_names() {
        let metrics = Metrics::new();
        let requests = Requests::new(&routes(), &metrics);
        let (get, head, put) = (Method::GET, Method::HEAD, Method::PUT);
        let odd = Method::from_bytes(b"ODD").unwrap();
        for (method, path, status) in [
            (&get, "/api/sessions/secret-1", StatusCode::OK),
            (&get, "/api/sessions/secret-2", StatusCode::NOT_FOUND),
            (&head, "/api/sessions/secret-3", StatusCode::OK),
            (&put, "/api/sessions/secret-4", StatusCode::METHOD_NOT_ALLOWED),
            (&odd, "/api/sessions/list", StatusCode::METHOD_NOT_ALLOWED),
            (&get, "/secret/5", StatusCode::NOT_FOUND),
            (&get, "*", StatusCode::NOT_FOUND),
            (&get, "/api/ws", StatusCode::SWITCHING_PROTOCOLS),
        ] {
            requests.begin(method, path).answered(status);
        }
        drop(requests.begin(&get, "/health"));

        let text = metrics.text(Format::Prometheus);
        for (method, route, status, count) in [
            ("GET", SESSION, "2xx", 2),
            ("GET", SESSION, "4xx", 1),
            ("GET", SESSION, "5xx", 0),
            ("GET", "/api/ws", "1xx", 1),
            ("GET", "/health", "2xx", 0),
            ("other", "other", "4xx", 2),
            ("other", "unknown", "4xx", 2),
        ] {
            let line = format!(
                "orion_chat_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}"
            );
            assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
        }
        assert!(text.contains("\norion_chat_http_requests_in_flight 0\n"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
