//! A node beside PostgreSQL: what its operators may depend on when that fails, comes back, or is
//! written to by others, tried on the binary against a real server with the portal's tables.
//!
//! Run by `scripts/check-postgres.sh`, which installs the servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::print_stderr, reason = "a test that fails shows the logs of its servers")]
#![expect(clippy::print_stdout, reason = "a full run shows its figures")]
#![expect(clippy::indexing_slicing, reason = "of JSON, which answers null, and of what is known")]
#[path = "../process/support.rs"]
#[expect(dead_code, reason = "made for tests/process, which uses all of it")]
mod process;
#[macro_use]
mod rig;

mod apart;
mod fail_over;
mod large;
mod odd;
mod outage;
mod pull;
mod refused;
mod repeats;
mod restored;
mod rig_itself;
mod surface;
mod tls;
