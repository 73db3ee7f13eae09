//! How long one save takes to reach everyone who listens: prints the milliseconds from its sending to
//! its arrival at the last of COUNT WebSockets of one user, REPEATS times, as a JSON array.
//!
//! listen ADDRESS COUNT REPEATS

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rivals::client::Client;
use rivals::token::token;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count, repeats] = arguments.first_chunk().expect("three arguments");
    let token = token("listener");
    let mut client = Client::connect(address).expect("a server");
    let session = format!("listened-{}", uuid::Uuid::new_v4());
    let create = format!(r#"{{"sessionId":"{session}"}}"#);
    post(&mut client, &token, "/api/sessions/create", &create);
    let count = count.parse::<u32>().expect("a count");
    let mut listeners: Vec<_> = (0..count).map(|_| listen(address, &token)).collect();

    let mut times = Vec::new();
    for n in 0..repeats.parse::<u32>().expect("a number of repeats") {
        let save = format!(r#"{{"sessionId":"{session}","role":"user","content":"number {n}"}}"#);
        let began = Instant::now();
        post(&mut client, &token, "/api/sessions/save-message", &save);
        // What has arrived waits in its socket: the last to be read was there no later than this.
        for listener in &mut listeners {
            wait_for_event(listener);
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!("{}", serde_json::to_string(&times).expect("JSON"));
}

fn post(client: &mut Client, token: &str, path: &str, body: &str) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = client.ask(request.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
}

fn listen(address: &str, token: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    write!(
        stream,
        "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("asked");
    let mut stream = BufReader::with_capacity(2048, stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("a header");
    }
    stream
}

/// Reads frames up to the first of text, past pings.
fn wait_for_event(stream: &mut BufReader<TcpStream>) {
    const TEXT: u8 = 1;
    loop {
        let [first, second] = bytes::<2>(stream);
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(bytes(stream))),
            127 => u64::from_be_bytes(bytes(stream)),
            length => u64::from(length),
        };
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).expect("a payload");
        if first & 0x0f == TEXT {
            return;
        }
    }
}

fn bytes<const N: usize>(stream: &mut BufReader<TcpStream>) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("a frame");
    bytes
}
