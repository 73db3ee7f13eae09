//! What is kept here of what was sent: what both sides have now, and what was refused.

use tracing::warn;

use crate::model::{MessageId, SessionId};
use crate::sessions::merge;
use crate::store::notes::{self as keys, Base};
use crate::store::{Store, StoreError, WriteTx};
use crate::sync::notes::{self, Letter};
use crate::sync::parcel::{Edit, MessageRow, SessionRow};

/// The key of a letter about a row, and the letter, or none if it is to be struck out.
pub(super) type AboutRow = (Vec<u8>, Option<Letter>);

/// What is to be noted here after a transaction.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) bases: Vec<(Vec<u8>, Base)>,
    pub(super) letters: Vec<AboutRow>,
    /// Of messages that were edited: when, and what is there now.
    pub(super) edits: Vec<(Vec<u8>, Base)>,
}

impl Notes {
    pub(super) async fn save(self, store: &Store) -> Result<(), StoreError> {
        let Self { bases, letters, edits } = self;
        if bases.is_empty() && letters.is_empty() && edits.is_empty() {
            return Ok(());
        }
        for (key, letter) in
            letters.iter().filter_map(|(key, letter)| Some((key, letter.as_ref()?)))
        {
            let about = notes::letter_about(key);
            let about = about.map(|(session, message)| match message {
                Some(message) => format!("message {message} of session {session}"),
                None => format!("session {session}"),
            });
            let (about, Letter { state, message, .. }) = (about.unwrap_or_default(), letter);
            warn!(state, "PostgreSQL refused {about}: {message} ({state})");
        }
        let work = move |tx: &mut WriteTx<'_>| {
            let now = tx.now().as_micros();
            for (key, base) in &bases {
                tx.put_note(key, Some(&base.to_bytes()));
            }
            for (key, sent) in &edits {
                let known = tx.note(key)?.and_then(|note| Base::of(&note));
                tx.put_note(key, Some(&after_sending(known, *sent).to_bytes()));
            }
            for (key, letter) in &letters {
                match letter {
                    Some(letter) => notes::write(tx, key, &Letter { at: now, ..letter.clone() }),
                    None => tx.put_note(key, None),
                }
            }
            Ok::<_, StoreError>(())
        };
        store.write_patiently("replica_notes", work).await
    }
}

/// What is noted of an edit that is there now.
pub(super) fn edit_that_is_there(row: &MessageRow) -> Option<(Vec<u8>, Base)> {
    let Edit { number, at, .. } = row.edit?;
    let base = Base { own_at: at, print: merge::print(&row.content) };
    Some((keys::edit(number, row.at), base))
}

/// What is to be noted of an edit of which `known` is noted, now that `sent` is there.
fn after_sending(known: Option<Base>, sent: Base) -> Base {
    // What was edited again meanwhile goes there next.
    let edited_at = known.map_or(0, |base| base.own_at);
    Base { own_at: if edited_at == sent.own_at { 0 } else { edited_at }, ..sent }
}

pub(super) fn letter(
    session: &SessionId,
    message: Option<&MessageId>,
    state: &str,
    why: &str,
) -> AboutRow {
    (notes::letter(session, message), Some(letter_saying(state, why)))
}

pub(super) fn letter_saying(state: &str, why: &str) -> Letter {
    Letter { state: state.to_owned(), message: why.to_owned(), at: 0, own_at: 0 }
}

pub(super) fn letter_of_session(row: &SessionRow, state: &str, why: &str) -> AboutRow {
    let letter = Letter { own_at: row.own_at, ..letter_saying(state, why) };
    (notes::letter(&row.id, None), Some(letter))
}

pub(super) fn letter_of_message(row: &MessageRow, state: &str, why: &str) -> AboutRow {
    letter(&row.session_id, Some(&row.id), state, why)
}
