//! What is known of a session's row without parsing it, in the 64 bits of its time of creation.

use crate::model::{Marks, Timestamp};

/// What is kept beside a session's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// When the session was created.
    pub created_at: Timestamp,
    /// What lists choose by.
    pub marks: Marks,
}

/// The bits above those that a time needs: [`Timestamp::MAX`] has 58.
const ARCHIVED: u64 = 1 << 63;
const PINNED: u64 = 1 << 62;
const TAGGED: u64 = 1 << 61;

impl Facts {
    /// The facts of a session without marks.
    pub fn created(created_at: Timestamp) -> Self {
        Self { created_at, marks: Marks::default() }
    }

    pub(super) fn to_bits(self) -> u64 {
        let Marks { archived, pinned, tagged } = self.marks;
        let marks = [(archived, ARCHIVED), (pinned, PINNED), (tagged, TAGGED)];
        let set = marks.into_iter().filter_map(|(is_set, bit)| is_set.then_some(bit));
        set.fold(self.created_at.as_micros(), |bits, bit| bits | bit)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let has = |bit| bits & bit != 0;
        Self {
            created_at: Timestamp::from_micros(bits & !(ARCHIVED | PINNED | TAGGED)),
            marks: Marks { archived: has(ARCHIVED), pinned: has(PINNED), tagged: has(TAGGED) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_times_do_not_touch_each_other() {
        for created_at in [Timestamp::default(), Timestamp::MAX] {
            for bits in 0..8 {
                let marks =
                    Marks { archived: bits & 1 > 0, pinned: bits & 2 > 0, tagged: bits & 4 > 0 };
                let facts = Facts { created_at, marks };

                assert_eq!(Facts::from_bits(facts.to_bits()), facts);
            }
        }
    }
}
