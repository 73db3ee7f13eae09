//! One line of the table of routes: from it come the router, the index and the OpenAPI document.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::App;
use super::openapi::Doc;

/// A method on a path, who answers it, and what the document says of it.
pub(super) struct Route {
    pub(super) method: Method,
    /// As it is shown, with its variable parts in braces.
    pub(super) path: &'static str,
    handler: MethodRouter<App>,
    doc: Option<fn() -> Doc>,
}

/// A constructor for each method. They ask for a description, so that no route is without one
/// by mistake.
macro_rules! methods {
    ($($name:ident $method:ident),+) => {
        impl Route {
            $(pub(super) fn $name<H, T>(path: &'static str, handler: H, doc: fn() -> Doc) -> Self
            where
                H: Handler<T, App>,
                T: 'static,
            {
                let handler = on(MethodFilter::$method, handler);
                Self { method: Method::$method, path, handler, doc: Some(doc) }
            })+
        }
    };
}

methods!(get GET, post POST, patch PATCH, delete DELETE);

impl Route {
    /// A file for browsers, which is no part of the API: neither the document nor the index has it.
    pub(super) fn file<H, T>(path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self { method: Method::GET, path, handler: on(MethodFilter::GET, handler), doc: None }
    }

    /// What the document says of it; `None` for a file.
    pub(super) fn doc(&self) -> Option<Doc> {
        self.doc.map(|doc| doc())
    }

    /// `GET /health`
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Routes on one path become one, so that its `Allow` header names all their methods.
pub(super) fn fold(routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}
