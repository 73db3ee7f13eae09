//! Bodies of answers that are longer than should be held in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Body, Frame};
use tracing::{debug, error};

use crate::sessions::{Rest, SessionError};

/// A history, sent as fast as its reader takes it. When it cannot go on it breaks the connection
/// off, so that a reader never takes a part for the whole.
#[derive(Debug)]
pub(super) struct HistoryBody {
    first: Option<Vec<u8>>,
    rest: Box<Rest>,
}

impl HistoryBody {
    pub(super) fn new(first: Vec<u8>, rest: Box<Rest>) -> Self {
        Self { first: Some(first), rest }
    }
}

impl Body for HistoryBody {
    type Data = Bytes;
    type Error = SessionError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SessionError>>> {
        let piece = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rest.next_piece(),
        };
        match &piece {
            Ok(_) => {}
            Err(error @ SessionError::NotFound(_)) => {
                debug!(%error, "a history breaks off, as its session was deleted: {error}");
            }
            Err(error) => error!(%error, "a history breaks off: {error}"),
        }
        Poll::Ready(piece.transpose().map(|piece| piece.map(|piece| Frame::data(piece.into()))))
    }
}
