//! Who has the port: this server, nobody, or a program that is in the way.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, Response};

use crate::client::{AskError, Peer};
use crate::server::AdminConfig;

use super::Finding;

const CHECK: &str = "port";
const ADMIN: &str = "admin";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers at an address.
#[derive(Debug)]
pub(super) enum Port {
    /// A server of ours.
    Served(Peer),
    /// Nobody.
    Free,
    /// Another program, or one that cannot be asked.
    Taken,
}

pub(super) async fn look(listen: SocketAddr) -> (Finding, Port) {
    if listen.port() == 0 {
        let text = format!("{listen} is another one at each start; name one with --listen");
        return (Finding::doubtful(CHECK, text), Port::Free);
    }
    let peer = Peer::listening_on(listen);
    match ask(&peer, Request::get("/")).await {
        Ok(answer) => of_answer(listen, peer, &answer),
        Err(AskError::Connect(_)) => (try_to_listen(listen), Port::Free),
        Err(error) => (taken(listen, &error.to_string()), Port::Taken),
    }
}

/// What keeps the admin listener from its port, where no server of ours runs that has it.
pub(super) fn look_at_admin(listen: SocketAddr, admin: &AdminConfig) -> Option<Finding> {
    if admin.listen.port() == 0 {
        return None;
    }
    if admin.listen == listen {
        let text = format!("{listen} is asked for twice; choose another with --admin-listen");
        return Some(Finding::wrong(ADMIN, text));
    }
    let error = TcpListener::bind(admin.listen).err()?;
    let text = format!(
        "{} cannot be had for metrics: {error}; ss -ltnp 'sport = :{}' shows who has it: choose \
         another with --admin-listen, or off",
        admin.listen,
        admin.listen.port()
    );
    // The default one is gone without.
    Some(if admin.is_needed { Finding::wrong(ADMIN, text) } else { Finding::doubtful(ADMIN, text) })
}

/// What `peer` answers, if it does within a time.
pub(super) async fn ask(
    peer: &Peer,
    request: hyper::http::request::Builder,
) -> Result<Response<Bytes>, AskError> {
    let request = request.body(Empty::new()).map_err(io::Error::other)?;
    match tokio::time::timeout(PATIENCE, peer.ask(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::Connect(io::ErrorKind::TimedOut.into())),
    }
}

fn of_answer(listen: SocketAddr, peer: Peer, answer: &Response<Bytes>) -> (Finding, Port) {
    let index: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name| index.get(name).and_then(serde_json::Value::as_str);
    let ours = env!("CARGO_PKG_VERSION");
    match (text("name"), text("version")) {
        (Some("orion-chat"), Some(version)) if version == ours => {
            let text = format!("{listen} is served by orion-chat {version}");
            (Finding::well(CHECK, text), Port::Served(peer))
        }
        (Some("orion-chat"), version) => {
            let text = format!(
                "{listen} is served by orion-chat {}, and this is {ours}: \
                 systemctl restart orion-chat",
                version.unwrap_or("of unknown version"),
            );
            (Finding::doubtful(CHECK, text), Port::Served(peer))
        }
        _ => (taken(listen, &format!("it answers {}", answer.status())), Port::Taken),
    }
}

fn taken(listen: SocketAddr, why: &str) -> Finding {
    let port = listen.port();
    Finding::wrong(
        CHECK,
        format!(
            "{listen} is in use by another program ({why}); \
             ss -ltnp 'sport = :{port}' shows it: stop it or choose another with --listen"
        ),
    )
}

fn try_to_listen(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen).map_err(|error| (error.kind(), error)) {
        Ok(_) => Finding::well(CHECK, format!("{listen} is free; no server runs there")),
        Err((io::ErrorKind::AddrInUse, error)) => taken(listen, &error.to_string()),
        Err((io::ErrorKind::PermissionDenied, error)) => Finding::wrong(
            CHECK,
            format!("cannot listen on {listen}: {error}; choose a port from 1024 with --listen"),
        ),
        Err((_, error)) => Finding::wrong(
            CHECK,
            format!("cannot listen on {listen}: {error}; ip address shows what this machine has"),
        ),
    }
}
