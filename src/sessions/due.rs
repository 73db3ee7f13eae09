//! Deleting sessions that nobody asked to delete now: their time has come.

use crate::store::{Store, StoreError, WriteTx};

/// How many are deleted in one operation, so that those of others have their turn.
pub(super) const TOGETHER: usize = 50;

/// Has `delete` delete each of `due`, [`TOGETHER`] at most, and tell whether it was still to be
/// deleted; gives how many were. One of which something is damaged must not keep the others: it is
/// given to `stays`, with what is damaged.
///
/// # Errors
/// [`StoreError`] when the file takes no writes now.
pub(super) async fn delete_due<T: Clone + Send + 'static>(
    store: &Store,
    verb: &'static str,
    due: Vec<T>,
    delete: fn(&mut WriteTx<'_>, &T) -> Result<bool, StoreError>,
    mut stays: impl FnMut(T, StoreError),
) -> Result<usize, StoreError> {
    let of = |due: Vec<T>| {
        store.write_patiently(verb, move |tx: &mut WriteTx<'_>| {
            let deleted = due.iter().map(|one| delete(tx, one).map(usize::from));
            deleted.sum::<Result<usize, StoreError>>()
        })
    };
    match of(due.clone()).await {
        Err(error) if is_damage(&error) => {}
        outcome => return outcome,
    }
    let mut deleted = 0;
    for one in due {
        match of(vec![one.clone()]).await {
            Err(error) if is_damage(&error) => stays(one, error),
            outcome => deleted += outcome?,
        }
    }
    Ok(deleted)
}

fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. } | StoreError::Structure(_))
}
