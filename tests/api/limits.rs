//! How long and how much the server takes, and how it stops.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use orion_chat::http::App;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::support::{Mode, Reply, Setup, TestServer, body_that_never_comes, read_to_end};

pub(crate) const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: Duration = Duration::from_millis(200);
pub(crate) const FOR_EVER: Duration = Duration::from_mins(1);

/// How a server is set up that waits long for all but what `change` says.
pub(crate) fn patient() -> Setup {
    Setup::new(Mode::Off).patience(|patience| {
        (patience.head, patience.idle, patience.stall) = (FOR_EVER, FOR_EVER, FOR_EVER);
    })
}

#[tokio::test]
async fn a_head_may_have_32_kib() {
    let server = TestServer::start().await;
    let head = |bytes: usize| {
        let begin = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: ";
        format!("{begin}{}\r\n\r\n", "x".repeat(bytes - begin.len() - 4))
    };
    let target = |bytes: usize| {
        let (begin, end) = ("GET /health?", " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };

    for head in [head, target] as [fn(usize) -> String; 2] {
        Reply::parse(&server.send_raw(head(32 * 1024)).await).expect(200);
        for bytes in [32 * 1024 + 1, 64 * 1024] {
            let reply = Reply::parse(&server.send_raw(head(bytes)).await);
            reply.assert_error(431, "head_too_large");
        }
    }
    // What is far longer is not even read.
    assert!(server.send_raw(head(1024 * 1024)).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn whoever_sends_nothing_is_hung_up_on() {
    let server = patient().patience(|patience| patience.head = SHORT).start().await;

    let mut silent = server.connect().await;

    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_hung_up_on() {
    let server = patient().patience(|patience| patience.head = SHORT).start().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /health HTTP/1.1\r\nx: ").await.unwrap();

    // Each byte comes in time, and the head does not.
    let mut byte = [0];
    loop {
        match tokio::time::timeout(SHORT / 10, slow.read(&mut byte)).await {
            Ok(read) => break assert_eq!(read.unwrap_or(0), 0, "it is not answered"),
            Err(_) => drop(slow.write_all(b"y").await),
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end_and_can_be_used_until_then() {
    let server = patient().patience(|patience| patience.idle = SHORT).start().await;
    let mut stream = server.connect().await;

    stream.write_all(HEALTH.repeat(3).as_bytes()).await.unwrap();

    let answers = read_to_end(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let server = patient().limits(|limits| limits.body_time = SHORT).start().await;

    let call = server.post("/api/sessions/create?userId=ann", body_that_never_comes());
    call.send().await.assert_error(408, "request_timeout");
    let half = "POST /api/sessions/create?userId=ann HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{}";
    let answer = server.send_raw(half).await;

    Reply::parse(&answer).assert_error(408, "request_timeout");
    assert!(server.user("ann").sessions().await.is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = patient().start().await;
    let mut stream = server.connect().await;

    let half = "POST /api/sessions/create?userId=ann HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{}";
    stream.write_all(half.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();

    let answer = read_to_end(&mut stream).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert!(server.user("ann").sessions().await.is_empty());
}

#[tokio::test]
async fn a_connection_too_many_waits_until_there_is_room() {
    let server = patient().max_connections(1).start().await;
    let mut first = server.connect().await;
    first.write_all(HEALTH.as_bytes()).await.unwrap();
    first.read_exact(&mut [0; 12]).await.unwrap();

    let mut second = server.connect().await;
    second.write_all(HEALTH.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(SHORT, second.read_exact(&mut [0; 12])).await;
    assert!(early.is_err(), "it was served beside the first");

    drop(first);
    second.read_exact(&mut [0; 12]).await.unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_server_stops() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let held = async move || {
        tell.notify_one();
        wait.notified().await;
        "finished"
    };
    let routes: Router<App> = Router::new().route("/test/held", get(held));
    let server = patient().routes(routes).start().await;
    let mut idle = server.connect().await;
    idle.write_all(HEALTH.as_bytes()).await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(HEALTH.replace("/health", "/test/held").as_bytes()).await.unwrap();
    begun.notified().await;
    let address = server.address.clone();

    let stopping = server.stop();
    let finishing = async {
        // It stops listening first: then it cannot be connected to.
        while tokio::net::TcpStream::connect(&address).await.is_ok() {}
        read_to_end(&mut idle).await;
        go_on.notify_one();
        read_to_end(&mut busy).await
    };
    let (_folder, answer) = tokio::join!(stopping, finishing);

    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("finished"), "{answer}");
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let server = TestServer::start().await;
    let session = server.user("ann").create_session("hi").await;
    server.user("ann").save_message(&session, "assistant", "hello").await.expect(201);
    let before = server.user("ann").history(&session).await.expect(200);

    let server = Setup::new(Mode::Jwt).folder(server.stop().await).start().await;

    let ann = server.user("ann");
    assert_eq!(ann.history(&session).await.expect(200), before);
    ann.save_message(&session, "user", "thanks").await.expect(201);
    assert_eq!(ann.texts(&session).await, ["hi", "hello", "thanks"]);
    assert_eq!(ann.sessions().await[0]["messageCount"], 3);
    assert!(server.user("bob").sessions().await.is_empty());
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let routes = Router::new().route("/test/never", get(std::future::pending::<&str>));
    let server = patient().routes(routes).limits(|limits| limits.request_time = SHORT);
    let server = server.start().await;

    let reply = server.get("/test/never").send().await;

    reply.assert_error(503, "timeout");
    assert_eq!(reply.header("retry-after"), Some("2"));
}
