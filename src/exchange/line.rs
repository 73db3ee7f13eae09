//! The lines: what is in each, written and read.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{
    Content, Invalid, Message, MessageId, Metadata, Parts, Role, Session, SessionId, Tags,
    Timestamp, Title, UserId,
};
use crate::sessions::{ImportedMessage, ImportedSession};

use super::{Tally, VERSION};

/// A line that was read.
#[derive(Debug, Clone)]
pub(super) enum Line {
    Begin,
    Session(ImportedSession),
    Message(ImportedMessage),
    FirstMessage(SessionId, Content),
    End { sessions: u64, messages: u64 },
}

/// What is wrong with a line, as a sentence about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadLine {
    #[error("is not as it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("type is {0:?}; it must be session or message")]
    Unknown(String),
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("version is {0}; this release reads up to {VERSION}: import it with a newer one")]
    Newer(u64),
}

/// What is looked at of every line.
#[derive(Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    /// Where it comes from, if that is no line of the file that is read.
    #[serde(borrow, default)]
    pub(super) source: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct BeginRead {
    version: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionRead {
    session_id: String,
    user_id: String,
    title: Option<String>,
    first_message: Option<String>,
    created_at: String,
    updated_at: Option<String>,
    metadata: Option<Box<RawValue>>,
    metadata_text: Option<String>,
    archived: Option<bool>,
    pinned: Option<bool>,
    tags: Option<Vec<String>>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageRead {
    session_id: String,
    id: String,
    role: String,
    content: String,
    timestamp: String,
    metadata: Option<Box<RawValue>>,
    metadata_text: Option<String>,
    parent_id: Option<String>,
    parts: Option<Box<RawValue>>,
    parts_text: Option<String>,
    edited_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstMessageRead {
    session_id: String,
    content: String,
}

/// Stands where something is that cannot be made a line of.
#[derive(Deserialize)]
struct UnreadableRead {
    problem: String,
}

#[derive(Deserialize)]
struct EndRead {
    sessions: u64,
    messages: u64,
}

impl<'a> Kind<'a> {
    /// What `text` says of itself.
    pub(super) fn of(text: &'a [u8]) -> Result<Self, BadLine> {
        Ok(serde_json::from_slice(text)?)
    }

    /// Reads the rest.
    pub(super) fn read(&self, text: &[u8]) -> Result<Line, BadLine> {
        match &*self.kind {
            "orion-chat" => match serde_json::from_slice::<BeginRead>(text)?.version {
                VERSION => Ok(Line::Begin),
                version => Err(BadLine::Newer(version)),
            },
            "session" => read_session(serde_json::from_slice(text)?).map(Line::Session),
            "message" => read_message(serde_json::from_slice(text)?).map(Line::Message),
            "firstMessage" => {
                let read: FirstMessageRead = serde_json::from_slice(text)?;
                let content = Content::parse("firstMessage", read.content)?;
                Ok(Line::FirstMessage(SessionId::parse(&read.session_id)?, content))
            }
            "end" => {
                let EndRead { sessions, messages } = serde_json::from_slice(text)?;
                Ok(Line::End { sessions, messages })
            }
            "unreadable" => {
                let UnreadableRead { problem } = serde_json::from_slice(text)?;
                Err(BadLine::Unreadable(problem))
            }
            other => Err(BadLine::Unknown(other.chars().take(40).collect())),
        }
    }
}

fn read_session(read: SessionRead) -> Result<ImportedSession, BadLine> {
    let created_at = Timestamp::parse_start("createdAt", &read.created_at)?;
    let updated_at = read.updated_at.as_deref();
    let updated_at = updated_at.map(|at| Timestamp::parse_start("updatedAt", at)).transpose()?;
    let first = read.first_message.filter(|text| !text.trim().is_empty());
    let first = first.map(|text| Content::parse("firstMessage", text)).transpose()?;
    let expires_at = read.expires_at.as_deref();
    Ok(ImportedSession {
        id: SessionId::parse(&read.session_id)?,
        user_id: UserId::parse(&read.user_id)?,
        title: match read.title {
            Some(title) => Title::parse(title)?,
            None => Title::derive(first.as_ref()),
        },
        metadata: exact(read.metadata, read.metadata_text)?.map(Metadata::parse).transpose()?,
        archived: read.archived.unwrap_or_default(),
        pinned: read.pinned.unwrap_or_default(),
        tags: Tags::parse(read.tags.unwrap_or_default())?,
        expires_at: expires_at.map(|at| Timestamp::parse_start("expiresAt", at)).transpose()?,
        created_at,
        updated_at: updated_at.unwrap_or(created_at),
    })
}

fn read_message(read: MessageRead) -> Result<ImportedMessage, BadLine> {
    let parts = exact(read.parts, read.parts_text)?.map(Parts::parse).transpose()?;
    let content = match &parts {
        Some(parts) if read.content.is_empty() && parts.text().is_empty() => {
            Content::of_parts(parts)
        }
        _ => Content::parse("content", read.content)?,
    };
    let edited_at = read.edited_at.as_deref();
    Ok(ImportedMessage {
        session_id: SessionId::parse(&read.session_id)?,
        id: MessageId::parse(&read.id)?,
        role: Role::parse(&read.role)?,
        content,
        parts,
        parent_id: read.parent_id.as_deref().map(MessageId::parse).transpose()?,
        metadata: exact(read.metadata, read.metadata_text)?.map(Metadata::parse).transpose()?,
        at: Timestamp::parse_start("timestamp", &read.timestamp)?,
        edited_at: edited_at.map(|at| Timestamp::parse_start("editedAt", at)).transpose()?,
    })
}

/// JSON that is kept as it was sent: as the text, if there is one, has it.
fn exact(
    json: Option<Box<RawValue>>,
    text: Option<String>,
) -> Result<Option<Box<RawValue>>, BadLine> {
    match text {
        Some(text) => Ok(Some(RawValue::from_string(text)?)),
        None => Ok(json),
    }
}

#[derive(Serialize)]
struct BeginWritten {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionWritten<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    session_id: &'a RawValue,
    user_id: &'a RawValue,
    title: &'a RawValue,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_text: Option<&'a str>,
    archived: bool,
    pinned: bool,
    tags: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageWritten<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    session_id: &'a RawValue,
    id: &'a RawValue,
    role: Role,
    content: &'a RawValue,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct EndWritten {
    #[serde(rename = "type")]
    kind: &'static str,
    sessions: u64,
    messages: u64,
}

/// Writes the first line.
pub(super) fn write_begin(out: &mut dyn Write) -> io::Result<()> {
    write(out, &BeginWritten { kind: "orion-chat", version: VERSION })
}

/// Writes the last line, where `tally` tells what stands before it.
pub(super) fn write_end(out: &mut dyn Write, tally: Tally) -> io::Result<()> {
    let Tally { sessions, messages, .. } = tally;
    write(out, &EndWritten { kind: "end", sessions, messages })
}

pub(super) fn write_session(
    out: &mut dyn Write,
    session: &Session<'_>,
    (created_at, updated_at): (Timestamp, Timestamp),
) -> io::Result<()> {
    let (metadata, metadata_text) = in_a_line(&session.metadata);
    let line = SessionWritten {
        kind: "session",
        session_id: &session.session_id,
        user_id: &session.user_id,
        title: &session.title,
        created_at: created_at.exact().to_string(),
        updated_at: updated_at.exact().to_string(),
        metadata,
        metadata_text,
        archived: session.archived,
        pinned: session.pinned,
        tags: &session.tags,
        expires_at: session.expires_at.as_deref(),
    };
    write(out, &line)
}

pub(super) fn write_message(
    out: &mut dyn Write,
    message: &Message<'_>,
    at: Timestamp,
) -> io::Result<()> {
    let (metadata, metadata_text) = in_a_line(&message.metadata);
    let (parts, parts_text) = message.parts.as_deref().map(in_a_line).unwrap_or_default();
    let line = MessageWritten {
        kind: "message",
        session_id: &message.session_id,
        id: &message.id,
        role: message.role,
        content: &message.content,
        timestamp: at.exact().to_string(),
        metadata,
        metadata_text,
        parent_id: message.parent_id.as_deref(),
        parts,
        parts_text,
        edited_at: message.edited_at.as_deref(),
    };
    write(out, &line)
}

/// JSON that is kept as it was sent: as it is, or as text if it has several lines.
fn in_a_line(json: &RawValue) -> (Option<&RawValue>, Option<&str>) {
    if json.get().contains(['\n', '\r']) { (None, Some(json.get())) } else { (Some(json), None) }
}

pub(super) fn write(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
