//! Tokens as the portal makes them, and as PocketBase does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// The secret of every rival.
pub const SECRET: &str = "a secret of the benchmark alone, of more than 32 bytes";
pub const ISSUER: &str = "https://www.sidekickportal.com";
pub const AUDIENCE: &str = "orion-core";
/// 2100: no run lasts until then.
const EXPIRES: u64 = 4_102_444_800;

/// A token of `user` for all but PocketBase.
pub fn token(user: &str) -> String {
    let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user, "exp": EXPIRES });
    sign(&claims, SECRET.as_bytes())
}

/// A token of `user` for PocketBase, which adds a key of the user's to the secret.
pub fn pocketbase_token(user: &str) -> String {
    let claims = json!({
        "collectionId": "_pb_users_auth_", "exp": EXPIRES, "id": user, "refreshable": true,
        "type": "auth",
    });
    sign(&claims, format!("{}{SECRET}", pocketbase_key(user)).as_bytes())
}

pub fn pocketbase_key(user: &str) -> String {
    user.repeat(3)
}

fn sign(claims: &Value, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The user of a good token: what orion-chat asks for, without its finer points.
pub fn user_of(token: &str, key: &hmac::Key, now_secs: u64) -> Option<String> {
    let (signed, tag) = token.rsplit_once('.')?;
    hmac::verify(key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
    let payload = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let is_good = claims.iss == ISSUER && claims.aud == AUDIENCE && claims.exp > now_secs;
    is_good.then_some(claims.sub)
}

#[derive(serde::Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: u64,
}
