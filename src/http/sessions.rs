//! The routes of sessions and messages: what they take, and what they give.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::model::{
    Content, Invalid, MessageId, Metadata, PageSize, Role, SessionId, Timestamp, Title, UserId,
};
use crate::sessions::{
    self, Draft, History, HistoryQuery, ListQuery, NewSession, SessionUpdate, SortBy, SortOrder,
    Written,
};

use super::auth::Identity;
use super::body::HistoryBody;
use super::extract::{JsonBody, Params, PathPart, required};
use super::openapi::Moment;
use super::{ApiError, App};

type Reply = Result<Response, ApiError>;

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
}

/// `POST /api/sessions/create`
pub(super) async fn create(
    State(app): State<App>,
    identity: Identity,
    JsonBody(body): JsonBody<CreateBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let new = body.parse()?;
    Ok(written(sessions::create(&app.store, caller, new).await?))
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
        })
    }
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
    /// `nextCursor` of the page before, whose other parameters must be the same.
    #[param(value_type = String, required = false)]
    cursor: Option<String>,
}

/// `GET /api/sessions/list`
pub(super) async fn list(
    State(app): State<App>,
    identity: Identity,
    Params(params): Params<ListParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let query = params.parse()?;
    Ok(json(StatusCode::OK, sessions::list(&app.store, &caller, &query)?))
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
            limit: limit.unwrap_or(PageSize::DEFAULT),
            cursor: self.cursor,
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryParams {
    #[param(inline, value_type = SessionId, required = true)]
    session_id: Option<String>,
    /// The most messages of a page, never more than 1000; all if absent.
    #[param(inline, value_type = PageSize, required = false)]
    limit: Option<String>,
    /// `nextCursor` of the page before, whose other parameters must be the same.
    #[param(value_type = String, required = false)]
    cursor: Option<String>,
    /// `asc`, the oldest first, if absent.
    #[param(inline, value_type = SortOrder, required = false)]
    order: Option<String>,
}

/// `GET /api/sessions/messages`
pub(super) async fn history(
    State(app): State<App>,
    identity: Identity,
    Params(params): Params<HistoryParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let query = params.parse()?;
    Ok(match sessions::history(&app.store, &caller, &query)? {
        History::Whole(text) => json(StatusCode::OK, text),
        History::Pieces(first, rest) => {
            json(StatusCode::OK, Body::new(HistoryBody::new(first, rest)))
        }
    })
}

impl HistoryParams {
    fn parse(self) -> Result<HistoryQuery, Invalid> {
        let order = self.order.as_deref();
        let limit = self.limit.as_deref().map(PageSize::parse).transpose()?;
        Ok(HistoryQuery {
            session_id: session_id(self.session_id.as_deref())?,
            order: order.map_or(Ok(SortOrder::Asc), |text| SortOrder::parse("order", text))?,
            // A page was asked for, be it only by where it begins.
            limit: limit.or(self.cursor.as_ref().map(|_| PageSize::MAX)),
            cursor: self.cursor,
        })
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SaveMessageBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    #[schema(value_type = SessionId)]
    session_id: Option<String>,
    #[schema(value_type = Role)]
    role: Option<String>,
    #[schema(value_type = Content)]
    content: Option<String>,
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    /// Makes the call safe to repeat.
    #[schema(value_type = Option<MessageId>)]
    id: Option<String>,
}

/// `POST /api/sessions/save-message`
pub(super) async fn save_message(
    State(app): State<App>,
    identity: Identity,
    JsonBody(body): JsonBody<SaveMessageBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let draft = body.parse()?;
    Ok(written(sessions::save_message(&app.store, caller, draft).await?))
}

impl SaveMessageBody {
    fn parse(self) -> Result<Draft, Invalid> {
        Ok(Draft {
            session_id: session_id(self.session_id.as_deref())?,
            id: self.id.as_deref().map(MessageId::parse).transpose()?,
            role: Role::parse(&required("role", self.role)?)?,
            content: Content::parse("content", required("content", self.content)?)?,
            metadata: self.metadata.map(Metadata::parse).transpose()?,
        })
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
    JsonBody(body): JsonBody<DeleteBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let id = session_id(body.session_id.as_deref())?;
    sessions::delete(&app.store, caller, id).await?;
    Ok(json(StatusCode::OK, r#"{"success":true,"message":"Session deleted successfully"}"#))
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
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
}

/// `POST /api/sessions/update`
pub(super) async fn update(
    State(app): State<App>,
    identity: Identity,
    JsonBody(body): JsonBody<UpdateBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let id = session_id(body.session_id.as_deref())?;
    let update = SessionUpdate {
        title: body.title.map(Title::parse).transpose()?,
        metadata: body.metadata.map(Metadata::parse).transpose()?,
    };
    Ok(json(StatusCode::OK, sessions::update(&app.store, caller, id, update).await?))
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
    Params(params): Params<GetParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    let id = session_id(params.session_id.as_deref())?;
    Ok(json(StatusCode::OK, sessions::get(&app.store, &caller, &id)?))
}

/// `GET /api/sessions/{sessionId}`
pub(super) async fn get_by_path(
    State(app): State<App>,
    identity: Identity,
    PathPart(id): PathPart,
) -> Reply {
    let caller = identity.caller(None)?;
    let id = SessionId::parse(&id)?;
    Ok(json(StatusCode::OK, sessions::get(&app.store, &caller, &id)?))
}

fn session_id(text: Option<&str>) -> Result<SessionId, Invalid> {
    SessionId::parse(required("sessionId", text)?)
}

fn written(outcome: Written) -> Response {
    match outcome {
        Written::New(text) => json(StatusCode::CREATED, text),
        Written::Already(text) => json(StatusCode::OK, text),
    }
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], body.into()).into_response()
}
