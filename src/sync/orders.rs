//! Doing what is asked for.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::store::{StoreError, Touched, WriteTx, notes as keys};

use super::compare::{self, Difference};
use super::link::Link;
use super::notes::{self, Letter};
use super::order::{Order, Request};
use super::pull::{touched_by_deletion, touched_message};
use super::reconcile::Missing;
use super::theirs;
use super::{Replica, SyncError};

/// How many refused rows are sent again at once.
const AGAIN: usize = 1000;

impl Replica {
    /// Does what `request` asks for; tells whether all is well then.
    pub(super) async fn obey(&mut self, link: &Link, request: &Request) -> Result<bool, SyncError> {
        self.push_all(link).await?;
        match request.order {
            Order::Pull { accept_deletions } => {
                self.pull_all(link, accept_deletions, request).await
            }
            // Both sides were never compared, or not since the log did not tell everything.
            Order::Push if self.followed.incarnation.is_empty() => {
                self.pull_all(link, false, request).await
            }
            Order::Push => Ok(true),
            Order::Retry => self.retry(link, request).await,
            Order::Diff => self.diff(link, request).await,
        }
    }

    async fn pull_all(
        &mut self,
        link: &Link,
        accept: bool,
        request: &Request,
    ) -> Result<bool, SyncError> {
        if accept {
            self.resume();
        }
        self.progress = Some(request.progress(theirs::count(link).await?));
        let taken = self.pull_whole(link, accept).await;
        self.progress = None;
        let taken = taken?;
        self.push_all(link).await?;
        if let Some(why) = self.status.paused() {
            request.say(why).await;
            return Ok(false);
        }
        request.say(format!("{taken} rows changed here")).await;
        Ok(true)
    }

    async fn pull_whole(&mut self, link: &Link, accept: bool) -> Result<u64, SyncError> {
        self.next_compare = Instant::now();
        let (mut taken, is_whole) = self.pull(link, accept).await?;
        if !self.paused && !is_whole {
            taken += self.reconcile(link, (Missing::Lost, accept)).await?.taken;
        }
        Ok(taken)
    }

    async fn retry(&mut self, link: &Link, request: &Request) -> Result<bool, SyncError> {
        self.refused_roles.clear();
        let tried = self.send_again(link, |_| true).await?;
        let left = self.status.status()?.dead_letters;
        request.say(format!("{tried} rows were sent again; {left} are refused")).await;
        Ok(left == 0)
    }

    /// Sends again what was only held by somebody else.
    pub(super) async fn retry_held(&mut self, link: &Link) -> Result<(), SyncError> {
        self.send_again(link, |letter| letter.state == notes::HELD).await.map(drop)
    }

    /// Sends again the refused rows that are `wanted`; gives how many those were.
    async fn send_again(
        &mut self,
        link: &Link,
        wanted: fn(&Letter) -> bool,
    ) -> Result<u64, SyncError> {
        let (mut after, mut tried) = (Vec::new(), 0_u64);
        loop {
            let letters = self.store.read(|tx| tx.notes(notes::LETTERS, &after, AGAIN))?;
            let Some((last, _)) = letters.last() else {
                break;
            };
            after.clone_from(last);
            let mut touched = Vec::new();
            let is_wanted =
                |letter: &[u8]| serde_json::from_slice(letter).is_ok_and(|it| wanted(&it));
            for (key, _) in letters.into_iter().filter(|(_, letter)| is_wanted(letter)) {
                tried += 1;
                match self.about(&key)? {
                    Some(row) => touched.push(row),
                    None => self.strike_out(key).await?,
                }
            }
            let mut sender = self.hands(link).sender;
            sender.again = true;
            sender.send(touched).await?;
        }
        Ok(tried)
    }

    /// What a letter is about: a row that is here still, or that was deleted here.
    fn about(&self, key: &[u8]) -> Result<Option<Touched>, StoreError> {
        let Some((session, message)) = notes::letter_about(key) else {
            return Ok(None);
        };
        self.store.read(|tx| {
            let Some(found) = tx.session(&session)? else {
                return Ok(touched_by_deletion(tx.note(&keys::session_gone(&session))?, &session));
            };
            let Some(message) = message else {
                return Ok(Some(Touched::Session(session)));
            };
            touched_message(tx, &found, &message)
        })
    }

    async fn strike_out(&self, key: Vec<u8>) -> Result<(), StoreError> {
        let work = move |tx: &mut WriteTx<'_>| {
            tx.put_note(&key, None);
            Ok::<_, StoreError>(())
        };
        self.store.write_patiently("replica_notes", work).await
    }

    /// Says in what both sides differ, a line for each session.
    async fn diff(&mut self, link: &Link, request: &Request) -> Result<bool, SyncError> {
        let (mut after, mut differing, mut rows) = (String::new(), 0_u64, 0);
        loop {
            let page = compare::page(link, &self.store, &after, compare::PAGE).await?;
            rows += page.rows;
            for (session, what) in self.lines(link, page.differences).await? {
                differing += 1;
                request.say(format!("{session}: {}", what.join(", "))).await;
            }
            match page.last {
                Some(last) => after = last,
                None => break,
            }
        }
        let refused = self.status.status()?.dead_letters;
        let outcome = match (differing, refused) {
            (0, 0) => format!("both sides are the same, with {rows} rows"),
            (0, _) => format!(
                "both sides are the same, with {rows} rows, but for {refused} that PostgreSQL refused"
            ),
            _ => format!("{differing} sessions differ"),
        };
        request.say(outcome).await;
        Ok(differing == 0)
    }

    /// What to say of each session that differs, by user and id.
    async fn lines(
        &self,
        link: &Link,
        differences: Vec<Difference>,
    ) -> Result<BTreeMap<String, Vec<String>>, SyncError> {
        let mut lines: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut looked_at = Vec::new();
        let named = |session: &crate::store::SessionRef| {
            format!("{} {}", session.user_id.as_str(), session.id)
        };
        for difference in differences {
            let (name, what) = match difference {
                Difference::Here { session, .. } => (named(&session), "is here alone".to_owned()),
                Difference::There { id, user, .. } => {
                    (format!("{user} {id}"), "is there alone".to_owned())
                }
                Difference::Own(session) => {
                    (named(&session), "has another title or other metadata there".to_owned())
                }
                Difference::Messages(session, count) => {
                    looked_at.push((session, count));
                    continue;
                }
            };
            lines.entry(name).or_default().push(what);
        }
        for (session, differs) in compare::messages(link, &self.store, looked_at).await? {
            let what = lines.entry(named(&session)).or_default();
            for (count, text) in [
                (differs.here.len(), "messages are here alone"),
                (differs.there.len(), "messages are there alone, or say something else there"),
                (differs.edited.len(), "messages were edited here, and say something else there"),
            ] {
                what.extend((count > 0).then(|| format!("{count} {text}")));
            }
        }
        lines.retain(|_, what| !what.is_empty());
        Ok(lines)
    }
}
