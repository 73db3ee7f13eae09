//! The log as those read it who follow a user's changes.

use std::sync::Arc;

use redb::{ReadOnlyTable, ReadableTable as _};

use crate::events::Events;
use crate::model::{Change, ChangeKind, UserId};

use super::StoreError;
use super::record;
use super::rows;
use super::step::{Cause, FreshSession, Step};

type ByteKey = &'static [u8];

/// How much of the log is read in one go: what a slow follower costs in memory.
const PIECE_BYTES: usize = 128 * 1024;

/// A piece of the log, as one user may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What changed, in order.
    pub changes: Vec<Change>,
    /// The number up to which the log was read.
    pub until: u64,
}

/// Reads a piece of the log after number `after`; `None` if some of that is not kept any more, or
/// never was.
pub(super) fn read(
    log: &ReadOnlyTable<u64, ByteKey>,
    user: &UserId,
    after: u64,
    newest: u64,
) -> Result<Option<Changes>, StoreError> {
    if after >= newest {
        let nothing = Changes { changes: Vec::new(), until: after };
        return Ok((after == newest).then_some(nothing));
    }
    let at_or_before = log.range(..=after)?.next_back().transpose()?;
    let first = match at_or_before {
        Some((seq, _)) => seq.value(),
        None if log.first()?.is_none_or(|(seq, _)| seq.value() == after + 1) => after + 1,
        None => return Ok(None),
    };
    let mut found = Changes { changes: Vec::new(), until: after };
    let (mut teller, mut bytes) = (Teller::default(), 0);
    for entry in log.range(first..=newest)? {
        let (seq, steps) = entry?;
        let (seq, steps) = (seq.value(), steps.value());
        bytes += steps.len();
        let (steps, len) = record::decode_steps_of(user, seq, steps)?;
        for (number, step) in &steps {
            found.changes.extend(teller.tell(*number, step).filter(|change| change.seq > after));
        }
        found.until = after.max(seq + len.saturating_sub(1));
        // The first entry may be a large one that was read to its end before.
        if bytes >= PIECE_BYTES && found.until > after {
            break;
        }
    }
    Ok(Some(found))
}

/// Tells changes from steps that are shown one after the other: a step that puts a session's row
/// on behalf of a message is told with the step of that message.
#[derive(Debug, Default)]
struct Teller {
    session: Option<Arc<FreshSession>>,
}

impl Teller {
    /// What the step numbered `seq` changed; `None` if it is for a later one to tell, or nobody's
    /// business.
    fn tell(&mut self, seq: u64, step: &Step) -> Option<Change> {
        let (session_id, kind) = match step {
            Step::PutSession { cause, session } => {
                self.session = Some(Arc::clone(session));
                let kind = match cause {
                    Cause::Created => ChangeKind::SessionCreated,
                    Cause::Updated => ChangeKind::SessionUpdated,
                    Cause::Message => return None,
                };
                (session.id.clone(), kind)
            }
            Step::DeleteSession { id, .. } => (id.clone(), ChangeKind::SessionDeleted),
            Step::PutMessage { json, .. } => {
                (rows::session_id(json)?, ChangeKind::MessageCreated(Arc::clone(json)))
            }
            Step::EditMessage { json, .. } => {
                (rows::session_id(json)?, ChangeKind::MessageUpdated(Arc::clone(json)))
            }
            Step::DeleteMessage { session_id, id, .. } => {
                (session_id.clone(), ChangeKind::MessageDeleted(id.clone()))
            }
            Step::PutAnswer { .. }
            | Step::PutNote { .. }
            | Step::Mirrored { .. }
            | Step::PutUsage { .. } => return None,
        };
        let session = match kind {
            ChangeKind::SessionDeleted => None,
            _ => self.session.as_ref().filter(|session| session.id == session_id),
        };
        let session = session.map(|session| Arc::clone(&session.json));
        Some(Change { seq, at: step.at()?, session_id, kind, session })
    }
}

/// Tells those who follow its users what `steps`, the first of which is numbered `first`, changed.
pub(super) fn tell(events: &Events, first: u64, steps: &[Step]) {
    let mut followed = events.followed();
    if followed.is_empty() {
        return;
    }
    let mut teller = Teller::default();
    for (seq, step) in (first..).zip(steps) {
        if let Some(topic) = step.user_id().and_then(|user| followed.topic(user))
            && let Some(change) = teller.tell(seq, step)
        {
            topic.tell(first, change);
        }
    }
}
