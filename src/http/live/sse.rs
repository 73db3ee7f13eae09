//! Server-Sent Events: updates over a plain answer that does not end, as `EventSource` reads it.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;
use futures_util::stream::{Stream, StreamExt as _, once, unfold};
use tokio::time::timeout;

use crate::http::{App, Endless};
use crate::sessions::Followed;

use super::Listener;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How long a client waits before it connects again.
const RETRY_MILLIS: u64 = 2000;

const COMMENT: &[u8] = b":\n\n";

/// `GET /api/events`
pub(in crate::http) async fn events(
    State(app): State<App>,
    listener: Listener,
) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        // No proxy may keep it, nor hold it back to compress it.
        (CACHE_CONTROL, "no-cache, no-transform"),
        (ACCEL_BUFFERING, "no"),
    ];
    let blocks = blocks(listener.counted(&app, "sse"), app.limits.comment_every);
    (Extension(Endless), headers, Body::from_stream(blocks.map(Ok::<_, Infallible>)))
}

/// The stream of a listener: from where it can be resumed, then each event.
fn blocks(listener: Listener, comment_every: Duration) -> impl Stream<Item = Bytes> {
    // Without data it is no event, and is remembered by the client as if it were one.
    let begin = format!("retry: {RETRY_MILLIS}\nid: {}\n\n", listener.cursor());
    let events = unfold(listener, move |mut listener| async move {
        let piece = match timeout(comment_every, listener.next()).await {
            Ok(Ok(events)) => events.iter().map(block).collect::<String>().into(),
            Ok(Err(_end)) => return None,
            Err(_silence) => {
                listener.cursor_when_idle().map_or(Bytes::from_static(COMMENT), |cursor| {
                    format!(":\nid: {cursor}\n\n").into()
                })
            }
        };
        Some((piece, listener))
    });
    once(ready(Bytes::from(begin))).chain(events)
}

/// An event. A row may have line ends between its members, as it was sent; none can stand in a
/// string.
fn block(event: &Followed) -> String {
    let mut block = format!("id: {}\n", event.cursor);
    for line in event.json.split(['\r', '\n']) {
        block.extend(["data: ", line, "\n"]);
    }
    block.push('\n');
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_several_lines_stays_one_event() {
        let json = "{\"a\":\r\n1}".to_owned();

        let block = block(&Followed { cursor: "c".to_owned(), json });

        assert_eq!(block, "id: c\ndata: {\"a\":\ndata: \ndata: 1}\n\n");
    }
}
