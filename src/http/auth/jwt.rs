//! Verification of the bearer tokens: compact JWS, HS256, and the claims we insist on.
//!
//! Owns the rule for which token is good, at a time the caller names. Knows neither HTTP (every
//! refusal gets the same answer, made in `http::auth`; [`TokenError`] is for the log) nor who may
//! do what: it hands out `sub`, byte for byte as it was signed.
//!
//! Our own code and not the jsonwebtoken crate, because that crate would bring no HMAC (its crypto
//! provider would be ours too, and process-global), reads the system clock itself, and accepts
//! what we refuse, such as an array for `iss` or an unknown `crit`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use thiserror::Error;

/// Our claims fill a few hundred bytes; what is far longer is refused before any work on it.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the issuer's clock and ours may be apart, for `exp` and for `nbf`.
const LEEWAY_SECS: i64 = 30;

/// The last second of the year 9999. An `exp` in milliseconds lies far behind it, and would
/// otherwise pass for a token that never expires.
const LAST_PLAUSIBLE_EXP: f64 = 253_402_300_799.0;

/// As every id of the service: the limit is in characters, not in bytes.
const MAX_SUB_CHARS: usize = 255;

/// Says whether a token is good: signed by one of our secrets, for us, by our issuer, and current.
// Debug may be derived: ring prints the digest of a key, never its bytes.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Vec<hmac::Key>,
    issuer: String,
    audience: String,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The user, 1 to 255 characters, as it was signed: never trimmed, normalised or folded.
    pub(crate) sub: String,
    /// The first second (Unix time) at which the token is expired, the leeway not counted.
    pub(crate) exp: i64,
}

/// Why a token was refused, for the log only: it never holds a part of the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    #[error("token is {bytes} bytes; the limit is {MAX_TOKEN_BYTES}")]
    TooLong { bytes: usize },
    #[error("token is not three non-empty segments with a dot between them")]
    Segments,
    #[error("{0} is not strict base64url of a JSON object with each member once and well typed")]
    Malformed(&'static str),
    #[error("alg in the header is not HS256")]
    Algorithm,
    #[error("{0} in the header asks for something that is not supported")]
    Unsupported(&'static str),
    #[error("signature is not strict base64url")]
    SignatureText,
    #[error("signature is by none of the configured secrets")]
    Signature,
    #[error("claim {0} is missing")]
    Missing(&'static str),
    #[error("claim {0} is of the wrong JSON type")]
    IllTyped(&'static str),
    #[error("exp is before 1970 or after 9999; the unit is seconds")]
    ImplausibleExpiry,
    #[error("token has expired")]
    Expired,
    #[error("token is not valid yet; compare the clocks, nbf is in the future")]
    NotYetValid,
    #[error("iss is not the configured issuer")]
    Issuer,
    #[error("aud does not name the configured audience")]
    Audience,
    #[error("sub is blank, has control characters, or is over {MAX_SUB_CHARS} characters")]
    Subject,
}

impl TokenError {
    /// The same in a word, to count it by.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Segments | Self::Malformed(_) | Self::SignatureText => "malformed",
            Self::Algorithm => "algorithm",
            Self::Unsupported(_) => "unsupported",
            Self::Signature => "signature",
            Self::Missing(_) => "claim_missing",
            Self::IllTyped(_) | Self::ImplausibleExpiry => "claim_invalid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
        }
    }
}

impl Verifier {
    /// Accepts tokens that are signed with any of `secrets`: the current one and, while a rotation
    /// is under way, the previous one.
    ///
    /// An empty secret is left out, since anybody can sign with it; without a secret, every token
    /// is refused.
    pub(crate) fn new(secrets: &[Vec<u8>], issuer: String, audience: String) -> Self {
        let usable = secrets.iter().filter(|secret| !secret.is_empty());
        let keys = usable.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect();
        Self { keys, issuer, audience }
    }

    /// How many secrets a token may be signed with.
    pub(crate) fn secrets(&self) -> usize {
        self.keys.len()
    }

    /// Returns what `token` says, if it is good at `now_secs` (Unix time).
    ///
    /// It is good while `nbf - 30 <= now_secs < exp + 30`; `nbf` may be missing, and `iat` is not
    /// looked at, since RFC 7519 attaches no rule to it.
    ///
    /// # Errors
    /// The first thing found wrong. Nothing about the claims is found before the signature holds.
    pub(crate) fn verify(&self, token: &str, now_secs: i64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Segments)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Segments)?;
        if [header, payload, signature].contains(&"") || payload.contains('.') {
            return Err(TokenError::Segments);
        }

        let header: Header = parse_object(header).ok_or(TokenError::Malformed("header"))?;
        header.check()?;
        self.check_signature(signed, signature)?;

        let payload: Payload = parse_object(payload).ok_or(TokenError::Malformed("payload"))?;
        let exp = check_times(&payload.exp, &payload.nbf, now_secs)?;
        if text("iss", &payload.iss)? != self.issuer {
            return Err(TokenError::Issuer);
        }
        self.check_audience(&payload.aud)?;
        let sub = text("sub", &payload.sub)?;
        if sub.trim().is_empty()
            || sub.chars().count() > MAX_SUB_CHARS
            || sub.chars().any(char::is_control)
        {
            return Err(TokenError::Subject);
        }
        Ok(Claims { sub: sub.to_owned(), exp })
    }

    /// ring compares in constant time, and refuses whatever is not exactly 32 bytes.
    fn check_signature(&self, signed: &str, signature: &str) -> Result<(), TokenError> {
        let tag = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::SignatureText)?;
        // Which of the keys it was may show in the time taken; that is no secret.
        if self.keys.iter().any(|key| hmac::verify(key, signed.as_bytes(), &tag).is_ok()) {
            Ok(())
        } else {
            Err(TokenError::Signature)
        }
    }

    fn check_audience(&self, aud: &Value) -> Result<(), TokenError> {
        // The whole array is read before it is searched: one that holds anything but strings is
        // refused, also when ours stands in front.
        let audiences = match aud {
            Value::Array(items) => {
                let names: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                names.ok_or(TokenError::IllTyped("aud"))?
            }
            other => vec![text("aud", other)?],
        };
        if audiences.contains(&self.audience.as_str()) { Ok(()) } else { Err(TokenError::Audience) }
    }
}

/// The members of a header that mean something to us. The rest is ignored whatever it holds: a key
/// that a token brings or points to (`jwk`, `jku`, `x5u`, `x5c`, `kid`) is no key of ours.
///
/// It is a derived struct because serde then refuses a member that occurs twice.
#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    cty: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    enc: Option<IgnoredAny>,
}

impl Header {
    fn check(&self) -> Result<(), TokenError> {
        if self.alg.as_deref() != Some("HS256") {
            return Err(TokenError::Algorithm);
        }
        // A token for another purpose, such as a logout token, may be signed with the same secret.
        let typ_is_ours = self.typ.as_deref().is_none_or(|typ| is_any_of(typ, &["JWT", "at+jwt"]));
        // RFC 7515, section 4.1.10: "application/" may be left out of a media type.
        let nests = self.cty.as_deref().is_some_and(|c| is_any_of(c, &["JWT", "application/jwt"]));
        let unsupported = [
            ("typ", !typ_is_ours),
            ("cty", nests),
            ("crit", self.crit.is_some()),
            ("b64", self.b64.is_some()),
            ("zip", self.zip.is_some()),
            ("enc", self.enc.is_some()),
        ];
        match unsupported.into_iter().find(|(_, found)| *found) {
            Some((name, _)) => Err(TokenError::Unsupported(name)),
            None => Ok(()),
        }
    }
}

/// The claims that mean something to us, a missing one as `null`; derived for the same reason.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    iss: Value,
    sub: Value,
    aud: Value,
    exp: Value,
    nbf: Value,
}

/// Reads the JSON object that is in `segment`.
fn parse_object<T: DeserializeOwned>(segment: &str) -> Option<T> {
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?;
    // serde would fill a struct from a JSON array as well, member by member.
    if !json.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(&json).ok()
}

/// Keeps a member that is `null` apart from one that is absent, which serde takes for the same.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Media types are compared without regard to case (RFC 7519, section 5.1).
fn is_any_of(media_type: &str, known: &[&str]) -> bool {
    known.iter().any(|name| media_type.eq_ignore_ascii_case(name))
}

/// Returns `exp` in whole seconds, if `now_secs` lies within `nbf` and `exp`, give or take the
/// leeway.
fn check_times(exp: &Value, nbf: &Value, now_secs: i64) -> Result<i64, TokenError> {
    let exp = numeric_date("exp", exp)?.ok_or(TokenError::Missing("exp"))?;
    if !(0.0..=LAST_PLAUSIBLE_EXP).contains(&exp) {
        return Err(TokenError::ImplausibleExpiry);
    }
    let exp = whole_seconds(exp);
    if now_secs >= exp + LEEWAY_SECS {
        return Err(TokenError::Expired);
    }
    match numeric_date("nbf", nbf)? {
        Some(nbf) if now_secs.saturating_add(LEEWAY_SECS) < whole_seconds(nbf) => {
            Err(TokenError::NotYetValid)
        }
        _ => Ok(exp),
    }
}

/// A date in seconds, which RFC 7519, section 2, allows to have a fraction.
fn numeric_date(name: &'static str, claim: &Value) -> Result<Option<f64>, TokenError> {
    match claim {
        Value::Null => Ok(None),
        other => other.as_f64().map(Some).ok_or(TokenError::IllTyped(name)),
    }
}

/// Rounds up: a clock that counts whole seconds reaches a date and its ceiling at the same tick.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which keeps the order")]
fn whole_seconds(date: f64) -> i64 {
    date.ceil() as i64
}

fn text<'a>(name: &'static str, claim: &'a Value) -> Result<&'a str, TokenError> {
    match claim {
        Value::String(text) => Ok(text),
        Value::Null => Err(TokenError::Missing(name)),
        _ => Err(TokenError::IllTyped(name)),
    }
}

#[cfg(test)]
mod tests;
