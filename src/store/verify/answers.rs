//! Answers: each is noted under its time, so that it is forgotten in its turn. And notes.

use crate::store::StoreError;
use crate::store::record;
use crate::store::tables::{
    ANSWERED_AND_USER_AND_KEY, NOTES, USER_AND_KEY_TO_ANSWER, answered_key,
};

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
        self.walk(NOTES, |_, key, value| {
            record::unseal("note", key, value)?;
            Ok(())
        })?;
        Ok(())
    }
}
