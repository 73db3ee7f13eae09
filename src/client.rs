//! The other end: asks a server one thing, for commands that tell how one is doing. HTTP without
//! TLS, as it is asked on its own machine or network.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
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
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path).header(HOST, &self.name).header(CONNECTION, "close");
        let asking = async move {
            let request = request.body(Empty::<Bytes>::new()).map_err(std::io::Error::other)?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(AskError::Body)?;
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            Ok(Answer { status: head.status, body })
        };
        match tokio::join!(asking, connection) {
            // The connection knows why.
            (Err(AskError::Http(error)), Err(why)) if error.is_canceled() => Err(why.into()),
            (answer, _) => answer,
        }
    }
}

impl Answer {
    /// The text of the body's member `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}
