//! Many who listen while much is written, some of them over bad connections: each hears everything
//! of its user's once and in order.

use std::hash::{BuildHasher as _, RandomState};

use serde_json::json;
use tokio::task::JoinSet;

use crate::limits::patient;
use crate::support::{EITHER, TestServer, User, content_in, cursor_in};

const USERS: usize = 40;
const LISTENERS: usize = 5;
const WRITERS: usize = 10;
const MESSAGES: usize = 50 * WRITERS;

/// Saves a share of a user's messages.
async fn write(user: &User<'_>, writer: usize) {
    for number in 0..MESSAGES / WRITERS {
        let text = format!("{writer} {number}");
        user.save_message(&user.id, "user", &text).await.expect(201);
    }
}

/// Listens until the last message, and gives what was said. Over a bad connection it is cut off,
/// and resumed, after each few events, while others are on their way.
async fn listen(user: &User<'_>, index: usize, started: String) -> Vec<String> {
    let (by, is_bad, dice) = (EITHER[index % 2], index / 2 % 2 == 1, RandomState::new());
    let (mut cursor, mut heard) = (started, Vec::new());
    while heard.len() < MESSAGES {
        let mut listener = user.resume(by, &cursor).await;
        let left = MESSAGES - heard.len();
        let few = usize::from(dice.hash_one(left).to_be_bytes()[0]) + 1;
        for _ in 0..if is_bad { left.min(few) } else { left } {
            let text = listener.text().await.unwrap();
            heard.push(content_in(&text).to_owned());
            cursor_in(&text).clone_into(&mut cursor);
        }
    }
    heard
}

/// A user's writers and listeners, until all are done.
async fn live(user: User<'static>) {
    user.create(json!({ "sessionId": user.id })).await.expect(201);
    let ticket = user.post("/api/events/ticket", json!({})).await.expect(201);
    let (mut writing, mut listening) = (JoinSet::new(), JoinSet::new());
    for index in 0..LISTENERS {
        let (user, started) = (user.clone(), ticket["cursor"].as_str().unwrap().to_owned());
        listening.spawn(async move { listen(&user, index, started).await });
    }
    for writer in 0..WRITERS {
        let user = user.clone();
        writing.spawn(async move { write(&user, writer).await });
    }
    writing.join_all().await;

    let said = user.texts(&user.id).await;
    assert_eq!(said.len(), MESSAGES);
    for heard in listening.join_all().await {
        assert_eq!(heard, said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_listeners_hear_each_of_twenty_thousand_messages_once_and_in_order() {
    let server: &'static TestServer = Box::leak(Box::new(patient().start().await));

    let users: JoinSet<_> =
        (0..USERS).map(|number| live(server.user(&format!("user-{number}")))).collect();

    users.join_all().await;
}
