//! How long a connection has waited for its other end.
//!
//! hyper's own header timeout also ends idle connections, and knows no reader that has stopped
//! reading. So the stream itself keeps account of what it waits for, and for how long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Patience;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
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
pub(super) struct Watch {
    patience: Patience,
    began: Instant,
    phase: AtomicU8,
    /// Milliseconds from `began` to the turn of the phase, or to the last byte while busy.
    since: AtomicU64,
}

impl Watch {
    pub(super) fn new(patience: Patience) -> Self {
        let phase = AtomicU8::new(Phase::Fresh as u8);
        Self { patience, began: Instant::now(), phase, since: AtomicU64::new(0) }
    }

    pub(super) fn turn(&self, phase: Phase) {
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
    pub(super) async fn exhausted(&self) {
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
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) watch: Arc<Watch>,
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
