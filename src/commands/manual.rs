//! `completions` and `man`: the command line told to shells and readers.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli;

use super::{Failure, say};

pub(super) fn completions(shell: cli::Shell) {
    print(&cli::completions(shell));
}

pub(super) fn man(folder: Option<PathBuf>) -> Result<(), Failure> {
    let Some(folder) = folder else {
        cli::man_pages().take(1).for_each(|(_, page)| print(&page));
        return Ok(());
    };
    for (name, page) in cli::man_pages() {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|source| failed(&path, source))?;
        say(&path.display().to_string());
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> Failure {
    Failure::ManPage { path: path.to_owned(), source }
}

/// Writes to whoever may have gone away.
fn print(text: &[u8]) {
    let _gone = std::io::stdout().write_all(text);
}
