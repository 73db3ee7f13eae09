//! What clients may depend on, tried over real sockets: one file for each endpoint or promise.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod bad_bodies;
mod bad_input;
mod cors;
mod docs;
mod flow;
mod framing;
mod jwt;
mod limits;
mod list;
mod live;
mod messages;
mod modes;
mod origins;
mod ownership;
mod races;
mod readers;
mod save_message;
mod search;
mod service;
mod sessions;
mod support;
