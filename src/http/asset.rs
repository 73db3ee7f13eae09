//! Answers that are the same for everybody for as long as the process lives.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::model::ETag;

use super::extract::Known;

/// A body in memory, with the headers that it is sent with.
#[derive(Debug)]
pub(super) struct Asset {
    body: Bytes,
    headers: HeaderMap,
    tag: ETag,
}

impl Asset {
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = ETag::of(&body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Ok(tag) = HeaderValue::try_from(tag.to_string()) {
            headers.insert(ETAG, tag);
        }
        Self { body, headers, tag }
    }

    /// The body is compressed already. It is sent so to everybody: there is no browser that cannot
    /// read it.
    pub(super) fn gzipped(mut self) -> Self {
        self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        self
    }

    /// The answer to a caller who has what is among `known`: 304 if that is what is here.
    pub(super) fn reply(&self, known: &Known) -> Response {
        let is_known = known.has(self.tag);
        let mut response =
            Response::new(if is_known { Body::empty() } else { Body::from(self.body.clone()) });
        *response.headers_mut() = self.headers.clone();
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }
}
