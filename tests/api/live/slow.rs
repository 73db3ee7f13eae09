//! A listener who does not read is cut off, costs the others nothing, and has lost nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::{HEALTH, patient};
use crate::support::{By, Listener, Reply, TestServer, content_in, cursor_in};

/// More than the buffers between two sockets take.
const MESSAGES: usize = 16;
const BYTES: usize = 1_000_000;

/// Saves them, each on a connection of its own.
async fn write_much(server: &TestServer) {
    for number in 0..MESSAGES {
        let content = format!("{number} {}", "x".repeat(BYTES));
        post(server, "save-message", json!({ "role": "tool", "content": content })).await;
    }
}

/// Posts about ann's session, and waits until the connection is closed.
async fn post(server: &TestServer, verb: &str, mut body: Value) {
    (body["userId"], body["sessionId"]) = (json!("ann"), json!("s"));
    let (body, head) = (body.to_string(), format!("POST /api/sessions/{verb} HTTP/1.1\r\nHost: x"));
    let length = body.len();
    let rest = "Content-Type: application/json\r\nConnection: close";
    let request = format!("{head}\r\n{rest}\r\nContent-Length: {length}\r\n\r\n{body}");
    Reply::parse(&server.send_raw(request).await).expect(201);
}

/// The number of the message that an event is about.
fn number_in(event: &str) -> usize {
    content_in(event).split(' ').next().unwrap().parse().unwrap()
}

async fn hear_numbers(listener: &mut Listener, from: usize) {
    for number in from..MESSAGES {
        assert_eq!(number_in(&listener.text().await.unwrap()), number);
    }
}

/// Waits until one of three places has become free, of which two stay taken.
async fn wait_for_place(server: &TestServer) {
    let _third = server.connect().await;
    let health = HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    Reply::parse(&server.send_raw(health).await).expect(200);
}

async fn assert_cut_off_and_resumed(by: By) {
    let setup = patient().patience(|patience| patience.behind = Duration::from_secs(1));
    let server = setup.max_connections(3).start().await;
    let ann = server.user("ann");
    post(&server, "create", json!({})).await;
    let (mut slow, mut quick) = (ann.listen(by, "").await, ann.listen(by, "").await);

    tokio::join!(write_much(&server), hear_numbers(&mut quick, 0));
    wait_for_place(&server).await;

    let (mut heard, mut cursor) = (0, String::new());
    while let Some(event) = slow.text().await {
        assert_eq!(number_in(&event), heard);
        heard += 1;
        cursor_in(&event).clone_into(&mut cursor);
    }
    assert!(heard < MESSAGES, "it was not cut off");
    hear_numbers(&mut ann.resume(by, &cursor).await, heard).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_cut_off_and_goes_on_from_its_cursor() {
    assert_cut_off_and_resumed(By::Stream).await;
}

#[tokio::test]
async fn a_socket_that_is_not_read_is_cut_off_and_goes_on_from_its_cursor() {
    assert_cut_off_and_resumed(By::Socket).await;
}
