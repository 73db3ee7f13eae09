//! Requests whose ends can be mistaken: a proxy in front of us must never see one request where
//! we see two.

use crate::support::{Reply, TestServer};

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
    ("no length", "Content-Length: \r\n\r\n"),
    ("a length with a fraction", "Content-Length: 5.0\r\n\r\n"),
    ("a length with an exponent", "Content-Length: 5e0\r\n\r\n"),
    ("a length of two words", "Content-Length: 5 5\r\n\r\n"),
    ("a length below zero, which it is not", "Content-Length: -0\r\n\r\n"),
    ("a length that is a list", "Content-Length: 2, 2\r\n\r\n{}"),
    ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("a coding behind a vertical tab", "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
    ("a coding in quotes", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("a coding within the chunks", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "a coding within the chunks, in two lines",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunks within chunks", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("a list that begins with nothing", "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    (
        "a hexadecimal chunk with its mark",
        "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    ),
    ("a negative chunk", "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"),
    ("an extension that ends by LF", "Transfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n"),
    ("a trailer that is none", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX\r\n\r\n"),
    ("a name with a space", "X Y: z\r\nContent-Length: 2\r\n\r\n{}"),
    ("a name that is not ASCII", "Content-Length\u{a0}: 2\r\n\r\n{}"),
    ("no name", ": x\r\nContent-Length: 2\r\n\r\n{}"),
    ("a second host", "Host: y\r\nContent-Length: 2\r\n\r\n{}"),
    ("the same host again", "Host: x\r\nContent-Length: 2\r\n\r\n{}"),
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

    for clear in [
        "Content-Length: 2\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: CHUNKED\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
        // What stands behind the body changes nothing of what stands before it.
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n",
        // No other protocol is spoken, and nobody is told that one would be.
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
         Content-Length: 2\r\n\r\n{}",
    ] {
        assert_eq!(statuses(&server, clear).await, ["201", "200"], "{clear}");
    }
}

/// Found by this table: of two `Host` the first was believed, and of `gzip, chunked` the last. A
/// proxy that believes the other one has checked another request than we serve.
#[tokio::test]
async fn of_two_hosts_none_is_believed_and_the_page_can_read_why() {
    let server = TestServer::start().await;
    let request = "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\
                   Origin: https://www.sidekickportal.com\r\n\r\n";

    let reply = Reply::parse(&server.send_raw(request).await);

    reply.assert_error(400, "invalid_head");
    assert_eq!(reply.header("connection"), Some("close"));
    let page = reply.header("access-control-allow-origin");
    assert_eq!(page, Some("https://www.sidekickportal.com"));
}
