//! What clients may depend on, tried over real sockets: one file for each endpoint or promise.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod admin;
mod bad_bodies;
mod bad_input;
mod bad_paths;
mod conditional;
mod cors;
mod docs;
mod edit_message;
mod expected_count;
mod flow;
mod framing;
mod fuzz;
mod idempotency;
mod jwt;
mod limits;
mod list;
mod live;
mod marks;
mod matrix;
mod merge_patch;
mod messages;
mod modes;
mod origins;
mod ownership;
mod paging;
mod parts;
mod quotas;
mod races;
mod rates;
mod readers;
mod rest;
mod retention;
mod save_message;
mod search;
mod service;
mod sessions;
mod stale;
mod support;
