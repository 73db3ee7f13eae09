//! What an operation can change. It changes no table: it notes [`Step`]s, which the writer puts on
//! disk.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::model::{IdempotencyKey, MessageId, SessionId, Timestamp, UserId};
use crate::store::fresh::{Fresh, Owner};
use crate::store::notes;
use crate::store::step::{Answer, Cause, FreshSession, Step};
use crate::store::usage::{Growth, Quota, Usage};
use crate::store::{StoreError, Stored, rows};

use super::layers::Layers;
use super::{ReadTx, Row, SessionRef, StoredMessage, View};

/// How many notes of edits are struck out with a session.
const EDITS: usize = 1000;

/// One operation's view of the batch that it is part of: what was committed, and what the
/// operations before it did.
#[derive(Debug)]
pub struct WriteTx<'a> {
    pub(super) view: &'a View,
    pub(super) now: Timestamp,
    pub(super) staged: Fresh,
    /// Whether deletions leave traces, for the replica to know them.
    leaves_traces: bool,
    pub(super) quota: Quota,
    /// How much those have stored for whom this operation has changed it, where it is known.
    pub(super) tallied: HashMap<UserId, Option<Usage>>,
    pub(in crate::store) done: Done,
}

/// What a batch is to put on disk.
#[derive(Debug, Default)]
pub(in crate::store) struct Done {
    pub(in crate::store) steps: Vec<Step>,
    /// The number that the next session gets.
    pub(in crate::store) next_session: u64,
    /// How much there is then.
    pub(in crate::store) stored: Stored,
}

impl Done {
    /// How long it is on disk, or a little less.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.steps.iter().map(Step::bytes).sum()
    }

    /// Whether there will be more room by it.
    pub(in crate::store) fn makes_room(&self) -> bool {
        self.steps.iter().any(Step::deletes) || self.steps.iter().all(Step::is_note)
    }
}

/// A message to be stored.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, which no message of its session has.
    pub id: MessageId,
    /// Whether the caller chose the id, and not we.
    pub id_is_chosen: bool,
    /// Its time, which is its place: where no message of its session stands.
    pub at: Timestamp,
    /// The message as clients read it.
    pub json: Vec<u8>,
}

impl<'a> WriteTx<'a> {
    pub(in crate::store) fn new(
        view: &'a View,
        now: Timestamp,
        next_session: u64,
        (leaves_traces, quota): (bool, Quota),
    ) -> Self {
        let done = Done { next_session, stored: view.stored, ..Done::default() };
        let tallied = HashMap::new();
        Self { view, now, staged: Fresh::default(), leaves_traces, quota, tallied, done }
    }

    /// Reads something of the tables.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        ReadTx(self.view).check()
    }

    /// Whether there is a replica, which must be able to know what was changed here.
    pub fn leaves_traces(&self) -> bool {
        self.leaves_traces
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
        self.layers(|layers| layers.find(id))
    }

    /// The row of `session`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn row(&self, session: &SessionRef) -> Result<Row, StoreError> {
        self.layers(|layers| layers.row(session))
    }

    /// The message of `session` that has this id; or one that stands where the id says, and has
    /// another.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn message(
        &self,
        session: &SessionRef,
        id: &MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        self.layers(|layers| layers.message(session, id))
    }

    /// Shows `each` the messages of `session`, as [`ReadTx::messages`] does.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn messages(
        &self,
        session: &SessionRef,
        bounds: (Bound<Timestamp>, Bound<Timestamp>),
        newest_first: bool,
        mut each: impl FnMut(Timestamp, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let of = (&session.user_id, session.number);
        self.layers(|layers| layers.messages(of, (bounds, newest_first), &mut each))
    }

    /// How `user`'s request under `key` was answered, however long ago.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn answer(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Result<Option<Arc<Answer>>, StoreError> {
        self.layers(|layers| layers.answer(user, key))
    }

    /// Begins a session, whose id nobody has.
    ///
    /// # Errors
    /// [`StoreError::Unsettled`] if it was another user's until a moment ago.
    pub fn create_session(
        &mut self,
        id: &SessionId,
        user_id: &UserId,
        row: Row,
    ) -> Result<SessionRef, StoreError> {
        let owner = self.staged.owner(id).or_else(|| self.view.fresh.owner(id)).cloned();
        if let Some(Owner::Gone(other)) =
            owner.filter(|owner| *owner != Owner::Gone(user_id.clone()))
        {
            return Err(StoreError::Unsettled(other));
        }
        let number = self.done.next_session;
        self.done.next_session += 1;
        let (id, user_id) = (id.clone(), user_id.clone());
        let session = SessionRef { id, user_id, number, run: None };
        self.note_expiry(&session, None, Some(&row));
        self.put_row(Cause::Created, &session, row);
        Ok(session)
    }

    /// Notes when `session` is to be deleted: what its row says that was put, where it said what
    /// `before` says.
    pub fn note_expiry(&mut self, session: &SessionRef, before: Option<&Row>, after: Option<&Row>) {
        let expiry = |row: Option<&Row>| row.and_then(|row| rows::expires_at(&row.json));
        let (from, to) = (expiry(before), expiry(after));
        if let Some(from) = from.filter(|from| Some(*from) != to) {
            self.strike_out(&notes::expiry(from, session.number));
        }
        if let Some(to) = to {
            let key = notes::expiry(to, session.number);
            self.put_note(&key, Some(session.id.as_str().as_bytes()));
        }
    }

    /// Replaces the row of `session`, of which something of its own changed.
    pub fn update_session(&mut self, session: &SessionRef, row: Row) {
        let at = row.updated_at.as_micros().to_be_bytes();
        self.put_note(&notes::own_at(session.number), Some(&at));
        self.put_row(Cause::Updated, session, row);
    }

    /// Replaces the row of `session`, which follows from the messages that are put, changed or
    /// deleted next.
    pub fn follow_messages(&mut self, session: &SessionRef, row: Row) {
        self.put_row(Cause::Message, session, row);
    }

    /// Puts messages of `session`, and the row that follows from them, which `work` gives: those who
    /// follow are told of the messages with it.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn put_messages<E>(
        &mut self,
        session: &SessionRef,
        work: impl FnOnce(&mut Self) -> Result<Row, E>,
    ) -> Result<(), E> {
        let before = self.done.steps.len();
        let row = work(self)?;
        self.put_row(Cause::Message, session, row);
        if let Some(steps) = self.done.steps.get_mut(before..) {
            steps.rotate_right(1);
        }
        Ok(())
    }

    /// Does what was done at the replica before: `work` is not sent there.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn mirrored<T, E>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let before = self.done.steps.len();
        let outcome = work(self);
        let steps = u32::try_from(self.done.steps.len() - before).unwrap_or(u32::MAX);
        if steps > 0 {
            self.done.steps.insert(before, Step::Mirrored { steps });
        }
        outcome
    }

    /// What is noted under `key`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or is damaged there.
    pub fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.layers(|layers| layers.note(key))
    }

    /// Notes `value` under `key`, in the place of what was noted there; or strikes that out.
    pub fn put_note(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.step(Step::PutNote { key: key.into(), value: value.map(Into::into) });
    }

    /// Saves a message, and the row of its session that follows from it.
    pub fn save_message(&mut self, session: &SessionRef, message: NewMessage, row: Row) {
        self.put_row(Cause::Message, session, row);
        self.put_message(session, message);
    }

    /// Changes the message that stands at `place` to `json`, and the row of its session, whose
    /// time of change is the message's.
    pub fn edit_message(
        &mut self,
        session: &SessionRef,
        place: Timestamp,
        json: Vec<u8>,
        row: Row,
    ) {
        let at = row.updated_at;
        self.put_row(Cause::Message, session, row);
        self.tally(&session.user_id, |tx| {
            let old =
                tx.layers(|layers| layers.message_at(&session.user_id, session.number, place))?;
            Ok(Growth::of_bytes(old.map_or(0, |old| old.len()), json.len()))
        });
        self.step(Step::EditMessage {
            user_id: session.user_id.clone(),
            number: session.number,
            place,
            at,
            json: json.into(),
        });
    }

    /// Deletes `message`, which has this id, and changes the row of its session, whose time of
    /// change is that of the deletion.
    pub fn delete_message(
        &mut self,
        session: &SessionRef,
        id: &MessageId,
        message: &StoredMessage,
        row: Row,
    ) {
        let at = row.updated_at;
        self.put_row(Cause::Message, session, row);
        self.remove_message(session, id, message, at);
    }

    /// Deletes `message`, which has this id, at `at`; the row of its session knows already.
    pub fn remove_message(
        &mut self,
        session: &SessionRef,
        id: &MessageId,
        message: &StoredMessage,
        at: Timestamp,
    ) {
        if self.leaves_traces {
            let trace = notes::message_gone(&session.id, id);
            self.put_note(&trace, Some(&at.as_micros().to_be_bytes()));
        }
        self.strike_out(&notes::edit(session.number, message.place));
        self.tally(&session.user_id, |_| Ok(Growth::of_bytes(message.json.len(), 0)));
        self.step(Step::DeleteMessage {
            user_id: session.user_id.clone(),
            session_id: session.id.clone(),
            number: session.number,
            place: message.place,
            at,
            id: id.clone(),
            is_chosen: message.id_is_chosen,
        });
    }

    /// Keeps how `user`'s request under `key` is answered.
    pub fn put_answer(&mut self, user: &UserId, key: &IdempotencyKey, answer: Answer) {
        let (user_id, key, answer) = (user.clone(), key.clone(), Arc::new(answer));
        self.step(Step::PutAnswer { user_id, key, answer });
    }

    /// Saves a message of a session whose row, as it was put last, has it already.
    pub fn put_message(&mut self, session: &SessionRef, message: NewMessage) {
        let NewMessage { id, id_is_chosen, at, json } = message;
        self.tally(&session.user_id, |_| Ok(Growth::of_bytes(0, json.len())));
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
        self.tally(&session.user_id, |tx| tx.loss(session, row));
        if self.leaves_traces {
            let deletion = notes::deletion(at, &session.user_id);
            self.put_note(&notes::session_gone(&session.id), Some(&deletion));
        }
        self.strike_out(&notes::own_at(session.number));
        self.strike_out(&notes::base(session.number));
        self.note_expiry(session, Some(row), None);
        // Whatever is left of more, or of this very batch, is in nobody's way.
        let edits = self.view.notes(&notes::edits(session.number), &[], EDITS).unwrap_or_default();
        for (key, _) in edits {
            self.put_note(&key, None);
        }
        self.done.stored.forget(rows::message_count(&row.json).unwrap_or(0));
        self.step(Step::DeleteSession {
            user_id: session.user_id.clone(),
            id: session.id.clone(),
            number: session.number,
            created_at: row.facts.created_at,
            at,
        });
    }

    /// Strikes out what may be noted under `key`: for those who cannot know whether it was.
    fn strike_out(&mut self, key: &[u8]) {
        if !matches!(self.note(key), Ok(None)) {
            self.put_note(key, None);
        }
    }

    fn layers<T>(&self, look: impl FnOnce(Layers<'_>) -> T) -> T {
        look(Layers { fresh: &[&self.staged, &self.view.fresh], tables: &self.view.tables })
    }

    fn put_row(&mut self, cause: Cause, session: &SessionRef, row: Row) {
        let Row { facts, updated_at, json } = row;
        self.tally(&session.user_id, |tx| match cause {
            Cause::Created => Ok(Growth { sessions: 1, ..Growth::of_bytes(0, json.len()) }),
            Cause::Updated | Cause::Message => {
                Ok(Growth::of_bytes(tx.row(session)?.json.len(), json.len()))
            }
        });
        let session = Arc::new(FreshSession {
            id: session.id.clone(),
            user_id: session.user_id.clone(),
            number: session.number,
            facts,
            updated_at,
            json: json.into(),
        });
        self.step(Step::PutSession { cause, session });
    }

    pub(super) fn step(&mut self, step: Step) {
        self.done.stored.count(&step);
        self.staged.apply(step.clone());
        self.done.steps.push(step);
    }
}
