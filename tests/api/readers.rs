//! Long answers, and readers who take them slowly or not at all.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits::{FOR_EVER, HEALTH, patient};
use crate::support::{Reply, TestServer, read_to_end};

const LONG: usize = 8 * 1_000_000;
const LONGEST: usize = 24 * 1_000_000;

/// Asks for a history of more than the buffers between two sockets take, sent in pieces.
const HISTORY: &str = "GET /api/sessions/messages?userId=ann&sessionId=s HTTP/1.1\r\nHost: x\r\n";
/// Asks for a longer answer, of one piece.
const TEXT: &str = "GET /test/longest HTTP/1.1\r\nHost: x\r\n";

/// A server that gives long answers and waits a second for their readers, and `idle` for the next
/// request. The history is written through another, which waits as long as disks need.
async fn server_with_long_answers(idle: Duration, messages: usize) -> TestServer {
    let server = patient().start().await;
    let (ann, text) = (server.user("ann"), "x".repeat(1_000_000));
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    for _ in 0..messages {
        ann.save_message("s", "tool", &text).await.expect(201);
    }
    let impatient = patient().patience(|patience| {
        (patience.idle, patience.stall) = (idle, Duration::from_secs(1));
    });
    let routes = Router::new().route("/test/longest", get(async || "x".repeat(LONGEST)));
    let setup = impatient.routes(routes).max_connections(1);
    setup.folder(server.stop().await).start().await
}

async fn assert_cut_off(server: &TestServer, request: &str, whole: usize) {
    let mut stalled = server.connect().await;
    stalled.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    // There is room for another connection once that one was given up.
    let other = HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    Reply::parse(&server.send_raw(other).await).expect(200);

    let read = read_to_end(&mut stalled).await.len();
    assert!(read < whole, "{read} bytes were sent to who did not read");
}

async fn assert_read_slowly(server: &TestServer, request: &str, whole: usize) {
    let mut slow = server.connect().await;
    let request = format!("{request}Connection: close\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; whole / 20]);
    loop {
        // The slowness is what is tested: pauses that are each shorter than the server's
        // patience, and together longer.
        tokio::time::sleep(Duration::from_millis(100)).await;
        match slow.read(&mut buffer).await.unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(read >= whole, "{read} bytes");
}

#[tokio::test]
async fn a_reader_that_has_stopped_reading_is_hung_up_on() {
    let server = server_with_long_answers(FOR_EVER, 0).await;
    assert_cut_off(&server, TEXT, LONGEST).await;
}

#[tokio::test]
async fn a_reader_that_has_stopped_within_a_history_is_hung_up_on() {
    let server = server_with_long_answers(FOR_EVER, 8).await;
    assert_cut_off(&server, HISTORY, LONG).await;
}

#[tokio::test]
async fn a_reader_that_is_slow_gets_everything() {
    let server = server_with_long_answers(Duration::from_secs(1), 0).await;
    assert_read_slowly(&server, TEXT, LONGEST).await;
}

#[tokio::test]
async fn a_reader_of_a_history_that_is_slow_gets_everything() {
    let server = server_with_long_answers(Duration::from_secs(1), 8).await;
    assert_read_slowly(&server, HISTORY, LONG).await;
}

#[tokio::test]
async fn a_history_whose_session_is_deleted_on_the_way_breaks_off() {
    let server = patient().folder(server_with_long_answers(FOR_EVER, 8).await.stop().await);
    let server = server.start().await;
    let mut reading = server.connect().await;
    reading.write_all(format!("{HISTORY}\r\n").as_bytes()).await.unwrap();
    reading.read_exact(&mut [0; 12]).await.unwrap();

    server.user("ann").delete("s").await.expect(200);

    let rest = read_to_end(&mut reading).await;
    assert!(rest.len() < LONG, "{} bytes", rest.len());
    assert!(!rest.ends_with("0\r\n\r\n"), "a part must not pass for the whole");
}
