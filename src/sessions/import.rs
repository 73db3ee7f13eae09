//! Taking in what was written elsewhere: sessions and messages with ids and times of their own.
//!
//! Nothing that is stored is changed but for what follows from its messages: a session that is there
//! stays as it is called, a message as it says. So to import twice adds nothing, and to go on with
//! what was broken off is to do it again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::session::{no_tags, preview};
use crate::model::{
    Content, Invalid, Message, MessageId, Metadata, Parts, Role, Session, SessionId, Tags,
    Timestamp, Title, UserId,
};
use crate::store::{Facts, NewMessage, Row, SessionRef, StoreError, WriteTx};

use super::edit_message::{Side, end, find};
use super::{SessionError, parse_message, parse_row, raw, row_of, to_json};

/// How far ahead of this clock a time may be. Whatever is saved in its session later comes after
/// it, so a time of next century would have to be lived with.
const AHEAD_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// A session that was begun elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it is called.
    pub title: Title,
    /// The user's JSON object.
    pub metadata: Option<Metadata>,
    /// Whether it was put away.
    pub archived: bool,
    /// Whether it is kept at the top.
    pub pinned: bool,
    /// Words to find it by.
    pub tags: Tags,
    /// When it is to be deleted, if it is; be that past.
    pub expires_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; no earlier than that.
    pub updated_at: Timestamp,
}

/// A message that was saved elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedMessage {
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Its id.
    pub id: MessageId,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// What is shown of it, if that is more than text.
    pub parts: Option<Parts>,
    /// The message that it follows; it may be gone.
    pub parent_id: Option<MessageId>,
    /// The user's JSON object.
    pub metadata: Option<Metadata>,
    /// When it was saved. It stands there, or at the next microsecond that is free.
    pub at: Timestamp,
    /// When it was edited last.
    pub edited_at: Option<Timestamp>,
}

/// What became of something that was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is stored now.
    Added,
    /// It was stored already, maybe changed since.
    There,
}

/// Begins `imported`, without messages, unless its user has it already.
///
/// # Errors
/// [`SessionError::IdTaken`] if it is somebody else's; [`SessionError::Invalid`] if it is of a time
/// to come; [`SessionError::Store`].
pub fn import_session(
    tx: &mut WriteTx<'_>,
    imported: &ImportedSession,
) -> Result<Imported, SessionError> {
    let ImportedSession { id, user_id, created_at, .. } = imported;
    match tx.session(id)? {
        Some(session) if session.user_id == *user_id => return Ok(Imported::There),
        Some(_) => return Err(SessionError::IdTaken(id.clone())),
        None => {}
    }
    check_time(tx, "createdAt", *created_at)?;
    check_time(tx, "updatedAt", imported.updated_at)?;
    let updated_at = imported.updated_at.max(*created_at);
    let tags = imported.tags.as_slice();
    let session = Session {
        session_id: raw(id.as_str())?,
        user_id: raw(user_id.as_str())?,
        title: raw(imported.title.as_str())?,
        first_message: Cow::Borrowed(RawValue::NULL),
        last_message: Cow::Borrowed(RawValue::NULL),
        message_count: 0,
        created_at: raw(created_at)?,
        updated_at: raw(&updated_at)?,
        metadata: Cow::Borrowed(Metadata::raw_or_empty(imported.metadata.as_ref())),
        archived: imported.archived,
        pinned: imported.pinned,
        tags: if tags.is_empty() { no_tags() } else { raw(tags)? },
        expires_at: imported.expires_at.map(|at| raw(&at)).transpose()?,
    };
    let facts = Facts { created_at: *created_at, marks: session.marks() };
    tx.create_session(id, user_id, Row { facts, updated_at, json: to_json(&session)? })?;
    Ok(Imported::Added)
}

/// Adds `messages`, all of the session `id`, each at its time, and tells `each` what became of it,
/// until that breaks off; what it was not told of is not stored. The session's count, previews and
/// time follow.
///
/// A refusal is [`SessionError::NotFound`] if there is no such session,
/// [`SessionError::MessageIdTaken`] if it has a message of that id which says something else and was
/// not edited since, [`SessionError::Invalid`] if it is of a time to come.
///
/// # Errors
/// [`SessionError::Store`], with which nothing was added.
pub fn import_messages<'m>(
    tx: &mut WriteTx<'_>,
    id: &SessionId,
    messages: impl IntoIterator<Item = &'m ImportedMessage>,
    mut each: impl FnMut(Result<Imported, SessionError>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SessionError> {
    let Some(session) = tx.session(id)? else {
        let missing = |_| each(Err(SessionError::NotFound(id.clone())));
        return Ok(messages.into_iter().try_for_each(missing));
    };
    let mut addition = Addition::new(tx, &session)?;
    let mut went_on = ControlFlow::Continue(());
    for message in messages {
        let outcome = match addition.add(tx, message) {
            Err(SessionError::Store(error)) => return Err(error.into()),
            outcome => outcome,
        };
        went_on = each(outcome);
        if went_on.is_break() {
            break;
        }
    }
    addition.save(tx)?;
    Ok(went_on)
}

/// Adds the message with which the session `id` was begun, by its user, unless the oldest that is
/// stored is a user's and says it. It stands before all others, if it can, at the session's time of creation.
///
/// # Errors
/// [`SessionError::NotFound`] if there is no such session; [`SessionError::Store`].
pub fn import_first_message(
    tx: &mut WriteTx<'_>,
    id: &SessionId,
    content: &Content,
) -> Result<Imported, SessionError> {
    let session = tx.session(id)?.ok_or_else(|| SessionError::NotFound(id.clone()))?;
    let mut at = tx.row(&session)?.facts.created_at;
    if let Some((oldest, json)) = end(tx, &session, Side::First, None)? {
        let message = parse_message(&session, &json)?;
        let said: Cow<'_, str> = serde_json::from_str(message.content.get()).unwrap_or_default();
        if message.role == Role::User && begins_with(&said, content.as_str()) {
            return Ok(Imported::There);
        }
        at = at.min(Timestamp::from_micros(oldest.as_micros().saturating_sub(1)));
    }
    let message = ImportedMessage {
        session_id: id.clone(),
        id: MessageId::derive(at, xxh3_128(id.as_str().as_bytes())),
        role: Role::User,
        content: content.clone(),
        parts: None,
        parent_id: None,
        metadata: None,
        at,
        edited_at: None,
    };
    let mut told = Ok(Imported::There);
    let _went_on = import_messages(tx, id, [&message], |outcome| {
        told = outcome;
        ControlFlow::Continue(())
    })?;
    told
}

/// Whether `said` is what `first` is, or is the beginning of that was cut after 50 characters or
/// more.
fn begins_with(said: &str, first: &str) -> bool {
    let (said, first) = (said.trim(), first.trim());
    let cut = first.strip_suffix("...").filter(|cut| cut.len() >= 50);
    said == first || cut.is_some_and(|cut| said.starts_with(cut))
}

/// Messages that are added to one session.
struct Addition<'m, 's> {
    session: &'s SessionRef,
    stored: Row,
    /// The ends of what is stored.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    added: BTreeMap<Timestamp, &'m ImportedMessage>,
    ids: HashMap<&'m MessageId, Timestamp>,
    /// A stretch of microseconds that are taken.
    taken: Option<(Timestamp, Timestamp)>,
}

impl<'m, 's> Addition<'m, 's> {
    fn new(tx: &WriteTx<'_>, session: &'s SessionRef) -> Result<Self, StoreError> {
        let place = |side| Ok::<_, StoreError>(end(tx, session, side, None)?.map(|(at, _)| at));
        Ok(Self {
            session,
            stored: tx.row(session)?,
            first: place(Side::First)?,
            last: place(Side::Last)?,
            added: BTreeMap::new(),
            ids: HashMap::new(),
            taken: None,
        })
    }

    fn add(
        &mut self,
        tx: &WriteTx<'_>,
        message: &'m ImportedMessage,
    ) -> Result<Imported, SessionError> {
        if let Some(same) = self.ids.get(&message.id).and_then(|at| self.added.get(at)) {
            let says_the_same = same.role == message.role && same.content == message.content;
            return said_before(message, says_the_same);
        }
        if let Some(id) = tx.message(self.session, &message.id)?
            && let Ok(stored) = find(Some(id), self.session, &message.id)
        {
            let stored = parse_message(self.session, &stored.json)?;
            return said_before(message, is_same(&stored, message)?);
        }
        check_time(tx, "timestamp", message.at)?;
        let place = self.free_place(tx, message.at)?;
        self.added.insert(place, message);
        self.ids.insert(&message.id, place);
        Ok(Imported::Added)
    }

    /// The first microsecond from `at` on at which no message stands.
    fn free_place(&mut self, tx: &WriteTx<'_>, at: Timestamp) -> Result<Timestamp, StoreError> {
        let stretch = self.taken.filter(|(from, to)| (*from..*to).contains(&at));
        let mut place = stretch.map_or(at, |(_, to)| to);
        loop {
            let free = self.free_of_added(self.free_of_stored(tx, place)?);
            if free == place {
                break;
            }
            place = free;
        }
        let from = stretch.map_or(at, |(from, _)| from);
        self.taken = Some((from, place.next()));
        Ok(place)
    }

    /// The first microsecond from `place` on at which nothing is stored.
    fn free_of_stored(
        &self,
        tx: &WriteTx<'_>,
        mut place: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        if self.last.is_none_or(|last| last < place) {
            return Ok(place);
        }
        let from = (Bound::Included(place), Bound::Unbounded);
        let _broken_off = tx.messages(self.session, from, false, |stored, _| {
            if stored != place {
                return ControlFlow::Break(());
            }
            place = place.next();
            ControlFlow::Continue(())
        })?;
        Ok(place)
    }

    /// The first microsecond from `place` on at which nothing was added.
    fn free_of_added(&self, place: Timestamp) -> Timestamp {
        let mut free = place;
        let taken = self.added.range(place..).take_while(|(at, _)| {
            let is_taken = **at == free;
            free = free.next();
            is_taken
        });
        let taken = u64::try_from(taken.count()).unwrap_or(u64::MAX);
        Timestamp::from_micros(place.as_micros().saturating_add(taken))
    }

    /// Puts what was added, and the row that follows from it.
    fn save(self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        let Self { session, stored, added, .. } = self;
        let (Some((first_at, first)), Some((last_at, last))) =
            (added.first_key_value(), added.last_key_value())
        else {
            return Ok(());
        };
        let mut row = parse_row(session, &stored)?;
        row.message_count += u64::try_from(added.len()).unwrap_or(u64::MAX);
        if self.first.is_none_or(|stored| *first_at < stored) {
            row.first_message = raw(&preview(first.content.as_str()))?;
        }
        if self.last.is_none_or(|stored| stored < *last_at) {
            row.last_message = raw(&preview(last.content.as_str()))?;
        }
        let updated_at = stored.updated_at.max(*last_at);
        row.updated_at = raw(&updated_at)?;
        let row = row_of(&row, &stored, updated_at)?;
        let messages = added.iter().map(|(at, message)| message.at_place(*at));
        let mut messages = messages.collect::<Result<Vec<_>, StoreError>>()?.into_iter();
        if let Some(first) = messages.next() {
            tx.save_message(session, first, row);
        }
        messages.for_each(|message| tx.put_message(session, message));
        Ok(())
    }
}

impl ImportedMessage {
    /// The message, to be stored at `at`.
    fn at_place(&self, at: Timestamp) -> Result<NewMessage, StoreError> {
        let json = to_json(&Message {
            id: raw(self.id.as_str())?,
            session_id: raw(self.session_id.as_str())?,
            role: self.role,
            content: raw(self.content.as_str())?,
            timestamp: raw(&at)?,
            metadata: Cow::Borrowed(Metadata::raw_or_empty(self.metadata.as_ref())),
            parent_id: self.parent_id.as_ref().map(|id| raw(id.as_str())).transpose()?,
            parts: self.parts.as_ref().map(|parts| Cow::Borrowed(parts.as_raw())),
            edited_at: self.edited_at.map(|at| raw(&at)).transpose()?,
        })?;
        // One that tells its place is found without an index.
        let id_is_chosen = self.id.place() != Some(at);
        Ok(NewMessage { id: self.id.clone(), id_is_chosen, at, json })
    }
}

fn said_before(message: &ImportedMessage, says_the_same: bool) -> Result<Imported, SessionError> {
    if says_the_same {
        Ok(Imported::There)
    } else {
        Err(SessionError::MessageIdTaken(message.id.clone()))
    }
}

/// Whether `stored` is `message`, or what it was edited to.
fn is_same(stored: &Message<'_>, message: &ImportedMessage) -> Result<bool, StoreError> {
    let edited_at = stored.edited_at.as_deref().map(RawValue::get);
    let edited_at = edited_at.and_then(|at| serde_json::from_str::<&str>(at).ok());
    let edited_at = edited_at.and_then(|at| Timestamp::parse_end("editedAt", at).ok());
    let parts = message.parts.as_ref().map(|parts| parts.as_raw().get());
    Ok(edited_at.is_some_and(|edited_at| message.edited_at.is_none_or(|at| at <= edited_at))
        || stored.role == message.role
            && stored.content.get() == raw(message.content.as_str())?.get()
            && stored.parts.as_deref().map(RawValue::get) == parts)
}

fn check_time(tx: &WriteTx<'_>, field: &'static str, at: Timestamp) -> Result<(), SessionError> {
    if at.as_micros() > tx.now().as_micros().saturating_add(AHEAD_MICROS) {
        let problem = format!("is {at}, which is yet to come; see both machines' clocks");
        return Err(Invalid::wrong(field, problem).into());
    }
    Ok(())
}
