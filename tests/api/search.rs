//! Searching: what is found, in what order, how it is shown, and by whom.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Mode, Setup, TestServer, User, all_at_once, encode};

async fn server() -> TestServer {
    Setup::new(Mode::Off).start().await
}

/// Lets a second pass.
fn tick(server: &TestServer) {
    server.clock().fetch_add(1_000_000, Ordering::SeqCst);
}

async fn page(user: &User<'_>, q: &str, more: &str) -> Value {
    user.get(&format!("/api/search?q={}{more}", encode(q))).await.expect(200)
}

/// What is found, in the order in which it is shown: the text of each snippet.
async fn found(user: &User<'_>, q: &str, more: &str) -> Vec<String> {
    let page = page(user, q, more).await;
    let results = page["results"].as_array().unwrap();
    assert_eq!(page["count"], results.len());
    results.iter().map(|result| result["snippet"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_and_titles_are_found_newest_first_and_shown_with_where_they_are() {
    let server = server().await;
    let ann = server.user("ann");
    let tides = ann.create(json!({ "sessionId": "tides", "title": "Tides of the sea" })).await;
    let tides = tides.expect(201);
    tick(&server);
    ann.save_message("tides", "user", "How high is the sea?").await.expect(201);
    tick(&server);
    let saved = ann.save_message("tides", "assistant", "The S\u{c9}A rises.").await.expect(201);
    ann.save_message("tides", "user", "Thank you.").await.expect(201);

    let page = page(&ann, "sea", "").await;

    let shown = &page["results"];
    assert_eq!(page["count"], 3);
    assert_eq!(
        shown[0],
        json!({
            "sessionId": "tides",
            "title": "Tides of the sea",
            "messageId": saved["id"],
            "role": "assistant",
            "timestamp": saved["timestamp"],
            "snippet": "The S\u{c9}A rises.",
            "highlights": [[4, 7]],
        })
    );
    assert_eq!(shown[1]["snippet"], "How high is the sea?");
    assert_eq!(
        shown[2],
        json!({
            "sessionId": "tides",
            "title": "Tides of the sea",
            "timestamp": tides["createdAt"],
            "snippet": "Tides of the sea",
            "highlights": [[13, 16]],
        })
    );
}

#[tokio::test]
async fn all_words_and_phrases_are_looked_for_in_any_language() {
    let server = server().await;
    let ann = server.user("ann");
    let session = ann.create_session("first").await;
    for text in ["blue moon over Caf\u{e9}", "the moon is blue", "\u{6771}\u{4eac}\u{90fd}\u{306b}"]
    {
        ann.save_message(&session, "user", text).await.expect(201);
    }

    assert_eq!(
        found(&ann, "blue moon", "").await,
        ["the moon is blue", "blue moon over Caf\u{e9}"]
    );
    assert_eq!(found(&ann, "\"blue moon\" cafe", "").await, ["blue moon over Caf\u{e9}"]);
    assert_eq!(found(&ann, "\u{4eac}\u{90fd}", "").await, ["\u{6771}\u{4eac}\u{90fd}\u{306b}"]);
    assert!(found(&ann, "oon", "").await.is_empty(), "words are found by how they begin");
    assert!(found(&ann, "blue absent", "").await.is_empty());
}

#[tokio::test]
async fn a_search_is_narrowed_by_session_role_and_time() {
    let server = server().await;
    let ann = server.user("ann");
    for session in ["a", "b"] {
        ann.create(json!({ "sessionId": session, "title": format!("word {session}") }))
            .await
            .expect(201);
        tick(&server);
        for role in ["user", "assistant"] {
            ann.save_message(session, role, &format!("word of {role} in {session}"))
                .await
                .expect(201);
            tick(&server);
        }
    }

    let in_a = ["word of assistant in a", "word of user in a", "word a"];
    assert_eq!(found(&ann, "word", "&sessionId=a").await, in_a);
    let by_users = ["word of user in b", "word of user in a"];
    assert_eq!(found(&ann, "word", "&role=user").await, by_users, "a title has no role");
    assert_eq!(found(&ann, "word", "&from=9999-01-01").await, Vec::<String>::new());
    assert_eq!(found(&ann, "word", "&to=2026-01-01").await, Vec::<String>::new());
    let all = page(&ann, "word", "").await;
    let third = encode(all["results"][2]["timestamp"].as_str().unwrap());
    assert_eq!(found(&ann, "word", &format!("&from={third}")).await.len(), 3, "from is inclusive");
    assert_eq!(found(&ann, "word", &format!("&to={third}")).await.len(), 4, "and so is to");
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_messages_are_saved() {
    let server = server().await;
    let ann = server.user("ann");
    let sessions = ["a", "b", "c"];
    let mut expected = BTreeSet::new();
    for session in sessions {
        ann.create(json!({ "sessionId": session, "title": format!("needle {session}") }))
            .await
            .expect(201);
        expected.insert(format!("needle {session}"));
    }
    // Without a tick: many have the same time.
    for n in 0..40 {
        let text = format!("needle {n}");
        ann.save_message(sessions[n % 3], "user", &text).await.expect(201);
        expected.insert(text);
    }

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&ann, "needle", &format!("&limit=7{cursor}")).await;
        let results = page["results"].as_array().unwrap();
        seen.extend(results.iter().map(|hit| hit["snippet"].as_str().unwrap().to_owned()));
        tick(&server);
        ann.save_message(sessions[seen.len() % 3], "user", "a later needle").await.expect(201);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }

    assert_eq!(seen.len(), expected.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn what_was_edited_is_found_as_it_is_now_and_what_was_deleted_is_not() {
    let server = server().await;
    let ann = server.user("ann");
    let session = ann.create(json!({ "title": "t" })).await.expect(201);
    let session = session["sessionId"].as_str().unwrap();
    let mut ids = Vec::new();
    for text in ["old words", "gone words"] {
        let saved = ann.save_message(session, "user", text).await.expect(201);
        ids.push(saved["id"].as_str().unwrap().to_owned());
    }
    let message = |id: &str| format!("/api/sessions/{session}/messages/{id}");

    let edit = json!({ "content": "new words" }).to_string();
    let edited = ann
        .request("PATCH", &message(&ids[0]))
        .header("content-type", "application/json")
        .body(edit)
        .send()
        .await;
    edited.expect(200);
    ann.request("DELETE", &message(&ids[1])).send().await.expect(200);

    assert_eq!(found(&ann, "words", "").await, ["new words"]);
    ann.delete(session).await.expect(200);
    assert!(found(&ann, "words", "").await.is_empty());
}

#[tokio::test]
async fn nobody_finds_what_is_anothers() {
    let server = server().await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    let session = ann.create_session("a secret word").await;

    assert!(found(&bob, "secret", "").await.is_empty());
    let of_ann = format!("/api/search?q=secret&sessionId={session}");
    bob.get(&of_ann).await.assert_error(404, "session_not_found");
    bob.get("/api/search?q=secret&sessionId=none").await.assert_error(404, "session_not_found");
}

#[tokio::test]
async fn what_is_no_search_is_refused_by_name() {
    let server = server().await;
    let ann = server.user("ann");
    for (query, code) in [
        ("", "missing_q"),
        ("?q=", "invalid_q"),
        ("?q=%22%22", "invalid_q"),
        ("?q=a%00", "invalid_q"),
        ("?q=a&role=robot", "invalid_role"),
        ("?q=a&from=yesterday", "invalid_from"),
        ("?q=a&to=yesterday", "invalid_to"),
        ("?q=a&limit=0", "invalid_limit"),
        ("?q=a&cursor=abc", "invalid_cursor"),
        ("?q=a&sessionId=", "invalid_session_id"),
    ] {
        ann.get(&format!("/api/search{query}")).await.assert_error(400, code);
    }
    let long = format!("/api/search?q={}", "x".repeat(257));
    ann.get(&long).await.assert_error(400, "invalid_q");
}

#[tokio::test]
async fn a_user_who_searches_much_at_once_is_told_to_wait_and_others_are_not() {
    let server = server().await;
    let ann = server.user("ann");
    let session = ann.create_session("first").await;
    let long = "a ".repeat(250_000);
    for _ in 0..8 {
        ann.save_message(&session, "user", &long).await.expect(201);
    }

    let search = || ann.request("GET", "/api/search?q=a+absent");
    let replies = all_at_once((0..40).map(|_| search())).await;

    let refused: Vec<_> = replies.iter().filter(|reply| reply.status.as_u16() != 200).collect();
    assert!(!refused.is_empty() && refused.len() < replies.len());
    for reply in refused {
        reply.assert_error(429, "too_many_searches");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert!(found(&server.user("bob"), "a", "").await.is_empty());
    search().send().await.expect(200);
}
