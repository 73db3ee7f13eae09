//! Requests whose ends can be mistaken: a proxy in front of us must never see one request where
//! we see two.

use crate::support::TestServer;

/// Each head ends a POST whose body holds another request.
const AMBIGUOUS: &[(&str, &str)] = &[
    ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ("two lengths in one", "Content-Length: 5, 6\r\n\r\n"),
    ("a signed length", "Content-Length: +5\r\n\r\n"),
    ("a negative length", "Content-Length: -5\r\n\r\n"),
    ("a hexadecimal length", "Content-Length: 0x5\r\n\r\n"),
    ("an overflowing length", "Content-Length: 99999999999999999999\r\n\r\n"),
    ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("chunks not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a folded line", "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a bare CR", "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a NUL", "X: y\0\r\n\r\n"),
    ("an overflowing chunk", "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"),
    ("a signed chunk", "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n"),
    ("a chunk without a size", "Transfer-Encoding: chunked\r\n\r\n\r\n\r\n"),
    ("a chunk that ends by LF", "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\n0\r\n\r\n"),
];

/// How each request that comes with this head is answered, and one behind it.
async fn statuses(server: &TestServer, head: &str) -> Vec<String> {
    let request = format!(
        "POST /api/sessions/create?userId=ann HTTP/1.1\r\nHost: x\r\n\
         Content-Type: application/json\r\n{head}\
         GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let answers = server.send_raw(request).await;
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

#[tokio::test]
async fn a_request_whose_end_is_in_doubt_is_the_last_of_its_connection() {
    let server = TestServer::start().await;

    for (what, head) in AMBIGUOUS {
        assert_eq!(statuses(&server, head).await, ["400"], "{what}");
    }
    assert!(server.user("ann").sessions().await.is_empty());

    for clear in
        ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
    {
        assert_eq!(statuses(&server, clear).await, ["201", "200"]);
    }
}
