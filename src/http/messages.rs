//! The routes of messages: what they take, and what they give.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::model::{
    Content, Invalid, MessageId, Metadata, MetadataUpdate, PageSize, Parts, Role, SessionId, UserId,
};
use crate::sessions::{self, Draft, History, HistoryQuery, MessageEdit, SortOrder};

use super::App;
use super::auth::Identity;
use super::body::HistoryBody;
use super::extract::{Known, Params, Patched, PathPart, Posted, Seen, required};
use super::pages::Asked;
use super::reply::{Reply, json, shown, shown_as, written};
use super::sessions::named;

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
    asked: Asked,
    Params(params): Params<HistoryParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    show_history(&app, &asked, &caller, &params.parse(None)?)
}

/// `GET /api/sessions/{sessionId}/messages`
pub(super) async fn history_by_path(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
    PathPart(id): PathPart,
    Params(params): Params<HistoryParams>,
) -> Reply {
    let caller = identity.caller(None)?;
    show_history(&app, &asked, &caller, &params.parse(Some(&id))?)
}

fn show_history(app: &App, asked: &Asked, caller: &UserId, query: &HistoryQuery) -> Reply {
    let page = app.pages.look(&app.store, caller, asked);
    if let Some(unchanged) = page.unchanged() {
        return Ok(unchanged);
    }
    Ok(match sessions::history(&app.store, caller, query)? {
        History::Whole(text) => page.show(text),
        History::Pieces { tag, first, rest } => shown_as(&asked.known, tag, || {
            json(StatusCode::OK, Body::new(HistoryBody::new(first, rest)))
        }),
    })
}

impl HistoryParams {
    fn parse(self, in_path: Option<&str>) -> Result<HistoryQuery, Invalid> {
        let order = self.order.as_deref();
        let limit = self.limit.as_deref().map(PageSize::parse).transpose()?;
        Ok(HistoryQuery {
            session_id: named(self.session_id.as_deref(), in_path)?,
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
    /// What is said. May be left out beside `parts`, whose text it then is.
    #[schema(value_type = Option<Content>)]
    content: Option<String>,
    /// What is shown, if that is more than text; kept as it is sent.
    #[schema(value_type = Option<Parts>)]
    parts: Option<Box<RawValue>>,
    /// The message of this session that it follows.
    #[schema(value_type = Option<MessageId>)]
    parent_id: Option<String>,
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    /// How many messages the caller has seen: if there are others, nothing is saved.
    expected_count: Option<u64>,
    /// Makes the call safe to repeat.
    #[schema(value_type = Option<MessageId>)]
    id: Option<String>,
}

/// `POST /api/sessions/save-message`
pub(super) async fn save_message(
    State(app): State<App>,
    identity: Identity,
    seen: Seen,
    posted: Posted<SaveMessageBody>,
) -> Reply {
    save(&app, identity, seen, None, posted).await
}

/// `POST /api/sessions/{sessionId}/messages`
pub(super) async fn save_message_by_path(
    State(app): State<App>,
    identity: Identity,
    seen: Seen,
    PathPart(id): PathPart,
    posted: Posted<SaveMessageBody>,
) -> Reply {
    save(&app, identity, seen, Some(&id), posted).await
}

async fn save(
    app: &App,
    identity: Identity,
    Seen(seen): Seen,
    in_path: Option<&str>,
    Posted { body, once }: Posted<SaveMessageBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let draft = Draft { seen, ..body.parse(in_path)? };
    Ok(written(sessions::save_message(&app.store, caller, draft, once).await?))
}

impl SaveMessageBody {
    fn parse(self, in_path: Option<&str>) -> Result<Draft, Invalid> {
        let parts = self.parts.map(Parts::parse).transpose()?;
        // Empty beside parts is what a message without text is answered as.
        let content = self.content.filter(|content| parts.is_none() || !content.is_empty());
        let content = match (content, &parts) {
            (None, Some(parts)) => Content::of_parts(parts),
            (content, _) => Content::parse("content", required("content", content)?)?,
        };
        Ok(Draft {
            session_id: named(self.session_id.as_deref(), in_path)?,
            id: self.id.as_deref().map(MessageId::parse).transpose()?,
            role: Role::parse(&required("role", self.role)?)?,
            content,
            parts,
            parent_id: message_id("parentId", self.parent_id.as_deref())?,
            metadata: self.metadata.map(Metadata::parse).transpose()?,
            seen: None,
            seen_count: self.expected_count,
        })
    }
}

/// `GET /api/sessions/{sessionId}/messages/{messageId}`
pub(super) async fn get_message(
    State(app): State<App>,
    identity: Identity,
    known: Known,
    PathPart(path): PathPart<(String, String)>,
) -> Reply {
    let caller = identity.caller(None)?;
    let (session_id, id) = ids(&path)?;
    Ok(shown(&known, sessions::get_message(&app.store, &caller, &session_id, &id)?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EditMessageBody {
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    /// What it says from now on. Without new `parts` it has none then.
    #[schema(value_type = Option<Content>)]
    content: Option<String>,
    /// Without new `content`, their text is it.
    #[schema(value_type = Option<Parts>)]
    parts: Option<Box<RawValue>>,
    /// Replaces what is stored; or is merged into it, in a body of type
    /// `application/merge-patch+json`.
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
}

/// `PATCH /api/sessions/{sessionId}/messages/{messageId}`
pub(super) async fn edit_message(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    PathPart(path): PathPart<(String, String)>,
    Patched { body, merges }: Patched<EditMessageBody>,
) -> Reply {
    let caller = identity.caller(body.user_id.as_deref())?;
    let ids = ids(&path)?;
    let edit = body.parse(merges)?;
    Ok(written(sessions::edit_message(&app.store, caller, ids, edit, seen).await?))
}

impl EditMessageBody {
    fn parse(self, merges: bool) -> Result<MessageEdit, Invalid> {
        let parts = self.parts.map(Parts::parse).transpose()?;
        let content = self.content.filter(|content| parts.is_none() || !content.is_empty());
        let content = content.map(|text| Content::parse("content", text)).transpose()?;
        Ok(MessageEdit {
            content: content.or_else(|| parts.as_ref().map(Content::of_parts)),
            parts,
            metadata: self.metadata.map(|json| MetadataUpdate::parse(json, merges)).transpose()?,
        })
    }
}

/// `DELETE /api/sessions/{sessionId}/messages/{messageId}`
pub(super) async fn delete_message(
    State(app): State<App>,
    identity: Identity,
    Seen(seen): Seen,
    PathPart(path): PathPart<(String, String)>,
) -> Reply {
    let caller = identity.caller(None)?;
    let ids = ids(&path)?;
    Ok(written(sessions::delete_message(&app.store, caller, ids, seen).await?))
}

fn ids((session_id, id): &(String, String)) -> Result<(SessionId, MessageId), Invalid> {
    Ok((named(None, Some(session_id))?, MessageId::parse(id)?))
}

fn message_id(field: &'static str, text: Option<&str>) -> Result<Option<MessageId>, Invalid> {
    let renamed = |wrong: Invalid| Invalid { field, ..wrong };
    text.map(|text| MessageId::parse(text).map_err(renamed)).transpose()
}
