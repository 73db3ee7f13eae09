//! The routes of sessions: what they take, and what they give.

use axum::extract::State;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::model::{
    Content, Invalid, Metadata, MetadataUpdate, PageSize, SessionId, Tag, Tags, Timestamp, Title,
    UserId,
};
use crate::sessions::{self, Expires, ListQuery, NewSession, SessionUpdate, SortBy, SortOrder};

use super::App;
use super::auth::Identity;
use super::extract::{Known, Params, Patched, PathPart, Posted, Seen, required};
use super::openapi::Moment;
use super::pages::Asked;
use super::reply::{Reply, shown, written};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    /// The first of its messages; a blank one counts as absent.
    #[schema(pattern = r"^[^\x00]*$")]
    first_message: Option<String>,
    #[schema(value_type = Option<SessionId>)]
    session_id: Option<String>,
    /// A blank one counts as absent.
    #[schema(max_length = 500, pattern = r"^[^\x00]*$")]
    title: Option<String>,
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    #[schema(value_type = Option<Tags>)]
    tags: Option<Vec<String>>,
    /// When to delete the session, with its messages: a time to come. Absent to keep it.
    #[schema(value_type = Option<Moment>)]
    expires_at: Option<String>,
}

/// `POST /api/sessions/create`, `POST /api/sessions`
pub(super) async fn create(
    State(app): State<App>,
    identity: Identity,
    Posted { body, once }: Posted<CreateBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let new = body.parse()?;
    Ok(written(sessions::create(&app.store, caller, new, once).await?))
}

impl CreateBody {
    fn parse(self) -> Result<NewSession, Invalid> {
        let said = self.first_message.filter(|text| !text.trim().is_empty());
        let titled = self.title.filter(|text| !text.trim().is_empty());
        Ok(NewSession {
            id: self.session_id.as_deref().map(SessionId::parse).transpose()?,
            title: titled.map(Title::parse).transpose()?,
            first_message: said.map(|text| Content::parse("firstMessage", text)).transpose()?,
            metadata: self.metadata.map(Metadata::parse).transpose()?,
            tags: Tags::parse(self.tags.unwrap_or_default())?,
            expires_at: self.expires_at.as_deref().map(expiry).transpose()?,
        })
    }
}

fn expiry(text: &str) -> Result<Timestamp, Invalid> {
    Timestamp::parse_start("expiresAt", text)
}

/// What comes first, whatever else is sorted by.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "is only described")]
enum Sort {
    Pinned,
}

/// Which of two kinds to list.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "is only described")]
enum Kind {
    True,
    False,
    Any,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListParams {
    /// Only sessions created then or later.
    #[param(inline, value_type = Moment, required = false)]
    start_date: Option<String>,
    /// Only sessions created then or earlier.
    #[param(inline, value_type = Moment, required = false)]
    end_date: Option<String>,
    /// The most sessions of a page: 100 if absent, and never more than 1000.
    #[param(inline, value_type = PageSize, required = false)]
    limit: Option<String>,
    /// `updatedAt` if absent.
    #[param(inline, value_type = SortBy, required = false)]
    sort_by: Option<String>,
    /// `desc` if absent.
    #[param(inline, value_type = SortOrder, required = false)]
    sort_order: Option<String>,
    /// `pinned` for those that are pinned before all others.
    #[param(inline, value_type = Sort, required = false)]
    sort: Option<String>,
    /// Whether they are archived: `false` if absent.
    #[param(inline, value_type = Kind, required = false)]
    archived: Option<String>,
    /// Whether they are pinned: `any` if absent.
    #[param(inline, value_type = Kind, required = false)]
    pinned: Option<String>,
    /// Only sessions that have this tag.
    #[param(inline, value_type = Tag, required = false)]
    tag: Option<String>,
    /// `nextCursor` of the page before, whose other parameters must be the same.
    #[param(value_type = String, required = false)]
    cursor: Option<String>,
}

/// `GET /api/sessions/list`, `GET /api/sessions`
pub(super) async fn list(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
    Params(params): Params<ListParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let query = params.parse()?;
    let page = app.pages.look(&app.store, &caller, &asked);
    if let Some(unchanged) = page.unchanged() {
        return Ok(unchanged);
    }
    Ok(page.show(sessions::list(&app.store, &caller, &query).await?))
}

impl ListParams {
    fn parse(self) -> Result<ListQuery, Invalid> {
        let (sort_by, sort_order) = (self.sort_by.as_deref(), self.sort_order.as_deref());
        let (from, to) = (self.start_date.as_deref(), self.end_date.as_deref());
        let limit = self.limit.as_deref().map(PageSize::parse).transpose()?;
        Ok(ListQuery {
            sort_by: sort_by.map_or(Ok(SortBy::UpdatedAt), SortBy::parse)?,
            sort_order: sort_order
                .map_or(Ok(SortOrder::Desc), |text| SortOrder::parse("sortOrder", text))?,
            created_from: from.map(|text| Timestamp::parse_start("startDate", text)).transpose()?,
            created_to: to.map(|text| Timestamp::parse_end("endDate", text)).transpose()?,
            archived: kind("archived", self.archived.as_deref(), Some(false))?,
            pinned: kind("pinned", self.pinned.as_deref(), None)?,
            tag: self.tag.map(|text| Tag::parse("tag", text)).transpose()?,
            pinned_first: match self.sort.as_deref() {
                None => false,
                Some("pinned") => true,
                Some(_) => return Err(Invalid::wrong("sort", "must be pinned, or left out")),
            },
            limit: limit.unwrap_or(PageSize::DEFAULT),
            cursor: self.cursor,
        })
    }
}

/// Which of two kinds `text` asks for; `None` for both.
fn kind(
    field: &'static str,
    text: Option<&str>,
    absent: Option<bool>,
) -> Result<Option<bool>, Invalid> {
    match text {
        None => Ok(absent),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some("any") => Ok(None),
        Some(_) => Err(Invalid::wrong(field, "must be true, false or any")),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    #[schema(value_type = SessionId)]
    session_id: Option<String>,
}

/// `POST /api/sessions/delete`
pub(super) async fn delete(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    Posted { body, once }: Posted<DeleteBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let id = named(body.session_id.as_deref(), None)?;
    Ok(written(sessions::delete(&app.store, caller, id, seen, once).await?))
}

/// `DELETE /api/sessions/{sessionId}`
pub(super) async fn delete_by_path(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    PathPart(id): PathPart,
) -> Reply {
    let caller = identity.caller(None)?;
    let id = named(None, Some(&id))?;
    Ok(written(sessions::delete(&app.store, caller, id, seen, None).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    #[schema(value_type = SessionId)]
    session_id: Option<String>,
    #[schema(value_type = Option<Title>)]
    title: Option<String>,
    /// Replaces what is stored; or is merged into it, in a body of type
    /// `application/merge-patch+json`.
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    archived: Option<bool>,
    pinned: Option<bool>,
    /// Replaces those that are stored.
    #[schema(value_type = Option<Tags>)]
    tags: Option<Vec<String>>,
    /// When to delete the session, with its messages: a time to come. In a body of type
    /// `application/merge-patch+json`, `null` is never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Moment>)]
    expires_at: Option<Given>,
}

/// A member that is there.
#[derive(Debug)]
enum Given {
    Null,
    Text(String),
}

fn given<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Given>, D::Error> {
    let text = Option::deserialize(json)?;
    Ok(Some(text.map_or(Given::Null, Given::Text)))
}

/// `POST /api/sessions/update`
pub(super) async fn update(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    Posted { body, once }: Posted<UpdateBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let id = named(body.session_id.as_deref(), None)?;
    let update = SessionUpdate { seen, ..body.parse(false)? };
    Ok(written(sessions::update(&app.store, caller, id, update, once).await?))
}

/// `PATCH /api/sessions/{sessionId}`
pub(super) async fn update_by_path(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    PathPart(id): PathPart,
    Patched { body, merges }: Patched<UpdateBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let id = named(body.session_id.as_deref(), Some(&id))?;
    let update = SessionUpdate { seen, ..body.parse(merges)? };
    Ok(written(sessions::update(&app.store, caller, id, update, None).await?))
}

impl UpdateBody {
    fn parse(self, merges: bool) -> Result<SessionUpdate, Invalid> {
        Ok(SessionUpdate {
            title: self.title.map(Title::parse).transpose()?,
            metadata: self.metadata.map(|json| MetadataUpdate::parse(json, merges)).transpose()?,
            archived: self.archived,
            pinned: self.pinned,
            tags: self.tags.map(Tags::parse).transpose()?,
            expires: match self.expires_at {
                Some(Given::Text(text)) => Some(Expires::At(expiry(&text)?)),
                Some(Given::Null) if merges => Some(Expires::Never),
                // As everywhere, `null` counts as absent.
                Some(Given::Null) | None => None,
            },
            seen: None,
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetParams {
    #[param(inline, value_type = SessionId, required = true)]
    session_id: Option<String>,
}

/// `GET /api/sessions/get`
pub(super) async fn get(
    State(app): State<App>,
    identity: Identity,
    known: Known,
    Params(params): Params<GetParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let id = named(params.session_id.as_deref(), None)?;
    Ok(shown(&known, sessions::get(&app.store, &caller, &id)?))
}

/// `GET /api/sessions/{sessionId}`
pub(super) async fn get_by_path(
    State(app): State<App>,
    identity: Identity,
    known: Known,
    PathPart(id): PathPart,
) -> Reply {
    let caller = identity.caller(None)?;
    let id = named(None, Some(&id))?;
    Ok(shown(&known, sessions::get(&app.store, &caller, &id)?))
}

/// The session that a request names, in its path or as a value.
pub(super) fn named(value: Option<&str>, in_path: Option<&str>) -> Result<SessionId, Invalid> {
    match (value, in_path) {
        (Some(value), Some(in_path)) if value != in_path => {
            Err(Invalid::wrong("sessionId", "is not that of the path; leave it out"))
        }
        (value, in_path) => SessionId::parse(required("sessionId", in_path.or(value))?),
    }
}
