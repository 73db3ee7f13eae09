//! What a user may store in all.

use crate::model::UserId;
use crate::store::WriteTx;

use super::SessionError;

/// Sees to it that `user` may store so many sessions and bytes more. What takes away is always
/// allowed.
///
/// # Errors
/// [`SessionError::Quota`], naming the first limit that would be exceeded.
pub(super) fn check(
    tx: &WriteTx<'_>,
    user: &UserId,
    sessions: u64,
    bytes: usize,
) -> Result<(), SessionError> {
    let quota = tx.quota();
    if !quota.is_set() {
        return Ok(());
    }
    let Some(usage) = tx.usage(user)? else { return Ok(()) };
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    for (what, limit, used, more) in [
        ("sessions", quota.sessions, usage.sessions, sessions),
        ("bytes", quota.bytes, usage.bytes, bytes),
    ] {
        if let Some(limit) = limit
            && more > 0
            && used.saturating_add(more) > limit.get()
        {
            return Err(SessionError::Quota { what, used, more, limit: limit.get() });
        }
    }
    Ok(())
}
