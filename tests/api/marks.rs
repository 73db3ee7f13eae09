//! Sessions that are archived, pinned and tagged, and lists that choose by it.

use serde_json::{Value, json};

use crate::support::{Mode, Setup, TestServer, User, encode};

async fn ids(user: &User<'_>, query: &str) -> Vec<String> {
    let list = user.get(&format!("/api/sessions?{query}")).await.expect(200);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(list["count"], sessions.len());
    sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect()
}

/// Follows the cursors from page to page, each full but the last.
async fn paged(user: &User<'_>, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/sessions?limit={limit}&{query}{cursor}");
        let page = user.get(&path).await.expect(200);
        let sessions = page["sessions"].as_array().unwrap();
        all.extend(
            sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.get("nextCursor") else { return all };
        assert_eq!(page["count"], limit, "a page that is not the last is full: {query}");
        cursor = format!("&cursor={}", next.as_str().unwrap());
    }
}

/// Sessions `0` to `7`: archived with 4 in its number, pinned with 2, tagged `x` with 1.
async fn eight_sessions(user: &User<'_>) {
    for number in 0..8 {
        let id = number.to_string();
        user.create(json!({ "sessionId": id })).await.expect(201);
        let tags = if number & 1 > 0 { json!(["x", "y z"]) } else { json!(["xx"]) };
        let marks = json!({ "archived": number & 4 > 0, "pinned": number & 2 > 0, "tags": tags });
        user.patch(&format!("/api/sessions/{id}"), marks).await.expect(200);
    }
}

const CHOICES: [(&str, &[&str]); 12] = [
    ("", &["3", "2", "1", "0"]),
    ("archived=false", &["3", "2", "1", "0"]),
    ("archived=true", &["7", "6", "5", "4"]),
    ("archived=any", &["7", "6", "5", "4", "3", "2", "1", "0"]),
    ("pinned=true", &["3", "2"]),
    ("pinned=false", &["1", "0"]),
    ("pinned=any", &["3", "2", "1", "0"]),
    ("archived=any&pinned=true&sortOrder=asc", &["2", "3", "6", "7"]),
    ("tag=x&archived=any&sortBy=createdAt", &["7", "5", "3", "1"]),
    ("tag=y%20z&archived=true&pinned=true", &["7"]),
    ("tag=X", &[]),
    ("tag=z", &[]),
];

#[tokio::test]
async fn lists_choose_by_marks_and_hide_what_is_archived() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    eight_sessions(&ann).await;

    for (query, expected) in CHOICES {
        assert_eq!(ids(&ann, query).await, expected, "{query}");
        for limit in [1, 2, 3, 8] {
            assert_eq!(paged(&ann, query, limit).await, expected, "{query} {limit}");
        }
    }
}

#[tokio::test]
async fn pinned_sessions_come_first_if_asked_for() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    eight_sessions(&ann).await;

    for (query, expected) in [
        ("sort=pinned", &["3", "2", "1", "0"][..]),
        ("sort=pinned&sortOrder=asc", &["2", "3", "0", "1"]),
        ("sort=pinned&archived=any", &["7", "6", "3", "2", "5", "4", "1", "0"]),
        (
            "sort=pinned&sortBy=createdAt&sortOrder=asc&archived=any",
            &["2", "3", "6", "7", "0", "1", "4", "5"],
        ),
        ("sort=pinned&pinned=false", &["1", "0"]),
        ("sort=pinned&tag=x&archived=any", &["7", "3", "5", "1"]),
    ] {
        assert_eq!(ids(&ann, query).await, expected, "{query}");
        for limit in 1..9 {
            assert_eq!(paged(&ann, query, limit).await, expected, "{query} {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_with_pinned_first_or_without() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    eight_sessions(&ann).await;

    for (one, other) in [("sort=pinned", ""), ("", "sort=pinned")] {
        for limit in 1..4 {
            let page = ann.get(&format!("/api/sessions?limit={limit}&{one}")).await.expect(200);
            let cursor = page["nextCursor"].as_str().unwrap();
            let refused = ann.get(&format!("/api/sessions?{other}&cursor={cursor}")).await;
            refused.assert_error(400, "invalid_cursor");
        }
    }
}

#[tokio::test]
async fn marks_are_there_from_the_start_or_not_set_and_outlive_a_restart() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let created = ann.create(json!({ "sessionId": "a", "tags": ["x"] })).await.expect(201);
    assert_eq!((&created["archived"], &created["pinned"]), (&json!(false), &json!(false)));
    assert_eq!(created["tags"], json!(["x"]));
    let marks = json!({ "archived": true, "pinned": true });
    let marked = ann.patch("/api/sessions/a", marks).await.expect(200);
    ann.save_message("a", "user", "hi").await.expect(201);

    let folder = server.stop().await;
    let server = Setup::new(Mode::Off).folder(folder).start().await;
    let ann = server.user("ann");

    let session = ann.session("a").await.expect(200);
    for member in ["archived", "pinned", "tags"] {
        assert_eq!(session[member], marked[member], "{member}");
    }
    assert_eq!(ids(&ann, "archived=true&pinned=true&tag=x").await, ["a"]);
    assert_eq!(ids(&ann, "").await, [""; 0]);
}

#[tokio::test]
async fn a_session_has_20_tags_of_64_characters_in_their_order_and_once() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    let tagged = |tags: Value| {
        let ann = ann.clone();
        async move { ann.patch("/api/sessions/s", json!({ "tags": tags })).await }
    };
    let numbers = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();

    let longest = "\u{1f600}".repeat(64);
    for (tags, stored) in [
        (json!(["b", "a", "b", "\u{e9}"]), json!(["b", "a", "\u{e9}"])),
        (json!(numbers(20)), json!(numbers(20))),
        (json!([longest, longest, " a "]), json!([longest, " a "])),
    ] {
        assert_eq!(tagged(tags).await.expect(200)["tags"], stored);
    }
    assert_eq!(ids(&ann, &format!("tag={}", encode(&longest))).await, ["s"]);
    let before = ann.session("s").await;
    for tags in
        [json!(numbers(21)), json!(["x".repeat(65)]), json!([""]), json!([" "]), json!(["a\n"])]
    {
        tagged(tags.clone()).await.assert_error(400, "invalid_tags");
        ann.create(json!({ "sessionId": "t", "tags": tags }))
            .await
            .assert_error(400, "invalid_tags");
    }
    for tags in [json!("x"), json!([1]), json!([null]), json!({})] {
        tagged(tags).await.assert_error(400, "invalid_json");
    }
    assert_eq!(ann.session("s").await.body, before.body);
    assert_eq!(ids(&ann, "").await, ["s"]);
}

#[tokio::test]
async fn a_choice_that_is_none_is_refused_by_name() {
    let server = TestServer::start().await;
    let ann = server.user("ann");

    for (name, code, values) in [
        ("archived", "invalid_archived", &["", "yes", "True", "1", "null"][..]),
        ("pinned", "invalid_pinned", &["", "all", "FALSE"]),
        ("sort", "invalid_sort", &["", "title", "Pinned", "updatedAt"]),
        ("tag", "invalid_tag", &["", "%20", "a%0A", &"x".repeat(65)]),
    ] {
        for value in values {
            let refused = ann.get(&format!("/api/sessions?{name}={value}")).await;
            let error = refused.assert_error(400, code);
            assert!(error["error"].as_str().unwrap().starts_with(name), "{error}");
        }
    }
    for body in [json!({ "archived": "true" }), json!({ "pinned": 1 })] {
        ann.patch("/api/sessions/s", body).await.assert_error(400, "invalid_json");
    }
}
