//! How many sessions and messages there are: counted along with each commit, as nobody could wait
//! for somebody who looks through the file.
//!
//! What was counted is written down when something is settled, with the number of the last step that
//! it counts; the steps behind that one are counted again when the file is opened.

use redb::{ReadableTable, Table};
use serde::Serialize;
use tracing::warn;

use crate::model::SessionId;

use super::fresh::{Fate, FreshUser};
use super::run::Run;
use super::step::{Cause, Step};
use super::tables::{COUNTED, STORED_MESSAGES, STORED_SESSIONS, user_in};
use super::tx::{ReadTx, View, read_number};
use super::{StoreError, record, rows};

type ByteKey = &'static [u8];

/// How many sessions and messages are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stored {
    /// Sessions.
    pub sessions: u64,
    /// Their messages.
    pub messages: u64,
}

impl Stored {
    /// Counts what a step did, but for the messages of a session that it deletes.
    pub(super) fn count(&mut self, step: &Step) {
        match step {
            Step::PutSession { cause: Cause::Created, .. } => self.sessions += 1,
            Step::DeleteSession { .. } => self.sessions = self.sessions.saturating_sub(1),
            Step::PutMessage { .. } => self.messages += 1,
            Step::DeleteMessage { .. } => self.forget(1),
            Step::PutSession { .. }
            | Step::EditMessage { .. }
            | Step::PutAnswer { .. }
            | Step::PutNote { .. }
            | Step::Mirrored { .. }
            | Step::PutUsage { .. } => {}
        }
    }

    /// Counts `messages` no more.
    pub(super) fn forget(&mut self, messages: u64) {
        self.messages = self.messages.saturating_sub(messages);
    }

    /// Counts what a step did that is read from the log, and that `view` does not show yet.
    pub(super) fn count_again(&mut self, step: &Step, view: &View) {
        self.count(step);
        if let Step::DeleteSession { id, .. } = step {
            match messages_of(view, id) {
                Ok(messages) => self.forget(messages),
                Err(error) => warn!(%error, "the count of messages is wrong from now on: {error}"),
            }
        }
    }

    fn add_row(&mut self, session: &[u8]) {
        self.sessions += 1;
        self.messages += rows::message_count(session).unwrap_or(0);
    }

    /// Writes it down, as of step `counted`.
    pub(super) fn note(
        self,
        meta: &mut Table<'_, ByteKey, ByteKey>,
        counted: u64,
    ) -> Result<(), StoreError> {
        let numbers = [
            (COUNTED, counted),
            (STORED_SESSIONS, self.sessions),
            (STORED_MESSAGES, self.messages),
        ];
        for (key, number) in numbers {
            meta.insert(key, record::seal_number(key, number).as_slice())?;
        }
        Ok(())
    }

    /// What was written down, and the number of the last step that it counts.
    pub(super) fn noted(
        meta: &impl ReadableTable<ByteKey, ByteKey>,
    ) -> Result<Option<(u64, Self)>, StoreError> {
        let number = |key| read_number(meta, key);
        let noted = (number(COUNTED)?, number(STORED_SESSIONS)?, number(STORED_MESSAGES)?);
        Ok(match noted {
            (Some(counted), Some(sessions), Some(messages)) => {
                Some((counted, Self { sessions, messages }))
            }
            _ => None,
        })
    }

    /// Looks through all sessions, of a file in which nothing is written down.
    pub(super) fn look_through(view: &View) -> Result<Self, StoreError> {
        let mut stored = Self::default();
        for run in view.tables.sessions.iter()? {
            let (key, run) = run?;
            let fresh = user_in(key.value()).and_then(|user| view.fresh.user(&user));
            match Run::decode(key.value(), run.value()) {
                Ok(run) => {
                    let is_fresh = |number| fresh.is_some_and(|of| of.session(number).is_some());
                    let rows = run.rows().filter(|row| !is_fresh(row.place.number));
                    rows.for_each(|row| stored.add_row(row.json));
                }
                Err(error) => warn!(%error, "some sessions are not counted: {error}"),
            }
        }
        let fresh = view.fresh.users_sorted();
        let fates = fresh.iter().filter_map(|user| view.fresh.user(user));
        for (_, fate) in fates.flat_map(FreshUser::sessions) {
            if let Fate::Row(session) = fate {
                stored.add_row(&session.json);
            }
        }
        Ok(stored)
    }
}

/// How many messages the session of that id has.
fn messages_of(view: &View, id: &SessionId) -> Result<u64, StoreError> {
    let tx = ReadTx(view);
    let Some(session) = tx.session(id)? else {
        return Ok(0);
    };
    Ok(rows::message_count(&tx.row(&session)?.json).unwrap_or(0))
}
