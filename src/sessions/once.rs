//! Requests that may be sent again: the first answer is kept, in the same transaction as what it
//! answers.

use crate::fault::{Fault, is_planted};
use crate::model::{ETag, IdempotencyKey, Timestamp, UserId};
use crate::store::{Answer, Store, WriteTx};

use super::{SessionError, Written};

/// How long an answer is kept.
const KEPT_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// By what a request is known when it comes again.
#[derive(Debug, Clone)]
pub struct Once {
    /// The name that its sender gave it, among its sender's.
    pub key: IdempotencyKey,
    /// A hash of it, so that another one under the same name is found out.
    pub fingerprint: [u8; 16],
}

/// Does `work`, unless the same request was answered within 24 hours: then that answer is given
/// again. An error is no such answer, as nothing was done.
///
/// # Errors
/// Those of `work`; [`SessionError::KeyReused`].
pub(super) async fn write_once(
    store: &Store,
    verb: &'static str,
    caller: UserId,
    once: Option<Once>,
    mut work: impl FnMut(&mut WriteTx<'_>) -> Result<Written, SessionError> + Send + 'static,
) -> Result<Written, SessionError> {
    let Some(once) = once else {
        return store.write(verb, work).await;
    };
    if is_planted(Fault::AnswerKeptAfter) {
        return write_and_then_keep(store, verb, (caller, once), work).await;
    }
    let write = move |tx: &mut WriteTx<'_>| {
        if let Some(given) = answer(tx, &caller, &once)? {
            return Ok(given);
        }
        let written = work(tx)?;
        let answer = Answer {
            fingerprint: once.fingerprint,
            at: tx.now(),
            created: written.created,
            tag: written.tag.map(ETag::to_bytes),
            json: written.json.as_slice().into(),
        };
        tx.put_answer(&caller, &once.key, answer);
        Ok(written)
    };
    store.write(verb, write).await
}

/// Does `work` and keeps its answer in a transaction each, as nobody should.
async fn write_and_then_keep(
    store: &Store,
    verb: &'static str,
    (caller, once): (UserId, Once),
    work: impl FnMut(&mut WriteTx<'_>) -> Result<Written, SessionError> + Send + 'static,
) -> Result<Written, SessionError> {
    let (user, asked) = (caller.clone(), once.clone());
    let given = move |tx: &mut WriteTx<'_>| answer(tx, &user, &asked);
    if let Some(given) = store.write(verb, given).await? {
        return Ok(given);
    }
    let written = store.write(verb, work).await?;
    let (fingerprint, kept) = (once.fingerprint, written.clone());
    let keep = move |tx: &mut WriteTx<'_>| {
        let answer = Answer {
            fingerprint,
            at: tx.now(),
            created: kept.created,
            tag: kept.tag.map(ETag::to_bytes),
            json: kept.json.as_slice().into(),
        };
        tx.put_answer(&caller, &once.key, answer);
        Ok::<_, SessionError>(())
    };
    store.write(verb, keep).await?;
    Ok(written)
}

/// Keeps `json` as the answer to a request that writes nothing else.
///
/// # Errors
/// [`SessionError::KeyReused`]; [`SessionError::Store`].
pub async fn answer_once(
    store: &Store,
    caller: UserId,
    once: Once,
    json: Vec<u8>,
) -> Result<Written, SessionError> {
    let work =
        move |_: &mut WriteTx<'_>| Ok(Written { created: true, ..Written::done(json.clone()) });
    write_once(store, "answer_once", caller, Some(once), work).await
}

fn answer(tx: &WriteTx<'_>, caller: &UserId, once: &Once) -> Result<Option<Written>, SessionError> {
    let kept_since = tx.now().as_micros().saturating_sub(KEPT_MICROS);
    let given = tx.answer(caller, &once.key)?;
    let Some(given) = given.filter(|given| given.at >= Timestamp::from_micros(kept_since)) else {
        return Ok(None);
    };
    if given.fingerprint != once.fingerprint {
        return Err(SessionError::KeyReused(once.key.clone()));
    }
    Ok(Some(Written {
        created: given.created,
        replayed: true,
        json: given.json.to_vec(),
        tag: given.tag.map(ETag::from_bytes),
    }))
}
