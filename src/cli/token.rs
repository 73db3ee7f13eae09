//! The flags of `token`.

use std::time::Duration;

use clap::Args;
use jiff::{Span, SpanRelativeTo};

use super::EnvArgs;

/// The longest that a token may be good: who needs one for longer has another issuer.
const LIFETIME_MAX: Duration = Duration::from_hours(365 * 24);

/// Whose token, and for how long.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// The user whom the token lets in
    pub user: String,

    /// How long it is good, such as 90s, 30m, 1h or 7d; 365d at most
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub expires: Duration,

    /// Where the secret is.
    #[command(flatten)]
    pub env: EnvArgs,
}

/// Reads a time such as `1h` or `1h 30m`, in whole seconds.
fn lifetime(text: &str) -> Result<Duration, String> {
    let expected = "write a time such as 90s, 30m, 1h or 7d, from 1s to 365d";
    let span: Span = text.parse().map_err(|_| expected.to_owned())?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let time = time.ok().and_then(|time| Duration::try_from(time).ok());
    match time.map(|time| Duration::from_secs(time.as_secs())) {
        Some(time) if !time.is_zero() && time <= LIFETIME_MAX => Ok(time),
        _ => Err(expected.to_owned()),
    }
}
