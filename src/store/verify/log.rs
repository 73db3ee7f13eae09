//! The log: every record is whole, and none is missing between two others.

use crate::store::record;
use crate::store::tables::{
    COUNTED, LOG_ID, META, NEXT_SESSION, SCHEMA_VERSION_KEY, SEQ_TO_STEPS, SETTLED,
    STORED_MESSAGES, STORED_SESSIONS,
};
use crate::store::tx::read_number;

use super::{BrokenOff, Checked, Verify, wrong};

impl Verify<'_> {
    pub(super) fn log(&mut self) -> Result<(), BrokenOff> {
        let mut next = None;
        self.walk(SEQ_TO_STEPS, |_, seq, steps| {
            let expected = next.replace(seq);
            let steps = record::decode_steps(seq, steps)?;
            next = Some(seq + u64::try_from(steps.len()).unwrap_or(u64::MAX));
            match expected {
                Some(expected) if expected != seq => {
                    wrong(format!("{seq} stands where {expected} should"))
                }
                _ => Ok(()),
            }
        })?;
        self.newest = next.map_or(0, |next| next - 1);
        self.walk(META, |verify, key, value| match key {
            SCHEMA_VERSION_KEY => Ok(()),
            SETTLED => verify.settled(next.unwrap_or(1)),
            LOG_ID | NEXT_SESSION | COUNTED | STORED_SESSIONS | STORED_MESSAGES => {
                Ok(record::unseal_number("number", key, value).map(|_| ())?)
            }
            _ => wrong(format!("{} is nothing of ours", key.escape_ascii())),
        })?;
        Ok(())
    }

    /// Checks that what is settled was logged, where `next` is the number of the next step.
    fn settled(&self, next: u64) -> Checked {
        match read_number(&self.snapshot.table(META)?, SETTLED)? {
            Some(settled) if settled >= next => {
                wrong(format!("steps up to {settled} are settled, and the next is {next}"))
            }
            _ => Ok(()),
        }
    }
}
