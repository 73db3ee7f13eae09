//! Who is calling: one of three modes is in force, and says so.
//!
//! [`Identity`] is what a request proves; [`Identity::caller`] is the only way to a user's id, so
//! no handler can act for somebody without having asked. Cookies are never read.

mod jwt;

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use serde::Deserialize;
use tracing::debug;
use utoipa::IntoParams;

use crate::model::{Invalid, Timestamp, UserId};

use super::extract::Params;
use super::{ApiError, App, Peer};

use jwt::Verifier;

/// How callers are told apart.
#[derive(Debug)]
pub enum Auth {
    /// By a signed token.
    Jwt(Box<Tokens>),
    /// By what they say, whoever they are: for a trusted network.
    Off,
    /// By what they say, if they are on this very machine.
    Local,
}

/// Which tokens are good, and whose.
#[derive(Debug)]
pub struct Tokens {
    verifier: Verifier,
    /// If set, nobody else is let in.
    allowed: Option<Vec<UserId>>,
}

/// What the tokens are checked against.
#[derive(Clone)]
pub struct TokenConfig {
    /// The secret, and the previous one while tokens signed with it are about.
    pub secrets: Vec<Vec<u8>>,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have, alone or among others.
    pub audience: String,
    /// The only users who are let in; `None` for all.
    pub allowed_users: Option<Vec<UserId>>,
}

/// What a request proves about its caller.
#[derive(Debug)]
pub(super) struct Identity {
    /// The user of the token, in jwt mode.
    verified: Option<UserId>,
    /// The `userId` of the query.
    claimed: Option<String>,
}

/// Who a request says is calling.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim {
    /// The calling user: needed where there are no tokens, and not needed beside one.
    #[param(inline, value_type = UserId, required = false, example = "ann")]
    user_id: Option<String>,
}

impl Auth {
    /// The jwt mode.
    pub fn jwt(config: TokenConfig) -> Self {
        let TokenConfig { secrets, issuer, audience, allowed_users } = config;
        let verifier = Verifier::new(&secrets, issuer, audience);
        Self::Jwt(Box::new(Tokens { verifier, allowed: allowed_users }))
    }

    /// Whom the request `parts` prove to be calling at `now`; `None` where callers say it
    /// themselves.
    fn verify(&self, parts: &Parts, now: Timestamp) -> Result<Option<UserId>, ApiError> {
        match self {
            Self::Jwt(tokens) => tokens.verify(&parts.headers, now).map(Some),
            Self::Off => Ok(None),
            Self::Local => check_local(parts).map(|()| None),
        }
    }
}

impl Tokens {
    fn verify(&self, headers: &HeaderMap, now: Timestamp) -> Result<UserId, ApiError> {
        let token = bearer(headers)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let claims = self.verifier.verify(token, now).map_err(|error| {
            debug!(%error, "refused a token: {error}");
            invalid_token()
        })?;
        let user = UserId::parse(&claims.sub).map_err(|_| invalid_token())?;
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&user)) {
            return Err(ApiError::forbidden(
                "user_not_allowed",
                "this user may not use this service",
                "ask its operator to add the user to AUTHORIZED_USER_EMAIL",
            ));
        }
        Ok(user)
    }
}

impl Identity {
    /// The user for whom the request acts. `claimed` is the `userId` of its body, if it has one.
    ///
    /// # Errors
    /// 403 `user_mismatch` if a `userId` differs from the token's user or from another `userId`;
    /// 400 `missing_user_id` if nothing tells; 400 `invalid_user_id`.
    pub(super) fn caller(self, claimed: Option<&str>) -> Result<UserId, ApiError> {
        let mut caller = self.verified;
        for text in [self.claimed.as_deref(), claimed].into_iter().flatten() {
            let claimed = UserId::parse(text)?;
            if caller.as_ref().is_some_and(|caller| *caller != claimed) {
                return Err(ApiError::forbidden(
                    "user_mismatch",
                    "userId is not the calling user",
                    "leave userId out, or send the one of the token",
                ));
            }
            caller = Some(claimed);
        }
        Ok(caller.ok_or(Invalid::missing("userId"))?)
    }
}

impl FromRequestParts<App> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let verified = app.auth.verify(parts, app.clock.now())?;
        let Params(Claim { user_id }) = Params::from_request_parts(parts, app).await?;
        Ok(Self { verified, claimed: user_id })
    }
}

/// The token of the one `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let header = match (given.next(), given.next()) {
        (Some(header), None) => header,
        (None, _) => {
            return Err(ApiError::unauthorized(
                "missing_token",
                "no token was sent",
                "send Authorization: Bearer <token>",
                r#"Bearer realm="orion-chat""#,
            ));
        }
        (Some(_), Some(_)) => return Err(invalid_token()),
    };
    let text = header.to_str().map_err(|_| invalid_token())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(invalid_token()),
    }
}

/// The same for every cause: whoever tries tokens learns nothing from it.
fn invalid_token() -> ApiError {
    ApiError::unauthorized(
        "invalid_token",
        "token is not valid",
        "sign in again; the server's log at level debug tells the cause",
        r#"Bearer realm="orion-chat", error="invalid_token", error_description="token is not valid""#,
    )
}

/// Headers by which a request tells that it was passed on. A tunnel's connector runs on this
/// machine too, so a loopback peer alone proves nothing.
const PASSED_ON: [&str; 4] = ["cf-connecting-ip", "cf-ray", "forwarded", "x-forwarded-for"];

fn check_local(parts: &Parts) -> Result<(), ApiError> {
    let peer = parts.extensions.get::<Peer>();
    let is_loopback = peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback());
    let was_passed_on = PASSED_ON.iter().any(|name| parts.headers.contains_key(*name));
    if is_loopback && !was_passed_on && names_this_machine(parts) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "local_only",
        "this server answers only callers on its own machine",
        "its operator sets ORION_SHARED_JWT_SECRET to let others in by token, \
         or --auth off on a trusted network",
    ))
}

/// Whether every name that the request has for its server is this machine's: else a page of
/// another site, whose name was made to point here, could ask (DNS rebinding).
fn names_this_machine(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let in_header = host.to_str().ok().and_then(|host| host.parse().ok());
    // Of a request line with a whole URL, that one counts (RFC 9112, section 3.2.2).
    [in_header.as_ref(), parts.uri.authority().or(in_header.as_ref())].iter().all(|authority| {
        authority.is_some_and(|authority: &Authority| {
            let host = authority.host();
            let is_named = ["localhost", "127.0.0.1", "[::1]"]
                .iter()
                .any(|name| host.eq_ignore_ascii_case(name));
            is_named && !authority.as_str().contains('@')
        })
    })
}

/// Whether an address can be reached from this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl std::fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (secrets, issuer) = (self.secrets.len(), &self.issuer);
        f.debug_struct("TokenConfig")
            .field("secrets", &secrets)
            .field("issuer", issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
