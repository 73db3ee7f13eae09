//! Lets go bit by bit of what a snapshot kept.
//!
//! redb frees the pages that were overwritten in the first commit after the last reader of them
//! has gone. Behind a snapshot that was looked at for a minute, as for a backup, that is a minute's
//! worth in one commit, and everybody waits for it. So while there is a snapshot, the writer keeps a
//! read transaction now and then, as the rungs of a ladder; when the snapshot has gone, each commit
//! takes one rung away, and frees what was overwritten between two of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redb::ReadTransaction;

/// After how many commits comes another rung: what is freed at once takes a millisecond or so.
const APART: u32 = 64;

/// The read transactions that are kept, and those of snapshots, in their order.
#[derive(Default)]
pub(super) struct Ladder(Mutex<Rungs>);

#[derive(Default)]
struct Rungs {
    kept: VecDeque<Rung>,
    commits: u32,
}

enum Rung {
    /// Somebody looks at what was committed then, or did.
    Snapshot(Weak<ReadTransaction>),
    Kept(Arc<ReadTransaction>),
}

impl Ladder {
    /// Somebody looks at what `tx` shows. No transaction behind it must have been kept.
    pub(super) fn lean(&self, tx: &Arc<ReadTransaction>) {
        self.rungs().kept.push_back(Rung::Snapshot(Arc::downgrade(tx)));
    }

    /// There is a commit behind what `tx` shows.
    pub(super) fn committed(&self, tx: &Arc<ReadTransaction>) {
        let mut rungs = self.rungs();
        rungs.commits += 1;
        if rungs.commits >= APART && rungs.kept.iter().any(Rung::is_looked_at) {
            rungs.commits = 0;
            rungs.kept.push_back(Rung::Kept(Arc::clone(tx)));
        }
        let _freed_by_the_next = rungs.take();
    }

    /// Takes all rungs away that no snapshot needs: nobody waits for the next commit.
    pub(super) fn clear(&self) {
        let mut rungs = self.rungs();
        while rungs.take().is_some() {}
    }

    fn rungs(&self) -> MutexGuard<'_, Rungs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rungs {
    /// The oldest rung, if no snapshot is older.
    fn take(&mut self) -> Option<Arc<ReadTransaction>> {
        while let Some(first) = self.kept.pop_front() {
            match first {
                Rung::Kept(tx) => return Some(tx),
                Rung::Snapshot(_) if first.is_looked_at() => {
                    self.kept.push_front(first);
                    return None;
                }
                Rung::Snapshot(_) => {}
            }
        }
        None
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ladder").field("rungs", &self.rungs().kept.len()).finish()
    }
}

impl Rung {
    fn is_looked_at(&self) -> bool {
        matches!(self, Self::Snapshot(tx) if tx.strong_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase as _};

    use super::*;

    #[test]
    fn rungs_are_kept_behind_a_snapshot_and_go_one_by_one() {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let read = || Arc::new(db.begin_read().unwrap());
        let ladder = Ladder::default();
        let kept = || {
            let rungs = ladder.rungs();
            rungs.kept.iter().filter(|rung| matches!(rung, Rung::Kept(_))).count()
        };
        let commit = |times: u32| (0..times).for_each(|_| ladder.committed(&read()));
        let (older, newer) = (read(), read());
        ladder.lean(&older);
        commit(5 * APART);
        ladder.lean(&newer);
        commit(3 * APART);
        assert_eq!(kept(), 8);

        drop(older);
        for left in (3..8).rev() {
            commit(1);
            assert_eq!(kept(), left);
        }
        commit(1);
        assert_eq!(kept(), 3, "the others are behind a snapshot");
        drop(newer);
        ladder.clear();
        assert_eq!(kept(), 0);
        commit(10 * APART);
        assert_eq!(kept(), 0, "nobody looks at anything");
    }
}
