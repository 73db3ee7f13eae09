//! What operators may depend on, tried on the binary itself: what it says, how it ends, and what
//! is left when it is killed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::print_stderr, reason = "a test that fails shows the log of its process")]
#![expect(clippy::print_stdout, reason = "torture shows its figures")]
#![expect(clippy::indexing_slicing, reason = "of JSON, which answers null, and of what is known")]

mod care;
mod cli;
mod crash;
mod disk;
mod doctor;
mod health;
mod limits;
mod reload;
mod rewrites;
mod secrecy;
mod signals;
mod status;
mod support;
mod systemd;
mod token;
mod torture;
