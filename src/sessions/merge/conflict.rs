//! What is a session's own, changed on one side or on both.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{MessageId, Session, Timestamp};
use crate::sessions::{parse_row, raw, row_of, time_after};
use crate::store::notes::{self, Base};
use crate::store::{Row, SessionRef, StoreError, WriteTx};

use super::{TheirSession, metadata_of, title_of, with_marks};

/// What the keys of notes of conflicts begin with.
pub const CONFLICTS: &[u8] = b"c";

/// What lost against a later change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The session.
    pub session_id: String,
    /// Its message, if it is a message's text that lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Where it was changed: `here` or `there`.
    pub lost: String,
    /// What lost.
    #[serde(flatten)]
    pub what: Loser,
    /// When it had been changed, in microseconds; 0 where that is not known.
    pub at: u64,
}

/// What lost against a later change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loser {
    /// What is a session's own.
    Own {
        /// Its title.
        title: String,
        /// Its metadata.
        metadata: Value,
    },
    /// A message's text.
    Text {
        /// What it said.
        content: String,
    },
}

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Here,
    There,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Both sides are the same, or ours will go there.
    Keep,
    /// Theirs is taken.
    Take,
    /// Both changed.
    Both,
}

/// Settles which side's own the session has; gives how many rows changed here.
pub(super) fn settle(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirSession,
) -> Result<u64, StoreError> {
    let stored = tx.row(session)?;
    let own_at =
        tx.note(&notes::own_at(session.number))?.map_or(0, |at| notes::time(at).as_micros());
    let base = tx.note(&notes::base(session.number))?.and_then(|note| Base::of(&note));
    let row = parse_row(session, &stored)?;
    let same = is_same(&row, theirs);
    let verdict = match base {
        // Marks have no part in the fingerprint.
        Some(base) if base.print == theirs.print => {
            let at = theirs.own_at.as_micros();
            let is_newer =
                theirs.own.marks.is_some() && (at > own_at || at == own_at && theirs.wins_ties);
            if is_newer && own_at <= base.own_at { Verdict::Take } else { return Ok(0) }
        }
        _ if same => Verdict::Keep,
        Some(base) if own_at <= base.own_at => Verdict::Take,
        None if own_at == 0 && stored.facts.created_at == theirs.created_at => Verdict::Take,
        _ => Verdict::Both,
    };
    let ours_at = Timestamp::from_micros(own_at).max(stored.facts.created_at);
    let is_tie = ours_at == theirs.own_at;
    match verdict {
        Verdict::Keep => {
            put_base(tx, session, Base { own_at, print: theirs.print });
            Ok(0)
        }
        Verdict::Take => take(tx, session, &stored, theirs),
        Verdict::Both if ours_at > theirs.own_at || is_tie && !theirs.wins_ties => {
            let theirs_title = theirs.own.title.clone().unwrap_or_default();
            let lost = own(theirs_title, &theirs.own.metadata);
            keep(tx, (session, None), (Side::There, lost), theirs.own_at);
            // Ours has changed since what is there: so it is sent.
            put_base(tx, session, Base { own_at: own_at.saturating_sub(1), print: theirs.print });
            if own_at == 0 {
                tx.update_session(session, stored);
            } else {
                tx.follow_messages(session, stored);
            }
            Ok(0)
        }
        Verdict::Both => {
            let title = serde_json::from_str(row.title.get()).unwrap_or_default();
            let lost = own(title, row.metadata.get());
            keep(tx, (session, None), (Side::Here, lost), ours_at);
            take(tx, session, &stored, theirs)
        }
    }
}

/// Has our own take the place of theirs there.
pub(super) fn overrule(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    theirs: &TheirSession,
) -> Result<(), StoreError> {
    let stored = tx.row(session)?;
    let own_at = tx.note(&notes::own_at(session.number))?.map(|at| notes::time(at).as_micros());
    let changed_at = own_at.unwrap_or(stored.updated_at.as_micros());
    let base = Base { own_at: changed_at.saturating_sub(1), print: theirs.print };
    match own_at {
        Some(_) => tx.follow_messages(session, stored),
        None => tx.update_session(session, stored),
    }
    put_base(tx, session, base);
    Ok(())
}

fn take(
    tx: &mut WriteTx<'_>,
    session: &SessionRef,
    stored: &Row,
    theirs: &TheirSession,
) -> Result<u64, StoreError> {
    let at = time_after(tx, stored).max(theirs.own_at);
    let mut row = with_marks(parse_row(session, stored)?, theirs)?;
    row.title = raw(&title_of(theirs, &[]))?;
    row.metadata = metadata_of(&theirs.own.metadata);
    row.updated_at = raw(&at)?;
    let row = row_of(&row, stored, at)?;
    tx.mirrored(|tx| {
        tx.update_session(session, row);
        Ok::<_, StoreError>(())
    })?;
    put_base(tx, session, Base { own_at: at.as_micros(), print: theirs.print });
    Ok(1)
}

fn is_same(row: &Session<'_>, theirs: &TheirSession) -> bool {
    let title: Option<String> = serde_json::from_str(row.title.get()).ok();
    let values = [row.metadata.get(), &theirs.own.metadata];
    let [ours, theirs_metadata] = values.map(|json| serde_json::from_str::<Value>(json).ok());
    title == theirs.own.title && ours == theirs_metadata
}

fn put_base(tx: &mut WriteTx<'_>, session: &SessionRef, base: Base) {
    tx.put_note(&notes::base(session.number), Some(&base.to_bytes()));
}

fn own(title: String, metadata: &str) -> Loser {
    Loser::Own { title, metadata: serde_json::from_str(metadata).unwrap_or(Value::Null) }
}

/// Keeps what lost of a session, or of a message of it.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    (session, message): (&SessionRef, Option<&MessageId>),
    (side, what): (Side, Loser),
    at: Timestamp,
) {
    let lost = if side == Side::Here { "here" } else { "there" };
    let conflict = Conflict {
        session_id: session.id.to_string(),
        message_id: message.map(ToString::to_string),
        lost: lost.to_owned(),
        what,
        at: at.as_micros(),
    };
    let now = tx.now().as_micros().to_be_bytes();
    let message = message.map_or("", MessageId::as_str);
    let id = [session.id.as_str(), "\0", message].concat();
    let key = [CONFLICTS, &now, id.as_bytes()].concat();
    // Text and numbers always have a JSON text.
    if let Ok(json) = serde_json::to_vec(&conflict) {
        tx.put_note(&key, Some(&json));
    }
}
