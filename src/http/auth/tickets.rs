//! Tickets: what stands in a URL in the place of a token, for clients that cannot send headers.
//!
//! A ticket is good once and not for long, since URLs are logged. Who finds the server started anew takes
//! another one: they are kept in memory, but for the answer to a request with an
//! `Idempotency-Key`, which outlives them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::model::{Timestamp, UserId};

use super::Verified;

/// How long a ticket is good.
const GOOD_SECS: u64 = 30;

/// How many wait to be used; the oldest goes for one more.
const MAX: usize = 16_384;
/// How many of these are one user's.
const MAX_OF_USER: usize = 64;

/// The tickets that were given and not used yet, the oldest first.
#[derive(Debug, Default)]
pub(in crate::http) struct Tickets(Mutex<VecDeque<Ticket>>);

#[derive(Debug)]
struct Ticket {
    secret: [u8; 16],
    bearer: Verified,
    expires: Timestamp,
}

/// Why no ticket can be given: the system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(in crate::http) struct NoRandom;

impl Tickets {
    /// Gives `user`, who is certain to call `until` then, a ticket, and says when it expires.
    ///
    /// # Errors
    /// [`NoRandom`].
    pub(in crate::http) fn give(
        &self,
        user: UserId,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(String, Timestamp), NoRandom> {
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret).map_err(|_| NoRandom)?;
        let longest = Timestamp::from_micros(now.as_micros() + GOOD_SECS * 1_000_000);
        let expires = until.map_or(longest, |until| until.min(longest));

        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|ticket| ticket.expires > now);
        let of_user = |ticket: &Ticket| ticket.bearer.user == user;
        if tickets.iter().filter(|ticket| of_user(ticket)).count() >= MAX_OF_USER {
            let oldest = tickets.iter().position(of_user);
            oldest.and_then(|oldest| tickets.remove(oldest));
        }
        if tickets.len() >= MAX {
            tickets.pop_front();
        }
        tickets.push_back(Ticket { secret, bearer: Verified { user, until }, expires });
        Ok((URL_SAFE_NO_PAD.encode(secret), expires))
    }

    /// Whose ticket `text` is; `None` if it is none that is good.
    pub(super) fn look(&self, text: &str, now: Timestamp) -> Option<Verified> {
        let secret: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.iter().find(|ticket| ticket.secret == secret)?;
        (ticket.expires > now).then(|| ticket.bearer.clone())
    }

    /// Whose ticket `text` is, which is then used; `None` if it is none that is good.
    pub(in crate::http) fn take(&self, text: &str, now: Timestamp) -> Option<Verified> {
        let secret: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tickets.iter().position(|ticket| ticket.secret == secret)?;
        let ticket = tickets.remove(found)?;
        (ticket.expires > now).then_some(ticket.bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn give(tickets: &Tickets, user: &str, until: Option<Timestamp>) -> (String, Timestamp) {
        tickets.give(UserId::parse(user).unwrap(), until, NOW).unwrap()
    }

    fn seconds_later(secs: u64) -> Timestamp {
        Timestamp::from_micros(NOW.as_micros() + secs * 1_000_000)
    }

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = Tickets::default();
        let (text, expires) = give(&tickets, "ann", None);

        let bearer = tickets.take(&text, NOW).unwrap();

        assert_eq!((bearer.user.as_str(), bearer.until), ("ann", None));
        assert_eq!(expires, seconds_later(30));
        assert_eq!(tickets.take(&text, NOW), None);
        assert_eq!(tickets.take("", NOW), None);
    }

    #[test]
    fn a_ticket_is_good_for_30_s_and_no_longer_than_the_token_that_it_was_given_for() {
        for (until, good_secs) in
            [(None, 30), (Some(seconds_later(3600)), 30), (Some(seconds_later(7)), 7)]
        {
            let tickets = Tickets::default();
            let (early, expires) = give(&tickets, "ann", until);
            let (late, _) = give(&tickets, "ann", until);
            let last = Timestamp::from_micros(seconds_later(good_secs).as_micros() - 1);

            assert_eq!(expires, seconds_later(good_secs));
            assert_eq!(tickets.take(&early, last).map(|bearer| bearer.until), Some(until));
            assert_eq!(tickets.take(&late, expires), None);
        }
    }

    #[test]
    fn a_user_who_takes_many_loses_the_oldest_and_nobody_elses() {
        let tickets = Tickets::default();
        let (of_bob, _) = give(&tickets, "bob", None);
        let of_ann: Vec<_> = (0..=MAX_OF_USER).map(|_| give(&tickets, "ann", None).0).collect();

        let good: Vec<_> = of_ann.iter().map(|text| tickets.take(text, NOW).is_some()).collect();

        assert!(!good[0] && good[1..].iter().all(|good| *good));
        assert!(tickets.take(&of_bob, NOW).is_some());
    }

    #[test]
    fn there_is_an_end_to_how_many_are_kept() {
        let tickets = Tickets::default();
        for user in 0..MAX {
            let bearer = Verified { user: UserId::parse(&user.to_string()).unwrap(), until: None };
            let ticket = Ticket { secret: [0; 16], bearer, expires: seconds_later(30) };
            tickets.0.lock().unwrap().push_back(ticket);
        }

        let (text, _) = give(&tickets, "ann", None);

        assert_eq!(tickets.0.lock().unwrap().len(), MAX);
        assert!(tickets.take(&text, NOW).is_some());
        tickets.give(UserId::parse("ann").unwrap(), None, seconds_later(30)).unwrap();
        assert_eq!(tickets.0.lock().unwrap().len(), 1, "those that expired go first");
    }
}
