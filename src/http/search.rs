//! The route of searches.

mod turns;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use crate::model::{Invalid, PageSize, Role, SessionId, Timestamp};
use crate::search::Query;
use crate::sessions::{self, SearchQuery};

use super::auth::Identity;
use super::extract::{Params, required};
use super::openapi::Moment;
use super::reply::{Reply, json};
use super::{ApiError, App};

pub(super) use turns::Turns;

/// Something besides spaces, quotes, and what folding leaves out.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    max_length = 256,
    pattern = r#"^[^\x00]*[^\s\x00-\x1f"\u201c-\u201f\u00ab\u00bb\u00ad\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u2060\u20d0-\u20ff\ufe00-\ufe2f\ufeff][^\x00]*$"#
)]
struct Words(#[expect(dead_code, reason = "is only described")] String);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchParams {
    /// Words, and phrases in quotes: all of them are looked for.
    #[param(inline, value_type = Words, required = true, example = "tides")]
    q: Option<String>,
    /// Only in this session.
    #[param(inline, value_type = SessionId, required = false)]
    session_id: Option<String>,
    /// Only messages of this role.
    #[param(inline, value_type = Role, required = false)]
    role: Option<String>,
    /// Only what was saved then or later: a date-time of RFC 3339, or a date.
    #[param(inline, value_type = Moment, required = false)]
    from: Option<String>,
    /// Only what was saved then or earlier.
    #[param(inline, value_type = Moment, required = false)]
    to: Option<String>,
    /// The most results of a page: 100 if absent, and never more than 1000.
    #[param(inline, value_type = PageSize, required = false)]
    limit: Option<String>,
    /// `nextCursor` of the page before, whose other parameters must be the same.
    #[param(value_type = String, required = false)]
    cursor: Option<String>,
}

/// `GET /api/search`
pub(super) async fn search(
    State(app): State<App>,
    identity: Identity,
    Params(params): Params<SearchParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let query = params.parse()?;
    let mut turn = app.searches.queue(&caller).ok_or_else(ApiError::too_many_searches)?;
    turn.come().await;
    // Cancelled when this future goes, because its caller went or waited long enough.
    let nobody_waits = CancellationToken::new();
    let _waiting = nobody_waits.clone().drop_guard();
    let store = app.store.clone();
    let searching = tokio::task::spawn_blocking(move || {
        // It goes on for a moment when nobody waits any more, and counts as long.
        let _turn = turn;
        sessions::search(&store, &caller, &query, || nobody_waits.is_cancelled())
    });
    let page = searching.await.map_err(|panic| ApiError::of_panic(&panic))??;
    Ok(json(StatusCode::OK, page))
}

impl SearchParams {
    fn parse(self) -> Result<SearchQuery, Invalid> {
        let (from, to) = (self.from.as_deref(), self.to.as_deref());
        let limit = self.limit.as_deref().map(PageSize::parse).transpose()?;
        Ok(SearchQuery {
            terms: Query::parse(&required("q", self.q)?)?,
            session_id: self.session_id.as_deref().map(SessionId::parse).transpose()?,
            role: self.role.as_deref().map(Role::parse).transpose()?,
            from: from.map(|text| Timestamp::parse_start("from", text)).transpose()?,
            to: to.map(|text| Timestamp::parse_end("to", text)).transpose()?,
            limit: limit.unwrap_or(PageSize::DEFAULT),
            cursor: self.cursor,
        })
    }
}
