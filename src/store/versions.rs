//! When each user's data last changed, in a table that does not grow.

use std::hash::{BuildHasher as _, RandomState};

use crate::model::UserId;

use super::step::Step;

/// How many users are told apart. Those who share a place seem to change together.
const PLACES: usize = 16 * 1024;

/// The number of the last step of each user's.
#[derive(Debug)]
pub(super) struct Versions {
    seed: RandomState,
    places: Vec<u64>,
}

impl Versions {
    /// Everybody may have changed in step number `newest`, and nobody since.
    pub(super) fn new(newest: u64) -> Self {
        Self { seed: RandomState::new(), places: vec![newest; PLACES] }
    }

    /// A number that is another whenever something of `user`'s has changed; maybe also when nothing
    /// has.
    pub(super) fn of(&self, user: &UserId) -> u64 {
        self.places.get(self.place(user)).copied().unwrap_or_default()
    }

    /// Something was done, in a commit whose last step has number `seq`.
    pub(super) fn follow(&mut self, step: &Step, seq: u64) {
        let Some(place) = step.user_id().map(|user| self.place(user)) else { return };
        if let Some(last) = self.places.get_mut(place) {
            *last = seq;
        }
    }

    fn place(&self, user: &UserId) -> usize {
        usize::try_from(self.seed.hash_one(user)).unwrap_or_default() % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SessionId, Timestamp};

    #[test]
    fn the_number_of_who_changes_something_is_another_and_that_of_others_seldom() {
        let users: Vec<_> = (0..100).map(|n| UserId::parse(&format!("user{n}")).unwrap()).collect();
        let mut versions = Versions::new(7);
        let before: Vec<_> = users.iter().map(|user| versions.of(user)).collect();

        let (user_id, at) = (users[0].clone(), Timestamp::from_micros(1));
        let id = SessionId::parse("s").unwrap();
        let step = Step::DeleteSession { user_id, id, number: 1, created_at: at, at };
        versions.follow(&step, 8);

        let changed = users.iter().zip(&before).filter(|(user, was)| versions.of(user) != **was);
        let changed: Vec<_> = changed.map(|(user, _)| user).collect();
        assert_eq!(changed[0], &users[0]);
        assert!(changed.len() < 5, "{changed:?} seem to have changed too");
    }
}
