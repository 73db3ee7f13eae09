//! Wakes those who follow a user's changes.
//!
//! The history of changes is the store's log; here are only the newest of users who are followed
//! right now, so that a change is read from the log once and not by each of their followers. Who
//! has fallen further behind reads the log, so a slow follower costs no memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::{Change, ChangeKind, UserId};

/// How much is kept of a user who is followed: of the last commit, and of those before. Thousands
/// may be followed, of whom few do much at once.
const LAST_BYTES: usize = 128 * 1024;
const EARLIER_BYTES: usize = 16 * 1024;

/// Who is followed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Mutex<HashMap<UserId, Topic>>>);

/// A user who is followed.
#[derive(Debug)]
pub struct Topic {
    followers: usize,
    /// All changes after this number are in `recent`.
    complete_after: u64,
    recent: VecDeque<Arc<Change>>,
    bytes: usize,
    newest: watch::Sender<u64>,
}

/// Everybody who is followed, while nobody comes or goes.
#[derive(Debug)]
pub struct Followed<'a>(MutexGuard<'a, HashMap<UserId, Topic>>);

/// Follows one user's changes until it is dropped.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    user: UserId,
    newest: watch::Receiver<u64>,
}

impl Events {
    /// Follows `user`. To be called while no change can be told, of which the last had number
    /// `newest`: so that none is missed between that one and the first that is told.
    pub fn follow(&self, user: &UserId, newest: u64) -> Follower {
        let mut topics = self.topics();
        let topic = topics.entry(user.clone()).or_insert_with(|| Topic {
            followers: 0,
            complete_after: newest,
            recent: VecDeque::new(),
            bytes: 0,
            newest: watch::Sender::new(newest),
        });
        topic.followers += 1;
        let newest = topic.newest.subscribe();
        Follower { events: self.clone(), user: user.clone(), newest }
    }

    /// Everybody who is followed.
    pub fn followed(&self) -> Followed<'_> {
        Followed(self.topics())
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<UserId, Topic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed<'_> {
    /// Whether it is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where to tell of `user`'s changes, if somebody follows.
    pub fn topic(&mut self, user: &UserId) -> Option<&mut Topic> {
        self.0.get_mut(user)
    }
}

impl Topic {
    /// Tells of a change that is committed, and later than those told before. `commit` is the
    /// number of the first change that was committed with it.
    pub fn tell(&mut self, commit: u64, change: Change) {
        let seq = change.seq;
        self.bytes += bytes(&change);
        self.recent.push_back(Arc::new(change));
        while let Some(oldest) = self.recent.front()
            && self.bytes > if oldest.seq < commit { EARLIER_BYTES } else { LAST_BYTES }
        {
            self.complete_after = oldest.seq;
            self.bytes -= bytes(oldest);
            self.recent.pop_front();
        }
        self.newest.send_replace(seq);
    }
}

impl Follower {
    /// The changes after number `after`, in order; `None` if only the log has them all.
    pub fn recent(&mut self, after: u64) -> Option<Vec<Arc<Change>>> {
        self.newest.mark_unchanged();
        let topics = self.events.topics();
        let topic = topics.get(&self.user).filter(|topic| topic.complete_after <= after)?;
        let newer = topic.recent.iter().rev().take_while(|change| change.seq > after);
        let mut changes: Vec<_> = newer.cloned().collect();
        changes.reverse();
        Some(changes)
    }

    /// Waits until something was told since the last call of [`Follower::recent`].
    pub async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // The topic goes with its last follower, which this one is or will be.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut topics = self.events.topics();
        if let Some(topic) = topics.get_mut(&self.user) {
            topic.followers -= 1;
            if topic.followers == 0 {
                topics.remove(&self.user);
            }
        }
    }
}

/// Roughly what a change takes in memory.
fn bytes(change: &Change) -> usize {
    let session = change.session.as_ref().map_or(0, |row| row.len());
    let message = match &change.kind {
        ChangeKind::MessageCreated(json) | ChangeKind::MessageUpdated(json) => json.len(),
        _ => 0,
    };
    200 + session + message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SessionId, Timestamp};

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn tell(events: &Events, to: &str, seq: u64, bytes: usize) {
        if let Some(topic) = events.followed().topic(&user(to)) {
            topic.tell(
                seq,
                Change {
                    seq,
                    at: Timestamp::default(),
                    session_id: SessionId::parse("s").unwrap(),
                    kind: ChangeKind::MessageCreated(vec![b' '; bytes].into()),
                    session: None,
                },
            );
        }
    }

    fn seqs(changes: Option<Vec<Arc<Change>>>) -> Option<Vec<u64>> {
        changes.map(|changes| changes.iter().map(|change| change.seq).collect())
    }

    #[tokio::test]
    async fn a_follower_is_woken_and_sees_what_its_user_did_since() {
        let events = Events::default();
        let mut ann = events.follow(&user("ann"), 5);

        tell(&events, "bob", 6, 1);
        tell(&events, "ann", 7, 1);
        tell(&events, "ann", 9, 1);

        ann.changed().await;
        assert_eq!(seqs(ann.recent(5)), Some(vec![7, 9]));
        assert_eq!(seqs(ann.recent(7)), Some(vec![9]));
        assert_eq!(seqs(ann.recent(9)), Some(vec![]));
        assert_eq!(seqs(ann.recent(4)), None, "what was before it came, the log has");
    }

    #[test]
    fn memory_is_bounded_and_who_is_behind_is_sent_to_the_log() {
        let events = Events::default();
        let mut ann = events.follow(&user("ann"), 0);

        for seq in 1..=100 {
            tell(&events, "ann", seq, EARLIER_BYTES / 10);
        }

        assert_eq!(seqs(ann.recent(0)), None);
        assert!(events.followed().topic(&user("ann")).unwrap().bytes <= EARLIER_BYTES);
        assert_eq!(seqs(ann.recent(97)), Some(vec![98, 99, 100]));
    }

    #[test]
    fn nothing_is_kept_of_those_whom_nobody_follows() {
        let events = Events::default();
        let (first, second) = (events.follow(&user("ann"), 0), events.follow(&user("ann"), 0));

        drop(first);
        assert!(events.followed().topic(&user("ann")).is_some());
        drop(second);
        assert!(events.followed().is_empty());
    }
}
