//! How far a command is, for who waits at a terminal.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{run, text};

/// What `arguments` show on a terminal, with the moves of its cursor.
fn on_a_terminal(folder: &Path, arguments: &str) -> String {
    let mut script = Command::new("script");
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_orion-chat"));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let output = script.current_dir(folder).env("TERM", "xterm").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
    text(&output.stdout)
}

/// The lines of one long session.
fn lines() -> String {
    let mut lines = String::from(
        r#"{"type":"session","sessionId":"s","userId":"ann","createdAt":"2026-01-01T00:00:00Z"}"#,
    );
    for n in 0..5000 {
        let words = "lorem ipsum ".repeat(30);
        let line = json!({ "type": "message", "sessionId": "s", "id": format!("m{n}"),
            "role": "user", "content": words, "timestamp": "2026-01-01T00:00:01Z" });
        write!(lines, "\n{line}").unwrap();
    }
    lines
}

#[test]
fn a_terminal_shows_how_far_it_is_and_a_pipe_does_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lines"), lines()).unwrap();

    for (command, shows) in [
        ("import lines", "importing"),
        ("verify", "checking"),
        ("backup b.redb", "copying"),
        ("export e", "writing"),
    ] {
        let shown = on_a_terminal(folder.path(), command);
        assert!(shown.contains(shows), "{command}: {shown:?}");
        for line in shown.split(['\r', '\n']) {
            assert!(line.chars().count() <= 80 + "\u{1b}[2K".len(), "{command}: {line:?}");
        }

        let arguments: Vec<_> = command.split(' ').collect();
        assert_eq!(text(&run(folder.path(), &arguments).stderr), "", "{command}");
    }
}
