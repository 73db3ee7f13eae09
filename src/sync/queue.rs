//! Counting what waits to be sent: rows that were touched here, and nothing of what is only noted, or
//! was taken from there.

use std::collections::VecDeque;

use crate::model::Timestamp;
use crate::store::{Store, StoreError};

/// How many rows a piece of the log has at most: as many as are read at once, and short ones together.
const PIECE: usize = 1000;

/// How many pieces are counted in one go, a millisecond or so each; the rest is counted by the next.
const PIECES: usize = 50;

/// Pieces of the log behind what was sent, as far as they were counted.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    /// The number of the step before it.
    after: u64,
    /// The number of its last step.
    until: u64,
    rows: u64,
    /// When the first of its rows was touched.
    since: Option<Timestamp>,
}

impl Queue {
    /// How many rows wait behind number `sent`, and since when. What is too long to be counted in
    /// one go is taken for what its steps are.
    pub(super) fn count(
        &mut self,
        store: &Store,
        sent: u64,
    ) -> Result<(u64, Option<Timestamp>), StoreError> {
        self.cut(sent);
        let newest = store.read(|tx| Ok::<_, StoreError>(tx.newest()))?;
        let mut until = self.pieces.back().map_or(sent, |last| last.until);
        for _ in 0..PIECES {
            if until >= newest {
                break;
            }
            let Some(piece) = piece(store, until)? else {
                // The log does not reach back so far.
                break;
            };
            if piece.until == until {
                break;
            }
            until = piece.until;
            self.add(piece);
        }
        let counted: u64 = self.pieces.iter().map(|piece| piece.rows).sum();
        let since = self.pieces.iter().find_map(|piece| piece.since);
        Ok((counted + newest.saturating_sub(until), since))
    }

    /// Takes out what was sent.
    fn cut(&mut self, sent: u64) {
        while self.pieces.front().is_some_and(|piece| piece.until <= sent) {
            self.pieces.pop_front();
        }
        let is_last = self.pieces.len() == 1;
        match self.pieces.front_mut() {
            Some(first) if first.after < sent && is_last => self.pieces.clear(),
            // A part of many: about as many of its rows as of its steps.
            Some(first) if first.after < sent => {
                let (all, left) = (first.until - first.after, first.until - sent);
                first.rows = first.rows * left / all;
                first.after = sent;
            }
            _ => {}
        }
    }

    fn add(&mut self, piece: Piece) {
        let enough = u64::try_from(PIECE).unwrap_or(u64::MAX);
        match self.pieces.back_mut() {
            Some(last) if last.rows + piece.rows < enough => {
                last.until = piece.until;
                last.rows += piece.rows;
                last.since = last.since.or(piece.since);
            }
            _ => self.pieces.push_back(piece),
        }
    }
}

fn piece(store: &Store, after: u64) -> Result<Option<Piece>, StoreError> {
    let journal = store.read(|tx| tx.journal(after, PIECE))?;
    Ok(journal.map(|journal| Piece {
        after,
        until: journal.until,
        rows: u64::try_from(journal.touched.len()).unwrap_or(u64::MAX),
        since: journal.since,
    }))
}
