//! Parses the command line and runs the chosen command.

use std::process::ExitCode;

use clap::Parser as _;

use orion_chat::cli::Cli;
use orion_chat::commands::{self, Failure};
use orion_chat::nss;

/// glibc's allocator spends a fifth of the writer's time on buffers of some kilobytes, and keeps
/// them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nss::pin();
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Says why on stderr, whether or not the log has started.
#[expect(clippy::print_stderr, reason = "this is what stderr is for")]
fn complain(failure: &Failure) {
    eprintln!("orion-chat: {failure}");
}
