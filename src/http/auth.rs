//! Who is calling: one of three modes is in force, and says so.
//!
//! [`Identity`] is what a request proves; [`Identity::caller`] is the only way to a user's id, so
//! no handler can act for somebody without having asked. Cookies are never read.

mod jwt;
mod local;
mod mint;
mod tickets;

use std::fmt;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::Deserialize;
use tracing::debug;
use utoipa::IntoParams;

use crate::metrics::{Metrics, Reason};
use crate::model::{Invalid, Timestamp, UserId};

use super::extract::Params;
use super::{ApiError, App};

use jwt::Verifier;

pub(super) use local::{names_this_machine, was_passed_on};
pub(super) use tickets::Tickets;

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
pub struct Tokens {
    verifier: Verifier,
    /// If set, nobody else is let in.
    allowed: Option<Vec<UserId>>,
}

impl fmt::Debug for Tokens {
    /// Without the users, whose ids may be e-mail addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.allowed.as_ref().map(Vec::len);
        f.debug_struct("Tokens")
            .field("verifier", &self.verifier)
            .field("allowed_users", &allowed)
            .finish()
    }
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
    /// The user of the token or of the ticket, if there is one.
    verified: Option<Verified>,
    /// The `userId` of the query.
    claimed: Option<String>,
    /// Where requests are counted.
    app: App,
}

/// Who is certain to be calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    user: UserId,
    /// When the token expires that said so, the leeway not counted; `None` if there was no token.
    until: Option<Timestamp>,
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

    /// What the mode is called.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
            Self::Off => "off",
            Self::Local => "local",
        }
    }

    /// Whom the request `parts` prove to be calling at `now`; `None` where callers say it
    /// themselves.
    fn verify(
        &self,
        parts: &Parts,
        now: Timestamp,
        metrics: &Metrics,
    ) -> Result<Option<Verified>, ApiError> {
        match self {
            Self::Jwt(tokens) => tokens.verify(&parts.headers, now, metrics).map(Some),
            Self::Off => Ok(None),
            Self::Local => local::check(parts).map(|()| None),
        }
    }
}

impl Tokens {
    /// How many secrets they may be signed with.
    pub fn secrets(&self) -> usize {
        self.verifier.secrets()
    }

    fn verify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        metrics: &Metrics,
    ) -> Result<Verified, ApiError> {
        let token = bearer(headers)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let claims = self.verifier.verify(token, now).map_err(|error| {
            debug!(%error, "refused a token: {error}");
            metrics.tokens_refused.get_or_create(&Reason { reason: error.reason() }).inc();
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
        let exp_secs = u64::try_from(claims.exp).unwrap_or_default();
        let until = Timestamp::from_micros(exp_secs.saturating_mul(1_000_000));
        Ok(Verified { user, until: Some(until) })
    }
}

impl Identity {
    /// The user for whom the request acts. `claimed` is the `userId` of its body, if it has one.
    ///
    /// # Errors
    /// 403 `user_mismatch` if a `userId` differs from the token's user or from another `userId`;
    /// 400 `missing_user_id` if nothing tells; 400 `invalid_user_id`; 429 `rate_limited`.
    pub(super) fn caller(self, claimed: Option<&str>) -> Result<UserId, ApiError> {
        let was_counted = self.verified.is_some();
        let mut caller = self.verified.map(|verified| verified.user);
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
        let caller = caller.ok_or(Invalid::missing("userId"))?;
        if !was_counted {
            self.app.rates.count_user(&caller)?;
        }
        Ok(caller)
    }

    /// The user for whom the request acts, and until when: for what goes on after its answer.
    ///
    /// # Errors
    /// Those of [`Identity::caller`]; 401 `invalid_token` if that moment is not after `now`.
    pub(super) fn caller_until(
        self,
        claimed: Option<&str>,
        now: Timestamp,
    ) -> Result<(UserId, Option<Timestamp>), ApiError> {
        let until = self.verified.as_ref().and_then(|verified| verified.until);
        if until.is_some_and(|until| until <= now) {
            return Err(invalid_token());
        }
        Ok((self.caller(claimed)?, until))
    }

    /// What a request proves by a ticket, which is used up.
    ///
    /// # Errors
    /// 401 `invalid_ticket`, be it used, expired or none that was given; 403 `local_only`; 429
    /// `rate_limited`.
    pub(super) async fn by_ticket(
        ticket: &str,
        parts: &mut Parts,
        app: &App,
    ) -> Result<Self, ApiError> {
        if matches!(app.access.load().auth, Auth::Local) {
            local::check(parts)?;
        }
        let Params(Claim { user_id }) = Params::from_request_parts(parts, app).await?;
        let verified = app.tickets.look(ticket, app.clock.now()).ok_or_else(invalid_ticket)?;
        Self::new(Some(verified), user_id, app)
    }

    /// Counts the request for its user, if that is certain: before its body is read.
    fn new(
        verified: Option<Verified>,
        claimed: Option<String>,
        app: &App,
    ) -> Result<Self, ApiError> {
        if let Some(verified) = &verified {
            app.rates.count_user(&verified.user)?;
        }
        Ok(Self { verified, claimed, app: app.clone() })
    }
}

impl FromRequestParts<App> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (now, metrics) = (app.clock.now(), app.store.metrics());
        let verified = app.access.load().auth.verify(parts, now, metrics)?;
        let Params(Claim { user_id }) = Params::from_request_parts(parts, app).await?;
        Self::new(verified, user_id, app)
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

/// The same for every cause, too.
pub(super) fn invalid_ticket() -> ApiError {
    ApiError::unauthorized(
        "invalid_ticket",
        "ticket is not valid",
        "take a new one with POST /api/events/ticket; each is good once, for 30 s",
        r#"Bearer realm="orion-chat", error="invalid_token", error_description="ticket is not valid""#,
    )
}

/// Whether an address can be reached from this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secrets, issuer) = (self.secrets.len(), &self.issuer);
        f.debug_struct("TokenConfig")
            .field("secrets", &secrets)
            .field("issuer", issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
