//! `GET /docs`: the OpenAPI document for people, with all that its page needs on board.
//!
//! The viewer is Swagger UI, as its npm package `swagger-ui-dist` has it; `docs/README.md` says
//! which version, and how to take another.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;

use super::App;
use super::asset::Asset;
use super::extract::Known;

/// Nothing from elsewhere, nothing to elsewhere, and no script that stands in the page. The viewer
/// sets styles of single elements, and its style sheet holds its icons.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page.
#[derive(Debug)]
pub(super) struct Docs {
    page: Asset,
    init: Asset,
    viewer: Asset,
    style: Asset,
}

impl Docs {
    pub(super) fn new() -> Self {
        let page: &[u8] = include_bytes!("docs/index.html");
        let init: &[u8] = include_bytes!("docs/init.js");
        let viewer: &[u8] = include_bytes!("docs/swagger-ui-bundle.js.gz");
        let style: &[u8] = include_bytes!("docs/swagger-ui.css.gz");
        Self {
            page: Asset::new("text/html; charset=utf-8", page),
            init: Asset::new(JAVASCRIPT, init),
            viewer: Asset::new(JAVASCRIPT, viewer).gzipped(),
            style: Asset::new("text/css; charset=utf-8", style).gzipped(),
        }
    }
}

/// `GET /docs`
pub(super) async fn page(State(app): State<App>, known: Known) -> Response {
    let mut response = app.docs.page.reply(&known);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// `GET /docs/init.js`
pub(super) async fn init(State(app): State<App>, known: Known) -> Response {
    app.docs.init.reply(&known)
}

/// `GET /docs/swagger-ui-bundle.js`
pub(super) async fn viewer(State(app): State<App>, known: Known) -> Response {
    app.docs.viewer.reply(&known)
}

/// `GET /docs/swagger-ui.css`
pub(super) async fn style(State(app): State<App>, known: Known) -> Response {
    app.docs.style.reply(&known)
}
