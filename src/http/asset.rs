//! Answers that are the same for everybody for as long as the process lives.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

/// A body in memory, with the headers that it is sent with.
#[derive(Debug)]
pub(super) struct Asset {
    body: Bytes,
    headers: HeaderMap,
    etag: String,
}

impl Asset {
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        // Strong: by the hash of what is sent, so that it outlives a restart.
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, &body)));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        Self { body, headers, etag }
    }

    /// The body is compressed already. It is sent so to everybody: there is no browser that cannot
    /// read it.
    pub(super) fn gzipped(mut self) -> Self {
        self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        self
    }

    /// The answer to a request with headers `asked`: 304 if they name what is here.
    pub(super) fn reply(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known
            .flat_map(|list| list.split(','))
            .map(str::trim)
            // Compared weakly (RFC 9110, section 13.1.2): proxies weaken tags on their way.
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag);
        let mut response =
            Response::new(if is_known { Body::empty() } else { Body::from(self.body.clone()) });
        *response.headers_mut() = self.headers.clone();
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }
}
