//! Requests that are put together piece by piece, and their answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::TestServer;

/// A request that is being put together.
#[must_use]
pub(crate) struct Call<'a> {
    pub(super) server: &'a TestServer,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Call<'_> {
    /// Adds a header; one that is there stays there too.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub(crate) fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Reply {
        self.detached().await
    }

    /// What sends it, wherever that is awaited.
    pub(crate) fn detached(self) -> impl Future<Output = Reply> + Send + 'static {
        let uri = format!("http://{}{}", self.server.address, self.path);
        let mut request = Request::builder().method(self.method).uri(uri).body(self.body).unwrap();
        *request.headers_mut() = self.headers;
        let answering = self.server.client.request(request);
        async move {
            let (parts, body) = answering.await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: parts.status, headers: parts.headers, body }
        }
    }
}

/// An answer, read whole.
#[must_use]
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The one answer in `text`, as it came over the wire with a `Content-Length` or none.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("cut: {text:?}"));
        let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {line}"));
        let headers = head.lines().map(|line| line.split_once(": ").unwrap());
        Self {
            status: status.split(' ').next().unwrap().parse().unwrap(),
            headers: headers
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The one value of a header.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands there more than once: {self:?}");
        value
    }

    /// Checks the status, and gives the JSON.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// The version of what it holds.
    #[track_caller]
    pub(crate) fn etag(&self) -> &str {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self:?}"))
    }

    /// Checks that it is a 412 that shows what is stored, with its version.
    #[track_caller]
    pub(crate) fn assert_stale(&self, stored: &Self) -> Value {
        let error = self.expect(412);
        assert_eq!((&error["code"], &error["current"]), (&"stale".into(), &stored.json()));
        assert_eq!(self.etag(), stored.etag(), "that of what is stored");
        error
    }

    /// Checks that it is an error of the contract's shape, with this status and code.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) -> Value {
        let error = self.expect(status);
        assert_eq!(error["code"], code, "{error}");
        let mut members: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["code", "error", "message", "requestId"], "{error}");
        assert_eq!(error["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header(CONTENT_TYPE.as_str()), Some("application/json"));
        error
    }
}

/// A body of which nothing ever comes.
pub(crate) fn body_that_never_comes() -> Body {
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    Body::new(Silent)
}

/// A body that is sent in chunks, as if its length were not known.
pub(crate) fn body_in_chunks(text: String) -> Body {
    struct Chunks(Bytes);

    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let chunk = self.0.len().min(64 * 1024);
            Poll::Ready((chunk > 0).then(|| Ok(Frame::data(self.0.split_to(chunk)))))
        }
    }

    Body::new(Chunks(text.into()))
}
