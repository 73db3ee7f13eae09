//! Answers: each is noted under its time, so that it is forgotten in its turn. And notes.

use crate::store::tables::{
    ANSWERED_AND_USER_AND_KEY, NOTES, USER_AND_KEY_TO_ANSWER, answered_key,
};
use crate::store::{StoreError, notes, record};

use super::{BrokenOff, Verify, wrong};

impl Verify<'_> {
    pub(super) fn answers(&mut self) -> Result<(), BrokenOff> {
        self.walk(USER_AND_KEY_TO_ANSWER, |verify, key, value| {
            let answer = record::decode_answer(key, value)?;
            let noted = answered_key(answer.at, key);
            let answered = verify.snapshot.table(ANSWERED_AND_USER_AND_KEY)?;
            match answered.get(noted.as_slice()).map_err(StoreError::from)? {
                Some(_) => Ok(()),
                None => wrong(format!("{} is not found by its time", key.escape_ascii())),
            }
        })?;
        Ok(())
    }

    pub(super) fn answered(&mut self) -> Result<(), BrokenOff> {
        self.walk(ANSWERED_AND_USER_AND_KEY, |_, key, value| {
            record::unseal("time of an answer", key, value)?;
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn notes(&mut self) -> Result<(), BrokenOff> {
        // Notes are settled before the sessions that they are of.
        let is_settled = self.is_settled();
        let mut noted = 0;
        self.walk(NOTES, |verify, key, value| {
            record::unseal("note", key, value)?;
            let Some((at, number)) = notes::expiry_in(key) else {
                return Ok(());
            };
            noted += 1;
            match verify.expiries.get(&number) {
                _ if !is_settled => Ok(()),
                Some(expiry) if *expiry == at => Ok(()),
                _ => wrong(format!("session number {number} is not to be deleted at {at}")),
            }
        })?;
        if !is_settled || noted == self.expiries.len() {
            return Ok(());
        }
        let what = format!("notes: {noted} expiries for {} sessions", self.expiries.len());
        self.problem(what).map_err(|_| BrokenOff)
    }
}
