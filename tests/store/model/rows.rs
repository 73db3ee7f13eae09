//! Sessions and messages in memory, and the JSON in which clients read them.

use orion_chat::model::{Role, Timestamp};
use serde_json::Value;

use crate::support::Listing;

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) owner: &'static str,
    pub(super) title: String,
    pub(super) metadata: &'static str,
    pub(super) archived: bool,
    pub(super) pinned: bool,
    pub(super) tags: Vec<&'static str>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Not known of the first message that came with its session, until it is read.
    pub(super) id: Option<String>,
    pub(super) role: Role,
    pub(super) text: String,
    pub(super) at: u64,
    pub(super) metadata: &'static str,
    pub(super) edited: Option<u64>,
}

impl Session {
    pub(super) fn json(&self) -> String {
        let preview = |message: Option<&Message>| {
            message.map_or("null".to_owned(), |message| quoted(&cut(&message.text, 2000)))
        };
        format!(
            r#"{{"sessionId":{},"userId":{},"title":{},"firstMessage":{},"lastMessage":{},"messageCount":{},"createdAt":{},"updatedAt":{},"metadata":{},"archived":{},"pinned":{},"tags":{}}}"#,
            quoted(&self.id),
            quoted(self.owner),
            quoted(&self.title),
            preview(self.messages.first()),
            preview(self.messages.last()),
            self.messages.len(),
            shown(self.created),
            shown(self.updated),
            self.metadata,
            self.archived,
            self.pinned,
            Value::from(self.tags.clone()),
        )
    }

    pub(super) fn is_listed(&self, listing: Listing) -> bool {
        let created = Timestamp::from_micros(self.created);
        listing.from.is_none_or(|from| from <= created)
            && listing.to.is_none_or(|to| created <= to)
            && listing.archived.is_none_or(|archived| archived == self.archived)
            && listing.pinned.is_none_or(|pinned| pinned == self.pinned)
            && listing.tag.is_none_or(|tag| self.tags.contains(&tag))
    }

    pub(super) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.id.as_deref() == Some(id))
    }
}

impl Message {
    pub(super) fn json(&self, session: &str) -> String {
        let edited = self.edited.map(|at| format!(",\"editedAt\":{}", shown(at)));
        format!(
            r#"{{"id":{},"sessionId":{},"role":"{}","content":{},"timestamp":{},"metadata":{}{}}}"#,
            quoted(self.id.as_deref().unwrap_or_default()),
            quoted(session),
            format!("{:?}", self.role).to_lowercase(),
            quoted(&self.text),
            shown(self.at),
            self.metadata,
            edited.unwrap_or_default(),
        )
    }
}

pub(super) fn text_of(json: &str, member: &str) -> String {
    let json: Value = serde_json::from_str(json).unwrap();
    json[member].as_str().unwrap().to_owned()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn shown(micros: u64) -> String {
    format!("\"{}\"", Timestamp::from_micros(micros))
}

pub(super) fn cut(text: &str, chars: usize) -> String {
    let cut: String = text.chars().take(chars).collect();
    if cut.len() < text.len() { cut + "..." } else { cut }
}
