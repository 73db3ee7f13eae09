//! The API as machines read it, and as a browser shows it.

use std::collections::BTreeSet;

use crate::support::{Mode, Reply, Setup, TestServer};

/// What the page at `/docs` is made of.
const FILES: [(&str, &str); 4] = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/init.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
];

#[tokio::test]
async fn the_document_is_open_to_everybody_and_has_the_routes_of_the_index() {
    let server = Setup::new(Mode::Jwt).start().await;

    let index = server.get("/").send().await.expect(200);
    let document = server.get("/openapi.json").send().await.expect(200);

    let listed = index["routes"].as_array().unwrap().iter();
    let listed: BTreeSet<_> = listed.map(|route| route.as_str().unwrap().to_owned()).collect();
    let paths = document["paths"].as_object().unwrap().iter();
    let described = paths.flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(listed, described.collect());
}

#[tokio::test]
async fn pages_of_allowed_origins_read_the_document() {
    let server = TestServer::start().await;

    let origin = "http://localhost:3000";
    let reply = server.get("/openapi.json").origin(origin).send().await;

    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
}

#[tokio::test]
async fn the_page_comes_with_all_that_it_needs() {
    let server = Setup::new(Mode::Jwt).start().await;

    for (path, content_type) in FILES {
        let reply = server.get(path).send().await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
        let is_gzip = reply.body.starts_with(&[0x1f, 0x8b]);
        assert_eq!(reply.header("content-encoding"), is_gzip.then_some("gzip"), "{path}");
    }
    let page = server.get("/docs").send().await;
    for (path, _) in &FILES[1..] {
        // Relative, so that it finds them behind a prefix too.
        assert!(page.text().contains(&format!("\"{}\"", &path[1..])), "{path}");
    }
}

#[tokio::test]
async fn the_page_asks_nothing_of_any_other_address() {
    let server = TestServer::start().await;

    let page = server.get("/docs").send().await;
    let init = server.get("/docs/init.js").send().await;

    for text in [page.text(), init.text()] {
        assert!(!text.contains("://") && !text.contains("\"//"), "{text}");
    }
    assert!(init.text().contains("validatorUrl: null"), "the viewer's own default is elsewhere");
    let policy = page.header("content-security-policy").unwrap();
    let (own, allowed) = ("'self'", ["'none'", "'self'", "'unsafe-inline'", "data:"]);
    for directive in policy.split("; ") {
        let mut words = directive.split(' ');
        let name = words.next().unwrap();
        for source in words {
            assert!(allowed.contains(&source), "{directive}");
            assert!(name != "script-src" || source == own, "{directive}");
        }
    }
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
}

#[tokio::test]
async fn what_a_browser_has_already_is_not_sent_again() {
    let server = TestServer::start().await;

    for path in FILES.map(|(path, _)| path).into_iter().chain(["/openapi.json"]) {
        let whole = server.get(path).send().await;
        let etag = whole.header("etag").unwrap().to_owned();
        let asked = async |known: &str| -> Reply {
            server.get(path).header("if-none-match", known).send().await
        };
        for known in [&etag, &format!("W/{etag}"), &format!("\"a\", {etag}"), "*"] {
            let reply = asked(known).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0), "{path} {known}");
            assert_eq!(reply.header("etag"), Some(etag.as_str()), "{path} {known}");
        }
        for other in ["\"a\"", "", etag.trim_matches('"')] {
            assert_eq!(asked(other).await.body, whole.body, "{path} {other}");
        }
        assert_eq!(whole.header("cache-control"), Some("private, no-cache"), "{path}");
    }
}
