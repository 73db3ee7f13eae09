//! A token bucket for each of very many, in a table of fixed size.
//!
//! A bucket is one number: the moment at which it is full again (the generic cell rate algorithm).
//! Buckets stand in sets of a few, found by a hash whose seed nobody knows. Whoever finds no room
//! takes over the fullest bucket of the set, with what is missing in it. So a set never forgets
//! that somebody in it has used up theirs: a flood of made-up keys resets nobody, and costs others
//! no more than its own share of requests.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Rate;

/// How many locks share the sets, so that threads seldom meet.
const SHARDS: usize = 64;
/// How many sets a lock has.
const SETS: usize = 128;
/// How many buckets a set has. 65,536 in all, of 16 bytes each.
const WAYS: usize = 8;

/// The hash of a key, and the nanosecond at which its bucket is full again. Zeros are a bucket
/// that nobody has used; the system gives memory for them when it is used.
type Bucket = (u64, u64);

#[derive(Debug)]
pub(super) struct Buckets {
    /// How long a bucket takes to get one token back, in nanoseconds.
    cost: u64,
    /// How long an empty one takes to be full.
    window: u64,
    seed: RandomState,
    shards: Vec<Mutex<Vec<[Bucket; WAYS]>>>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        let window = nanos(rate.per);
        let cost = window / u64::from(rate.requests.get());
        let shards = (0..SHARDS).map(|_| Mutex::new(vec![[(0, 0); WAYS]; SETS])).collect();
        Self { cost, window, seed: RandomState::new(), shards }
    }

    /// Takes a token of `key`'s bucket at `now`, which is counted from one fixed moment.
    ///
    /// # Errors
    /// How long to wait for the next token, if there is none.
    pub(super) fn count(&self, key: &impl Hash, now: Duration) -> Result<(), Duration> {
        let (hash, now) = (self.seed.hash_one(key), nanos(now));
        let Some(shard) = self.shards.get(part(hash, 0, SHARDS)) else { return Ok(()) };
        let mut sets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(set) = sets.get_mut(part(hash, 16, SETS)) else { return Ok(()) };
        let own = set.iter().position(|(of, _)| *of == hash);
        let own = own.or_else(|| (0..WAYS).min_by_key(|at| set.get(*at).map(|(_, full)| *full)));
        let Some((of, full)) = own.and_then(|own| set.get_mut(own)) else { return Ok(()) };
        *of = hash;
        let then = (*full).max(now) + self.cost;
        let wait = then.saturating_sub(now + self.window);
        if wait > 0 {
            return Err(Duration::from_nanos(wait));
        }
        *full = then;
        Ok(())
    }
}

/// A number below `count` from the bits of `hash` from `shift` on.
fn part(hash: u64, shift: u32, count: usize) -> usize {
    usize::try_from((hash >> shift) & 0xffff).unwrap_or_default() % count
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// Room for `requests` in a minute.
    fn buckets(requests: u32) -> Buckets {
        Buckets::new(Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: Duration::from_mins(1),
        })
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_key_has_its_number_at_once_and_gets_them_back_one_by_one() {
        let buckets = buckets(60);

        for _ in 0..60 {
            buckets.count(&"ann", secs(5)).unwrap();
        }
        assert_eq!(buckets.count(&"ann", secs(5)), Err(secs(1)));
        assert_eq!(buckets.count(&"ann", Duration::from_millis(5_400)), Err(secs(1) * 6 / 10));
        buckets.count(&"bob", secs(5)).unwrap();

        buckets.count(&"ann", secs(6)).unwrap();
        assert!(buckets.count(&"ann", secs(6)).is_err(), "one second gives one");
        for _ in 0..60 {
            buckets.count(&"ann", secs(600)).unwrap();
        }
        assert!(buckets.count(&"ann", secs(600)).is_err(), "and never more than there were");
    }

    #[test]
    fn threads_that_read_the_clock_out_of_turn_let_nobody_pass_who_may_not() {
        let buckets = buckets(2);

        buckets.count(&"ann", secs(100)).unwrap();
        buckets.count(&"ann", secs(100)).unwrap();

        assert!(buckets.count(&"ann", secs(99)).is_err());
    }

    #[test]
    fn a_flood_of_made_up_keys_resets_nobody_and_hinders_nobody() {
        let buckets = buckets(60);
        while buckets.count(&"ann", secs(0)).is_ok() {}
        let room = SHARDS * SETS * WAYS;

        // Twenty for each place in the table, within half a minute.
        for key in 0..20 * room {
            let now = secs(30) * u32::try_from(key).unwrap() / u32::try_from(20 * room).unwrap();
            buckets.count(&key, now).unwrap_or_else(|_| panic!("{key} is refused"));
        }

        let mut passed = 0;
        while buckets.count(&"ann", secs(30)).is_ok() {
            passed += 1;
        }
        assert!(passed <= 30, "she was given {passed} in half a minute");
        let bob = (0..10).filter(|_| buckets.count(&"bob", secs(30)).is_ok()).count();
        assert_eq!(bob, 10);
    }

    #[test]
    fn a_request_takes_next_to_no_time() {
        let buckets = buckets(u32::MAX);
        let begun = std::time::Instant::now();
        let times = 200_000;

        for key in 0..times {
            buckets.count(&key, secs(1)).unwrap();
        }

        let each = begun.elapsed() / times;
        println!("{each:?} each");
        // A hundred times what it takes, as the machine may be busy and nothing is optimised.
        assert!(each < Duration::from_micros(20), "{each:?}");
    }
}
