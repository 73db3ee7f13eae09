//! What the verbs promise of messages.

use orion_chat::sessions::SortOrder;

use super::METADATA;
use super::memory::{Done, Model, Outcome, Refusal};
use super::ops::Text;
use super::rows::{Message, Session};

impl Model {
    /// `ids` are the one that the caller chose, and the one that the message got.
    pub(super) fn save(
        &mut self,
        caller: &str,
        session: &str,
        ids: (Option<String>, Option<String>),
        new: &Text,
    ) -> Outcome {
        let now = self.now();
        let session = self.find_mut(caller, session)?;
        let (chosen, got) = ids;
        if let Some(stored) = chosen.as_deref().and_then(|id| session.message(id)) {
            let says_the_same = stored.role == new.role && stored.text == new.said;
            let again = Done::stored(stored.json(&session.id));
            return if says_the_same { Ok(again) } else { Err(Refusal::MessageIdTaken) };
        }
        let at = now.max(session.updated + 1);
        let message = Message {
            id: chosen.or(got),
            role: new.role,
            text: new.said.clone(),
            at,
            metadata: new.metadata.map_or("{}", |n| METADATA[n]),
            edited: None,
        };
        let json = message.json(&session.id);
        session.updated = at;
        session.messages.push(message);
        Ok(Done::new(json))
    }

    pub(super) fn edit_message(
        &mut self,
        caller: &str,
        session: &str,
        id: &str,
        (said, metadata): (Option<&str>, Option<usize>),
    ) -> Outcome {
        let now = self.now();
        let (session, nth) = self.find_message(caller, session, id)?;
        let at = now.max(session.updated + 1);
        let message = &mut session.messages[nth];
        if let Some(said) = said {
            said.clone_into(&mut message.text);
        }
        if let Some(metadata) = metadata {
            message.metadata = METADATA[metadata];
        }
        if said.is_some() || metadata.is_some() {
            message.edited = Some(at);
            session.updated = at;
        }
        Ok(Done::stored(session.messages[nth].json(&session.id)))
    }

    pub(super) fn delete_message(&mut self, caller: &str, session: &str, id: &str) -> Outcome {
        let now = self.now();
        let (session, nth) = self.find_message(caller, session, id)?;
        session.messages.remove(nth);
        session.updated = now.max(session.updated + 1);
        let json = r#"{"success":true,"message":"Message deleted successfully"}"#;
        Ok(Done::stored(json.to_owned()))
    }

    pub(super) fn history(
        &self,
        caller: &str,
        session: &str,
        order: SortOrder,
    ) -> Result<Vec<String>, Refusal> {
        let session = self.find(caller, session)?;
        let rows = session.messages.iter().map(|message| message.json(&session.id));
        Ok(if order == SortOrder::Desc { rows.rev().collect() } else { rows.collect() })
    }

    /// The session, and the place of a message in it.
    fn find_message(
        &mut self,
        caller: &str,
        session: &str,
        id: &str,
    ) -> Result<(&mut Session, usize), Refusal> {
        let session = self.find_mut(caller, session)?;
        let mut messages = session.messages.iter();
        let nth = messages.position(|message| message.id.as_deref() == Some(id));
        nth.map(|nth| (session, nth)).ok_or(Refusal::MessageNotFound)
    }
}
