//! What the data file promises, tried on real files: against a model in memory, damaged, newer,
//! in use. And what the rooms may know of each other, read from their source.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::indexing_slicing, reason = "of JSON, which answers null, and of what is known")]
#![expect(clippy::print_stdout, reason = "torture shows its figures")]

mod architecture;
mod copies;
mod damage;
mod disk;
mod exchange;
mod lock;
mod merge;
mod model;
mod power_loss;
mod salvage;
mod schema;
mod settling;
mod support;
