//! The limit: what a bare axum server does that looks at nothing, asks for nothing and always sends
//! the same bytes. No server on this stack can be quicker.
//!
//! limit ADDRESS [SIZE]...: answers on /0, /1 and so on with a body of each SIZE in bytes.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("an address");
    let mut router = Router::new();
    for (n, size) in arguments.enumerate() {
        let size: usize = size.parse().expect("a size in bytes");
        // A JSON string of that size.
        let body = Bytes::from(format!("\"{}\"", "x".repeat(size.saturating_sub(2))));
        let answer = move || {
            let body = body.clone();
            async move {
                Response::builder()
                    .header(CONTENT_TYPE, "application/json")
                    .body(Body::from(body))
                    .expect("a response")
            }
        };
        router = router.route(&format!("/{n}"), get(answer));
    }
    let listener = tokio::net::TcpListener::bind(address).await.expect("listens");
    axum::serve(listener, router).await.expect("serves");
}
