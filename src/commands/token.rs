//! `token`: a token to try the service with.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use crate::cli::TokenArgs;
use crate::config::{self, ConfigError};
use crate::model::{Clock, Invalid, Timestamp, UserId};

use super::{Failure, say};

/// Writes a token to stdout, and what its reader should know to stderr.
pub(super) fn token(
    args: TokenArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(), Failure> {
    let user = user(&args.user).map_err(Failure::TokenUser)?;
    let tokens = config::tokens(variable)?.ok_or(ConfigError::NoSigner)?;
    let now = Clock::system().now();
    if !tokens.admits(&user) {
        warn("the user is not in AUTHORIZED_USER_EMAIL: the server answers 403 user_not_allowed");
    }
    if std::io::stdout().is_terminal() {
        let micros = u64::try_from(args.expires.as_micros()).unwrap_or(u64::MAX);
        let until = Timestamp::from_micros(now.as_micros().saturating_add(micros));
        warn(&format!(
            "until {until} whoever has this may read and change all that is the user's; \
             it cannot be called back"
        ));
    }
    say(&tokens.mint(&user, now, args.expires));
    Ok(())
}

/// A user for whom tokens are good: unlike other ids, not a blank one.
fn user(text: &str) -> Result<UserId, Invalid> {
    match text.trim() {
        "" => Err(Invalid::wrong("userId", "is blank")),
        _ => UserId::parse(text),
    }
}

#[expect(clippy::print_stderr, reason = "stdout is the token's")]
fn warn(line: &str) {
    eprintln!("orion-chat: {line}");
}
