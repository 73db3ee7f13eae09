//! One line of the table of routes: from it come the router, the index and the `OpenAPI` document.

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

impl Route {
    pub(super) fn get<H, T>(path: &'static str, handler: H, doc: fn() -> Doc) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(Method::GET, path, on(MethodFilter::GET, handler), Some(doc))
    }

    pub(super) fn post<H, T>(path: &'static str, handler: H, doc: fn() -> Doc) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(Method::POST, path, on(MethodFilter::POST, handler), Some(doc))
    }

    pub(super) fn patch<H, T>(path: &'static str, handler: H, doc: fn() -> Doc) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(Method::PATCH, path, on(MethodFilter::PATCH, handler), Some(doc))
    }

    pub(super) fn delete<H, T>(path: &'static str, handler: H, doc: fn() -> Doc) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, on(MethodFilter::DELETE, handler), Some(doc))
    }

    /// A file for browsers, which is no part of the API: neither the document nor the index has it.
    pub(super) fn file<H, T>(path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self::new(Method::GET, path, on(MethodFilter::GET, handler), None)
    }

    fn new(
        method: Method,
        path: &'static str,
        handler: MethodRouter<App>,
        doc: Option<fn() -> Doc>,
    ) -> Self {
        Self { method, path, handler, doc }
    }

    /// What the document says of it; `None` for a file.
    pub(super) fn doc(&self) -> Option<Doc> {
        self.doc.map(|doc| doc())
    }

    pub(super) fn is_described(&self) -> bool {
        self.doc.is_some()
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
