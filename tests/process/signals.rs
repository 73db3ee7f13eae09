//! How it stops: what is in flight is answered, what was answered is there afterwards.

use std::time::{Duration, Instant};

use orion_chat::http::Limits;
use orion_chat::http::auth::Auth;
use orion_chat::http::cors::AllowedOrigins;
use orion_chat::model::Clock;
use orion_chat::server::{Patience, Server, ServerConfig};
use orion_chat::store::StoreConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::{Connection, Process, post_head, server};

const SAVE: &str = "/api/sessions/save-message";

/// A request of which the server has read the head and waits for the body.
struct InFlight {
    client: Connection,
    body: String,
}

impl InFlight {
    fn begin(process: &Process, content: &str) -> Self {
        let message =
            json!({ "userId": "ann", "sessionId": "s", "role": "user", "content": content });
        let (mut client, body) = (process.connect(), message.to_string());
        client.send(&post_head(SAVE, body.len(), "Expect: 100-continue\r\n")).unwrap();
        // It says so when it begins to read the body.
        let go_on = client.read_reply().unwrap();
        assert_eq!(go_on.status, 100);
        Self { client, body }
    }

    fn finish(mut self) -> String {
        self.client.send(&self.body).unwrap();
        let reply = self.client.read_reply().unwrap();
        reply.expect(201);
        reply.body
    }
}

fn create_session(process: &Process) {
    let session = json!({ "userId": "ann", "sessionId": "s", "firstMessage": "hello" });
    process.connect().post("/api/sessions/create", &session).unwrap().expect(201);
}

fn texts(process: &Process) -> Vec<String> {
    let path = "/api/sessions/messages?sessionId=s&userId=ann";
    let history = process.connect().get(path).unwrap().expect(200);
    let messages = history["messages"].as_array().unwrap();
    messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_idle_server_ends_with_0_on_sigterm_and_sigint() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(server(folder.path()));
        // Connections that wait for nothing do not keep it.
        let (mut used, fresh) = (process.connect(), process.connect());
        used.get("/health").unwrap().expect(200);
        let began = Instant::now();

        process.signal(name);

        assert_eq!(process.exit_code(), Some(0), "SIG{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
        let log = process.whole_log();
        assert!(log.contains(&format!("stopping on SIG{name}")), "{log}");
        assert!(log.lines().last().is_some_and(|line| line.contains("\"stopped\"")), "{log}");
        drop((used, fresh));
    }
}

#[test]
fn a_request_in_flight_is_answered_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(server(folder.path()));
    create_session(&process);
    let in_flight = InFlight::begin(&process, "the last words");

    process.signal("TERM");
    process.wait_for_line("stopping on SIGTERM");
    while Connection::open(&process.address).is_ok() {
        // Until nobody listens any more.
        std::thread::yield_now();
    }
    let saved = in_flight.finish();

    assert_eq!(process.exit_code(), Some(0));
    let process = Process::start(server(folder.path()));
    assert_eq!(texts(&process), ["hello", "the last words"]);
    let path = "/api/sessions/messages?sessionId=s&userId=ann&order=desc&limit=1";
    let newest = process.connect().get(path).unwrap();
    assert!(newest.body.contains(&saved), "{saved} is not in {}", newest.body);
}

#[test]
fn no_new_request_is_taken_while_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    create_session(&process);
    let in_flight = InFlight::begin(&process, "the last words");
    let mut idle = process.connect();
    idle.get("/health").unwrap().expect(200);

    process.signal("TERM");
    process.wait_for_line("stopping on SIGTERM");

    // The connection ends, whether before or after it was asked.
    let health = idle.get("/health");
    let again = idle.get("/health");
    assert!(health.is_err() || again.is_err(), "{health:?} {again:?}");
    in_flight.finish();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(server(folder.path()));
        create_session(&process);
        let in_flight = InFlight::begin(&process, "never sent");
        process.signal(first);
        process.wait_for_line(&format!("stopping on SIG{first}"));
        let began = Instant::now();

        process.signal(second);

        process.exit_code();
        assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
        let log = process.whole_log();
        assert!(log.contains(&format!("ending at once on a second SIG{second}")), "{log}");
        drop(in_flight);
        let process = Process::start(server(folder.path()));
        assert_eq!(texts(&process), ["hello"], "what was answered is there");
    }
}

/// Within this process, so that the time can be shorter than the ten seconds of the binary.
#[tokio::test]
async fn a_request_that_does_not_end_is_given_up_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: None,
        store: StoreConfig::new(folder.path().join("test.redb"), 1 << 20),
        postgres: None,
        auth: Auth::Off,
        origins: AllowedOrigins::defaults(),
        limits: Limits::default(),
        patience: Patience::default(),
        max_connections: 10,
        drain: Duration::from_millis(200),
        retention: None,
    };
    let server = Server::bind(config, Clock::system()).await.unwrap();
    let (address, stop) = (server.address(), CancellationToken::new());

    let stall_and_stop = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = post_head(SAVE, 100, "Expect: 100-continue\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 12];
        client.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100");
        stop.cancel();
        (client, Instant::now())
    };
    let (ran, (_client, stopped)) = tokio::join!(server.run(stop.clone()), stall_and_stop);

    ran.unwrap();
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(200), "gave it up at once, after {took:?}");
    assert!(took < Duration::from_secs(5), "took {took:?}");
}
