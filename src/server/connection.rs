//! One connection: HTTP/1.1 over a stream that does not wait for ever.
//!
//! hyper's own header timeout also ends idle connections, and knows no reader that has stopped
//! reading. So the stream itself keeps account of what it waits for, and for how long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
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
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::Service as _;
use tracing::debug;

use crate::http::{self, Endless};

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

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The first byte of all.
    Fresh,
    /// The rest of a head.
    Head,
    /// A request is being read, worked on or answered.
    Busy,
    /// The answer is complete, and its reader has yet to take the rest of it.
    Draining,
    /// An endless answer, of which nothing waits to be read.
    Listening,
    /// An endless answer, of which something waits to be read.
    Behind,
    /// The next request.
    Idle,
}

/// Keeps account of what a connection waits for, and since when.
#[derive(Debug)]
struct Watch {
    patience: Patience,
    began: Instant,
    phase: AtomicU8,
    /// Milliseconds from `began` to the turn of the phase, or to the last byte while busy.
    since: AtomicU64,
}

impl Watch {
    fn new(patience: Patience) -> Self {
        let phase = AtomicU8::new(Phase::Fresh as u8);
        Self { patience, began: Instant::now(), phase, since: AtomicU64::new(0) }
    }

    fn turn(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(millis, Ordering::Relaxed);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    fn bytes_came(&self) {
        if self.is(Phase::Fresh) || self.is(Phase::Idle) {
            self.turn(Phase::Head);
        } else if self.is(Phase::Busy) {
            self.touch();
        }
    }

    fn bytes_went(&self) {
        if self.is(Phase::Busy) || self.is(Phase::Draining) {
            self.touch();
        }
    }

    fn bytes_wait(&self) {
        if self.is(Phase::Idle) {
            self.turn(Phase::Draining);
        } else if self.is(Phase::Listening) {
            self.turn(Phase::Behind);
        }
    }

    fn all_went(&self) {
        if self.is(Phase::Draining) {
            self.turn(Phase::Idle);
        } else if self.is(Phase::Behind) {
            self.turn(Phase::Listening);
        }
    }

    /// Until when the other end is waited for; `None` for ever.
    fn deadline(&self) -> Option<Instant> {
        let patience = if self.is(Phase::Listening) {
            return None;
        } else if self.is(Phase::Behind) {
            self.patience.behind
        } else if self.is(Phase::Busy) || self.is(Phase::Draining) {
            self.patience.stall
        } else if self.is(Phase::Idle) {
            self.patience.idle
        } else {
            self.patience.head
        };
        Some(self.began + Duration::from_millis(self.since.load(Ordering::Relaxed)) + patience)
    }

    /// Returns when the other end was waited for long enough. Looks a few times in the shortest
    /// patience there is, as a phase may turn at any time; this is cheaper than a timer that is
    /// set anew with each request.
    async fn exhausted(&self) {
        let Patience { head, idle, stall, behind } = self.patience;
        let glance = head.min(idle).min(stall).min(behind) / 8;
        loop {
            let now = Instant::now();
            let until = match self.deadline() {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => deadline.min(now + glance),
                None => now + glance,
            };
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A stream that tells its [`Watch`] when bytes move.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.bytes_came();
        }
        polled
    }
}

impl Watched {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(_) => self.watch.bytes_went(),
            Poll::Pending => self.watch.bytes_wait(),
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        // hyper flushes when it has written everything.
        if polled.is_ready() {
            self.watch.all_went();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
