//! The other end: asks a server one thing, for commands that tell how one is doing. HTTP without
//! TLS, as it is asked on its own machine or network.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// A server that can be asked.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    /// What it is called: host and port.
    name: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The members of its body; none if that is no JSON object.
    body: Map<String, Value>,
}

/// Why a server was not asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or it cannot be reached.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// Whoever listens there does not speak HTTP, or went away.
    #[error("no answer in HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is longer than answers are.
    #[error("no answer of less than {ANSWER_MAX} bytes: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl Peer {
    /// The server at `address` that is called `name`, host and port.
    pub fn new(address: SocketAddr, name: String) -> Self {
        Self { address, name }
    }

    /// The server that listens on `address` of this machine, be it all of its addresses.
    pub fn listening_on(mut address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(all) if all.ip().is_unspecified() => {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            SocketAddr::V6(all) if all.ip().is_unspecified() => {
                address.set_ip(Ipv6Addr::LOCALHOST.into());
            }
            _ => {}
        }
        Self { address, name: address.to_string() }
    }

    /// What it is called: host and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for `path`, for as long as the caller waits.
    ///
    /// # Errors
    /// [`AskError`] when there is no answer; one that refuses is none.
    pub async fn get(&self, path: &'static str) -> Result<Answer, AskError> {
        let request = Request::get(path).body(Empty::new()).map_err(std::io::Error::other)?;
        let (head, body) = self.ask(request).await?.into_parts();
        Ok(Answer { status: head.status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// Sends `request` over a connection of its own, for as long as the caller waits. Its `Host` is
    /// this server's name unless it has one.
    ///
    /// # Errors
    /// [`AskError`] when there is no answer; one that refuses is none.
    pub async fn ask(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Bytes>, AskError> {
        let name = HeaderValue::from_str(&self.name).map_err(std::io::Error::other)?;
        request.headers_mut().entry(HOST).or_insert(name);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let asking = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(AskError::Body)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // What fails for the connection fails for the request.
        let (answer, _closed) = tokio::join!(asking, connection);
        answer
    }
}

impl Answer {
    /// The text of the body's member `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}
