//! What is sent in one transaction: the rows that were touched, as they are now.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};

use serde_json::value::RawValue;

use crate::model::{Message, MessageId, Role, Session, SessionId, Timestamp, UserId};
use crate::sessions::merge;
use crate::store::notes::{self as keys, Base};
use crate::store::{ReadTx, SessionRef, Store, StoreError, Touched};

use super::notes::{self, Letter};

/// How much a parcel holds, in bytes of text: what sending costs in memory.
const PARCEL_BYTES: usize = 4 * 1024 * 1024;

/// How many rows are read in one go: a commit waits for that.
const READ_ROWS: usize = 64;

/// How many refused messages of a session are counted: a commit waits for that too.
const LETTERS: usize = 100;

/// Rows to send.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) sessions_gone: Vec<SessionGone>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) messages: Vec<MessageRow>,
    pub(super) messages_gone: Vec<MessageGone>,
    /// The sessions in which something is said, be it set aside.
    pub(super) spoken: HashSet<SessionId>,
    known: HashSet<Touched>,
    bytes: usize,
}

/// A session that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionGone {
    pub(super) user_id: UserId,
    pub(super) id: SessionId,
    pub(super) at: Timestamp,
}

/// A message that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageGone {
    pub(super) user_id: UserId,
    pub(super) session_id: SessionId,
    pub(super) id: MessageId,
    pub(super) at: Timestamp,
}

/// A session to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) number: u64,
    pub(super) user_id: UserId,
    pub(super) title: String,
    pub(super) first_message: Option<String>,
    pub(super) last_message: Option<String>,
    pub(super) count: i64,
    /// JSON.
    pub(super) metadata: String,
    pub(super) marks: Marks,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// When something of its own changed last, here; 0 if nothing did since it was created.
    pub(super) own_at: u64,
    /// What was the same on both sides last, if it was ever there.
    pub(super) base: Option<Base>,
    /// Whether PostgreSQL refused this version of it.
    pub(super) refused: bool,
    /// Whether it refused some version of it.
    pub(super) has_letter: bool,
    /// How many of its messages were refused, or [`LETTERS`].
    pub(super) messages_refused: i64,
}

/// What of a session's own has no column there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Marks {
    pub(super) archived: bool,
    pub(super) pinned: bool,
    /// A JSON array.
    pub(super) tags: String,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageRow {
    pub(super) id: MessageId,
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
    pub(super) role: Role,
    pub(super) content: String,
    /// JSON.
    pub(super) metadata: String,
    pub(super) at: Timestamp,
    /// How it was edited here since both sides were the same, if it was.
    pub(super) edit: Option<Edit>,
}

/// An edit of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// The session's number.
    pub(super) number: u64,
    /// When, in microseconds.
    pub(super) at: u64,
    /// The fingerprint of the text that both sides had, if it is known.
    pub(super) base: Option<u128>,
}

impl SessionRow {
    /// Whether something of its own changed here since both sides were the same.
    pub(super) fn own_changed(&self) -> bool {
        self.base.is_some_and(|base| self.own_at > base.own_at)
    }
}

impl Parcel {
    /// Takes what `touched` names, as it is now, until it is enough; gives how many of them that
    /// was. Those that are gone meanwhile are left out: a later step tells.
    pub(super) fn load(store: &Store, touched: &[Touched]) -> Result<(Self, usize), StoreError> {
        let mut parcel = Self::default();
        let mut taken = 0;
        for piece in touched.chunks(READ_ROWS) {
            taken += store.read(|tx| parcel.take_some(tx, piece))?;
        }
        Ok((parcel, taken))
    }

    fn take_some(&mut self, tx: ReadTx<'_>, piece: &[Touched]) -> Result<usize, StoreError> {
        let mut taken = 0;
        for touched in piece {
            if self.bytes >= PARCEL_BYTES {
                break;
            }
            self.take(tx, touched)?;
            taken += 1;
        }
        Ok(taken)
    }

    fn take(&mut self, tx: ReadTx<'_>, touched: &Touched) -> Result<(), StoreError> {
        if !self.known.insert(touched.clone()) {
            return Ok(());
        }
        match touched {
            Touched::Session(id) => {
                if let Some(session) = tx.session(id)? {
                    self.add_session(session_row(tx, &session)?);
                }
            }
            Touched::Message(user_id, number, place) => {
                let at = (Bound::Included(*place), Bound::Included(*place));
                let mut found = None;
                let of = (user_id, *number);
                let _found = tx.messages_by_number(of, at, false, |_, json| {
                    found = Some(json.to_vec());
                    ControlFlow::Break(())
                })?;
                let base = tx.note(&keys::edit(*number, *place))?;
                let base = base.and_then(|note| Base::of(&note));
                let row = found.map(|json| message_row(&json, of, (*place, base))).transpose()?;
                if let Some(row) = row
                    // What is left of a deleted session is none of a new one of its id.
                    && tx.session(&row.session_id)?.is_some_and(|it| it.number == *number)
                {
                    self.add_message(tx, row)?;
                }
            }
            Touched::MessageGone(user_id, session_id, id, at) => {
                // What its session shows follows from that.
                self.take(tx, &Touched::Session(session_id.clone()))?;
                let (user_id, session_id, id) = (user_id.clone(), session_id.clone(), id.clone());
                self.messages_gone.push(MessageGone { user_id, session_id, id, at: *at });
            }
            Touched::SessionGone(user_id, id, at) => {
                let (user_id, id) = (user_id.clone(), id.clone());
                self.sessions_gone.push(SessionGone { user_id, id, at: *at });
            }
        }
        Ok(())
    }

    fn add_session(&mut self, row: SessionRow) {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.bytes += text(&row.first_message) + text(&row.last_message) + row.metadata.len();
        self.sessions.push(row);
    }

    fn add_message(&mut self, tx: ReadTx<'_>, row: MessageRow) -> Result<(), StoreError> {
        // Its session first: without that, it cannot be there.
        self.take(tx, &Touched::Session(row.session_id.clone()))?;
        self.bytes += row.content.len() + row.metadata.len();
        self.spoken.insert(row.session_id.clone());
        let gone = tx.note(&keys::message_gone(&row.session_id, &row.id))?.map(keys::time);
        if let Some(at) = gone.filter(|at| *at < row.at) {
            // It took the place of one that may be there still.
            let (user_id, session_id) = (row.user_id.clone(), row.session_id.clone());
            self.messages_gone.push(MessageGone { user_id, session_id, id: row.id.clone(), at });
        }
        self.messages.push(row);
        Ok(())
    }
}

fn session_row(tx: ReadTx<'_>, session: &SessionRef) -> Result<SessionRow, StoreError> {
    let row = tx.row(session)?;
    let damaged = || StoreError::Damaged { what: "session", key: session.id.to_string() };
    let shown: Session<'_> = serde_json::from_slice(&row.json).map_err(|_| damaged())?;
    let own_at = notes::number(tx.note(&keys::own_at(session.number))?);
    let base = tx.note(&keys::base(session.number))?.and_then(|note| Base::of(&note));
    let about = notes::letter(&session.id, None);
    let letter: Option<Letter> = notes::read(tx, &about)?;
    let letters = tx.notes(&about, &[], LETTERS)?.len() - usize::from(letter.is_some());
    Ok(SessionRow {
        id: session.id.clone(),
        number: session.number,
        user_id: session.user_id.clone(),
        title: text(&shown.title).ok_or_else(damaged)?,
        first_message: whole(tx, session, text(&shown.first_message), false)?,
        last_message: whole(tx, session, text(&shown.last_message), true)?,
        count: i64::try_from(shown.message_count).unwrap_or(i64::MAX),
        metadata: shown.metadata.get().to_owned(),
        marks: Marks {
            archived: shown.archived,
            pinned: shown.pinned,
            tags: shown.tags.get().to_owned(),
        },
        created_at: row.facts.created_at,
        updated_at: row.updated_at,
        own_at,
        base,
        refused: letter.as_ref().is_some_and(|letter| letter.own_at == own_at),
        has_letter: letter.is_some(),
        messages_refused: i64::try_from(letters).unwrap_or(i64::MAX),
    })
}

/// What the message says of which `shown` is a preview, the last or the first: there, it is not cut.
fn whole(
    tx: ReadTx<'_>,
    session: &SessionRef,
    shown: Option<String>,
    is_last: bool,
) -> Result<Option<String>, StoreError> {
    if shown.as_ref().is_none_or(|shown| !shown.ends_with("...")) {
        return Ok(shown);
    }
    let mut found = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let _found = tx.messages(session, all, is_last, |_, json| {
        let message: Option<Message<'_>> = serde_json::from_slice(json).ok();
        found = message.and_then(|message| text(&message.content));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The message that stands at `place`, to be sent.
pub(super) fn message_row(
    json: &[u8],
    (user_id, number): (&UserId, u64),
    (place, base): (Timestamp, Option<Base>),
) -> Result<MessageRow, StoreError> {
    let damaged = || StoreError::Damaged { what: "message", key: place.to_string() };
    let message: Message<'_> = serde_json::from_slice(json).map_err(|_| damaged())?;
    let id = text(&message.id).and_then(|id| MessageId::parse(&id).ok());
    let session_id = text(&message.session_id).and_then(|id| SessionId::parse(&id).ok());
    let edited_at = merge::edited_here(&message, base).map(Timestamp::as_micros);
    let base = base.map(|base| base.print);
    Ok(MessageRow {
        id: id.ok_or_else(damaged)?,
        session_id: session_id.ok_or_else(damaged)?,
        user_id: user_id.clone(),
        role: message.role,
        content: text(&message.content).ok_or_else(damaged)?,
        metadata: message.metadata.get().to_owned(),
        at: place,
        edit: edited_at.map(|at| Edit { number, at, base }),
    })
}

/// What a JSON string says; none for `null`.
pub(super) fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str::<Option<Cow<'_, str>>>(json.get()).ok().flatten().map(Cow::into_owned)
}
