//! How listening ends, and what keeps it going.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::limits::{FOR_EVER, patient};
use crate::origins::{ALLOWED, REFUSED};
use crate::support::{By, EITHER, Listener, Mode, Setup, TestServer, read_to_end};

use super::upgrading;

const SOON: Duration = Duration::from_millis(20);
/// Less than a server lets pass before it pings.
const PATIENCE: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_listener_to_one_session_is_told_of_its_deletion_and_no_more() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for by in EITHER {
        let session = ann.create_session("hi").await;
        let mut listener = ann.listen(by, &format!("sessionId={session}")).await;

        ann.delete(&session).await.expect(200);

        assert_eq!(listener.hear_of().await, ["session.deleted -"]);
        let told = (by == By::Socket).then(|| (4404, "session deleted".to_owned()));
        assert_eq!(listener.end().await, told);
    }
}

#[tokio::test]
async fn listeners_do_not_hold_up_a_server_that_stops() {
    let server = patient().start().await;
    let ann = server.user("ann");
    let (mut stream, mut socket) =
        (ann.listen(By::Stream, "").await, ann.listen(By::Socket, "").await);
    // One that has gone without a word, and one that does not say goodbye.
    drop(ann.listen(By::Socket, "").await);
    let _silent = ann.listen(By::Socket, "").await;

    let stopping = server.stop();
    let ends = async { (stream.end().await, socket.end().await) };
    let (stopped, ends) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(5), stopping), ends);

    assert_eq!(ends, (None, Some((1001, "server is stopping".to_owned()))));
    assert!(stopped.is_ok(), "it waited for listeners");
}

#[tokio::test]
async fn a_silent_stream_has_comments_and_keeps_up_with_the_log() {
    let server = patient().limits(|limits| limits.comment_every = SOON).start().await;
    let mut listener = server.user("ann").listen(By::Stream, "").await;
    let comment = listener.stream().block().await.unwrap();
    let began = comment.strip_prefix(":\nid: ").unwrap().to_owned();

    server.user("bob").create(json!({})).await.expect(201);

    let moved_on = loop {
        let comment = listener.stream().block().await.unwrap();
        let cursor = comment.strip_prefix(":\nid: ").unwrap().to_owned();
        if cursor != began {
            break cursor;
        }
    };
    server.user("ann").create(json!({ "title": "then" })).await.expect(201);
    let mut resumed = server.user("ann").resume(By::Stream, &moved_on).await;
    assert_eq!(resumed.hear_of().await, ["session.created then"]);
}

#[tokio::test]
async fn a_stream_outlasts_all_that_ends_other_answers() {
    let quick = patient().limits(|limits| {
        (limits.request_time, limits.comment_every) = (SHORT, 3 * SHORT);
    });
    let quick = quick.patience(|patience| {
        (patience.head, patience.idle) = (SHORT, SHORT);
        (patience.stall, patience.behind) = (SHORT, SHORT);
    });
    let server = quick.start().await;
    let mut listener = server.user("ann").listen(By::Stream, "").await;

    assert!(listener.stream().block().await.unwrap().starts_with(':'));
    server.user("ann").create(json!({ "title": "still" })).await.expect(201);
    assert_eq!(listener.hear_of().await, ["session.created still"]);
}

#[tokio::test]
async fn a_socket_that_answers_pings_stays_open() {
    let server = patient().limits(|limits| limits.ping_every = SOON).start().await;
    let ann = server.user("ann");
    let Listener::Socket(mut socket) = ann.listen(By::Socket, "").await else { unreachable!() };

    // Each is answered as it is read.
    for _ in 0..5 {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Ping("".into()));
    }
    ann.create(json!({ "title": "still" })).await.expect(201);
    assert_eq!(Listener::Socket(socket).hear_of().await, ["session.created still"]);
}

#[tokio::test]
async fn a_socket_whose_pings_go_unanswered_is_closed() {
    let setup = patient().limits(|limits| limits.ping_every = SOON).max_connections(1);
    let server = setup.start().await;
    let listener = server.user("ann").listen(By::Socket, "").await;
    let Listener::Socket(socket) = listener else { unreachable!() };

    // Without the code that answers.
    let mut socket = socket.into_inner();
    let heard = read_to_end(&mut socket).await;

    assert_eq!(heard.matches('\0').count(), 2, "pings before it: {heard:?}");
    assert!(heard.ends_with("pings went unanswered"), "{heard:?}");
    server.get("/health").send().await.expect(200);
}

#[tokio::test]
async fn what_is_said_to_a_socket_is_ignored_up_to_a_limit() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for too_long in [4097, 16 * 1024 + 1] {
        let mut listener = ann.listen(By::Socket, "").await;
        listener.say(Message::text("x".repeat(4096))).await;
        listener.say(Message::binary(vec![0; 4096])).await;
        ann.create(json!({ "title": "heard" })).await.expect(201);
        assert_eq!(listener.hear_of().await, ["session.created heard"]);

        listener.say(Message::text("x".repeat(too_long))).await;

        let told = "message is longer than 4096 bytes".to_owned();
        assert_eq!(listener.end().await, Some((1009, told)));
    }
}

/// Opens a socket, sends `bytes` over it, and gives the code that it is closed with.
async fn closed_after(server: &TestServer, bytes: &[u8]) -> u16 {
    let mut stream = server.connect().await;
    let head = "GET /api/ws?userId=ann HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(bytes).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0x88, "the first that is said is goodbye");
    let _length = stream.read_u8().await.unwrap();
    stream.read_u16().await.unwrap()
}

#[tokio::test]
async fn what_is_no_frame_closes_the_socket_with_its_code() {
    let server = TestServer::start().await;
    let long_ping = [&[0x89, 0xFE, 0, 126][..], &[0; 4 + 126]].concat();
    // Masked with zeros, which leaves the text as it is: RFC 6455, section 5.2.
    for (what, bytes, code) in [
        ("an unmasked frame", &[0x81, 1, b'a'][..], 1002),
        ("a reserved bit", &[0xC1, 0x81, 0, 0, 0, 0, b'a'], 1002),
        ("a reserved opcode", &[0x83, 0x81, 0, 0, 0, 0, b'a'], 1002),
        ("a reserved control opcode", &[0x8B, 0x80, 0, 0, 0, 0], 1002),
        ("a ping in pieces", &[0x09, 0x80, 0, 0, 0, 0], 1002),
        ("a ping of 126 bytes", &long_ping, 1002),
        ("a piece of nothing", &[0x80, 0x81, 0, 0, 0, 0, b'a'], 1002),
        ("text amid text", &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], 1002),
        ("text that is none", &[0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28], 1007),
        ("a length of an exbibyte", &[0x82, 0xFF, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let closed = tokio::time::timeout(PATIENCE, closed_after(&server, bytes)).await;
        assert_eq!(closed, Ok(code), "{what}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let server = TestServer::start().await;
    let whole = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for broken in [
        ("connection", ""),
        ("upgrade", ""),
        ("upgrade", "h2c"),
        ("sec-websocket-version", ""),
        ("sec-websocket-version", "12"),
        ("sec-websocket-key", ""),
    ] {
        let headers = whole.map(|header| if header.0 == broken.0 { broken } else { header });
        let sent = headers.into_iter().filter(|(_, value)| !value.is_empty());
        let call = server.get("/api/ws?userId=ann");
        let call = sent.fold(call, |call, (name, value)| call.header(name, value));
        call.send().await.assert_error(426, "upgrade_required");
    }
}

#[tokio::test]
async fn a_socket_holds_its_place_until_it_is_closed() {
    let server = patient().max_connections(1).start().await;
    let mut listener = server.user("ann").listen(By::Socket, "").await;
    let mut health = Box::pin(server.get("/health").send());
    let early = tokio::time::timeout(SHORT, &mut health).await;
    assert!(early.is_err(), "it was served beside the socket");

    listener.say(Message::Close(None)).await;

    health.await.expect(200);
    let Listener::Socket(mut socket) = listener else { unreachable!() };
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(None));
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_socket() {
    let server = Setup::new(Mode::Off).start().await;
    for origin in REFUSED {
        let call = upgrading(server.get("/api/ws?userId=ann"), By::Socket);
        call.origin(origin).send().await.assert_error(403, "origin_not_allowed");
    }
    for origin in ALLOWED {
        let headers = [("origin".parse().unwrap(), (*origin).to_owned())];
        let mut listener = server.listen_to(By::Socket, "/api/ws?userId=ann", headers).await;
        server.user("ann").create(json!({ "title": "heard" })).await.expect(201);
        assert_eq!(listener.hear_of().await, ["session.created heard"], "{origin}");
    }
}

#[tokio::test]
async fn what_is_no_request_for_a_socket_is_told_so_and_costs_no_ticket() {
    let server = patient().patience(|patience| patience.behind = FOR_EVER).start().await;
    let ticket = server.user("ann").post("/api/events/ticket", json!({})).await.expect(201);
    let path = format!("/api/ws?ticket={}", ticket["ticket"].as_str().unwrap());

    let refused = server.get(&path).send().await;

    refused.assert_error(426, "upgrade_required");
    assert_eq!(refused.header("upgrade"), Some("websocket"));
    server.listen_to(By::Socket, &path, []).await;
}
