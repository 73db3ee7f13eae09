//! Writes, done on both sides.

use orion_chat::model::{IdempotencyKey, MessageId, MetadataUpdate, Tags, Timestamp};
use orion_chat::sessions::{
    self, Draft, MessageEdit, NewSession, Once, SessionError, SessionUpdate, SortOrder, Written,
};

use super::memory::{Done, Outcome, Refusal};
use super::ops::{Change, Pick, Text};
use super::rows::text_of;
use super::{MESSAGES, METADATA, SESSIONS, World};

use crate::support::{self, content, message_id, metadata, session_id, title, user, wait};

/// A key and a fingerprint.
type Known = Option<(usize, u8)>;

impl World {
    pub(super) fn create(
        &mut self,
        caller: &'static str,
        id: Option<usize>,
        (given, first): (Option<&str>, Option<&str>),
        known: Known,
    ) {
        if self.is_doubtful(caller, known) {
            return;
        }
        let new = NewSession {
            id: id.map(|id| session_id(SESSIONS[id])),
            title: given.map(title),
            first_message: first.map(content),
            ..NewSession::default()
        };
        let done = wait(sessions::create(&self.store, user(caller), new, once(known)));
        let done = outcome(done);

        let id = match (id, &done) {
            (Some(id), _) => SESSIONS[id].to_owned(),
            (None, Ok(Done { replayed: false, json, .. })) => text_of(json, "sessionId"),
            (None, _) => String::new(),
        };
        let expected =
            self.model.once(caller, known, |model| model.create(caller, id.clone(), given, first));
        assert_eq!(done, expected);
        if done.is_ok_and(|done| done.created && !done.replayed) {
            self.learn(caller, id, first.is_some());
        }
    }

    /// Notes the id of a new session, and that of its first message, which only a history tells.
    fn learn(&mut self, caller: &'static str, id: String, has_message: bool) {
        if has_message {
            let rows = support::history(&self.store, caller, &id, SortOrder::Asc).unwrap();
            let session = self.model.find_mut(caller, &id).unwrap();
            session.messages[0].id = Some(text_of(&rows[0], "id"));
        }
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    pub(super) fn save(
        &mut self,
        caller: &'static str,
        (session, id): (&str, Option<&str>),
        message: &Text,
        known: Known,
    ) {
        if self.is_doubtful(caller, known) {
            return;
        }
        let draft = Draft {
            id: id.map(message_id),
            metadata: message.metadata.map(|n| metadata(METADATA[n])),
            ..support::draft(session, message.role, &message.said)
        };
        let done = wait(sessions::save_message(&self.store, user(caller), draft, once(known)));
        let done = outcome(done);

        let saved = done.as_ref().ok().filter(|done| !done.replayed);
        // What is kept under a key may be the answer to a write of another kind.
        let ids = (id.map(str::to_owned), saved.map(|done| text_of(&done.json, "id")));
        let expected =
            self.model.once(caller, known, |model| model.save(caller, session, ids, message));
        assert_eq!(done, expected);
    }

    pub(super) fn save_again(
        &mut self,
        caller: &'static str,
        session: &str,
        nth: usize,
        text: Option<&str>,
    ) {
        let Some(id) = self.message(caller, session, Pick::Nth(nth)) else { return };
        let stored = self.model.find(caller, session).unwrap().message(&id).unwrap().clone();
        let said = text.map_or(stored.text, str::to_owned);
        let message = Text { role: stored.role, said, metadata: Some(1) };
        self.save(caller, (session, Some(&id)), &message, None);
    }

    pub(super) fn edit_message(
        &mut self,
        caller: &'static str,
        session: &str,
        id: &str,
        (said, with): (Option<&str>, Option<usize>),
    ) {
        let edit = MessageEdit {
            content: said.map(content),
            parts: None,
            metadata: with.map(|with| MetadataUpdate::Replace(metadata(METADATA[with]))),
        };
        let ids = (session_id(session), message_id(id));
        let done = wait(sessions::edit_message(&self.store, user(caller), ids, edit, None));

        let expected = self.model.edit_message(caller, session, id, (said, with));
        assert_eq!(outcome(done), expected);
    }

    pub(super) fn delete_message(&mut self, caller: &'static str, session: &str, id: &str) {
        let ids = (session_id(session), message_id(id));
        let done = outcome(wait(sessions::delete_message(&self.store, user(caller), ids, None)));

        if done.is_ok() {
            self.gone.push(id.to_owned());
        }
        assert_eq!(done, self.model.delete_message(caller, session, id));
    }

    pub(super) fn update(
        &mut self,
        caller: &'static str,
        session: &str,
        change: &Change,
        known: Known,
    ) {
        if self.is_doubtful(caller, known) {
            return;
        }
        let tags = change.tags.as_ref();
        let update = SessionUpdate {
            title: change.title.as_deref().map(title),
            metadata: change.metadata.map(|n| MetadataUpdate::Replace(metadata(METADATA[n]))),
            archived: change.archived,
            pinned: change.pinned,
            expires: None,
            tags: tags
                .map(|tags| Tags::parse(tags.iter().map(ToString::to_string).collect()).unwrap()),
            seen: None,
        };
        let id = session_id(session);
        let done = wait(sessions::update(&self.store, user(caller), id, update, once(known)));

        let expected =
            self.model.once(caller, known, |model| model.update(caller, session, change));
        assert_eq!(outcome(done), expected);
    }

    pub(super) fn delete(&mut self, caller: &'static str, session: &str, known: Known) {
        if self.is_doubtful(caller, known) {
            return;
        }
        let id = session_id(session);
        let done = wait(sessions::delete(&self.store, user(caller), id, None, once(known)));

        let expected = self.model.once(caller, known, |model| model.delete(caller, session));
        assert_eq!(outcome(done), expected);
    }

    /// The id that is meant, if there is one.
    pub(super) fn message(&self, caller: &str, session: &str, pick: Pick) -> Option<String> {
        let messages =
            self.model.find(caller, session).map_or(&[][..], |session| &session.messages);
        let nth = |n: usize| messages.get(n % messages.len().max(1));
        match pick {
            Pick::Nth(n) => nth(n)?.id.clone(),
            Pick::First => messages.first()?.id.clone(),
            Pick::Last => messages.last()?.id.clone(),
            Pick::Chosen(n) => Some(MESSAGES[n].to_owned()),
            Pick::AtPlaceOf(n) => {
                Some(MessageId::mint(Timestamp::from_micros(nth(n)?.at)).to_string())
            }
            Pick::Gone(n) => self.gone.get(n % self.gone.len().max(1)).cloned(),
        }
    }

    fn is_doubtful(&self, caller: &'static str, known: Known) -> bool {
        known.is_some_and(|(key, _)| self.model.is_doubtful(caller, key))
    }
}

fn once(known: Known) -> Option<Once> {
    known.map(|(key, print)| Once {
        key: IdempotencyKey::parse(&format!("key {key}")).unwrap(),
        fingerprint: [print; 16],
    })
}

fn outcome(done: Result<Written, SessionError>) -> Outcome {
    let Written { created, replayed, json, .. } = done.map_err(refusal)?;
    Ok(Done { created, replayed, json: String::from_utf8(json).unwrap() })
}

pub(super) fn refusal(error: SessionError) -> Refusal {
    match error {
        SessionError::NotFound(_) => Refusal::NotFound,
        SessionError::IdTaken(_) => Refusal::IdTaken,
        SessionError::MessageNotFound(_) => Refusal::MessageNotFound,
        SessionError::MessageIdTaken(_) => Refusal::MessageIdTaken,
        SessionError::KeyReused(_) => Refusal::KeyReused,
        other => panic!("{other}"),
    }
}
