//! The command line told to shells and to `man`, as it is.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

pub use clap_complete::Shell;

use super::Cli;

/// What completes the command line in `shell`.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "orion-chat", &mut script);
    script
}

/// The manual page of the whole, with the name of its file, and those of the commands.
pub fn man_pages() -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    // Names each command as it is called, such as `orion-chat-backup`.
    whole.build();
    let commands: Vec<_> = whole.get_subcommands().cloned().collect();
    [whole].into_iter().chain(commands).map(page)
}

fn page(command: Command) -> (String, Vec<u8>) {
    let page = Man::new(command).source(concat!("orion-chat ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    let written: io::Result<()> = page.render(&mut text);
    debug_assert!(written.is_ok(), "memory takes everything");
    (page.get_filename(), text)
}
