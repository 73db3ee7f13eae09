//! What users have stored: where it is known, it is what there is.

use crate::model::UserId;
use crate::store::tables::{
    SESSION_AND_PLACE_TO_MESSAGES, USER_AND_UPDATED_TO_SESSIONS, USER_TO_USAGE,
};
use crate::store::{record, usage};

use super::{BrokenOff, Verify, wrong};

impl Verify<'_> {
    pub(super) fn usage(&mut self) -> Result<(), BrokenOff> {
        self.walk(USER_TO_USAGE, |verify, key, value| {
            let told = record::decode_usage(key, value)?;
            let user = std::str::from_utf8(key).ok().and_then(|user| UserId::parse(user).ok());
            let Some(user) = user else {
                return wrong(format!("{} is no user", key.escape_ascii()));
            };
            let sessions = verify.snapshot.table(USER_AND_UPDATED_TO_SESSIONS)?;
            let messages = verify.snapshot.table(SESSION_AND_PLACE_TO_MESSAGES)?;
            let found = usage::in_tables(&sessions, &messages, &user)?;
            if told == found {
                return Ok(());
            }
            let of = user.as_str();
            wrong(format!("{of:?} has {found:?} and is said to have {told:?}"))
        })?;
        Ok(())
    }
}
