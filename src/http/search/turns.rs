//! Who may search when: each search takes a core for as long as it lasts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::UserId;

/// How many searches run at once; others wait.
const RUNNING_MAX: usize = 2;

/// How many searches of one user run or wait, so that nobody waits for many of another's.
const OF_USER_MAX: usize = 4;

/// Everybody's searches.
#[derive(Debug)]
pub(in crate::http) struct Turns {
    running: Arc<Semaphore>,
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A search that waits or runs, until this is dropped.
#[derive(Debug)]
pub(in crate::http) struct Turn {
    user: UserId,
    of_users: Arc<Mutex<HashMap<UserId, usize>>>,
    running: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(in crate::http) fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(RUNNING_MAX)), of_users: Arc::default() }
    }

    /// Queues a search of `user`'s; `None` if there are too many already.
    pub(in crate::http) fn queue(&self, user: &UserId) -> Option<Turn> {
        let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of_users.entry(user.clone()).or_default();
        if *count >= OF_USER_MAX {
            return None;
        }
        *count += 1;
        let (of_users, running) = (Arc::clone(&self.of_users), Arc::clone(&self.running));
        Some(Turn { user: user.clone(), of_users, running, permit: None })
    }
}

impl Turn {
    /// Waits until the search may run.
    pub(in crate::http) async fn come(&mut self) {
        self.permit = Arc::clone(&self.running).acquire_owned().await.ok();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = of_users.entry(self.user.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_queues_a_few_and_hinders_nobody_else() {
        let turns = Turns::new();
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());

        let mut queued: Vec<_> = (0..OF_USER_MAX).map(|_| turns.queue(&ann).unwrap()).collect();
        assert!(turns.queue(&ann).is_none());
        assert!(turns.queue(&bob).is_some());

        queued.pop();
        assert!(turns.queue(&ann).is_some(), "one has ended");
        drop(queued);
        assert!(turns.of_users.lock().unwrap().is_empty(), "nothing is kept of who is done");
    }
}
