//! The list of a user's sessions: order, bounds, pages.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{START_MICROS, TestServer, User, all_at_once, encode};

const DAY: u64 = 24 * 60 * 60 * 1_000_000;

fn ids(list: &Value) -> Vec<&str> {
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(list["count"], sessions.len());
    sessions.iter().map(|session| session["sessionId"].as_str().unwrap()).collect()
}

async fn list(user: &User<'_>, query: &str) -> Value {
    user.get(&format!("/api/sessions/list?{query}")).await.expect(200)
}

/// Creates `id` when the clock shows `micros`.
async fn create_at(server: &TestServer, id: &str, micros: u64) {
    server.clock().store(micros, Ordering::SeqCst);
    server.user("ann").create(json!({ "sessionId": id })).await.expect(201);
}

/// Follows the cursors from page to page, and gives the ids of each.
async fn pages(user: &User<'_>, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(user, &format!("{query}{cursor}")).await;
        pages.push(ids(&page).iter().map(ToString::to_string).collect());
        match page.get("nextCursor") {
            Some(next) => cursor = format!("&cursor={}", encode(next.as_str().unwrap())),
            None => return pages,
        }
    }
}

/// Three sessions, created as `a`, `b`, `c` and last changed as `c`, `a`, `b`.
async fn three_sessions(server: &TestServer) {
    for (id, hours) in [("a", 0), ("b", 1), ("c", 2)] {
        create_at(server, id, START_MICROS + hours * 3_600_000_000).await;
    }
    let ann = server.user("ann");
    for (id, hours) in [("a", 3), ("b", 4)] {
        server.clock().store(START_MICROS + hours * 3_600_000_000, Ordering::SeqCst);
        ann.save_message(id, "user", "hi").await.expect(201);
    }
}

#[tokio::test]
async fn sessions_are_listed_in_the_order_that_is_asked_for() {
    let server = TestServer::start().await;
    three_sessions(&server).await;
    let ann = server.user("ann");

    for (query, order) in [
        ("", ["b", "a", "c"]),
        ("sortBy=updatedAt&sortOrder=desc", ["b", "a", "c"]),
        ("sortOrder=asc", ["c", "a", "b"]),
        ("sortBy=createdAt", ["c", "b", "a"]),
        ("sortBy=createdAt&sortOrder=asc", ["a", "b", "c"]),
    ] {
        assert_eq!(ids(&list(&ann, query).await), order, "{query}");
        for limit in [1, 2, 3, 4] {
            let paged = pages(&ann, &format!("{query}&limit={limit}")).await;
            assert_eq!(paged.concat(), order, "{query} {limit}");
            assert_eq!(paged.len(), 3_usize.div_ceil(limit), "a page is full or the last");
        }
    }
    let title = json!({ "sessionId": "c", "title": "now the latest" });
    ann.post("/api/sessions/update", title).await.expect(200);
    assert_eq!(ids(&list(&ann, "").await), ["c", "b", "a"]);
    assert_eq!(ids(&list(&ann, "sortBy=createdAt").await), ["c", "b", "a"]);
    ann.delete("b").await.expect(200);
    assert_eq!(ids(&list(&ann, "").await), ["c", "a"]);
}

#[tokio::test]
async fn a_page_has_1_to_1000_sessions_and_100_unless_asked() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    let create = |number: usize| {
        ann.posting("/api/sessions/create", json!({ "sessionId": format!("s{number}") }))
    };
    for round in 0..11 {
        all_at_once((0..91).map(|number| create(round * 91 + number))).await;
    }

    for (query, count, more) in [
        ("", 100, true),
        ("limit=1", 1, true),
        ("limit=100", 100, true),
        ("limit=999", 999, true),
        ("limit=1000", 1000, true),
        ("limit=1001", 1000, true),
        ("limit=5000", 1000, true),
        ("limit=99999999999999999999999999", 1000, true),
    ] {
        let page = list(&ann, query).await;
        assert_eq!(ids(&page).len(), count, "{query}");
        assert_eq!(page.get("nextCursor").is_some(), more, "{query}");
    }
    for limit in ["0", "-1", "abc", "", "1.5", "%2B5", "%205", "1e3", "0x10", "\u{663}"] {
        let refused = ann.get(&format!("/api/sessions/list?limit={limit}")).await;
        let error = refused.assert_error(400, "invalid_limit");
        assert!(error["error"].as_str().unwrap().starts_with("limit "), "{error}");
    }
}

#[tokio::test]
async fn sessions_of_the_same_microsecond_are_neither_skipped_nor_repeated() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for number in 0..25 {
        ann.create(json!({ "sessionId": format!("s{number}") })).await.expect(201);
    }

    for query in ["", "sortOrder=asc", "sortBy=createdAt", "sortBy=createdAt&sortOrder=asc"] {
        for limit in [1, 2, 7, 24, 25] {
            let paged = pages(&ann, &format!("{query}&limit={limit}")).await.concat();
            assert_eq!(paged.len(), 25, "{query} {limit}");
            assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), 25, "{query} {limit}");
        }
    }
}

#[tokio::test]
async fn pages_hold_while_other_sessions_come_change_and_go() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    for (number, id) in ["a", "b", "c", "d", "e", "f"].iter().enumerate() {
        create_at(&server, id, START_MICROS + number as u64).await;
    }
    let first = list(&ann, "limit=2").await;
    assert_eq!(ids(&first), ["f", "e"]);

    server.clock().fetch_add(1_000_000, Ordering::SeqCst);
    ann.create(json!({ "sessionId": "new" })).await.expect(201);
    ann.save_message("e", "user", "hi").await.expect(201);
    ann.save_message("c", "user", "hi").await.expect(201);
    ann.delete("f").await.expect(200);

    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = list(&ann, &format!("cursor={cursor}")).await;
    assert_eq!(ids(&rest), ["d", "b", "a"]);
    assert!(rest.get("nextCursor").is_none());
}

#[tokio::test]
async fn start_date_and_end_date_bound_the_creation_inclusively() {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    // 2026-11-23T00:00:00Z
    let midnight = START_MICROS / DAY * DAY;
    for (id, micros) in [
        ("22 last", midnight - 1),
        ("23 first", midnight),
        ("23 noon", midnight + DAY / 2 + 999),
        ("23 last", midnight + DAY - 1),
        ("24 first", midnight + DAY),
    ] {
        create_at(&server, id, micros).await;
    }
    // The creation counts, and not the last change.
    server.clock().fetch_add(9 * DAY, Ordering::SeqCst);
    ann.save_message("22 last", "user", "hi").await.expect(201);

    let all = ["22 last", "23 first", "23 noon", "23 last", "24 first"];
    for (query, expected) in [
        ("startDate=2026-11-23", &all[1..]),
        ("startDate=2026-11-23&endDate=2026-11-23", &all[1..4]),
        ("endDate=2026-11-23", &all[..4]),
        ("endDate=2026-11-22", &all[..1]),
        ("startDate=2026-11-24", &all[4..]),
        ("startDate=2026-11-25", &[]),
        ("startDate=2026-11-24&endDate=2026-11-23", &[]),
        ("startDate=2026-11-23T12:00:00Z&endDate=2026-11-23T12:00:00Z", &all[2..3]),
        ("startDate=2026-11-23T12:00:00.001Z&endDate=2026-11-23T23:59:59Z", &[]),
        ("startDate=2026-11-23T13:00:00%2B01:00&endDate=2026-11-23T12:00:00.000Z", &all[2..3]),
        ("endDate=2026-11-22T23:59:59.999Z", &all[..1]),
        ("startDate=1900-01-01&endDate=9999-12-31", &all),
        ("startDate=1970-01-01T00:00:00Z&endDate=9999-12-31T23:59:59.999Z", &all),
    ] {
        for order in ["sortBy=createdAt&sortOrder=asc", "sortBy=createdAt", "", "sortOrder=asc"] {
            let mut paged = pages(&ann, &format!("{query}&{order}&limit=2")).await.concat();
            paged.sort_by_key(|id| all.iter().position(|other| other == id));
            assert_eq!(paged, expected, "{query}&{order}");
        }
    }
}

#[tokio::test]
async fn what_does_not_parse_is_refused_by_name() {
    let server = TestServer::start().await;
    three_sessions(&server).await;
    let ann = server.user("ann");

    for (name, code, values) in [
        ("startDate", "invalid_start_date", &["yesterday", "", "2026-13-01", "1795411937"][..]),
        ("endDate", "invalid_end_date", &["2026-11-23T05:32", "2026-11-23x", "2026-02-30"]),
        ("sortBy", "invalid_sort_by", &["title", "", "UPDATEDAT", "updatedAt,createdAt"]),
        ("sortOrder", "invalid_sort_order", &["up", "", "DESC", "-1"]),
        ("cursor", "invalid_cursor", &["", "x", "%00", "AAAA", "dQAAAAAAAAAAAAAAAAAAAAAAAAA"]),
    ] {
        for value in values {
            let refused = ann.get(&format!("/api/sessions/list?{name}={value}")).await;
            let error = refused.assert_error(400, code);
            let text = error["error"].as_str().unwrap();
            assert!(text.starts_with(name), "{name}={value}: {text}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_order_alone() {
    let server = TestServer::start().await;
    three_sessions(&server).await;
    let ann = server.user("ann");
    let page = list(&ann, "limit=1").await;
    let cursor = page["nextCursor"].as_str().unwrap();

    for query in ["sortOrder=asc", "sortBy=createdAt", "sortBy=createdAt&sortOrder=asc"] {
        let refused = ann.get(&format!("/api/sessions/list?{query}&cursor={cursor}")).await;
        refused.assert_error(400, "invalid_cursor");
    }
    let messages = format!("/api/sessions/messages?sessionId=a&cursor={cursor}");
    ann.get(&messages).await.assert_error(400, "invalid_cursor");
}
