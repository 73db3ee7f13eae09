//! Pages that are read while others write: what does not change is seen once, whatever comes,
//! changes or goes around it.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Call, TestServer, User, encode, message_path};

/// Sessions or messages of even number are left alone, those of odd number are written to.
const ROWS: usize = 24;

/// Something that is done to a row of odd number, or beside it.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Change(usize),
    Delete(usize),
    Add,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let odd = || (0..ROWS / 2).prop_map(|half| half * 2 + 1);
    let deed =
        prop_oneof![odd().prop_map(Deed::Change), odd().prop_map(Deed::Delete), Just(Deed::Add),];
    vec(deed, 0..30)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        max_shrink_time: 5000, // milliseconds: a test that hangs is ended after 30 s
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// Reads `path` page by page while each page's share of `calls` is on its way, and gives what
/// `id` says of each row.
async fn read_while(
    user: &User<'_>,
    path: &str,
    rows: &str,
    id: &str,
    calls: Vec<Call<'_>>,
) -> Vec<String> {
    let (mut writing, mut seen, mut cursor) = (JoinSet::new(), Vec::new(), String::new());
    let mut calls = calls.into_iter();
    loop {
        for call in calls.by_ref().take(5) {
            writing.spawn(call.detached());
        }
        let page = user.get(&format!("{path}{cursor}")).await.expect(200);
        let listed = page[rows].as_array().unwrap();
        seen.extend(listed.iter().map(|row| row[id].as_str().unwrap().to_owned()));
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={}", encode(next)),
            None => break,
        }
    }
    writing.join_all().await;
    seen
}

/// Checks that the rows of even number were seen in this order, and each once.
fn assert_even_seen(seen: &[String], newest_first: bool) {
    let mut expected: Vec<_> = (0..ROWS).step_by(2).map(|number| number.to_string()).collect();
    if newest_first {
        expected.reverse();
    }
    let is_even = |id: &&String| id.parse::<usize>().is_ok_and(|number| number % 2 == 0);
    let even: Vec<_> = seen.iter().filter(is_even).cloned().collect();
    assert_eq!(even, expected, "of {seen:?}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_list_neither_skips_nor_repeats_what_does_not_change(
        deeds in deeds(),
        limit in 1..9_usize,
        newest_first in any::<bool>(),
        query in select(vec!["", "&sortBy=createdAt", "&sort=pinned", "&tag=x&archived=any"]),
    ) {
        run(async {
            let server = TestServer::start().await;
            let ann = server.user("ann");
            for number in 0..ROWS {
                let body = json!({ "sessionId": number.to_string(), "tags": ["x"] });
                ann.create(body).await.expect(201);
            }
            let calls = deeds.iter().map(|deed| match deed {
                Deed::Change(number) => {
                    let marks = json!({ "title": "t", "pinned": number % 3 == 0, "archived": number % 5 == 0 });
                    ann.patching(&format!("/api/sessions/{number}"), marks)
                }
                Deed::Delete(number) => ann.request("DELETE", &format!("/api/sessions/{number}")),
                Deed::Add => ann.posting("/api/sessions", json!({ "tags": ["x"] })),
            });
            let order = if newest_first { "desc" } else { "asc" };
            let path = format!("/api/sessions?limit={limit}&sortOrder={order}{query}");

            let seen = read_while(&ann, &path, "sessions", "sessionId", calls.collect()).await;

            assert_even_seen(&seen, newest_first);
        });
    }

    #[test]
    fn a_history_neither_skips_nor_repeats_what_is_not_deleted(
        deeds in deeds(),
        limit in 1..9_usize,
        newest_first in any::<bool>(),
    ) {
        run(async {
            let server = TestServer::start().await;
            let ann = server.user("ann");
            ann.create(json!({ "sessionId": "s" })).await.expect(201);
            for number in 0..ROWS {
                ann.say("s", &number.to_string(), "hi").await.expect(201);
            }
            let said = json!({ "role": "user", "content": "new" });
            let calls = deeds.iter().map(|deed| match deed {
                Deed::Change(number) => {
                    ann.patching(&message_path("s", &number.to_string()), json!({ "content": "ho" }))
                }
                Deed::Delete(number) => {
                    ann.request("DELETE", &message_path("s", &number.to_string()))
                }
                Deed::Add => ann.posting("/api/sessions/s/messages", said.clone()),
            });
            let order = if newest_first { "desc" } else { "asc" };
            let path = format!("/api/sessions/s/messages?limit={limit}&order={order}");

            let seen = read_while(&ann, &path, "messages", "id", calls.collect()).await;

            assert_even_seen(&seen, newest_first);
            // A message stays where it stands, edited or not.
            let once: BTreeSet<_> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "{seen:?}");
        });
    }
}
