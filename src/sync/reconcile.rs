//! Making both sides the same where a comparison shows that they are not.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::model::{MessageId, SessionId};
use crate::store::{SessionRef, Store, StoreError, Touched, notes as keys};

use super::SyncError;
use super::compare::{self, Difference};
use super::pull::{Taken, Taker, Wanted, wholes};
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
}

/// Rows that are missing there.
#[derive(Debug, Default)]
struct Gone {
    sessions: Vec<SessionRef>,
    messages: HashMap<SessionId, Vec<MessageId>>,
    rows: u64,
}

/// Whether so many of all rows are too many to be deleted without a word.
pub(super) fn is_too_many(gone: u64, known: u64) -> bool {
    /// A user who deletes a session or two is nobody's business.
    const A_FEW: u64 = 20;
    gone > A_FEW && gone.saturating_mul(10) > known
}

/// How many sessions are compared at once, at least.
const PAGE_MIN: usize = 500;
/// About how long a page takes, in which nothing else is looked at.
const PAGE_TIME: Duration = Duration::from_millis(600);

/// How many sessions the next page has, after one of `limit` that took so long.
fn next_limit(limit: usize, took: Duration) -> usize {
    if took > PAGE_TIME {
        (limit / 2).max(PAGE_MIN)
    } else if took < PAGE_TIME / 3 {
        (limit * 2).min(compare::PAGE)
    } else {
        limit
    }
}

/// Compares both sides, and makes them the same. What was touched here since number `looked` is left
/// out, as it is on its way; where something was lost there, only what was created since and never was
/// there. What is `recent` is looked at meanwhile where nothing else tells of it.
pub(super) async fn reconcile(
    taker: &Taker<'_>,
    sender: &mut Sender<'_>,
    (looked, recent): (u64, &mut Recent),
    (missing, accept): (Missing, bool),
) -> Result<Reconciled, SyncError> {
    let (mut reconciled, mut gone) = (Reconciled::default(), Gone::default());
    let (mut after, mut on_its_way) = (String::new(), OnItsWay::after(looked));
    let mut limit = PAGE_MIN;
    loop {
        // Before a page is read: what is put there and taken later would look deleted there.
        if !taker.installed && recent.next() <= Instant::now() {
            let outcome = recent.take(taker).await?;
            reconciled.taken += outcome.rows;
            if !outcome.again.is_empty() {
                sender.send(outcome.again).await?;
            }
        }
        let began = Instant::now();
        let page = compare::page(taker.link, taker.store, &after, limit).await?;
        limit = next_limit(limit, began.elapsed());
        reconciled.known += page.rows;
        taker.progress.into_iter().for_each(|progress| progress.add(page.rows));
        on_its_way.follow(taker.store).await?;
        let differences = page.differences.into_iter();
        let differences = differences.filter(|it| !on_its_way.has(it, missing));
        let mut work = Work::default();
        differences.for_each(|difference| work.add(difference, missing));
        work.do_it(taker, sender, &mut reconciled, (missing, &mut gone)).await?;
        match page.last {
            Some(last) => after = last,
            None => break,
        }
    }
    if is_too_many(gone.rows, reconciled.known) && !accept {
        reconciled.too_many = Some(gone.rows);
        return Ok(reconciled);
    }
    reconciled.taken += taker.delete_messages(gone.messages, false).await?;
    for session in gone.sessions {
        // It may have been made again there, and taken, since it was missing.
        let found = taker.store.read(|tx| tx.session(&session.id))?;
        if found.is_some_and(|found| found.number == session.number) {
            reconciled.taken += taker.delete_session(session.id, None).await?;
        }
    }
    Ok(reconciled)
}

/// What there is to do about a page.
#[derive(Debug, Default)]
struct Work {
    send: Vec<SessionRef>,
    /// With how many messages.
    take: Vec<(String, u64)>,
    own: Vec<SessionRef>,
    messages: Vec<SessionRef>,
    gone: Vec<(SessionRef, u64)>,
}

impl Work {
    fn add(&mut self, difference: Difference, missing: Missing) {
        match difference {
            Difference::Here { session, was_there: true, messages }
                if missing == Missing::Deleted =>
            {
                self.gone.push((session, messages + 1));
            }
            Difference::Here { session, .. } => self.send.push(session),
            Difference::There { id, messages, .. } => self.take.push((id, messages)),
            Difference::Own(session) => self.own.push(session),
            Difference::Messages(session) => self.messages.push(session),
        }
    }

    async fn do_it(
        self,
        taker: &Taker<'_>,
        sender: &mut Sender<'_>,
        reconciled: &mut Reconciled,
        (missing, gone): (Missing, &mut Gone),
    ) -> Result<(), SyncError> {
        let store = taker.store;
        for (session, rows) in self.gone {
            gone.rows += rows;
            gone.sessions.push(session);
        }
        let mut outcome = Taken::default();
        for part in wholes(&self.take, |(_, messages)| *messages) {
            let ids: Vec<_> = part.iter().map(|(id, _)| id.as_str()).collect();
            let sessions = theirs::sessions(taker.link, &ids, taker.installed).await?;
            outcome.add(taker.take_whole(sessions).await?);
        }
        for session in self.send {
            sender.send(compare::whole(store, &session)?).await?;
        }
        let mut wanted = Wanted::default();
        if missing == Missing::Lost {
            outcome.again.extend(self.own.iter().map(|it| Touched::Session(it.id.clone())));
        }
        wanted.sessions.extend(self.own.into_iter().map(|session| session.id.to_string()));
        for (session, differs) in compare::messages(taker.link, store, self.messages).await? {
            let touch = |place| Touched::Message(session.user_id.clone(), session.number, place);
            // Whichever is the later goes to the other side.
            for (id, place) in differs.edited {
                outcome.again.push(touch(place));
                wanted.messages.insert(id);
            }
            for id in differs.there {
                match deleted_here(store, &session.id, &id)? {
                    Some(touched) => outcome.again.push(touched),
                    None => _ = wanted.messages.insert(id),
                }
            }
            if missing == Missing::Lost {
                outcome.again.extend(differs.here.into_iter().map(|(_, place)| touch(place)));
            } else if !differs.here.is_empty() {
                gone.rows += u64::try_from(differs.here.len()).unwrap_or(u64::MAX);
                let ids = differs.here.into_iter().map(|(id, _)| id).collect();
                gone.messages.insert(session.id, ids);
            }
        }
        outcome.add(taker.take(wanted).await?);
        reconciled.taken += outcome.rows;
        if !outcome.again.is_empty() {
            sender.send(outcome.again).await?;
        }
        Ok(())
    }
}

/// What to send of a message that was deleted here and is there.
fn deleted_here(
    store: &Store,
    session: &SessionId,
    id: &str,
) -> Result<Option<Touched>, StoreError> {
    let Ok(id) = MessageId::parse(id) else {
        return Ok(None);
    };
    let gone = store.read(|tx| tx.note(&keys::message_gone(session, &id)))?;
    Ok(gone.map(|_| Touched::MessageGone(session.clone(), id)))
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
                | Touched::MessageGone(id, _)
                | Touched::SessionGone(id, _) => Some(id),
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
                | Difference::Messages(session),
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
