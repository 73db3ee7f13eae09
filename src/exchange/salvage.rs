//! What was found of a damaged file, as lines.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use crate::model::{Message, Session, Timestamp};
use crate::store::{RescuedMessage, RescuedSession, Salvage};

use super::ExportError;
use super::Tally;
use super::line::{write, write_begin, write_end, write_message, write_session};

/// How what was found compares with what was there, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Sessions.
    pub sessions: u64,
    /// Of these, those whose own row was lost, with their title, marks and metadata.
    pub rebuilt: u64,
    /// Messages.
    pub messages: u64,
    /// Messages that sessions tell of, and that were not found.
    pub missing: u64,
    /// Messages that were found beyond what their sessions tell of: deleted ones, most likely.
    pub beyond: u64,
}

/// Writes what was found to `out`, as an export.
///
/// # Errors
/// [`ExportError`]. What was written then has no last line.
pub fn salvaged_lines(salvage: &Salvage, out: &mut dyn Write) -> Result<Found, ExportError> {
    let mut found = Found::default();
    write_begin(out)?;
    salvage.sessions(|session| write_rescued(salvage, &session, out, &mut found))?;
    let Found { sessions, messages, .. } = found;
    write_end(out, Tally { sessions, messages, ..Tally::default() })?;
    out.flush()?;
    Ok(found)
}

fn write_rescued(
    salvage: &Salvage,
    session: &RescuedSession,
    out: &mut dyn Write,
    found: &mut Found,
) -> Result<(), ExportError> {
    let row = session.row.as_ref().and_then(|(updated_at, json)| {
        Some((*updated_at, serde_json::from_slice::<Session<'_>>(json).ok()?))
    });
    let told = match (&row, session.created_at) {
        (Some((updated_at, row)), Some(created_at)) => {
            write_session(out, row, (created_at, *updated_at))?;
            Some(row.message_count)
        }
        _ if write_rebuilt(salvage, session, out)? => {
            found.rebuilt += 1;
            None
        }
        _ => return Ok(()),
    };
    found.sessions += 1;
    let before = found.messages;
    salvage.messages(session.number, |RescuedMessage { at, json }| {
        if let Ok(message) = serde_json::from_slice::<Message<'_>>(json) {
            write_message(out, &message, at)?;
            found.messages += 1;
        }
        Ok::<_, ExportError>(())
    })?;
    if let Some(told) = told {
        let count = found.messages - before;
        found.missing += told.saturating_sub(count);
        found.beyond += count.saturating_sub(told);
    }
    Ok(())
}

/// Writes a session whose row was lost: with what leads to it, and its first message. Tells whether
/// that is enough.
fn write_rebuilt(
    salvage: &Salvage,
    session: &RescuedSession,
    out: &mut dyn Write,
) -> Result<bool, ExportError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Rebuilt<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        session_id: &'a str,
        user_id: &'a str,
        first_message: Option<String>,
        created_at: String,
    }

    let mut first = None;
    let told = salvage.messages(session.number, |RescuedMessage { at, json }| {
        first = Some((at, json.to_vec()));
        // One is enough.
        Err(ExportError::Io(io::ErrorKind::Other.into()))
    });
    if let (Err(error), None) = (told, &first) {
        return Err(error);
    }
    let Some(created_at) = session.created_at.or(first.as_ref().map(|(at, _)| *at)) else {
        return Ok(false);
    };
    let line = Rebuilt {
        kind: "session",
        session_id: session.id.as_str(),
        user_id: session.user_id.as_str(),
        first_message: first.and_then(|(_, json)| said(&json)),
        created_at: Timestamp::exact(created_at).to_string(),
    };
    write(out, &line)?;
    Ok(true)
}

fn said(json: &[u8]) -> Option<String> {
    let message: Message<'_> = serde_json::from_slice(json).ok()?;
    let said: Cow<'_, str> = serde_json::from_str(message.content.get()).ok()?;
    Some(said.into_owned())
}
