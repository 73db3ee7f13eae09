//! The model: what the verbs promise, in plain vectors.

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    IdTaken,
    MessageIdTaken,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// What its clock shows.
    pub(super) now: u64,
    /// In the order in which they were created.
    pub(super) sessions: Vec<Session>,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) owner: &'static str,
    pub(super) title: String,
    pub(super) metadata: &'static str,
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
}

impl Model {
    pub(super) fn find(&self, caller: &str, id: &str) -> Result<&Session, Refusal> {
        let mut sessions = self.sessions.iter();
        let found = sessions.find(|session| session.id == id && session.owner == caller);
        found.ok_or(Refusal::NotFound)
    }

    pub(super) fn find_mut(&mut self, caller: &str, id: &str) -> Result<&mut Session, Refusal> {
        let mut sessions = self.sessions.iter_mut();
        let found = sessions.find(|session| session.id == id && session.owner == caller);
        found.ok_or(Refusal::NotFound)
    }

    pub(super) fn create(
        &mut self,
        owner: &'static str,
        id: String,
        title: Option<&str>,
        first: Option<&str>,
    ) -> Result<(bool, String), Refusal> {
        if let Some(there) = self.sessions.iter().find(|session| session.id == id) {
            let is_own = there.owner == owner;
            return if is_own { Ok((false, there.json())) } else { Err(Refusal::IdTaken) };
        }
        let derived = first.map_or("New Chat".to_owned(), |text| cut(text.trim(), 50));
        let title = title.map_or(derived, str::to_owned);
        let messages = first.map(|text| {
            let (role, text) = (Role::User, text.to_owned());
            Message { id: None, role, text, at: self.now, metadata: "{}" }
        });
        let session = Session {
            id,
            owner,
            title,
            metadata: "{}",
            created: self.now,
            updated: self.now,
            messages: messages.into_iter().collect(),
        };
        let json = session.json();
        self.sessions.push(session);
        Ok((true, json))
    }

    /// `ids` are the one that the caller chose, and the one that the message got.
    pub(super) fn save(
        &mut self,
        caller: &str,
        session: &str,
        ids: (Option<String>, Option<String>),
        new: &Text,
    ) -> Result<(bool, String), Refusal> {
        let now = self.now;
        let session = self.find_mut(caller, session)?;
        let (chosen, got) = ids;
        let mut stored = session.messages.iter();
        if let Some(stored) = stored.find(|stored| chosen.is_some() && stored.id == chosen) {
            let says_the_same = stored.role == new.role && stored.text == new.said;
            let again = Ok((false, stored.json(&session.id)));
            return if says_the_same { again } else { Err(Refusal::MessageIdTaken) };
        }
        let at = now.max(session.updated + 1);
        let message = Message {
            id: chosen.or(got),
            role: new.role,
            text: new.said.clone(),
            at,
            metadata: new.metadata.map_or("{}", |n| METADATA[n]),
        };
        let json = message.json(&session.id);
        session.updated = at;
        session.messages.push(message);
        Ok((true, json))
    }

    pub(super) fn update(
        &mut self,
        caller: &str,
        session: &str,
        title: Option<&str>,
        metadata: Option<usize>,
    ) -> Result<String, Refusal> {
        let now = self.now;
        let session = self.find_mut(caller, session)?;
        if let Some(title) = title {
            title.clone_into(&mut session.title);
        }
        if let Some(metadata) = metadata {
            session.metadata = METADATA[metadata];
        }
        if title.is_some() || metadata.is_some() {
            session.updated = now.max(session.updated + 1);
        }
        Ok(session.json())
    }

    pub(super) fn list(&self, caller: &str, listing: Listing) -> Vec<String> {
        let is_within = |session: &&Session| {
            let created = Timestamp::from_micros(session.created);
            session.owner == caller
                && listing.from.is_none_or(|from| from <= created)
                && listing.to.is_none_or(|to| created <= to)
        };
        let mut sessions: Vec<_> = self.sessions.iter().filter(is_within).collect();
        // Stable: those of the same time stay in the order in which they were created.
        sessions.sort_by_key(|session| match listing.by {
            SortBy::UpdatedAt => session.updated,
            SortBy::CreatedAt => session.created,
        });
        if listing.order == SortOrder::Desc {
            sessions.reverse();
        }
        sessions.into_iter().map(Session::json).collect()
    }

    pub(super) fn history(
        &self,
        caller: &str,
        session: &str,
        order: SortOrder,
    ) -> Result<Vec<String>, Refusal> {
        let session = self.find(caller, session)?;
        let mut rows: Vec<_> =
            session.messages.iter().map(|message| message.json(&session.id)).collect();
        if order == SortOrder::Desc {
            rows.reverse();
        }
        Ok(rows)
    }

    /// The message that came with its session has an id that only a history tells.
    pub(super) fn learn_first_id(
        &mut self,
        caller: &str,
        id: &str,
        order: SortOrder,
        rows: &Result<Vec<String>, Refusal>,
    ) {
        let (Ok(session), Ok(rows)) = (self.find_mut(caller, id), rows) else { return };
        let row = if order == SortOrder::Asc { rows.first() } else { rows.last() };
        let (Some(first), Some(row)) = (session.messages.first_mut(), row) else { return };
        if first.id.is_none() {
            first.id = Some(text_of(row, "id"));
        }
    }
}

impl Session {
    pub(super) fn json(&self) -> String {
        let preview = |message: Option<&Message>| {
            message.map_or("null".to_owned(), |message| quoted(&cut(&message.text, 2000)))
        };
        format!(
            r#"{{"sessionId":{},"userId":{},"title":{},"firstMessage":{},"lastMessage":{},"messageCount":{},"createdAt":{},"updatedAt":{},"metadata":{},"archived":false,"pinned":false,"tags":[]}}"#,
            quoted(&self.id),
            quoted(self.owner),
            quoted(&self.title),
            preview(self.messages.first()),
            preview(self.messages.last()),
            self.messages.len(),
            shown(self.created),
            shown(self.updated),
            self.metadata,
        )
    }
}

impl Message {
    pub(super) fn json(&self, session: &str) -> String {
        format!(
            r#"{{"id":{},"sessionId":{},"role":"{}","content":{},"timestamp":{},"metadata":{}}}"#,
            quoted(self.id.as_deref().unwrap_or_default()),
            quoted(session),
            format!("{:?}", self.role).to_lowercase(),
            quoted(&self.text),
            shown(self.at),
            self.metadata,
        )
    }
}

pub(super) fn text_of(json: &str, member: &str) -> String {
    let json: Value = serde_json::from_str(json).unwrap();
    json[member].as_str().unwrap().to_owned()
}

pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn shown(micros: u64) -> String {
    format!("\"{}\"", Timestamp::from_micros(micros))
}

pub(super) fn cut(text: &str, chars: usize) -> String {
    let cut: String = text.chars().take(chars).collect();
    if cut.len() < text.len() { cut + "..." } else { cut }
}
