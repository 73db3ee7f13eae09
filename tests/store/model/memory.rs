//! The model: what the verbs promise of sessions, in plain vectors.

use std::collections::HashMap;

use orion_chat::model::Role;
use orion_chat::sessions::{SortBy, SortOrder};

use super::METADATA;
use super::ops::Change;
use super::rows::{Message, Session, cut};

use crate::support::Listing;

const DAY: u64 = 24 * 3_600_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    IdTaken,
    MessageNotFound,
    MessageIdTaken,
    KeyReused,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) created: bool,
    pub(super) replayed: bool,
    pub(super) json: String,
}

pub(super) type Outcome = Result<Done, Refusal>;

#[derive(Debug, Default)]
pub(super) struct Model {
    now: u64,
    /// The latest that the clock ever showed.
    latest: u64,
    /// In the order in which they were created.
    pub(super) sessions: Vec<Session>,
    /// By user and key: the fingerprint of what was done last, when, and the answer.
    answers: HashMap<(&'static str, usize), (u8, u64, Done)>,
}

impl Done {
    pub(super) fn new(json: String) -> Self {
        Self { created: true, replayed: false, json }
    }

    pub(super) fn stored(json: String) -> Self {
        Self { created: false, replayed: false, json }
    }
}

impl Model {
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn set_clock(&mut self, micros: u64) {
        self.now = micros;
        self.latest = self.latest.max(micros);
    }

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

    /// Whether the answer under this key may have been forgotten already, or not: the clock was
    /// later than it is kept, and was set back since.
    pub(super) fn is_doubtful(&self, caller: &'static str, key: usize) -> bool {
        let answered = self.answers.get(&(caller, key));
        answered.is_some_and(|(_, at, _)| *at + DAY < self.latest && *at + DAY >= self.now)
    }

    /// Does `work`, unless it was done under this key and with this fingerprint.
    pub(super) fn once(
        &mut self,
        caller: &'static str,
        once: Option<(usize, u8)>,
        work: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let Some((key, print)) = once else { return work(self) };
        match self.answers.get(&(caller, key)) {
            Some((given, at, done)) if *at + DAY >= self.now => {
                let again = Done { replayed: true, ..done.clone() };
                return if *given == print { Ok(again) } else { Err(Refusal::KeyReused) };
            }
            _ => {}
        }
        let done = work(self)?;
        self.answers.insert((caller, key), (print, self.now, done.clone()));
        Ok(done)
    }

    pub(super) fn create(
        &mut self,
        owner: &'static str,
        id: String,
        title: Option<&str>,
        first: Option<&str>,
    ) -> Outcome {
        if let Some(there) = self.sessions.iter().find(|session| session.id == id) {
            let is_own = there.owner == owner;
            return if is_own { Ok(Done::stored(there.json())) } else { Err(Refusal::IdTaken) };
        }
        let derived = first.map_or("New Chat".to_owned(), |text| cut(text.trim(), 50));
        let messages = first.map(|text| {
            let (role, text) = (Role::User, text.to_owned());
            Message { id: None, role, text, at: self.now, metadata: "{}", edited: None }
        });
        let session = Session {
            id,
            owner,
            title: title.map_or(derived, str::to_owned),
            metadata: "{}",
            archived: false,
            pinned: false,
            tags: Vec::new(),
            created: self.now,
            updated: self.now,
            messages: messages.into_iter().collect(),
        };
        let json = session.json();
        self.sessions.push(session);
        Ok(Done::new(json))
    }

    pub(super) fn update(&mut self, caller: &str, session: &str, change: &Change) -> Outcome {
        let now = self.now;
        let session = self.find_mut(caller, session)?;
        let Change { title, metadata, archived, pinned, tags } = change.clone();
        let marks = archived.is_some() || pinned.is_some() || tags.is_some();
        if title.is_some() || metadata.is_some() || marks {
            session.updated = now.max(session.updated + 1);
        }
        session.title = title.unwrap_or_else(|| session.title.clone());
        session.metadata = metadata.map_or(session.metadata, |metadata| METADATA[metadata]);
        session.archived = archived.unwrap_or(session.archived);
        session.pinned = pinned.unwrap_or(session.pinned);
        session.tags = tags.unwrap_or_else(|| session.tags.clone());
        Ok(Done::stored(session.json()))
    }

    pub(super) fn delete(&mut self, caller: &str, session: &str) -> Outcome {
        self.find(caller, session)?;
        self.sessions.retain(|other| other.id != session);
        let json = r#"{"success":true,"message":"Session deleted successfully"}"#;
        Ok(Done::stored(json.to_owned()))
    }

    pub(super) fn list(&self, caller: &str, listing: Listing) -> Vec<String> {
        let is_listed = |session: &&Session| session.owner == caller && session.is_listed(listing);
        let mut sessions: Vec<_> = self.sessions.iter().filter(is_listed).collect();
        // Stable: those of the same time stay in the order in which they were created.
        sessions.sort_by_key(|session| match listing.by {
            SortBy::UpdatedAt => session.updated,
            SortBy::CreatedAt => session.created,
        });
        if listing.order == SortOrder::Desc {
            sessions.reverse();
        }
        if listing.pinned_first {
            sessions.sort_by_key(|session| !session.pinned);
        }
        sessions.into_iter().map(Session::json).collect()
    }
}
