//! How much is compared at once.

use std::time::Duration;

use super::compare;

/// The size of pages of a comparison, so that nothing else waits for longer than it must.
#[derive(Debug)]
pub(super) struct Pace {
    limit: usize,
    /// The least that PostgreSQL took for a page of this comparison, in seconds...
    least: f64,
    /// ...and of the one before. So long it takes to look through the whole table, where there is no
    /// index: smaller pages would do that more often.
    least_before: f64,
}

impl Pace {
    const SESSIONS_MIN: usize = 100;
    /// About how long a page takes at least, in seconds.
    const TIME: f64 = 0.25;

    pub(super) fn new() -> Self {
        Self { limit: 1000, least: f64::INFINITY, least_before: f64::INFINITY }
    }

    /// How many sessions the next page is to have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A comparison begins.
    pub(super) fn begin(&mut self) {
        self.least_before = std::mem::replace(&mut self.least, f64::INFINITY);
    }

    /// After a page for which PostgreSQL `took_there` so long, and all that `took` so long; `is_full` if
    /// there are more.
    pub(super) fn follow(&mut self, is_full: bool, took_there: Duration, took: Duration) {
        self.least = self.least.min(took_there.as_secs_f64());
        let least = self.least.min(self.least_before).max(Self::TIME / 2.0);
        let took = took.as_secs_f64();
        if is_full && took < 1.5 * least {
            self.limit = (self.limit * 2).min(compare::PAGE);
        } else if took > 3.0 * least {
            if self.limit == Self::SESSIONS_MIN {
                // There was less to look through.
                self.least_before = f64::INFINITY;
            }
            self.limit = (self.limit / 2).max(Self::SESSIONS_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares so many sessions, where each page and each session takes so many seconds; gives how long
    /// it took, and the longest page of it.
    fn compared(pace: &mut Pace, sessions: u32, (of_page, of_session): (f64, f64)) -> (f64, f64) {
        pace.begin();
        let (mut left, mut all, mut longest) = (sessions, 0.0, 0.0_f64);
        while left > 0 {
            let now = left.min(pace.limit.try_into().unwrap());
            left -= now;
            let there = of_page + of_session * f64::from(now) / 4.0;
            let took = of_page + of_session * f64::from(now);
            let [there, all_of_it] = [there, took].map(Duration::from_secs_f64);
            pace.follow(left > 0, there, all_of_it);
            (all, longest) = (all + took, longest.max(took));
        }
        (all, longest)
    }

    #[test]
    fn pages_are_short_unless_each_looks_through_the_whole_table() {
        for (of_page, of_session, longest_page) in
            [(0.0, 0.0001, 0.5), (0.2, 0.0004, 1.0), (2.5, 0.0004, 6.6), (20.0, 0.0001, 21.0)]
        {
            // Before there was much.
            let mut pace = Pace::new();
            compared(&mut pace, 10, (0.001, of_session));
            for sessions in [3_000, 10_040, 100_000] {
                compared(&mut pace, sessions, (of_page, of_session));
            }
            let (all, longest) = compared(&mut pace, 100_000, (of_page, of_session));
            let with_the_largest = 10.0 * of_page + 100_000.0 * of_session;
            assert!(all < 3.0 * with_the_largest, "{all} s instead of {with_the_largest}");
            assert!(longest <= longest_page, "{longest} s for a page");
        }
    }
}
