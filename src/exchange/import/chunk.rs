//! A chunk of what was read, stored in one transaction.

use std::ops::ControlFlow;

use crate::exchange::Tally;
use crate::model::{Content, SessionId};
use crate::sessions::{
    Imported, ImportedMessage, ImportedSession, SessionError, import_first_message,
    import_messages, import_session,
};
use crate::store::WriteTx;

use super::OnProblem;

/// Something to store, and what its line is called.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) item: Item,
}

pub(super) enum Item {
    Session(ImportedSession),
    Message(ImportedMessage),
    FirstMessage(SessionId, Content),
}

/// What became of a chunk.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) problems: Vec<String>,
}

impl Entry {
    fn message(&self) -> Option<&ImportedMessage> {
        match &self.item {
            Item::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// Stores `entries` in order, up to the first that is refused, or without those.
pub(super) fn store(
    tx: &mut WriteTx<'_>,
    entries: &[Entry],
    on_problem: OnProblem,
) -> Result<Outcome, SessionError> {
    let mut outcome = Outcome::default();
    let together = |one: &Entry, next: &Entry| match (&one.item, &next.item) {
        (Item::Message(one), Item::Message(next)) => one.session_id == next.session_id,
        _ => false,
    };
    for group in entries.chunk_by(together) {
        if store_group(tx, group, on_problem, &mut outcome)?.is_break() {
            break;
        }
    }
    Ok(outcome)
}

/// Stores one thing, or messages of one session.
fn store_group(
    tx: &mut WriteTx<'_>,
    group: &[Entry],
    on_problem: OnProblem,
    outcome: &mut Outcome,
) -> Result<ControlFlow<()>, SessionError> {
    let mut names = group.iter().map(|entry| entry.name.as_str());
    let mut told = |added: &mut dyn FnMut(&mut Tally), imported| {
        let name = names.next().unwrap_or_default();
        match imported {
            Ok(Imported::Added) => added(&mut outcome.tally),
            Ok(Imported::There) => outcome.tally.there += 1,
            Err(SessionError::Store(error)) => return Err(SessionError::Store(error)),
            Err(refusal) => {
                outcome.problems.push(format!("{name}: {refusal}"));
                if on_problem == OnProblem::Stop {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    match group {
        [Entry { item: Item::Session(session), .. }] => {
            told(&mut |tally| tally.sessions += 1, import_session(tx, session))
        }
        [Entry { item: Item::FirstMessage(session, content), .. }] => {
            told(&mut |tally| tally.messages += 1, import_first_message(tx, session, content))
        }
        messages => {
            let mut messages = messages.iter().filter_map(Entry::message).peekable();
            let Some(id) = messages.peek().map(|message| message.session_id.clone()) else {
                return Ok(ControlFlow::Continue(()));
            };
            import_messages(tx, &id, messages, |imported| {
                told(&mut |tally| tally.messages += 1, imported)
                    .unwrap_or(ControlFlow::Continue(()))
            })
        }
    }
}
