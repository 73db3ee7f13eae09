//! orion-chat keeps chat sessions and message history in one embedded file and serves them over
//! a CORS-enabled REST API: one process, no database server.
//!
//! # What it promises
//!
//! - An answer 2xx to a write means that it is on disk.
//! - Nobody sees another's sessions: they answer as if they did not exist.
//! - Within a session, times strictly increase, whatever the clock does.
//! - A damaged record is refused, never served.
//!
//! # The rooms
//!
//! Imports go down only; `tests/store/architecture.rs` checks it.
//!
//! - [`cli`], [`config`]: what was asked for, brought together and checked.
//! - [`commands`]: what each command does and prints.
//! - [`care`]: what operators do with the data: backups, checks, the way back.
//! - [`client`]: the other end, for commands that ask a server how it is.
//! - [`doctor`]: what is wrong with a node and its configuration, and what mends it.
//! - [`server`]: the listener, the connections, the order of stopping.
//! - [`control`]: a running server's door for `care`.
//! - [`http`]: every route, the layers around them, what a request takes and gives.
//! - [`sessions`]: the verbs, each one transaction.
//! - [`exchange`]: sessions and messages as lines, on their way out and in.
//! - [`search`]: which words are looked for, and where a text has them.
//! - [`store`]: the data file; all that knows redb.
//! - [`sync`]: PostgreSQL as a replica: what is sent there and taken from there.
//! - [`events`]: wakes those who follow a user's changes.
//! - [`status`]: how a server is doing, on one screen.
//! - [`metrics`]: what is counted and measured.
//! - [`model`]: the nouns and their rules.
//! - [`systemd`]: what a service manager gives, and is told.
//! - [`fault`]: mistakes on purpose, for tests alone.
//! - [`nss`]: keeps a static binary's name lookups within it.
//!
//! # How a request flows
//!
//! `http::sessions::save_message` takes the request apart, `sessions::save_message` decides and
//! writes in `store.write("save_message", …)`, `store::writer` commits it with whatever else is
//! waiting, and only then is it answered. `grep -rn save_message src` prints that path.

pub mod care;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod control;
pub mod doctor;
pub mod events;
pub mod exchange;
pub mod fault;
pub mod http;
pub mod metrics;
pub mod model;
pub mod nss;
pub mod search;
pub mod server;
pub mod sessions;
pub mod status;
pub mod store;
pub mod sync;
pub mod systemd;
