//! Taking sessions and messages out.

use std::io::{self, Write};
use std::ops::{Bound, ControlFlow};

use crate::model::{Message, Session, UserId};
use crate::store::{Facts, Frozen, ListedRow, Place, ReadTx, SessionRange, StoreError};

use super::Tally;
use super::line::{write_begin, write_end, write_message, write_session};

/// Why an export was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The data could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lines could not be written.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
}

/// Writes everything that `frozen` holds, or what of it is `user`'s, to `out`: the users in order, and
/// of each the session first that was created first. The same data gives the same lines.
///
/// # Errors
/// [`ExportError`]. What was written then has no last line.
pub fn export(
    frozen: &Frozen,
    user: Option<&UserId>,
    out: &mut dyn Write,
) -> Result<Tally, ExportError> {
    frozen.read(|tx| {
        let mut export = Export { tx, out, tally: Tally::default() };
        write_begin(export.out)?;
        match user {
            Some(user) => export.user(user)?,
            None => export.users()?,
        }
        write_end(export.out, export.tally)?;
        export.out.flush()?;
        Ok(export.tally)
    })
}

struct Export<'a> {
    tx: ReadTx<'a>,
    out: &'a mut dyn Write,
    tally: Tally,
}

impl Export<'_> {
    fn users(&mut self) -> Result<(), ExportError> {
        let tx = self.tx;
        let mut done = Ok(());
        let _broken_off = tx.users(|user| {
            done = self.user(user);
            goes_on(&done)
        })?;
        done
    }

    fn user(&mut self, user: &UserId) -> Result<(), ExportError> {
        let (tx, all) = (self.tx, (Bound::Unbounded, Bound::Unbounded));
        let range = SessionRange { by_created: true, newest_first: false, bounds: all };
        let mut done = Ok(());
        tx.sessions(user, range, |row| {
            done = self.session(user, row);
            goes_on(&done)
        })?;
        done
    }

    fn session(&mut self, user: &UserId, row: ListedRow<'_>) -> Result<(), ExportError> {
        let ListedRow { place: Place { number, .. }, facts, updated_at, json } = row;
        let Facts { created_at, .. } = facts;
        let session: Session<'_> =
            serde_json::from_slice(json).map_err(|_| damaged("session", number))?;
        write_session(self.out, &session, (created_at, updated_at))?;
        self.tally.sessions += 1;
        let (tx, all) = (self.tx, (Bound::Unbounded, Bound::Unbounded));
        let mut done = Ok(());
        let _broken_off = tx.messages_by_number((user, number), all, false, |at, json| {
            let message = serde_json::from_slice::<Message<'_>>(json);
            done = message
                .map_err(|_| damaged("message", number))
                .and_then(|message| Ok(write_message(self.out, &message, at)?));
            self.tally.messages += 1;
            goes_on(&done)
        })?;
        done
    }
}

fn goes_on(done: &Result<(), ExportError>) -> ControlFlow<()> {
    if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn damaged(what: &'static str, number: u64) -> ExportError {
    StoreError::Damaged { what, key: format!("session number {number}") }.into()
}
