//! Taking rows that others wrote there, some in each write of ours.

mod parts;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::model::{MessageId, SessionId, Timestamp};
use crate::sessions::merge::{self, Known, Merged, Missing, TheirMessage, TheirSession};
use crate::store::{ReadTx, SessionRef, Store, StoreError, Touched, WriteTx, notes as keys};

use super::SyncError;
use super::link::Link;
use super::order::Progress;
use super::outbox;
use super::theirs;

use parts::{FETCH_ROWS, WRITE_ROWS, batches, fetches};

pub(super) use parts::wholes;

/// How long a pull leaves the writer alone after each write, at most.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What is wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Sessions, by their ids.
    pub(super) sessions: BTreeSet<String>,
    /// Messages, by their ids.
    pub(super) messages: BTreeSet<String>,
}

/// Takes rows over a connection.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    pub(super) link: &'a Link,
    pub(super) store: &'a Store,
    pub(super) installed: bool,
    pub(super) progress: Option<&'a Progress>,
}

/// What came of taking.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Rows that changed here.
    pub(super) rows: u64,
    /// What must go there once more.
    pub(super) again: Vec<Touched>,
    /// The sessions that were not here, and were taken with all that was said in them.
    pub(super) whole: Vec<String>,
}

/// A session with messages of it.
type Arrival = (TheirSession, Vec<TheirMessage>);

impl Taker<'_> {
    /// Takes what is wanted, as it is there now; what is not there any more is left as it is.
    pub(super) async fn take(&self, wanted: Wanted) -> Result<Taken, SyncError> {
        let mut taken = Taken::default();
        let mut sessions: Vec<_> = wanted.sessions.into_iter().collect();
        let messages: Vec<_> = wanted.messages.into_iter().collect();
        let mut by_session = HashMap::new();
        for piece in messages.chunks(FETCH_ROWS) {
            let ids: Vec<_> = piece.iter().map(String::as_str).collect();
            for (session, said) in theirs::messages(self.link, &ids).await? {
                let said = self.changed(&session, said).await?;
                by_session.entry(session).or_insert_with(Vec::new).extend(said);
            }
        }
        by_session.retain(|_, said| !said.is_empty());
        let known: HashSet<_> = sessions.iter().cloned().collect();
        let others = by_session.keys().map(|id| id.as_str().to_owned());
        sessions.extend(others.filter(|id| !known.contains(id)));
        for piece in sessions.chunks(FETCH_ROWS) {
            let ids: Vec<_> = piece.iter().map(String::as_str).collect();
            let found = theirs::sessions(self.link, &ids, self.installed).await?;
            let here: HashSet<_> =
                found.iter().map(|it| &it.id).filter(|id| self.is_here(id)).cloned().collect();
            let (old, new): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|session| here.contains(&session.id));
            let arrivals = old.into_iter().map(|session| {
                let said = by_session.remove(&session.id).unwrap_or_default();
                (session, said)
            });
            let arrivals = arrivals.collect();
            // All that was said in those is wanted.
            for new in wholes(&new, |session| session.count) {
                taken.add(self.take_whole(new.to_vec()).await?);
                taken.whole.extend(new.iter().map(|session| session.id.to_string()));
            }
            taken.add(self.write(arrivals).await?);
        }
        Ok(taken)
    }

    /// Those that are not here as they are there, which costs no write; with when they were put there,
    /// if they were edited here.
    async fn changed(
        &self,
        id: &SessionId,
        said: Vec<TheirMessage>,
    ) -> Result<Vec<TheirMessage>, SyncError> {
        let (mut changed, mut edited) = (Vec::new(), Vec::new());
        for message in said {
            match self.store.read(|tx| found_here(tx, id, &message))? {
                FoundHere::Same => {}
                FoundHere::Edited if self.installed => edited.push(message),
                FoundHere::Edited | FoundHere::Other => changed.push(message),
            }
        }
        if !edited.is_empty() {
            let ids: Vec<_> = edited.iter().map(|message| message.id.as_str()).collect();
            let times = outbox::put_at(self.link, &ids).await?;
            for message in &mut edited {
                message.put_at = times.get(message.id.as_str()).copied();
            }
        }
        changed.extend(edited);
        Ok(changed)
    }

    /// Takes whole sessions.
    pub(super) async fn take_whole(&self, sessions: Vec<TheirSession>) -> Result<Taken, SyncError> {
        let ids: Vec<_> = sessions.iter().map(|session| session.id.as_str()).collect();
        let prints = theirs::message_prints(self.link, &ids).await?;
        let mut taken = Taken::default();
        for (sessions, messages) in fetches(sessions, prints) {
            taken.add(self.fetch(sessions, &messages).await?);
        }
        Ok(taken)
    }

    /// Takes sessions with those of their messages that have these ids.
    async fn fetch(&self, sessions: Vec<TheirSession>, ids: &[String]) -> Result<Taken, SyncError> {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut said = theirs::messages(self.link, &ids).await?;
        let arrivals = sessions.into_iter().map(|session| {
            let mut said = said.remove(&session.id).unwrap_or_default();
            said.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
            (session, said)
        });
        self.write(arrivals.collect()).await
    }

    /// Writes arrivals, in writes that are small.
    async fn write(&self, arrivals: Vec<Arrival>) -> Result<Taken, SyncError> {
        let mut taken = Taken::default();
        for batch in batches(arrivals) {
            taken.add(self.write_batch(batch).await?);
        }
        Ok(taken)
    }

    async fn write_batch(&self, batch: Vec<Arrival>) -> Result<Taken, SyncError> {
        if batch.is_empty() {
            return Ok(Taken::default());
        }
        let work = move |tx: &mut WriteTx<'_>| {
            let merge = |(session, said): &Arrival| {
                let merged = merge::merge(tx, session, said)?;
                let gone =
                    touched_by_deletion(tx.note(&keys::session_gone(&session.id))?, &session.id);
                Ok::<_, StoreError>((session.id.clone(), merged, gone))
            };
            batch.iter().map(merge).collect::<Result<Vec<_>, _>>()
        };
        let began = Instant::now();
        let outcomes: Vec<(SessionId, Merged, Option<Touched>)> =
            self.store.write_patiently("merge", work).await?;
        let rows = outcomes.iter().map(|(_, merged, _)| merged.rows).sum();
        if rows > 0 {
            // The writer is for the saves of users for about as long as it was for this.
            tokio::time::sleep(began.elapsed().min(PAUSE_MAX)).await;
        }
        let mut taken = Taken::default();
        self.progress.into_iter().for_each(|progress| progress.add(rows));
        for (id, merged, gone) in outcomes {
            taken.rows += merged.rows;
            if merged.is_anothers {
                warn!("session {id} is another user's in PostgreSQL than here; it is left alone");
            }
            taken.again.extend(gone.filter(|_| merged.is_gone));
        }
        Ok(taken)
    }

    /// Deletes messages here that somebody deleted there, each at a time.
    pub(super) async fn delete_messages(
        &self,
        gone: HashMap<SessionId, Vec<(MessageId, Timestamp)>>,
    ) -> Result<u64, SyncError> {
        let mut rows = 0;
        for (session, ids) in &gone {
            for ids in ids.chunks(WRITE_ROWS) {
                let (session, ids) = (session.clone(), ids.to_vec());
                let work = move |tx: &mut WriteTx<'_>| merge::delete_messages(tx, &session, &ids);
                rows += self.store.write_patiently("merge_deletions", work).await?;
            }
        }
        Ok(rows)
    }

    /// Deletes messages here that are missing there, of this session.
    pub(super) async fn forget_messages(
        &self,
        session: &SessionRef,
        missing: &[Missing],
    ) -> Result<u64, SyncError> {
        let mut rows = 0;
        for missing in missing.chunks(WRITE_ROWS) {
            let (id, number, missing) = (session.id.clone(), session.number, missing.to_vec());
            let work =
                move |tx: &mut WriteTx<'_>| merge::forget_messages(tx, (&id, number), &missing);
            rows += self.store.write_patiently("merge_deletions", work).await?;
        }
        Ok(rows)
    }

    /// Deletes a session here that was deleted there.
    pub(super) async fn delete_session(
        &self,
        id: SessionId,
        known: Known,
    ) -> Result<u64, SyncError> {
        let work = move |tx: &mut WriteTx<'_>| merge::delete_session(tx, &id, &known);
        Ok(self.store.write_patiently("merge_deletion", work).await?)
    }

    /// Whether a session is here; one that cannot be read counts, and fails where it is written.
    fn is_here(&self, id: &SessionId) -> bool {
        !matches!(self.store.read(|tx| tx.session(id)), Ok(None))
    }
}

/// What to send of the session of that id, of whose deletion there may be a note.
pub(super) fn touched_by_deletion(note: Option<Vec<u8>>, id: &SessionId) -> Option<Touched> {
    let (at, user_id) = keys::deletion_in(&note?)?;
    Some(Touched::SessionGone(user_id, id.clone(), at))
}

/// What to send of the message of `session` that has this id: itself, which goes there in place of one that
/// was deleted, or that it was deleted.
pub(super) fn touched_message(
    tx: ReadTx<'_>,
    session: &SessionRef,
    id: &MessageId,
) -> Result<Option<Touched>, StoreError> {
    if let Some(stored) = tx.message(session, id)? {
        return Ok(Some(Touched::Message(session.user_id.clone(), session.number, stored.place)));
    }
    let gone = tx.note(&keys::message_gone(&session.id, id))?.map(keys::time);
    let SessionRef { user_id, id: session_id, .. } = session.clone();
    Ok(gone.map(|at| Touched::MessageGone(user_id, session_id, id.clone(), at)))
}

/// What is here of a message that is there.
enum FoundHere {
    /// The same.
    Same,
    /// Another text, which was edited here.
    Edited,
    /// Another text, or nothing.
    Other,
}

fn found_here(
    tx: ReadTx<'_>,
    id: &SessionId,
    theirs: &TheirMessage,
) -> Result<FoundHere, StoreError> {
    let Some(session) = tx.session(id)? else {
        return Ok(FoundHere::Other);
    };
    let Some(stored) = tx.message(&session, &theirs.id)? else {
        return Ok(FoundHere::Other);
    };
    if merge::is_same(&session, theirs, &stored) {
        return Ok(FoundHere::Same);
    }
    let is_edited = tx.note(&keys::edit(session.number, stored.place))?.is_some();
    Ok(if is_edited { FoundHere::Edited } else { FoundHere::Other })
}

impl Taken {
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.again.extend(other.again);
        self.whole.extend(other.whole);
    }
}
