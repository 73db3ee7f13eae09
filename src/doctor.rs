//! Looks a node and a configuration over: what is well, what is doubtful, what is wrong and which
//! command mends it.
//!
//! Owns the checks and the words for what they find. What a server answers is not worked out here
//! but asked for: of the server that runs, else of a [`StandIn`] with the same configuration.
//! Changes nothing, and shows no secret.

mod answers;
mod disk;
mod machine;
mod outside;
mod port;
mod secret;
mod stand_in;
mod tunnel;

use std::fmt;
use std::path::Path;

use crate::config::Config;
use crate::http::auth::TokenConfig;
use crate::model::Clock;

use answers::Answers;
use port::Port;
use stand_in::StandIn;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Well,
    /// It works, and may not for long or for all.
    Doubtful,
    /// It does not work.
    Wrong,
}

/// What a check found. Shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How what was looked at is.
    pub state: State,
    check: &'static str,
    text: String,
}

impl Finding {
    fn new(state: State, check: &'static str, text: impl Into<String>) -> Self {
        Self { state, check, text: text.into() }
    }

    /// It is as it should be.
    pub fn well(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(State::Well, check, text)
    }

    /// It works, and may not for long or for all; `text` says what to do.
    pub fn doubtful(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(State::Doubtful, check, text)
    }

    /// It does not work; `text` says what to do.
    pub fn wrong(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(State::Wrong, check, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Well => "ok",
            State::Doubtful => "warn",
            State::Wrong => "FAIL",
        };
        // One line, whatever a file or a server gave for the text.
        let text = self.text.replace(|c: char| c.is_control(), " ");
        write!(f, "{state:4}  {:8}  {text}", self.check)
    }
}

/// Looks over what is there whatever the configuration: the clock, and where the data is.
pub fn look_at_node(data: &Path, clock: &Clock, tell: &mut dyn FnMut(Finding)) {
    tell(machine::clock(data, clock));
    disk::file(data).into_iter().for_each(&mut *tell);
    tell(disk::room(data));
}

/// Looks over what was configured: the secrets that `tokens` are checked with, the port, who may
/// call, and what comes of requests by a tunnel, or by the way of `url`.
pub async fn look_at_service(
    config: Config,
    tokens: Option<&TokenConfig>,
    url: Option<&str>,
    clock: &Clock,
    tell: &mut dyn FnMut(Finding),
) {
    tokens.into_iter().flat_map(secret::strength).for_each(&mut *tell);
    let listen = config.server.listen;
    let origins = config.server.origins.clone();
    let (found, port) = port::look(listen).await;
    tell(found);
    if let (Port::Free | Port::Taken, Some(admin)) = (&port, &config.server.admin) {
        port::look_at_admin(listen, admin).into_iter().for_each(&mut *tell);
    }

    let stand_in = match port {
        Port::Served(_) => None,
        Port::Free | Port::Taken => Some(StandIn::start(config.server, clock.clone()).await),
    };
    let peer = match (port, &stand_in) {
        (Port::Served(peer), _) => peer,
        (_, Some(Ok(stand_in))) => stand_in.peer(),
        (_, Some(Err(error))) => {
            return tell(Finding::wrong("server", format!("{error}")));
        }
        (_, None) => return,
    };
    let answers = Answers { peer, is_stand_in: stand_in.is_some(), origins, tokens, clock };
    answers.look_at_origins(tell).await;
    answers.look_at_tunnel(listen.port(), tell).await;
    if let Some(url) = url {
        outside::look(url, &answers, tell);
    }
    if let Some(Ok(stand_in)) = stand_in {
        stand_in.stop().await;
    }
}
