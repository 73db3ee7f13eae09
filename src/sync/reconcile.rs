//! Making both sides the same where a comparison shows that they are not.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::model::{MessageId, SessionId};
use crate::sessions::merge::{self, Known};
use crate::store::{SessionRef, Store, StoreError, Touched, notes as keys};

use super::SyncError;
use super::compare::{self, Aside, Difference};
use super::pace::Pace;
use super::pull::{Taken, Taker, Wanted, touched_message, wholes};
use super::push::Sender;
use super::recent::Recent;
use super::theirs;

/// What it means that something was there once and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It was lost, and goes there again.
    Lost,
    /// It was deleted there.
    Deleted,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// Rows that changed here.
    pub(super) taken: u64,
    /// Rows that are here.
    pub(super) known: u64,
    /// How many rows are missing there, if that is too many to be deleted here without a word.
    pub(super) too_many: Option<u64>,
    /// How long both sides were looked through for it.
    pub(super) looked: Duration,
}

/// Rows that are missing there.
#[derive(Debug, Default)]
struct Gone {
    /// With the fingerprints of their rows.
    sessions: Vec<(SessionRef, u128)>,
    messages: Vec<(SessionRef, Vec<merge::Missing>)>,
    rows: u64,
}

/// Whether so many of all rows are too many to be deleted without a word.
pub(super) fn is_too_many(gone: u64, known: u64) -> bool {
    /// A user who deletes a session or two is nobody's business.
    const A_FEW: u64 = 20;
    gone > A_FEW && gone.saturating_mul(10) > known
}

/// What both sides are made the same with.
#[derive(Debug)]
pub(super) struct Hands<'a> {
    pub(super) taker: Taker<'a>,
    pub(super) sender: Sender<'a>,
    pub(super) recent: &'a mut Recent,
    pub(super) pace: &'a mut Pace,
}

impl Hands<'_> {
    /// Takes what was written there lately, if it is time to and nothing else tells of it; gives how many
    /// rows changed here.
    pub(super) async fn look(&mut self) -> Result<u64, SyncError> {
        if self.taker.installed || self.recent.next() > Instant::now() {
            return Ok(0);
        }
        let outcome = self.recent.take(&self.taker).await?;
        if !outcome.again.is_empty() {
            self.sender.send(outcome.again).await?;
        }
        Ok(outcome.rows)
    }

    async fn page(
        &mut self,
        after: &str,
        reconciled: &mut Reconciled,
    ) -> Result<compare::Page, SyncError> {
        let (link, store, began) = (self.taker.link, self.taker.store, Instant::now());
        // Only looking at what was written lately must not wait for long.
        let limit = if self.taker.installed { compare::PAGE } else { self.pace.limit() };
        let page = compare::page(link, store, after, limit).await?;
        if !self.taker.installed {
            self.pace.follow(page.last.is_some(), page.took_there, began.elapsed());
        }
        reconciled.looked += began.elapsed();
        reconciled.known += page.rows;
        self.taker.progress.into_iter().for_each(|progress| progress.add(page.rows));
        Ok(page)
    }
}

/// Compares both sides, and makes them the same. What was touched here since number `looked` is left
/// out, as it is on its way; where something was lost there, only what was created since and never was
/// there.
pub(super) async fn reconcile(
    mut hands: Hands<'_>,
    looked: u64,
    (missing, accept): (Missing, bool),
) -> Result<Reconciled, SyncError> {
    let (mut reconciled, mut gone) = (Reconciled::default(), Gone::default());
    let (mut after, mut on_its_way) = (String::new(), OnItsWay::after(looked));
    hands.sender.restores = missing == Missing::Lost;
    hands.pace.begin();
    loop {
        // Before a page is read: what is put there and taken later would look deleted there.
        reconciled.taken += hands.look().await?;
        let page = hands.page(&after, &mut reconciled).await?;
        on_its_way.follow(hands.taker.store).await?;
        let differences = page.differences.into_iter();
        let differences = differences.filter(|it| !on_its_way.has(it, missing));
        let mut work = Work::default();
        differences.for_each(|difference| work.add(difference, missing));
        work.carry_out(&mut hands, &mut on_its_way, &mut reconciled, (missing, &mut gone)).await?;
        match page.last {
            Some(last) => after = last,
            None => break,
        }
    }
    if is_too_many(gone.rows, reconciled.known) && !accept {
        reconciled.too_many = Some(gone.rows);
        return Ok(reconciled);
    }
    if gone.rows > 0 {
        // What was put there again meanwhile is taken again.
        hands.recent.forget();
    }
    let taker = &hands.taker;
    for (session, missing) in gone.messages {
        reconciled.taken += taker.forget_messages(&session, &missing).await?;
    }
    for (session, print) in gone.sessions {
        let known = Known::ByAbsence(session.number, print);
        reconciled.taken += taker.delete_session(session.id, known).await?;
    }
    Ok(reconciled)
}

/// What there is to do about a page.
#[derive(Debug, Default)]
struct Work {
    send: Vec<SessionRef>,
    /// Sessions that are there alone, with how many messages they have.
    take: Vec<(String, u64)>,
    own: Vec<SessionRef>,
    /// With how many messages are there.
    messages: Vec<(SessionRef, u64)>,
    /// With the fingerprints of their rows, and how many rows they are.
    gone: Vec<(SessionRef, u128, u64)>,
}

impl Work {
    fn add(&mut self, difference: Difference, missing: Missing) {
        match difference {
            // It goes there when it is tried again, which may bring the session back.
            Difference::Here { was_there: true, aside: Aside::Held, .. }
                if missing == Missing::Deleted => {}
            // It goes there when somebody says so.
            Difference::Here { was_there: false, aside: Aside::Refused, .. } => {}
            Difference::Here { session, was_there: true, print, messages, .. }
                if missing == Missing::Deleted =>
            {
                self.gone.push((session, print, messages + 1));
            }
            Difference::Here { session, .. } => self.send.push(session),
            Difference::There { id, messages, .. } => self.take.push((id, messages)),
            Difference::Own(session) => self.own.push(session),
            Difference::Messages(session, count) => self.messages.push((session, count)),
        }
    }

    async fn carry_out(
        self,
        hands: &mut Hands<'_>,
        on_its_way: &mut OnItsWay,
        reconciled: &mut Reconciled,
        (missing, gone): (Missing, &mut Gone),
    ) -> Result<(), SyncError> {
        let (link, store) = (hands.taker.link, hands.taker.store);
        for (session, print, rows) in self.gone {
            gone.rows += rows;
            gone.sessions.push((session, print));
        }
        let mut outcome = Taken::default();
        for part in wholes(&self.take, |(_, messages)| *messages) {
            let ids: Vec<_> = part.iter().map(|(id, _)| id.as_str()).collect();
            let sessions = theirs::sessions(link, &ids, hands.taker.installed).await?;
            outcome.add(hands.taker.take_whole(sessions).await?);
            outcome.rows += hands.look().await?;
        }
        for session in self.send {
            outcome.rows += hands.look().await?;
            hands.sender.send(compare::whole(store, &session)?).await?;
        }
        let mut wanted = Wanted::default();
        if missing == Missing::Lost {
            outcome.again.extend(self.own.iter().map(|it| Touched::Session(it.id.clone())));
        }
        wanted.sessions.extend(self.own.into_iter().map(|session| session.id.to_string()));
        let began = Instant::now();
        let messages = compare::messages(link, store, self.messages).await?;
        reconciled.looked += began.elapsed();
        on_its_way.follow(store).await?;
        for (session, differs) in messages {
            let touch = |place| Touched::Message(session.user_id.clone(), session.number, place);
            // Whichever is the later goes to the other side.
            for (id, place) in differs.edited {
                outcome.again.push(touch(place));
                wanted.messages.insert(id);
            }
            for id in differs.there {
                // One that was deleted here goes there too, or comes back if it was put there later.
                outcome.again.extend(deleted_here(store, &session, &id)?);
                wanted.messages.insert(id);
            }
            if missing == Missing::Lost {
                outcome.again.extend(differs.here.into_iter().map(|(_, place, _)| touch(place)));
            } else if !differs.here.is_empty() && !on_its_way.some.contains(&session.id) {
                // Else it may have been said since both sides were found to differ.
                gone.rows += u64::try_from(differs.here.len()).unwrap_or(u64::MAX);
                gone.messages.push((session, differs.here));
            }
        }
        outcome.add(hands.taker.take(wanted).await?);
        reconciled.taken += outcome.rows;
        if !outcome.again.is_empty() {
            hands.sender.send(outcome.again).await?;
        }
        Ok(())
    }
}

/// What to send of a message that was deleted here and is there.
fn deleted_here(
    store: &Store,
    session: &SessionRef,
    id: &str,
) -> Result<Option<Touched>, StoreError> {
    let Ok(id) = MessageId::parse(id) else {
        return Ok(None);
    };
    store.read(|tx| match tx.note(&keys::message_gone(&session.id, &id))? {
        Some(_) => touched_message(tx, session, &id),
        None => Ok(None),
    })
}

/// What a push brings there anyway.
#[derive(Debug, Default)]
struct OnItsWay {
    /// Something of these sessions.
    some: HashSet<SessionId>,
    /// The sessions of these numbers, which were created here: all of each that never was there.
    created: HashSet<u64>,
    /// The number up to which the log was read.
    until: u64,
}

impl OnItsWay {
    /// What was done here after number `looked`, of which nothing is known yet.
    fn after(looked: u64) -> Self {
        Self { until: looked, ..Self::default() }
    }

    /// Follows the log to its end.
    async fn follow(&mut self, store: &Store) -> Result<(), StoreError> {
        while let Some(journal) = store.read(|tx| tx.journal(self.until, 1000))?
            && journal.until > self.until
        {
            self.created.extend(journal.created);
            self.some.extend(journal.touched.into_iter().filter_map(|touched| match touched {
                Touched::Session(id)
                | Touched::MessageGone(_, id, ..)
                | Touched::SessionGone(_, id, _) => Some(id),
                Touched::Message(..) => None,
            }));
            self.until = journal.until;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Whether nothing need be done about `difference`. Of what was lost there, what is old or came from
    /// there would look deleted to the next comparison if only the new went there.
    fn has(&self, difference: &Difference, missing: Missing) -> bool {
        match (difference, missing) {
            (Difference::Here { session, was_there: false, .. }, Missing::Lost) => {
                self.created.contains(&session.number)
            }
            (Difference::There { .. }, _) | (_, Missing::Lost) => false,
            (
                Difference::Here { session, .. }
                | Difference::Own(session)
                | Difference::Messages(session, _),
                Missing::Deleted,
            ) => self.some.contains(&session.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_all_is_too_many_and_a_few_are_not() {
        for (gone, known, too_many) in
            [(20, 20, false), (21, 100, true), (21, 210, false), (22, 210, true), (0, 0, false)]
        {
            assert_eq!(is_too_many(gone, known), too_many, "{gone} of {known}");
        }
    }
}
