//! Metadata, replaced by a PATCH or merged by one that says so (RFC 7396).

use serde_json::{Value, json};

use crate::support::{Reply, TestServer, User, message_path};

/// A merge patch of `path`, byte for byte.
async fn merge(user: &User<'_>, path: &str, body: &str) -> Reply {
    let call = user.request("PATCH", path).header("content-type", "application/merge-patch+json");
    call.body(body.to_owned()).send().await
}

/// A server where ann has a session `s` with a message `m`, and the paths of both.
async fn server_with_both() -> (TestServer, [String; 2]) {
    let server = TestServer::start().await;
    let ann = server.user("ann");
    ann.create(json!({ "sessionId": "s" })).await.expect(201);
    ann.say("s", "m", "hi").await.expect(201);
    (server, ["/api/sessions/s".to_owned(), message_path("s", "m")])
}

#[tokio::test]
async fn metadata_is_merged_or_replaced_as_the_content_type_says() {
    let (server, paths) = server_with_both().await;
    let ann = server.user("ann");

    for path in paths {
        ann.patch(&path, json!({ "metadata": {"a": {"x": 1, "y": 2}, "b": 1} })).await.expect(200);

        let merged = merge(&ann, &path, r#"{"metadata":{"a":{"y":null,"z":[null]},"c":3}}"#).await;
        let expected = json!({ "a": {"x": 1, "z": [null]}, "b": 1, "c": 3 });
        assert_eq!(merged.expect(200)["metadata"], expected, "{path}");

        let replaced = ann.patch(&path, json!({ "metadata": {"a": {"y": null}} })).await;
        assert_eq!(replaced.expect(200)["metadata"], json!({ "a": {"y": null} }), "{path}");
    }
}

#[tokio::test]
async fn what_a_merge_does_not_name_keeps_its_bytes() {
    let (server, paths) = server_with_both().await;
    let ann = server.user("ann");

    for path in paths {
        let body = r#"{"metadata":{ "b" : 1.0e2, "a":"\u00e9" , "n":12345678901234567890123}}"#;
        let call = ann.request("PATCH", &path).header("content-type", "application/json");
        call.body(body).send().await.expect(200);

        let merged = merge(&ann, &path, r#"{"metadata":{"c":1E1}}"#).await;

        let expected = r#"{"b":1.0e2,"a":"\u00e9","n":12345678901234567890123,"c":1E1}"#;
        assert!(merged.text().contains(expected), "{}", merged.text());
        assert_eq!(ann.get(&path).await.body, merged.body);
    }
}

#[tokio::test]
async fn other_members_are_taken_as_by_any_patch() {
    let (server, [session, message]) = server_with_both().await;
    let ann = server.user("ann");

    let patch = r#"{"title":"t","tags":["x"],"pinned":true,"archived":null}"#;
    let patched = merge(&ann, &session, patch).await.expect(200);
    assert_eq!((&patched["title"], &patched["tags"]), (&json!("t"), &json!(["x"])));
    assert_eq!((&patched["pinned"], &patched["archived"]), (&json!(true), &json!(false)));
    let edited = merge(&ann, &message, r#"{"content":"ho"}"#).await.expect(200);
    assert_eq!(edited["content"], "ho");
}

#[tokio::test]
async fn what_would_grow_too_large_or_too_deep_is_refused_whole() {
    let (server, paths) = server_with_both().await;
    let ann = server.user("ann");
    let half = "x".repeat(40 * 1024);
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));

    for path in paths {
        merge(&ann, &path, &json!({ "metadata": {"a": half} }).to_string()).await.expect(200);
        let before = ann.get(&path).await;

        let too_large = json!({ "metadata": {"b": half}, "title": "no", "content": "no" });
        let refused = merge(&ann, &path, &too_large.to_string()).await;
        let error = refused.assert_error(400, "invalid_metadata");
        assert!(error["error"].as_str().unwrap().contains("65536"), "{error}");
        let refused = merge(&ann, &path, &format!("{{\"metadata\":{}}}", nested(65))).await;
        assert_eq!(refused.status.as_u16(), 400);
        for other in ["[]", "1", "\"x\""] {
            let refused = merge(&ann, &path, &format!("{{\"metadata\":{other}}}")).await;
            refused.assert_error(400, "invalid_metadata");
        }
        assert_eq!(ann.get(&path).await.body, before.body);

        merge(&ann, &path, &format!("{{\"metadata\":{}}}", nested(64))).await.expect(200);
        let gone: Value = json!({ "metadata": {"a": null} });
        let emptied = merge(&ann, &path, &gone.to_string()).await.expect(200);
        assert_eq!(emptied["metadata"], json!({}));
    }
}
