//! What can be asked of the replica, and what it says meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::{SyncError, SyncStatus};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take everything that is there now; whether much may be deleted here.
    Pull {
        /// It may, as somebody has looked at it.
        accept_deletions: bool,
    },
    /// Send everything that is not there.
    Push,
    /// Send again what was refused.
    Retry,
    /// Say where both sides differ.
    Diff,
}

/// What is said about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line for whoever asked.
    Said(String),
    /// So many rows are looked at or taken, of about so many.
    Progress {
        /// How many.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// It is done; whether everything is as it should be.
    Done(bool),
    /// It could not be done.
    Failed(String),
}

/// An order with the end of the line of who gave it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) order: Order,
    pub(super) answers: mpsc::Sender<Answer>,
}

/// A running replica, for those who ask something of it; clones share it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) status: std::sync::Arc<SyncStatus>,
    pub(super) requests: mpsc::Sender<Request>,
}

impl Handle {
    /// How it is doing.
    pub fn status(&self) -> &SyncStatus {
        &self.status
    }

    /// Asks for `order`. What is said comes until the last of it.
    pub fn ask(&self, order: Order) -> mpsc::Receiver<Answer> {
        let (answers, said) = mpsc::channel(64);
        if let Err(refused) = self.requests.try_send(Request { order, answers }) {
            let Request { answers, .. } = refused.into_inner();
            // Its other end is in our hands.
            let _heard = answers.try_send(Answer::Failed("it is busy; try again".to_owned()));
        }
        said
    }
}

/// How far an order is, for whoever gave it.
#[derive(Debug)]
pub(super) struct Progress {
    answers: mpsc::Sender<Answer>,
    done: AtomicU64,
    of: u64,
}

impl Progress {
    /// Counts rows that were looked at or taken.
    pub(super) fn add(&self, rows: u64) {
        let done = self.done.fetch_add(rows, Ordering::Relaxed) + rows;
        // Who does not listen as quickly hears of the next.
        let _unheard = self.answers.try_send(Answer::Progress { done, of: self.of });
    }
}

impl Request {
    /// Tells whoever asked how far it is, of about so many rows.
    pub(super) fn progress(&self, of: u64) -> Progress {
        Progress { answers: self.answers.clone(), done: AtomicU64::new(0), of }
    }

    /// Says a line to whoever may have gone away.
    pub(super) async fn say(&self, line: String) {
        let _gone = self.answers.send(Answer::Said(line)).await;
    }

    pub(super) async fn end(self, outcome: Result<bool, &SyncError>) {
        let answer = match outcome {
            Ok(is_well) => Answer::Done(is_well),
            Err(error) => Answer::Failed(error.to_string()),
        };
        let _gone = self.answers.send(answer).await;
    }
}
