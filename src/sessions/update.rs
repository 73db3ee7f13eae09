//! Changing what is a session's own.

use std::borrow::Cow;

use crate::model::session::no_tags;
use crate::model::{ETags, MetadataUpdate, Session, SessionId, Tags, Timestamp, Title, UserId};
use crate::store::{Store, WriteTx};

use super::{
    Once, SessionError, Written, check_match, expire::check_expiry, owned, parse_row, quota, raw,
    row_of, session_tag, time_after, write_once,
};

/// What to change of a session; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct SessionUpdate {
    /// Its title.
    pub title: Option<Title>,
    /// Its metadata.
    pub metadata: Option<MetadataUpdate>,
    /// Whether it is put away.
    pub archived: Option<bool>,
    /// Whether it is kept at the top.
    pub pinned: Option<bool>,
    /// Its tags, in the place of all it had.
    pub tags: Option<Tags>,
    /// Until when it is there.
    pub expires: Option<Expires>,
    /// The versions of it that the caller has seen.
    pub seen: Option<ETags>,
}

/// Changes the caller's session and returns it as JSON. Without anything to change it stays as it
/// is, its `updatedAt` too.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none of that id; [`SessionError::Stale`] if it is
/// not among those that the caller has seen; [`SessionError::Invalid`] if merged metadata would be
/// too large, or it would be to be deleted already; [`SessionError::Quota`]; [`SessionError::KeyReused`]; [`SessionError::Store`].
pub async fn update(
    store: &Store,
    caller: UserId,
    id: SessionId,
    update: SessionUpdate,
    once: Option<Once>,
) -> Result<Written, SessionError> {
    let user = caller.clone();
    let work = move |tx: &mut WriteTx<'_>| {
        let session = owned(tx.session(&id)?, &user, &id)?;
        let stored = tx.row(&session)?;
        check_match(update.seen.as_ref(), "session", session_tag(&stored), &stored.json)?;
        if update.is_empty() {
            return Ok(Written::session(stored));
        }
        let at = time_after(tx, &stored);
        check_expiry(tx.now(), update.expires.and_then(Expires::at))?;
        let mut row = parse_row(&session, &stored)?;
        update.apply(&mut row)?;
        row.updated_at = raw(&at)?;
        let row = row_of(&row, &stored, at)?;
        quota::check(tx, &user, 0, row.json.len().saturating_sub(stored.json.len()))?;
        tx.update_session(&session, row.clone());
        tx.note_expiry(&session, Some(&stored), Some(&row));
        Ok(Written::session(row))
    };
    write_once(store, "update", caller, once, work).await
}

/// Until when a session is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Until it is deleted.
    Never,
    /// It is to be deleted then.
    At(Timestamp),
}

impl SessionUpdate {
    fn is_empty(&self) -> bool {
        let Self { title, metadata, archived, pinned, tags, expires, seen: _ } = self;
        title.is_none()
            && metadata.is_none()
            && archived.is_none()
            && pinned.is_none()
            && tags.is_none()
            && expires.is_none()
    }

    fn apply(&self, row: &mut Session<'_>) -> Result<(), SessionError> {
        if let Some(title) = &self.title {
            row.title = raw(title.as_str())?;
        }
        if let Some(metadata) = &self.metadata {
            row.metadata = Cow::Owned(metadata.apply(&row.metadata)?);
        }
        if let Some(tags) = &self.tags {
            let tags = tags.as_slice();
            row.tags = if tags.is_empty() { no_tags() } else { raw(tags)? };
        }
        if let Some(expires) = self.expires {
            row.expires_at = expires.at().map(|at| raw(&at)).transpose()?;
        }
        row.archived = self.archived.unwrap_or(row.archived);
        row.pinned = self.pinned.unwrap_or(row.pinned);
        Ok(())
    }
}

impl Expires {
    /// When the session is to be deleted.
    fn at(self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
        }
    }
}
