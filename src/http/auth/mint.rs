//! Making tokens, for those who try the service out: the portal makes its own.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;

use crate::model::{Timestamp, UserId};

use super::TokenConfig;

impl TokenConfig {
    /// A token of `user` that this configuration accepts from `now` on, for `lifetime` in whole
    /// seconds. It is signed with the current secret; without one, nobody accepts it.
    pub fn mint(&self, user: &UserId, now: Timestamp, lifetime: Duration) -> String {
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": user.as_str(),
            "iat": now.as_secs(),
            "exp": now.as_secs().saturating_add(lifetime.as_secs()),
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let secret = self.secrets.first().map(Vec::as_slice).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Whether `user` is let in by a good token.
    pub fn admits(&self, user: &UserId) -> bool {
        self.allowed_users.as_ref().is_none_or(|allowed| allowed.contains(user))
    }
}
