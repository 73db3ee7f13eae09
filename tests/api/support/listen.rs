//! Listening to what happens, over either transport.

use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, HeaderName};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Mode, TestServer, User};

/// How to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Stream,
    Socket,
}

pub(crate) const EITHER: [By; 2] = [By::Stream, By::Socket];

/// Somebody who listens.
pub(crate) enum Listener {
    Stream(EventStream),
    Socket(Box<WebSocketStream<TcpStream>>),
}

impl By {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Stream => "/api/events",
            Self::Socket => "/api/ws",
        }
    }
}

impl User<'_> {
    /// Listens to what happens to this user's sessions, with these parameters.
    pub(crate) async fn listen(&self, by: By, parameters: &str) -> Listener {
        self.listen_after(by, parameters, None).await
    }

    /// Listens again, after the cursor of the last event that was heard.
    pub(crate) async fn resume(&self, by: By, cursor: &str) -> Listener {
        match by {
            By::Stream => self.listen_after(by, "", Some(cursor)).await,
            By::Socket => self.listen(by, &format!("since={cursor}")).await,
        }
    }

    /// Listens, with a `Last-Event-ID`.
    pub(crate) async fn listen_after(
        &self,
        by: By,
        parameters: &str,
        id: Option<&str>,
    ) -> Listener {
        let call = self.request("GET", &format!("{}?{parameters}", by.path()));
        let id = id.map(|id| (HeaderName::from_static("last-event-id"), id.to_owned()));
        let token = (self.server.mode == Mode::Jwt)
            .then(|| (AUTHORIZATION, format!("Bearer {}", self.token())));
        self.server.listen_to(by, &call.path, id.into_iter().chain(token)).await
    }
}

impl TestServer {
    /// Listens, as whoever the path and these headers say.
    pub(crate) async fn listen_to(
        &self,
        by: By,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, String)>,
    ) -> Listener {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match by {
            By::Stream => {
                let uri = format!("http://{}{path}", self.address);
                let request = request.uri(uri).body(axum::body::Body::empty()).unwrap();
                let (head, body) = self.client.request(request).await.unwrap().into_parts();
                assert_eq!(head.status, 200, "{head:?}");
                let (text, last_id) = (String::new(), String::new());
                let mut stream = EventStream { headers: head.headers, body, text, last_id };
                stream.begin().await;
                Listener::Stream(stream)
            }
            By::Socket => {
                let request = request
                    .uri(format!("ws://{}{path}", self.address))
                    .header("host", &self.address)
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-version", "13")
                    .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
                let (request, stream) = (request.body(()).unwrap(), self.connect().await);
                let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
                Listener::Socket(Box::new(socket))
            }
        }
    }
}

impl Listener {
    /// The text of the next event; `None` when there are no more.
    pub(crate) async fn text(&mut self) -> Option<String> {
        match self {
            Self::Stream(stream) => stream.text().await,
            Self::Socket(socket) => loop {
                match socket.next().await? {
                    Ok(Message::Text(text)) => return Some(text.to_string()),
                    Ok(Message::Ping(_)) => {}
                    _ => return None,
                }
            },
        }
    }

    /// The next event.
    pub(crate) async fn hear(&mut self) -> Value {
        let text = self.text().await.expect("it ended");
        serde_json::from_str(&text).unwrap()
    }

    /// The next events: of each its type, and what its session or message says.
    pub(crate) async fn hear_of<const N: usize>(&mut self) -> [String; N] {
        let mut heard = [const { String::new() }; N];
        for heard in &mut heard {
            let event = self.hear().await;
            let said = event["message"]["content"].as_str().or(event["session"]["title"].as_str());
            *heard = format!("{} {}", event["type"].as_str().unwrap(), said.unwrap_or("-"));
        }
        heard
    }

    /// Checks that it ends without another event, and gives the code and reason of a socket.
    pub(crate) async fn end(&mut self) -> Option<(u16, String)> {
        match self {
            Self::Stream(stream) => {
                assert_eq!(stream.text().await, None);
                None
            }
            Self::Socket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(Some(frame)))) => {
                        break Some((frame.code.into(), frame.reason.to_string()));
                    }
                    other => panic!("not closed in good order: {other:?}"),
                }
            },
        }
    }

    /// Says something, on a socket.
    pub(crate) async fn say(&mut self, message: Message) {
        let Self::Socket(socket) = self else { panic!("a stream cannot be spoken to") };
        socket.send(message).await.unwrap();
    }

    pub(crate) fn stream(&mut self) -> &mut EventStream {
        let Self::Stream(stream) = self else { panic!("this is a socket") };
        stream
    }
}

/// Server-Sent Events, as a browser reads them.
pub(crate) struct EventStream {
    pub(crate) headers: axum::http::HeaderMap,
    body: Incoming,
    text: String,
    pub(crate) last_id: String,
}

impl EventStream {
    /// Reads the first block, which has no event.
    async fn begin(&mut self) {
        let block = self.block().await.unwrap();
        assert!(block.starts_with("retry: 2000\nid: "), "{block}");
    }

    /// The next block of lines.
    pub(crate) async fn block(&mut self) -> Option<String> {
        // Where a block may end that was not whole before.
        let mut looked = 0;
        loop {
            if let Some(end) = self.text[looked..].find("\n\n") {
                let rest = self.text.split_off(looked + end + 2);
                let block = std::mem::replace(&mut self.text, rest);
                let block = block.trim_end_matches('\n').to_owned();
                let ids = block.lines().filter_map(|line| line.strip_prefix("id: "));
                ids.for_each(|id| id.clone_into(&mut self.last_id));
                return Some(block);
            }
            looked = self.text.len().saturating_sub(1);
            let frame = self.body.frame().await?.ok()?;
            let bytes: Bytes = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn text(&mut self) -> Option<String> {
        loop {
            let block = self.block().await?;
            let data: Vec<_> =
                block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            if !data.is_empty() {
                return Some(data.join("\n"));
            }
        }
    }
}

/// The cursor in the text of an event. This and the next are quicker than parsing it all.
pub(crate) fn cursor_in(event: &str) -> &str {
    quoted_after(event, r#"{"cursor":""#)
}

/// What the message says in the text of an event.
pub(crate) fn content_in(event: &str) -> &str {
    quoted_after(event, r#""content":""#)
}

fn quoted_after<'a>(text: &'a str, start: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once('"').unwrap().0
}
