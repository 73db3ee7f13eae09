//! Cutting what is taken into parts: so much is asked for, or written, at once.

use std::collections::HashMap;

use crate::sessions::merge::{TheirMessage, TheirSession};
use crate::sync::theirs::MessagePrint;

use super::Arrival;

/// How many rows one write takes: a save that waits behind it waits a millisecond or so.
pub(super) const WRITE_ROWS: usize = 50;
/// How much text and metadata one write takes, and one answer has, in bytes.
const WRITE_BYTES: usize = 64 * 1024;
const FETCH_BYTES: u64 = 4 * 1024 * 1024;
/// How many rows are asked for at once.
pub(super) const FETCH_ROWS: usize = 500;

/// How many whole sessions are taken at once...
const WHOLE_SESSIONS: usize = 100;
/// ...and how many messages, of which ids and lengths are kept in memory meanwhile: more only if one session
/// alone has more.
const WHOLE_MESSAGES: u64 = 50_000;

/// Which sessions to take at once, if so much was `said` in each.
pub(in crate::sync) fn wholes<T>(
    sessions: &[T],
    said: impl Fn(&T) -> u64,
) -> impl Iterator<Item = &[T]> {
    let (mut rows, mut messages) = (1, sessions.first().map_or(0, &said));
    sessions.chunk_by(move |_, next| {
        let of_next = said(next);
        (rows, messages) = (rows + 1, messages.saturating_add(of_next));
        let together = rows <= WHOLE_SESSIONS && messages <= WHOLE_MESSAGES;
        if !together {
            (rows, messages) = (1, of_next);
        }
        together
    })
}

/// Which sessions to ask for together, with which of their messages. A session that has to come in
/// parts begins a new one, as what is said to be its first message is looked for in its first part; and
/// each part has some messages, as it is followed after the last.
pub(super) fn fetches(
    sessions: Vec<TheirSession>,
    mut prints: HashMap<String, Vec<MessagePrint>>,
) -> Vec<(Vec<TheirSession>, Vec<String>)> {
    let (mut fetches, mut bytes) = (Vec::new(), 0);
    let (mut waiting, mut wanted): (Vec<TheirSession>, Vec<String>) = (Vec::new(), Vec::new());
    for session in sessions {
        let of_session = prints.remove(session.id.as_str()).unwrap_or_default();
        let of_all = of_session.iter().map(|message| message.bytes).sum::<u64>();
        let is_too_much =
            wanted.len() + of_session.len() > FETCH_ROWS || bytes + of_all > FETCH_BYTES;
        if is_too_much && !wanted.is_empty() {
            fetches.push((std::mem::take(&mut waiting), std::mem::take(&mut wanted)));
            bytes = 0;
        }
        let mut is_begun = false;
        for message in of_session {
            if wanted.len() >= FETCH_ROWS || bytes >= FETCH_BYTES {
                waiting.extend(is_begun.then(|| going_on(&session)));
                fetches.push((std::mem::take(&mut waiting), std::mem::take(&mut wanted)));
                bytes = 0;
            }
            bytes += message.bytes;
            wanted.push(message.id);
            is_begun = true;
        }
        waiting.push(session);
    }
    fetches.push((waiting, wanted));
    fetches
}

/// The session, with a part of its messages that is not the last.
fn going_on(session: &TheirSession) -> TheirSession {
    TheirSession { goes_on: true, ..session.clone() }
}

/// Which arrivals to write together, in parts such as those.
pub(super) fn batches(arrivals: Vec<Arrival>) -> Vec<Vec<Arrival>> {
    let (mut batches, mut batch) = (Vec::new(), Vec::new());
    let (mut rows, mut bytes) = (0, 0);
    for (session, said) in arrivals {
        let of_all = said.iter().map(bytes_of).sum::<usize>();
        let is_too_much = rows + said.len() > WRITE_ROWS || bytes + of_all > WRITE_BYTES;
        if is_too_much && rows > 0 {
            batches.push(std::mem::take(&mut batch));
            (rows, bytes) = (0, 0);
        }
        let mut part = Vec::new();
        for message in said {
            if rows >= WRITE_ROWS || bytes >= WRITE_BYTES {
                let done = std::mem::take(&mut part);
                batch.extend((!done.is_empty()).then(|| (going_on(&session), done)));
                batches.push(std::mem::take(&mut batch));
                (rows, bytes) = (0, 0);
            }
            (rows, bytes) = (rows + 1, bytes + bytes_of(&message));
            part.push(message);
        }
        batch.push((session, part));
        rows += 1;
    }
    batches.push(batch);
    batches
}

fn bytes_of(message: &TheirMessage) -> usize {
    message.content.len() + message.metadata.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Role, SessionId, Timestamp, UserId};
    use crate::sessions::merge::Own;

    fn session(id: usize) -> TheirSession {
        TheirSession {
            id: SessionId::parse(&format!("s{id}")).unwrap(),
            user_id: UserId::parse("ann").unwrap(),
            own: Own::default(),
            print: 0,
            own_at: Timestamp::default(),
            first_message: None,
            last_message: None,
            count: 0,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            wins_ties: false,
            is_whole: true,
            goes_on: false,
        }
    }

    fn message(id: usize) -> TheirMessage {
        TheirMessage {
            id: MessageId::parse(&format!("m{id}")).unwrap(),
            role: Role::User,
            content: "hello".to_owned(),
            metadata: "{}".to_owned(),
            at: Timestamp::default(),
            put_at: None,
            is_whole: true,
        }
    }

    #[test]
    fn a_session_comes_in_small_parts_that_all_say_something_and_the_last_of_which_ends_it() {
        let lengths = [49, 1, 0, 50, 51, 100, 149, 2, 0];
        let said = |count| (0..count).map(message).collect::<Vec<_>>();
        let arrivals = lengths.iter().enumerate().map(|(id, count)| (session(id), said(*count)));
        let batches = batches(arrivals.collect());

        let rows =
            |batch: &Vec<Arrival>| batch.iter().map(|(_, said)| said.len() + 1).sum::<usize>();
        assert!(batches.iter().all(|batch| rows(batch) <= 2 * WRITE_ROWS));
        let parts: Vec<_> = batches.into_iter().flatten().collect();
        for (id, count) in lengths.into_iter().enumerate() {
            let parts = parts.iter().filter(|(it, _)| it.id == session(id).id);
            let parts: Vec<_> = parts.map(|(it, said)| (it.goes_on, said.len())).collect();
            let (last, before) = parts.split_last().unwrap();
            assert_eq!(parts.iter().map(|(_, said)| said).sum::<usize>(), count);
            assert!(before.iter().all(|(goes_on, said)| *goes_on && *said > 0), "{parts:?}");
            assert!(!last.0 && (last.1 > 0 || count == 0), "{parts:?}");
            assert_eq!(parts.first().unwrap().1, count.min(WRITE_ROWS), "as long as can be");
        }
    }

    #[test]
    fn a_write_is_small_whether_its_bytes_are_of_text_or_of_metadata() {
        let large = "x".repeat(WRITE_BYTES / 4);
        let texts = |id| TheirMessage { content: large.clone(), ..message(id) };
        let metadata = |id| TheirMessage { metadata: large.clone(), ..message(id) };
        for said in [(0..20).map(texts).collect::<Vec<_>>(), (0..20).map(metadata).collect()] {
            let each = said.iter().enumerate().map(|(id, one)| (session(id), vec![one.clone()]));
            for arrivals in [each.collect(), vec![(session(0), said.clone())]] {
                assert!(batches(arrivals).iter().all(|batch| bytes_in(batch) < 2 * WRITE_BYTES));
            }
        }
    }

    fn bytes_in(batch: &[Arrival]) -> usize {
        batch.iter().flat_map(|(_, said)| said).map(bytes_of).sum()
    }

    #[test]
    fn whole_sessions_are_taken_together_while_little_was_said_in_them() {
        let parts = |said: &[u64]| {
            let parts = wholes(said, |said| *said);
            parts.map(<[u64]>::len).collect::<Vec<_>>()
        };
        assert_eq!(parts(&[]), [0; 0]);
        assert_eq!(parts(&[100; 2 * WHOLE_SESSIONS + 1]), [WHOLE_SESSIONS, WHOLE_SESSIONS, 1]);
        assert_eq!(parts(&[WHOLE_MESSAGES / 2; 5]), [2, 2, 1]);
        assert_eq!(parts(&[1, u64::MAX, u64::MAX, 1, 1]), [1, 1, 1, 2]);
    }

    #[test]
    fn sessions_are_asked_for_in_parts_that_all_say_something_and_the_last_of_which_ends_them() {
        let lengths = [FETCH_ROWS - 1, 1, 0, FETCH_ROWS + 1, 3];
        let prints = |(id, count): (usize, &usize)| {
            let id_of = move |n| MessagePrint { id: format!("s{id} m{n}"), bytes: 1, print: 0 };
            (format!("s{id}"), (0..*count).map(id_of).collect::<Vec<_>>())
        };
        let sessions = (0..lengths.len()).map(session).collect();
        let prints = lengths.iter().enumerate().map(prints).collect();
        let fetches = fetches(sessions, prints);
        for (id, count) in lengths.into_iter().enumerate() {
            let name = session(id).id;
            let of = |wanted: &[String]| {
                wanted.iter().filter(|id| id.starts_with(&format!("{name} "))).count()
            };
            let parts = fetches.iter().flat_map(|(sessions, wanted)| {
                let parts = sessions.iter().filter(|session| session.id == name);
                parts.map(|session| (session.goes_on, of(wanted)))
            });
            let parts: Vec<_> = parts.collect();
            let (last, before) = parts.split_last().unwrap();
            assert_eq!(parts.iter().map(|(_, said)| said).sum::<usize>(), count);
            assert!(before.iter().all(|(goes_on, said)| *goes_on && *said > 0), "{parts:?}");
            assert!(!last.0 && (last.1 > 0 || count == 0), "{parts:?}");
            assert_eq!(parts.first().unwrap().1, count.min(FETCH_ROWS), "as long as can be");
        }
    }
}
