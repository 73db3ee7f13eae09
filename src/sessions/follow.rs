//! Following a user's changes: each once and in order, from now or from a cursor on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::events::Follower;
use crate::fault::{Fault, is_planted};
use crate::model::{Change, ChangeKind, Clock, SessionId, UserId};
use crate::store::{Changes, Store};

use super::{InvalidCursor, SessionError, owned, pause, raw};

/// Follows one user's changes, or those of one of their sessions.
#[derive(Debug)]
pub struct Following {
    store: Store,
    clock: Clock,
    follower: Follower,
    user: UserId,
    session: Option<SessionId>,
    /// The number of the last change that was given or passed over.
    after: u64,
    /// Whether some changes are lost, which was not told yet.
    resync: bool,
    ended: bool,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Where it stands: follow from here to get what comes after it.
    pub cursor: String,
    /// The event, as clients read it; JSON.
    pub json: String,
}

/// Follows the changes of `caller`'s sessions, or of `session` alone, from now on, or from behind
/// the cursor `since`: everything committed after that comes once, in order.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has no such session; [`SessionError::Cursor`] if
/// `since` is none that was given; [`SessionError::Store`].
pub fn follow(
    store: &Store,
    clock: &Clock,
    caller: &UserId,
    session: Option<SessionId>,
    since: Option<&str>,
) -> Result<Following, SessionError> {
    let since = since.map(parse_cursor).transpose()?;
    if let Some(id) = &session {
        store.read(|tx| owned(tx.session(id)?, caller, id).map(|_| ()))?;
    }
    let (follower, newest) = store.follow(caller);
    let (after, resync) = match since {
        // Of another file, or of one that was put back to an earlier state.
        Some(since) if since.log != log(store) || since.seq > newest => (newest, true),
        Some(since) => (since.seq, false),
        None => (newest, false),
    };
    let (store, clock, user) = (store.clone(), clock.clone(), caller.clone());
    Ok(Following { store, clock, follower, user, session, after, resync, ended: false })
}

/// The cursor of this moment: what is committed from now on comes after it.
pub fn cursor_of_now(store: &Store) -> String {
    cursor(store, store.read(|tx| Ok::<_, SessionError>(tx.newest())).unwrap_or_default())
}

impl Following {
    /// Waits for what comes next, and gives what is there of it, some 128 KiB at most; `None` once the
    /// one session that is followed is deleted, which was told before.
    ///
    /// # Errors
    /// [`SessionError::Store`] when the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Followed>>, SessionError> {
        while !self.ended {
            let recent = self.follower.recent(self.after);
            let events = match recent {
                _ if std::mem::take(&mut self.resync) => vec![self.lost()],
                Some(changes) if changes.is_empty() => {
                    self.follower.changed().await;
                    continue;
                }
                Some(changes) => self.tell(changes.iter().map(AsRef::as_ref))?,
                None if is_planted(Fault::SlowListenerSkipped) => {
                    self.after = self.store.read(|tx| Ok::<_, SessionError>(tx.newest()))?;
                    continue;
                }
                None => self.replay()?,
            };
            if !events.is_empty() {
                return Ok(Some(events));
            }
            // Nothing of these in a piece of the log, which may be long.
            pause().await;
        }
        Ok(None)
    }

    /// The cursor of what was given last.
    pub fn cursor(&self) -> String {
        cursor(&self.store, self.after)
    }

    /// The cursor of this moment, if everything until now was given: so that who hears nothing for
    /// long does not fall behind the log, in which others' changes push out the oldest.
    pub fn cursor_when_idle(&mut self) -> Option<String> {
        // First the number: whatever has one up to it was told before it could be read.
        let newest = self.store.read(|tx| Ok::<_, SessionError>(tx.newest())).ok()?;
        if self.resync || !self.follower.recent(self.after)?.is_empty() {
            return None;
        }
        self.after = self.after.max(newest);
        Some(self.cursor())
    }

    /// Gives a piece of what only the log has.
    fn replay(&mut self) -> Result<Vec<Followed>, SessionError> {
        let piece = self.store.read(|tx| tx.changes(&self.user, self.after))?;
        let metrics = self.store.metrics();
        let newest = self.store.read(|tx| Ok::<_, SessionError>(tx.newest()))?;
        metrics.listener_lag_changes.observe(newest.saturating_sub(self.after));
        let Some(Changes { changes, until }) = piece else {
            self.after = self.store.read(|tx| Ok::<_, SessionError>(tx.newest()))?;
            return Ok(vec![self.lost()]);
        };
        let events = self.tell(changes.iter())?;
        self.after = self.after.max(until);
        Ok(events)
    }

    /// The events of `changes` that are followed.
    fn tell<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<Vec<Followed>, SessionError> {
        let mut events = Vec::new();
        for change in changes {
            self.after = change.seq;
            if self.session.as_ref().is_some_and(|session| *session != change.session_id) {
                continue;
            }
            self.ended =
                self.session.is_some() && matches!(change.kind, ChangeKind::SessionDeleted);
            events.push(event(&cursor(&self.store, change.seq), change)?);
            if self.ended {
                break;
            }
        }
        Ok(events)
    }

    /// Tells that some changes are not kept any more: what is shown must be read anew.
    fn lost(&self) -> Followed {
        self.store.metrics().listener_resyncs.inc();
        let cursor = self.cursor();
        let at = self.clock.now();
        let json = format!(r#"{{"cursor":"{cursor}","type":"resync","at":"{at}"}}"#);
        Followed { cursor, json }
    }
}

fn event(cursor: &str, change: &Change) -> Result<Followed, SessionError> {
    let (kind, message) = match &change.kind {
        ChangeKind::SessionCreated => ("session.created", None),
        ChangeKind::SessionUpdated => ("session.updated", None),
        ChangeKind::SessionDeleted => ("session.deleted", None),
        ChangeKind::MessageCreated(json) => ("message.created", Some(text(json).to_owned())),
        ChangeKind::MessageUpdated(json) => ("message.updated", Some(text(json).to_owned())),
        ChangeKind::MessageDeleted(id) => {
            let id = raw(id.as_str())?;
            ("message.deleted", Some(format!(r#"{{"id":{id}}}"#)))
        }
    };
    let (at, session_id) = (change.at, raw(change.session_id.as_str())?);
    let mut json =
        format!(r#"{{"cursor":"{cursor}","type":"{kind}","at":"{at}","sessionId":{session_id}"#);
    for (name, row) in
        [("session", change.session.as_deref().map(text)), ("message", message.as_deref())]
    {
        if let Some(row) = row {
            json.extend([",\"", name, "\":", row]);
        }
    }
    json.push('}');
    Ok(Followed { cursor: cursor.to_owned(), json })
}

/// Rows are JSON, which is UTF-8.
fn text(row: &[u8]) -> &str {
    std::str::from_utf8(row).unwrap_or("null")
}

/// Where a change stands, and in which log.
struct Since {
    log: u32,
    seq: u64,
}

fn cursor(store: &Store, seq: u64) -> String {
    URL_SAFE_NO_PAD.encode([log(store).to_be_bytes().as_slice(), &seq.to_be_bytes()].concat())
}

fn parse_cursor(cursor: &str) -> Result<Since, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let (log, seq) = bytes.split_first_chunk::<4>().ok_or(InvalidCursor)?;
    let seq = seq.try_into().map_err(|_| InvalidCursor)?;
    Ok(Since { log: u32::from_be_bytes(*log), seq: u64::from_be_bytes(seq) })
}

/// As much of the log's number as tells two of them apart.
#[expect(clippy::cast_possible_truncation, reason = "any part of a random number is random")]
fn log(store: &Store) -> u32 {
    store.log_id() as u32
}
