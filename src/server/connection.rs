//! One connection: HTTP/1.1 over a stream that does not wait for ever.

mod watch;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service as _;
use tracing::debug;

use crate::http::{self, Endless};
use crate::metrics::Counter;

use watch::{Phase, Watch, Watched};

/// Heads up to this size are read; those over the limit of [`crate::http::Limits`] are then
/// refused in our words, and only longer ones in hyper's.
const HEAD_BUFFER: usize = 128 * 1024;

/// How long to wait for a connection's other end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the whole head of a request, from its first byte on; and for the first byte of all.
    pub head: Duration,
    /// For the next request. Longer than a tunnel's connector keeps its connections (90 s), so
    /// that it never sends on one that is being closed.
    pub idle: Duration,
    /// For any byte of a request's body, or to be read of its answer. Longer than a request may
    /// take to be answered.
    pub stall: Duration,
    /// For a listener to have read all that it was sent.
    pub behind: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            stall: Duration::from_secs(40),
            behind: Duration::from_secs(30),
        }
    }
}

/// Serves requests until the other end has none left, is too slow, or the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    patience: Patience,
    place: Arc<http::Connection>,
    given_up: Counter,
) {
    // Without it the last packet of an answer could wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY: {error}");
    }
    let watch = Arc::new(Watch::new(patience));
    let io = TokioIo::new(Watched { stream, watch: Arc::clone(&watch) });
    let (called, stopping) = (Arc::clone(&watch), place.stopping.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        called.turn(Phase::Busy);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&place));
        let (answering, guard) = (router.clone().call(request), Answered(Arc::clone(&called)));
        async move { answering.await.map(|response| guarded(response, guard)) }
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_buf_size(HEAD_BUFFER);
    let mut connection = std::pin::pin!(http.serve_connection(io, service).with_upgrades());
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection broke: {error}");
                }
                return;
            }
            () = watch.exhausted() => {
                given_up.inc();
                debug!("closed a connection whose other end was too slow");
                return;
            }
            () = stopping.cancelled(), if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    }
}

/// Turns the watch to idle when the answer is complete or given up.
#[derive(Debug)]
struct Answered(Arc<Watch>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.turn(Phase::Idle);
    }
}

/// A body with the guard that goes when it does.
struct Guarded {
    body: Body,
    _guard: Answered,
}

fn guarded(response: Response<Body>, guard: Answered) -> Response<Guarded> {
    if response.extensions().get::<Endless>().is_some() {
        guard.0.turn(Phase::Listening);
    }
    response.map(|body| Guarded { body, _guard: guard })
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
