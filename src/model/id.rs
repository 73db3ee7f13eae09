//! Identifiers: opaque strings of 1 to 255 characters without control characters.
//!
//! Rows that come from elsewhere bring ids of any shape (`session_1759299395565_p0vtcs0b9f`);
//! ids minted here are `UUIDv7` text. Having no NUL inside, they can be joined into keys with one.
//! Clones share their text.

use std::fmt;
use std::sync::Arc;

use utoipa::ToSchema;
use uuid::Uuid;

use super::{Invalid, Timestamp};

/// Longest id, in characters.
const MAX_CHARS: usize = 255;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
        #[schema(
            value_type = String,
            min_length = 1,
            max_length = 255,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
        )]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` as an id.
            ///
            /// # Errors
            /// [`Invalid`] when it is empty, longer than 255 characters, or holds a control
            /// character.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                check($field, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a session. Unique over all users.
    SessionId,
    "sessionId"
);
id!(
    /// Names a message. Unique within its session.
    MessageId,
    "id"
);

id!(
    /// Names a request that may be sent again: the `Idempotency-Key` of its sender.
    IdempotencyKey,
    "idempotencyKey"
);

/// Names a user: opaque and compared exactly, but for e-mail addresses (ids that hold an `@`),
/// which are trimmed and lower-cased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(
    value_type = String,
    min_length = 1,
    max_length = 255,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"
)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes `text` as a user's id.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty, longer than 255 characters, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.contains('@') {
            let address = text.trim().to_lowercase();
            check("userId", &address)?;
            return Ok(Self(address.into()));
        }
        check("userId", text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionId {
    /// Mints an id that nobody has: `UUIDv7` text.
    pub fn mint() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

impl MessageId {
    /// Mints the id of the message that stands at `place` in its session.
    ///
    /// `UUIDv7` with the microseconds in `rand_a` (RFC 9562, section 6.2, method 3), so that
    /// [`MessageId::place`] finds the message again without an index. 62 random bits keep it
    /// unique among sessions.
    pub fn mint(place: Timestamp) -> Self {
        Self::at(place, Uuid::new_v4().as_u128())
    }

    /// The id, always the same, of the message at `place` that stands for what `seed` tells: for
    /// one that comes from elsewhere without an id.
    pub fn derive(place: Timestamp, seed: u128) -> Self {
        Self::at(place, seed)
    }

    fn at(place: Timestamp, seed: u128) -> Self {
        let micros = place.as_micros();
        let (millis, rest) = (micros / 1000, micros % 1000);
        let random = seed & ((1 << 62) - 1);
        let value = u128::from(millis & ((1 << 48) - 1)) << 80
            | 0x7 << 76
            | u128::from(rest * 4096 / 1000) << 64
            | 0b10 << 62
            | random;
        Self(Uuid::from_u128(value).to_string().into())
    }

    /// The place that an id minted here tells; for any other id, none or a place where this id
    /// does not stand.
    pub fn place(&self) -> Option<Timestamp> {
        let value = Uuid::try_parse(&self.0).ok().filter(|id| id.get_version_num() == 7)?.as_u128();
        let millis = u64::try_from(value >> 80).ok()?;
        let fraction = u64::try_from(value >> 64 & 0xfff).ok()?;
        Some(Timestamp::from_micros(millis * 1000 + (fraction * 1000).div_ceil(4096)))
    }
}

fn check(field: &'static str, text: &str) -> Result<(), Invalid> {
    // A byte count within the limit proves the character count without counting.
    if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
        let chars = text.chars().count();
        return Err(Invalid::wrong(
            field,
            format!("is {chars} characters long; the limit is {MAX_CHARS}"),
        ));
    }
    if text.is_empty() {
        return Err(Invalid::wrong(field, "is empty; it must be 1 to 255 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::wrong(field, "holds a control character; leave it out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_1_to_255_characters_without_control_characters() {
        assert!(SessionId::parse("session_1759299395565_p0vtcs0b9f").is_ok());
        assert!(SessionId::parse(&"\u{e9}".repeat(255)).is_ok(), "characters, not bytes");
        for bad in ["", "a\0b", "a\nb", "\u{85}", &"x".repeat(256)] {
            assert!(SessionId::parse(bad).is_err(), "{bad:?}");
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_user_ids_with_an_at_sign_are_folded() {
        assert_eq!(UserId::parse(" Ann@Example.ORG ").unwrap().as_str(), "ann@example.org");
        assert_eq!(UserId::parse(" Ann ").unwrap().as_str(), " Ann ");
        assert_ne!(UserId::parse("ann").unwrap(), UserId::parse("Ann").unwrap());
    }

    #[test]
    fn a_minted_message_id_is_uuid_v7_and_tells_its_place() {
        for micros in (0..1000).chain([1_795_000_000_123_456, 1_795_000_000_999_999]) {
            let place = Timestamp::from_micros(micros);
            let id = MessageId::mint(place);

            assert_eq!(Uuid::try_parse(id.as_str()).unwrap().get_version_num(), 7);
            assert_eq!(id.place(), Some(place));
        }
        assert_ne!(
            MessageId::mint(Timestamp::from_micros(1)),
            MessageId::mint(Timestamp::from_micros(1))
        );
    }
}
