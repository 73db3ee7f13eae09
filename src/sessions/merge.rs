//! Taking in what others did to a session elsewhere, where it has ids and times of its own.
//!
//! Messages are united by their ids. What is a session's own (title, metadata, marks) is theirs if
//! nothing of it changed here since both sides were the same, ours if nothing changed there, and else
//! the later, of the same time the greater node's; what loses is kept as a note. The text of a message
//! goes by the same rule, but that ours stays where both have the same time, or theirs has none. Count
//! and previews follow from the messages, and are never taken. A deletion is older or newer than what it meets, by its time.
//!
//! All of this happens in the caller's transaction. What is then the same on both sides is
//! [mirrored](WriteTx::mirrored); what must go back there is not.

mod conflict;
mod deletion;
mod messages;

use std::borrow::Cow;

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::session::{no_tags, preview};
use crate::model::{
    Message, MessageId, Metadata, Role, Session, SessionId, Timestamp, Title, UserId,
};
use crate::store::notes::{self, Base};
use crate::store::{Facts, Row, SessionRef, StoreError, WriteTx};

use super::{parse_row, raw, row_of, to_json};

pub use conflict::{CONFLICTS, Conflict, Loser};
pub use deletion::{Known, Missing, delete_messages, delete_session, forget_messages, row_print};
pub(super) use messages::note_edit;
pub use messages::{edited_here, is_same, print};

/// A session as it is there.
#[derive(Debug, Clone)]
pub struct TheirSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What is its own.
    pub own: Own,
    /// A fingerprint of the title and the metadata, as they are there.
    pub print: u128,
    /// When something of its own changed last there, as far as is known.
    pub own_at: Timestamp,
    /// What is said to be its first message, which may be stored nowhere else.
    pub first_message: Option<String>,
    /// The last, as it is shown there.
    pub last_message: Option<String>,
    /// How many messages it is said to have.
    pub count: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it wins over ours of the same time: the greater node's does.
    pub wins_ties: bool,
    /// Whether it lacks nothing there that must go back.
    pub is_whole: bool,
    /// Whether more of its messages follow in another write.
    pub goes_on: bool,
}

/// What is a session's own.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// What it is called, if it has a name.
    pub title: Option<String>,
    /// A JSON text; what is no metadata counts as `{}`.
    pub metadata: String,
    /// Its marks, where they are kept there: archived, pinned, and tags as JSON.
    pub marks: Option<(bool, bool, String)>,
}

/// A message as it is there.
#[derive(Debug, Clone)]
pub struct TheirMessage {
    /// Its id.
    pub id: MessageId,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// A JSON text; what is no metadata counts as `{}`.
    pub metadata: String,
    /// When it was said, or is said to be where that is not known there.
    pub at: Timestamp,
    /// When its text was put there last, if that is known and matters.
    pub put_at: Option<Timestamp>,
    /// Whether that is known there, so that nothing of it must go back.
    pub is_whole: bool,
}

/// What came of taking something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Rows that changed here.
    pub rows: u64,
    /// Whether the session is somebody else's here, so that nothing was taken.
    pub is_anothers: bool,
    /// Whether it was deleted here later, so that it must go there too.
    pub is_gone: bool,
}

/// Takes in a session with messages of it. Of a session that is not here, these are all or its first
/// ones: a first message which is not among them is stored nowhere.
///
/// # Errors
/// [`StoreError`]
pub fn merge(
    tx: &mut WriteTx<'_>,
    theirs: &TheirSession,
    said: &[TheirMessage],
) -> Result<Merged, StoreError> {
    match tx.session(&theirs.id)? {
        Some(session) if session.user_id != theirs.user_id => {
            Ok(Merged { is_anothers: true, ..Merged::default() })
        }
        Some(session) => meet(tx, &session, theirs, said),
        None => take(tx, theirs, said),
    }
}

/// Takes a session that is not here.
fn take(
    tx: &mut WriteTx<'_>,
    theirs: &TheirSession,
    said: &[TheirMessage],
) -> Result<Merged, StoreError> {
    let gone = gone_at(tx, &theirs.id, &theirs.user_id)?;
    let said: Vec<_> =
        said.iter().filter(|message| gone.is_none_or(|gone| message.at > gone)).cloned().collect();
    if gone.is_some_and(|gone| theirs.created_at <= gone) && said.is_empty() {
        return Ok(Merged { is_gone: true, ..Merged::default() });
    }
    let row = first_row(theirs, &said)?;
    let session = tx.mirrored(|tx| tx.create_session(&theirs.id, &theirs.user_id, row))?;
    let base = Base { own_at: 0, print: theirs.print };
    tx.put_note(&notes::base(session.number), Some(&base.to_bytes()));
    let mut merged = Merged { rows: 1, ..Merged::default() };
    if gone.is_none_or(|gone| theirs.created_at > gone)
        && let Some(first) = unstored(theirs, &said)
    {
        // Not mirrored: it is stored nowhere, and shall be there too.
        merged.rows += messages::unite(tx, &session, &[first], false)?;
    }
    merged.rows += messages::unite(tx, &session, &said, true)?;
    follow(tx, &session, theirs)?;
    Ok(merged)
}

/// Takes in a session that is here: the same one, or one of its id that was made without us.
fn meet(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirSession,
    said: &[TheirMessage],
) -> Result<Merged, StoreError> {
    let stored = tx.row(session)?;
    let created_at = stored.facts.created_at;
    if theirs.created_at == created_at || !theirs.is_whole {
        return merge_into(tx, session, theirs, said);
    }
    let gone = gone_at(tx, &theirs.id, &theirs.user_id)?;
    if gone.is_some_and(|gone| theirs.created_at <= gone) {
        // What is there was deleted here, and this is another one: it takes the place of that.
        let rows = messages::unite(tx, session, said, true)?;
        conflict::overrule(tx, session, theirs)?;
        return Ok(Merged { rows, is_gone: true, ..Merged::default() });
    }
    let base = tx.note(&notes::base(session.number))?;
    // It was there once: then it was deleted there and made again, and what is older is gone.
    let since = base.as_ref().map(|_| theirs.created_at);
    let again = deletion::renew(tx, session, &stored, (theirs, since))?;
    let own_at = tx.note(&notes::own_at(session.number))?;
    if base.is_none() && own_at.is_some() {
        tx.put_note(&notes::own_at(again.number), own_at.as_deref());
    }
    merge_into(tx, &again, theirs, said)
}

/// When the session of that id was deleted here, if it was this user's.
fn gone_at(
    tx: &WriteTx<'_>,
    id: &SessionId,
    user: &UserId,
) -> Result<Option<Timestamp>, StoreError> {
    let deletion = tx.note(&notes::session_gone(id))?.and_then(|note| notes::deletion_in(&note));
    Ok(deletion.filter(|(_, whose)| whose == user).map(|(at, _)| at))
}

fn merge_into(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirSession,
    said: &[TheirMessage],
) -> Result<Merged, StoreError> {
    let mut merged = Merged { rows: conflict::settle(tx, session, theirs)?, ..Merged::default() };
    merged.rows += messages::unite(tx, session, said, true)?;
    follow(tx, session, theirs)?;
    Ok(merged)
}

/// The message that a session begins with there and that is counted and stored nowhere, if it has
/// one; of `said`, oldest first, none is it.
fn unstored(theirs: &TheirSession, said: &[TheirMessage]) -> Option<TheirMessage> {
    let first = theirs.first_message.as_ref().filter(|first| !first.trim().is_empty())?;
    // Its writer stores those of users nowhere; what nodes say is first may be anybody's.
    let is_stored = |(nth, message): (usize, &TheirMessage)| {
        (nth == 0 || message.role == Role::User) && preview(&message.content) == preview(first)
    };
    if theirs.count == 0 || said.iter().enumerate().any(is_stored) {
        return None;
    }
    let at = theirs.created_at;
    // The same for all who look, and for those who import the tables.
    let id = MessageId::derive(at, xxh3_128(theirs.id.as_str().as_bytes()));
    let (content, metadata) = (first.clone(), "{}".to_owned());
    let (role, put_at, is_whole) = (Role::User, None, true);
    Some(TheirMessage { id, role, content, metadata, at, put_at, is_whole })
}

fn first_row(theirs: &TheirSession, said: &[TheirMessage]) -> Result<Row, StoreError> {
    let newest = said.iter().map(|message| message.at).max().unwrap_or_default();
    let updated_at = theirs.updated_at.max(theirs.created_at).max(newest);
    let session = Session {
        session_id: raw(theirs.id.as_str())?,
        user_id: raw(theirs.user_id.as_str())?,
        title: raw(&title_of(theirs, said))?,
        first_message: Cow::Borrowed(RawValue::NULL),
        last_message: Cow::Borrowed(RawValue::NULL),
        message_count: 0,
        created_at: raw(&theirs.created_at)?,
        updated_at: raw(&updated_at)?,
        metadata: metadata_of(&theirs.own.metadata),
        archived: false,
        pinned: false,
        tags: no_tags(),
        expires_at: None,
    };
    let session = with_marks(session, theirs)?;
    let facts = Facts { created_at: theirs.created_at, marks: session.marks() };
    Ok(Row { facts, updated_at, json: to_json(&session)? })
}

/// What the session is called there, or would be here.
fn title_of(theirs: &TheirSession, said: &[TheirMessage]) -> String {
    let given = theirs.own.title.clone().filter(|title| !title.trim().is_empty());
    given.unwrap_or_else(|| {
        let first = said.first().map(|message| message.content.clone());
        let first = first.or_else(|| theirs.first_message.clone());
        let content = first.and_then(|text| crate::model::Content::parse("content", text).ok());
        Title::derive(content.as_ref()).as_str().to_owned()
    })
}

fn with_marks<'a>(
    session: Session<'a>,
    theirs: &'a TheirSession,
) -> Result<Session<'a>, StoreError> {
    let Some((archived, pinned, tags)) = &theirs.own.marks else {
        return Ok(session);
    };
    let tags: Vec<String> = serde_json::from_str(tags).unwrap_or_default();
    let tags = if tags.is_empty() { no_tags() } else { raw(&tags)? };
    Ok(Session { archived: *archived, pinned: *pinned, tags, ..session })
}

/// JSON text as metadata; `{}` where it is none.
fn metadata_of(json: &str) -> Cow<'static, RawValue> {
    let value = RawValue::from_string(json.to_owned()).ok();
    let metadata = value.and_then(|value| Metadata::parse(value).ok());
    Cow::Owned(Metadata::raw_or_empty(metadata.as_ref()).to_owned())
}

/// Has the session's row follow from its messages, and sends it there if it is something else
/// there.
fn follow(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirSession,
) -> Result<(), StoreError> {
    if theirs.goes_on {
        return Ok(());
    }
    let stored = tx.row(session)?;
    let row = parse_row(session, &stored)?;
    let shown = |text: &Option<String>| raw(&text.as_deref().map(preview));
    let is_same = theirs.is_whole
        && row.message_count == theirs.count
        && row.first_message.get() == shown(&theirs.first_message)?.get()
        && row.last_message.get() == shown(&theirs.last_message)?.get();
    if !is_same {
        tx.follow_messages(session, stored.clone());
    }
    Ok(())
}

/// The JSON of a message of `session` that stands at `place`.
fn message_json(
    session: &SessionRef,
    message: &TheirMessage,
    place: Timestamp,
) -> Result<Vec<u8>, StoreError> {
    to_json(&Message {
        id: raw(message.id.as_str())?,
        session_id: raw(session.id.as_str())?,
        role: message.role,
        content: raw(message.content.as_str())?,
        timestamp: raw(&place)?,
        metadata: metadata_of(&message.metadata),
        parent_id: None,
        parts: None,
        edited_at: None,
    })
}

/// The row of `session` with its count changed by `more`, its previews as its messages are, and a
/// time that is not before `at`.
fn recounted(
    tx: &WriteTx<'_>,
    session: &SessionRef,
    more: i64,
    at: Timestamp,
) -> Result<Row, StoreError> {
    let stored = tx.row(session)?;
    let mut row = parse_row(session, &stored)?;
    row.message_count = row.message_count.saturating_add_signed(more);
    row.first_message = super::edit_message::shown_first(tx, session)?;
    row.last_message = super::edit_message::shown_last(tx, session)?;
    let at = at.max(stored.updated_at);
    row.updated_at = raw(&at)?;
    row_of(&row, &stored, at)
}
