//! Reading a session's messages, whole or page by page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{TestServer, User, all_at_once};

async fn messages(user: &User<'_>, query: &str) -> Value {
    user.get(&format!("/api/sessions/messages?sessionId=s&{query}")).await.expect(200)
}

fn texts(page: &Value) -> Vec<&str> {
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(page["count"], messages.len());
    messages.iter().map(|message| message["content"].as_str().unwrap()).collect()
}

/// Follows the cursors from page to page, and gives the texts of each.
async fn pages(user: &User<'_>, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = messages(user, &format!("{query}{cursor}")).await;
        pages.push(texts(&page).iter().map(ToString::to_string).collect());
        match page.get("nextCursor") {
            Some(next) => cursor = format!("&cursor={}", next.as_str().unwrap()),
            None => return pages,
        }
    }
}

/// A session `s` that holds the numbers from 1 on.
async fn counting(user: &User<'_>, up_to: usize) {
    user.create(json!({ "sessionId": "s" })).await.expect(201);
    for number in 1..=up_to {
        user.save_message("s", "user", &number.to_string()).await.expect(201);
    }
}

#[tokio::test]
async fn pages_run_from_either_end_without_gap_or_repeat() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    counting(&ann, 10).await;
    let upwards: Vec<_> = (1..=10).map(|number| number.to_string()).collect();
    let downwards: Vec<_> = upwards.iter().rev().cloned().collect();

    for (order, expected) in [("", &upwards), ("order=asc", &upwards), ("order=desc", &downwards)] {
        assert_eq!(texts(&messages(&ann, order).await), *expected, "{order}");
        for limit in [1, 3, 5, 9, 10, 11, 5000] {
            let paged = pages(&ann, &format!("{order}&limit={limit}")).await;
            assert_eq!(paged.concat(), *expected, "{order} {limit}");
            assert_eq!(paged.len(), 10_usize.div_ceil(limit), "{order} {limit}");
        }
    }
}

#[tokio::test]
async fn a_page_of_long_messages_is_not_held_in_memory_whole() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    let long: Vec<_> = ["a", "b", "c", "d", "e"].map(|text| text.repeat(50_000)).into();
    for text in &long {
        ann.save_message("s", "user", text).await.expect(201);
    }

    for (limit, pieces) in [(1, 5), (3, 2), (4, 2), (5, 1), (1000, 1)] {
        let paged = pages(&ann, &format!("limit={limit}")).await;
        assert_eq!(paged.concat(), long, "{limit}");
        assert_eq!(paged.len(), pieces, "{limit}");
    }
    let page = ann.get("/api/sessions/messages?sessionId=s&limit=4").await;
    assert_eq!(page.header("content-length"), None, "it is sent in pieces");
}

#[tokio::test]
async fn without_a_limit_a_long_history_comes_whole() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    // In rounds, as those of one round may be saved in any order.
    for round in 0..30 {
        let say = |number: usize| {
            let content = format!("{round} {number:2} {}", "x".repeat(100));
            let body = json!({ "sessionId": "s", "role": "user", "content": content });
            ann.posting("/api/sessions/save-message", body)
        };
        for saved in all_at_once((0..100).map(say)).await {
            saved.expect(201);
        }
    }

    let whole = messages(&ann, "").await;
    assert!(whole.get("nextCursor").is_none());
    let all = texts(&whole);
    assert_eq!(all.len(), 3000);
    for (round, said) in all.chunks(100).enumerate() {
        let distinct: BTreeSet<_> = said.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(said.iter().all(|text| text.starts_with(&format!("{round} "))));
    }
    let mut reversed = messages(&ann, "order=desc").await["messages"].as_array().unwrap().clone();
    reversed.reverse();
    assert_eq!(reversed, *whole["messages"].as_array().unwrap());
    assert_eq!(ann.session("s").await.expect(200)["messageCount"], 3000);
}

#[tokio::test]
async fn what_does_not_parse_is_refused_by_name() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    counting(&ann, 3).await;

    for (query, code) in [
        ("sessionId=s&limit=0", "invalid_limit"),
        ("sessionId=s&limit=-1", "invalid_limit"),
        ("sessionId=s&limit=abc", "invalid_limit"),
        ("sessionId=s&order=up", "invalid_order"),
        ("sessionId=s&cursor=x", "invalid_cursor"),
        ("sessionId=s&limit=1&cursor=", "invalid_cursor"),
        ("", "missing_session_id"),
        ("sessionId=", "invalid_session_id"),
    ] {
        ann.get(&format!("/api/sessions/messages?{query}")).await.assert_error(400, code);
    }
    let upwards = messages(&ann, "limit=1").await;
    let cursor = upwards["nextCursor"].as_str().unwrap();
    let downwards = format!("/api/sessions/messages?sessionId=s&order=desc&cursor={cursor}");
    ann.get(&downwards).await.assert_error(400, "invalid_cursor");
}
