//! What an operation can change. It changes no table: it notes [`Step`]s, which the writer puts on
//! disk.

use std::sync::Arc;

use crate::model::{MessageId, SessionId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::fresh::{Cause, Fresh, FreshSession, Owner, Step};

use super::{ReadTx, Row, SessionRef, View, find, row};

/// One operation's view of the batch that it is part of: what was committed, and what the
/// operations before it did.
#[derive(Debug)]
pub struct WriteTx<'a> {
    view: &'a View,
    now: Timestamp,
    staged: Fresh,
    pub(in crate::store) done: Done,
}

/// What a batch is to put on disk.
#[derive(Debug, Default)]
pub(in crate::store) struct Done {
    pub(in crate::store) steps: Vec<Step>,
    /// The number that the next session gets.
    pub(in crate::store) next_session: u64,
}

/// A message to be stored.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, which no message of its session has.
    pub id: MessageId,
    /// Whether the caller chose the id, and not we.
    pub id_is_chosen: bool,
    /// Its time, which is its place: later than every message of its session.
    pub at: Timestamp,
    /// The message as clients read it.
    pub json: Vec<u8>,
}

impl<'a> WriteTx<'a> {
    pub(in crate::store) fn new(view: &'a View, now: Timestamp, next_session: u64) -> Self {
        let done = Done { next_session, ..Done::default() };
        Self { view, now, staged: Fresh::default(), done }
    }

    /// Reads something of the tables.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        ReadTx(self.view).check()
    }

    /// The time of this batch.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The session of that id, whoever owns it.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn session(&self, id: &SessionId) -> Result<Option<SessionRef>, StoreError> {
        find(&self.layers(), &self.view.tables, id)
    }

    /// The row of `session`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn row(&self, session: &SessionRef) -> Result<Row, StoreError> {
        row(&self.layers(), &self.view.tables, session)
    }

    /// The message of `session` that has this id, as clients read it; or one that stands where
    /// the id says, and has another.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn message(
        &self,
        session: &SessionRef,
        id: &MessageId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let layers = self.layers();
        let users = || layers.iter().filter_map(|fresh| fresh.user(&session.user_id));
        let number = session.number;
        let mut at = users().find_map(|user| user.chosen(number, id));
        if at.is_none() {
            at = self.view.tables.chosen(number, id)?.or_else(|| id.place());
        }
        let Some(at) = at else {
            return Ok(None);
        };
        match users().find_map(|user| user.message(number, at)) {
            Some(json) => Ok(Some(json.to_vec())),
            None => self.view.tables.message(number, at),
        }
    }

    /// Begins a session, whose id nobody has.
    ///
    /// # Errors
    /// [`StoreError::Unsettled`] if it was another user's until a moment ago.
    pub fn create_session(
        &mut self,
        id: &SessionId,
        user_id: &UserId,
        at: Timestamp,
        json: Vec<u8>,
    ) -> Result<SessionRef, StoreError> {
        let owner = self.layers().iter().find_map(|fresh| fresh.owner(id)).cloned();
        if let Some(Owner::Gone(other)) =
            owner.filter(|owner| *owner != Owner::Gone(user_id.clone()))
        {
            return Err(StoreError::Unsettled(other));
        }
        let number = self.done.next_session;
        self.done.next_session += 1;
        let (id, user_id) = (id.clone(), user_id.clone());
        let session = SessionRef { id, user_id, number, run: None };
        self.put_row(Cause::Created, &session, (at, at), json);
        Ok(session)
    }

    /// Replaces the row of `session`, which changed at `at`.
    pub fn update_session(
        &mut self,
        session: &SessionRef,
        at: Timestamp,
        created_at: Timestamp,
        json: Vec<u8>,
    ) {
        self.put_row(Cause::Updated, session, (created_at, at), json);
    }

    /// Saves a message, and the row of its session that follows from it.
    pub fn save_message(
        &mut self,
        session: &SessionRef,
        message: NewMessage,
        created_at: Timestamp,
        session_json: Vec<u8>,
    ) {
        self.put_row(Cause::MessageSaved, session, (created_at, message.at), session_json);
        self.put_message(session, message);
    }

    /// Saves the first message of a session whose row has it already.
    pub fn put_message(&mut self, session: &SessionRef, message: NewMessage) {
        let NewMessage { id, id_is_chosen, at, json } = message;
        self.step(Step::PutMessage {
            user_id: session.user_id.clone(),
            number: session.number,
            at,
            chosen: id_is_chosen.then_some(id),
            json: json.into(),
        });
    }

    /// Deletes `session`, which had this `row`, at `at`. Its messages can be found no more.
    pub fn delete_session(&mut self, session: &SessionRef, row: &Row, at: Timestamp) {
        self.step(Step::DeleteSession {
            user_id: session.user_id.clone(),
            id: session.id.clone(),
            number: session.number,
            created_at: row.created_at,
            at,
        });
    }

    fn layers(&self) -> [&Fresh; 2] {
        [&self.staged, &self.view.fresh]
    }

    fn put_row(
        &mut self,
        cause: Cause,
        session: &SessionRef,
        (created_at, updated_at): (Timestamp, Timestamp),
        json: Vec<u8>,
    ) {
        let session = Arc::new(FreshSession {
            id: session.id.clone(),
            user_id: session.user_id.clone(),
            number: session.number,
            created_at,
            updated_at,
            json: json.into(),
        });
        self.step(Step::PutSession { cause, session });
    }

    fn step(&mut self, step: Step) {
        self.staged.apply(step.clone());
        self.done.steps.push(step);
    }
}
