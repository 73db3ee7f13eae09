//! `GET /openapi.json`: the API as machines read it, from the table of routes and from the types
//! that requests are parsed into and answers are made of.
//!
//! [`describe`] says of each route what only it does; what any route may answer is added here.

pub(super) mod describe;

mod doc;
mod refusal;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, License, OpenApi, OpenApiBuilder, Paths,
};

use super::App;
use super::asset::Asset;
use super::extract::Known;
use super::route::Route;

pub(super) use doc::Doc;

const ABOUT: &str = "Chat sessions and their messages. Ids are opaque. Unknown members and \
                     parameters are ignored, and null counts as absent. An answer 2xx to a write \
                     means that it is on disk.";

const AUTH: &str = "HS256, with exp, sub, iss and aud. A server without a secret takes no token: \
                    there, callers say who they are by userId.";

/// `GET /openapi.json`
pub(super) async fn document(State(app): State<App>, known: Known) -> Response {
    app.openapi.reply(&known)
}

/// A bound of time: a date-time of RFC 3339, or a date.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "is only described")]
pub(super) enum Moment {
    /// An instant.
    #[schema(value_type = String, format = DateTime)]
    DateTime(String),
    /// A day in UTC.
    #[schema(value_type = String, format = Date)]
    Date(String),
}

/// The document of these routes, as it is sent.
pub(super) fn asset(routes: &[Route]) -> Asset {
    Asset::new("application/json", of(routes).to_json().unwrap_or_default())
}

/// The document of these routes.
fn of(routes: &[Route]) -> OpenApi {
    let (mut paths, mut schemas) = (Paths::new(), Vec::new());
    for route in routes {
        let Some(doc) = route.doc() else { continue };
        let (operation, used) = doc.finish();
        paths.add_path_operation(route.path, vec![method(route)], operation);
        schemas.extend(used);
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(AUTH))
        .build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .responses_from_iter(refusal::responses())
        .security_scheme(doc::BEARER, SecurityScheme::Http(bearer))
        .build();
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    let info = InfoBuilder::new()
        .title(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

#[cfg(test)]
mod tests;
