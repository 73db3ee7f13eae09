//! Changing what is a session's own.

use std::borrow::Cow;

use crate::model::session::no_tags;
use crate::model::{ETags, MetadataUpdate, Session, SessionId, Tags, Title, UserId};
use crate::store::{Store, WriteTx};

use super::{
    Once, SessionError, Written, check_match, owned, parse_row, quota, raw, row_of, session_tag,
    time_after, write_once,
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
    /// The versions of it that the caller has seen.
    pub seen: Option<ETags>,
}

/// Changes the caller's session and returns it as JSON. Without anything to change it stays as it
/// is, its `updatedAt` too.
///
/// # Errors
/// [`SessionError::NotFound`] if the caller has none of that id; [`SessionError::Stale`] if it is
/// not among those that the caller has seen; [`SessionError::Invalid`] if merged metadata would be
/// too large; [`SessionError::Quota`]; [`SessionError::KeyReused`]; [`SessionError::Store`].
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
        let mut row = parse_row(&session, &stored)?;
        update.apply(&mut row)?;
        row.updated_at = raw(&at)?;
        let row = row_of(&row, &stored, at)?;
        quota::check(tx, &user, 0, row.json.len().saturating_sub(stored.json.len()))?;
        tx.update_session(&session, row.clone());
        Ok(Written::session(row))
    };
    write_once(store, "update", caller, once, work).await
}

impl SessionUpdate {
    fn is_empty(&self) -> bool {
        let Self { title, metadata, archived, pinned, tags, seen: _ } = self;
        title.is_none()
            && metadata.is_none()
            && archived.is_none()
            && pinned.is_none()
            && tags.is_none()
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
        row.archived = self.archived.unwrap_or(row.archived);
        row.pinned = self.pinned.unwrap_or(row.pinned);
        Ok(())
    }
}
