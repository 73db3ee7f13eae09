//! Sending what was done here: in the order of commits, a parcel in each transaction. Repeating one
//! changes nothing.

mod kept;

use std::collections::{HashMap, HashSet};

use futures_util::try_join;

use crate::model::{MessageId, Role, SessionId};
use crate::sessions::merge;
use crate::store::notes::{self as keys, Base};
use crate::store::{Store, StoreError, Touched};

use super::SyncError;
use super::link::Link;
use super::notes;
use super::parcel::{MessageRow, Parcel, SessionGone, SessionRow};
use super::statements::{self, Prints};

use kept::{
    AboutRow, Notes, edit_that_is_there, letter, letter_of_message, letter_of_session,
    letter_saying,
};

/// Sends rows over a connection.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub(super) link: &'a Link,
    pub(super) store: &'a Store,
    /// Roles that a check refused on this connection, with what it said.
    pub(super) refused_roles: &'a mut HashMap<Role, (String, String)>,
    /// Whether what was refused before is tried again.
    pub(super) again: bool,
    /// Whether the extra schema is there.
    pub(super) installed: bool,
    /// Whether what was there once and is not any more was lost, and not deleted.
    pub(super) restores: bool,
}

/// What came of sending.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Rows that were sent.
    pub(super) rows: u64,
    /// Sessions whose own was changed there too: both sides must be looked at.
    pub(super) unclear: HashSet<SessionId>,
    /// Messages whose texts were.
    pub(super) unclear_messages: HashSet<MessageId>,
}

impl Sender<'_> {
    /// Sends what `touched` names. A row that is refused is set aside.
    ///
    /// # Errors
    /// What keeps all of it from being sent; some of it may have been.
    pub(super) async fn send(&mut self, touched: Vec<Touched>) -> Result<Outcome, SyncError> {
        let mut outcome = Outcome::default();
        let mut waiting = vec![touched];
        while let Some(mut batch) = waiting.pop() {
            let (mut parcel, taken) = Parcel::load(self.store, &batch)?;
            let rest = batch.split_off(taken);
            if !rest.is_empty() {
                waiting.push(rest);
            }
            let aside = self.set_aside(&mut parcel, &batch);
            let sent = self.send_parcel(&parcel, aside.clone(), &mut outcome).await;
            let Err(error) = sent else {
                continue;
            };
            if batch.len() > 1 && (error.is_of_row() || error.is_too_much()) {
                let rest = batch.split_off(batch.len() / 2);
                waiting.extend([rest, batch]);
            } else {
                self.do_without(parcel, aside, error, &mut outcome).await?;
            }
        }
        Ok(outcome)
    }

    /// Takes out of `parcel` what is known to be refused; gives what to note of that.
    fn set_aside(&self, parcel: &mut Parcel, batch: &[Touched]) -> Vec<AboutRow> {
        if self.again {
            let named: HashSet<_> = batch.iter().collect();
            for row in &mut parcel.sessions {
                row.refused &= !named.contains(&Touched::Session(row.id.clone()));
            }
        }
        let (mut aside, mut counts) = (Vec::new(), HashMap::new());
        let is_refused = |row: &mut MessageRow| self.refused_roles.contains_key(&row.role);
        for row in parcel.messages.extract_if(.., is_refused) {
            if let Some((state, message)) = self.refused_roles.get(&row.role) {
                aside.push(letter_of_message(&row, state, message));
            }
            *counts.entry(row.session_id).or_insert(0) += 1;
        }
        for row in &mut parcel.sessions {
            row.messages_refused += counts.get(&row.id).unwrap_or(&0);
        }
        aside
    }

    /// Goes on without the one row of `parcel`, which failed by `error`; of a message, its session is sent
    /// all the same, which may have been deleted there before that was said. What was set `aside` of it is
    /// noted with the rest.
    ///
    /// # Errors
    /// What is not about a row.
    async fn do_without(
        &mut self,
        mut parcel: Parcel,
        mut aside: Vec<AboutRow>,
        mut error: SyncError,
        outcome: &mut Outcome,
    ) -> Result<(), SyncError> {
        if let SyncError::Refused { state, message, .. } = &error
            && error.is_of_row()
            && !error.is_held()
            && let Some(row) = parcel.messages.pop()
        {
            aside.push(letter_of_message(&row, state, message));
            parcel.sessions.iter_mut().for_each(|row| row.messages_refused += 1);
            let Err(of_session) = self.send_parcel(&parcel, aside.clone(), outcome).await else {
                self.note_role(row.role, state, message);
                return Ok(());
            };
            error = of_session;
        }
        self.refuse(&parcel, aside, error).await
    }

    /// Notes that all messages of this role are refused, if it looks like that.
    fn note_role(&mut self, role: Role, state: &str, message: &str) {
        // A check, or an enumeration.
        let may_be_of_role = ["23514", "22P02"].contains(&state);
        if may_be_of_role && !matches!(role, Role::User | Role::Assistant) {
            self.refused_roles.insert(role, (state.to_owned(), message.to_owned()));
        }
    }

    /// Sends `parcel` in one transaction, and then notes what came of it, and `letters`.
    async fn send_parcel(
        &self,
        parcel: &Parcel,
        letters: Vec<AboutRow>,
        outcome: &mut Outcome,
    ) -> Result<(), SyncError> {
        let mut notes = Notes { letters, ..Notes::default() };
        let sent = Box::pin(self.commit(parcel, &mut notes, outcome)).await;
        if matches!(sent, Err(SyncError::Refused { .. })) {
            self.link.rollback().await;
        }
        sent?;
        Ok(notes.save(self.store).await?)
    }

    async fn commit(
        &self,
        parcel: &Parcel,
        notes: &mut Notes,
        outcome: &mut Outcome,
    ) -> Result<(), SyncError> {
        let sent: Vec<_> = parcel.sessions.iter().filter(|row| !row.refused).collect();
        let changed: Vec<_> = sent.iter().copied().filter(|row| row.own_changed()).collect();
        // One that is not there any more was deleted there, unless something is said in it.
        let may_be_new = |row: &&SessionRow| {
            self.restores || row.base.is_none() || parcel.spoken.contains(&row.id)
        };
        let new: Vec<_> = sent.iter().copied().filter(may_be_new).collect();
        let link = self.link;
        // Asked for before, so that nothing comes between the statements of the transaction.
        link.role_type().await?;
        let ((), (), inserted, updated, filled, (), kept, ()) = try_join!(
            link.begin(),
            statements::delete_sessions(link, &parcel.sessions_gone),
            statements::insert_sessions(link, &new),
            statements::update_sessions(link, &changed),
            statements::fill_sessions(link, &parcel.sessions),
            // First, as one that is here may have been saved again after it was deleted.
            statements::delete_messages(link, &parcel.messages_gone),
            statements::upsert_messages(link, &parcel.messages),
            statements::follow_messages(link, &parcel.sessions),
        )?;
        let there = self.look_after_sessions(&sent, inserted, updated, (notes, outcome)).await?;
        if self.installed {
            statements::date_deletions(link, parcel).await?;
            statements::put_versions(link, &there).await?;
        }
        for row in &parcel.sessions {
            let filled = filled.get(&row.id);
            let base =
                row.base.filter(|base| filled.is_some_and(|(before, _)| *before == base.print));
            let base = base.zip(filled).map(|(base, (_, after))| Base { print: *after, ..base });
            notes.bases.extend(base.map(|base| (keys::base(row.number), base)));
        }
        let mut edited: Vec<_> = parcel.messages.iter().filter(|row| row.edit.is_some()).collect();
        if kept < parcel.messages.len() {
            let there = self.look_after_messages(&parcel.messages, notes).await?;
            edited.retain(|row| there.get(&row.id) == Some(&merge::print(&row.content)));
            outcome.unclear_messages.extend(unclear(&parcel.messages, &there));
        }
        self.link.commit().await?;
        notes.edits.extend(edited.into_iter().filter_map(edit_that_is_there));
        let gone = parcel.sessions_gone.len() + parcel.messages_gone.len();
        outcome.rows += u64::try_from(sent.len() + kept + gone).unwrap_or(u64::MAX);
        self.strike_out(parcel, notes)?;
        Ok(())
    }

    /// Notes which version of each session is there now; gives those of which a new one is.
    async fn look_after_sessions<'a>(
        &self,
        sent: &[&'a SessionRow],
        inserted: Prints,
        updated: Prints,
        (notes, outcome): (&mut Notes, &mut Outcome),
    ) -> Result<Vec<&'a SessionRow>, SyncError> {
        let (mut new, mut unknown) = (Vec::new(), Vec::new());
        for row in sent {
            let print = match row.base {
                None => inserted.get(&row.id),
                Some(_) if row.own_changed() => updated.get(&row.id).or(inserted.get(&row.id)),
                // It was deleted there, and is there again.
                Some(_) if inserted.contains_key(&row.id) => inserted.get(&row.id),
                Some(_) => {
                    // There as ever or deleted there: nothing of it waits any more.
                    let key = notes::letter(&row.id, None);
                    notes.letters.extend(row.has_letter.then_some((key, None)));
                    continue;
                }
            };
            let Some(print) = print else {
                unknown.push(*row);
                continue;
            };
            new.push(*row);
            notes.bases.push((keys::base(row.number), Base { own_at: row.own_at, print: *print }));
            if row.has_letter {
                notes.letters.push((notes::letter(&row.id, None), None));
            }
        }
        if unknown.is_empty() {
            return Ok(new);
        }
        let there = statements::owners(self.link, &unknown).await?;
        for row in unknown {
            match there.get(&row.id) {
                Some(true) => {
                    outcome.unclear.insert(row.id.clone());
                }
                Some(false) => {
                    let why = "the session is another user's there";
                    notes.letters.push(letter_of_session(row, "23505", why));
                }
                // It was deleted there: nothing of it waits any more.
                None if row.base.is_some() => {
                    let key = notes::letter(&row.id, None);
                    notes.letters.extend(row.has_letter.then_some((key, None)));
                }
                None => {
                    let why = "it did not keep the session: see its triggers";
                    notes.letters.push(letter_of_session(row, "", why));
                }
            }
        }
        Ok(new)
    }

    /// Notes which messages were not kept; gives the fingerprints of those that were edited.
    async fn look_after_messages(
        &self,
        messages: &[MessageRow],
        notes: &mut Notes,
    ) -> Result<HashMap<MessageId, u128>, SyncError> {
        let found = statements::whereabouts(self.link, messages).await?;
        for row in messages.iter().filter(|row| !found.kept.contains(&row.id)) {
            let (state, why) = if found.homeless.contains(&row.session_id) {
                ("23503", "its session is not there, or another user's")
            } else if found.elsewhere.contains(&row.id) {
                ("23505", "another session has a message of that id")
            } else {
                ("", "it did not keep the message: see its triggers")
            };
            notes.letters.push(letter_of_message(row, state, why));
        }
        Ok(found.prints)
    }

    /// Notes that the one row of `parcel` was refused: a deletion, a message, or a session, with what was set
    /// `aside` of its messages. If somebody only holds the session, those are tried again with it.
    ///
    /// # Errors
    /// `error`, if that is not about the row.
    async fn refuse(
        &mut self,
        parcel: &Parcel,
        aside: Vec<AboutRow>,
        error: SyncError,
    ) -> Result<(), SyncError> {
        let (true, SyncError::Refused { state, message, .. }) = (error.is_of_row(), &error) else {
            return Err(error);
        };
        let mut notes = Notes::default();
        let gone = parcel.messages_gone.iter().map(|it| (&it.session_id, Some(&it.id)));
        let gone: Vec<_> =
            gone.chain(parcel.sessions_gone.iter().map(|it| (&it.id, None))).collect();
        match (parcel.messages.as_slice(), parcel.sessions.as_slice()) {
            // Somebody holds its session: they are tried again together.
            _ if error.is_held() && !aside.is_empty() => {
                let held = |(key, _): AboutRow| (key, Some(letter_saying(state, message)));
                notes.letters.extend(aside.into_iter().map(held));
            }
            ([row], _) => notes.letters.push(letter_of_message(row, state, message)),
            // A deletion that is refused, as by a foreign key of another table.
            _ if !gone.is_empty() => {
                let refused = |(session, id)| letter(session, id, state, message);
                notes.letters.extend(gone.into_iter().map(refused));
            }
            (_, [row]) => {
                notes.letters = aside;
                notes.letters.push(letter_of_session(row, state, message));
            }
            _ => {}
        }
        Ok(notes.save(self.store).await?)
    }

    /// Notes what is to be forgotten of what was sent: that it was refused before.
    fn strike_out(&self, parcel: &Parcel, notes: &mut Notes) -> Result<(), StoreError> {
        let any = self.store.read(|tx| tx.notes(notes::LETTERS, &[], 1))?;
        if any.is_empty() {
            return Ok(());
        }
        let refused: HashSet<_> = notes.letters.iter().map(|(key, _)| key.clone()).collect();
        let sent = parcel.messages.iter().map(|row| (&row.session_id, &row.id));
        let gone = parcel.messages_gone.iter().map(|it| (&it.session_id, &it.id));
        let keys = sent.chain(gone).map(|(session, id)| notes::letter(session, Some(id)));
        for key in keys.filter(|key| !refused.contains(key)) {
            if self.store.read(|tx| tx.note(&key))?.is_some() {
                notes.letters.push((key, None));
            }
        }
        for SessionGone { id, .. } in &parcel.sessions_gone {
            let of_session = self.store.read(|tx| tx.notes(&notes::letter(id, None), &[], 1000))?;
            notes.letters.extend(of_session.into_iter().map(|(key, _)| (key, None)));
        }
        Ok(())
    }
}

/// The messages that were edited here, and are there with another text.
fn unclear(messages: &[MessageRow], there: &HashMap<MessageId, u128>) -> Vec<MessageId> {
    let is_unclear = |row: &&MessageRow| {
        there.get(&row.id).is_some_and(|print| *print != merge::print(&row.content))
    };
    messages.iter().filter(is_unclear).map(|row| row.id.clone()).collect()
}
