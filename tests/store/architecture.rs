//! Which room may know which, read from the source: imports go down only.

use std::path::{Path, PathBuf};

/// The rooms, each with those that it may enter.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("metrics", &[]),
    ("nss", &[]),
    // Whoever has a fault asks for it.
    ("fault", &[]),
    ("client", &[]),
    ("systemd", &[]),
    ("events", &["model"]),
    ("search", &["model"]),
    ("store", &["model", "metrics", "events", "fault"]),
    // What it may be asked for depends on no more than that.
    ("cli", &["store"]),
    ("sessions", &["model", "metrics", "store", "events", "search", "fault"]),
    ("status", &["model", "metrics", "store"]),
    ("http", &["model", "metrics", "search", "sessions", "store", "status"]),
    ("sync", &["model", "metrics", "store", "sessions", "fault"]),
    ("exchange", &["model", "store", "sessions"]),
    ("control", &["sync", "model", "store", "status", "exchange"]),
    ("care", &["model", "store", "exchange", "control"]),
    ("server", &["model", "metrics", "store", "sessions", "status", "http", "control", "sync"]),
    ("config", &["model", "store", "http", "server", "client", "systemd", "cli", "sync"]),
    ("doctor", &["model", "store", "control", "client", "http", "server", "config"]),
    (
        "commands",
        &[
            "doctor", "model", "cli", "config", "care", "client", "control", "exchange", "server",
            "status", "systemd", "http", "store", "sync",
        ],
    ),
    ("lib", &[]),
];

/// Crates with the rooms, or the one file, that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("prometheus_client", &["metrics"]),
    ("bincode", &["store/record.rs", "store/record/steps.rs"]),
    // The server takes a `Router`.
    ("axum", &["http", "server"]),
    ("clap", &["cli", "config", "main"]),
    ("tokio_postgres", &["sync"]),
    ("rustls", &["sync/target.rs"]),
    (
        "tokio",
        &[
            "doctor", "events", "store", "sync", "control", "http", "server", "client", "systemd",
            "commands",
        ],
    ),
    // Each type describes itself.
    ("utoipa", &["model", "sessions", "http"]),
    (
        "serde_json",
        &[
            "doctor", "model", "search", "store", "status", "sessions", "exchange", "sync", "http",
            "client", "commands",
        ],
    ),
    ("csv", &["exchange"]),
];

#[test]
fn imports_go_down_only() {
    let mut problems = Vec::new();
    for (file, source) in sources() {
        problems.extend(problems_in(&file, &source));
    }

    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn an_import_that_goes_up_is_found() {
    for (file, source, expected) in [
        ("model/page.rs", "use crate::store::Store;", "model/page.rs enters store"),
        ("store/tx.rs", "    crate::http::router();", "store/tx.rs enters http"),
        ("sessions.rs", "use crate::{model::Clock, http};", "sessions.rs enters http"),
        ("sessions/list.rs", "use super::super::http;", "sessions/list.rs enters http"),
        ("http.rs", "use super::server;", "http.rs enters server"),
        ("http/auth/jwt.rs", "use super::super::super::config;", "http/auth/jwt.rs enters config"),
        ("model.rs", "use redb::Database;", "model.rs names redb"),
        ("store/tx.rs", "bincode::encode(x)", "store/tx.rs names bincode"),
        ("sessions.rs", "use axum;", "sessions.rs names axum"),
        ("attic.rs", "", "attic.rs is in no room"),
    ] {
        assert_eq!(problems_in(file, source), [expected], "{source}");
    }
    for (file, source) in [
        ("store/tx.rs", "use crate::model::{Clock, http};"),
        ("store/tx.rs", "use super::run; use redb::Table;"),
        ("store/record.rs", "use bincode::Encode;"),
        (
            "model.rs",
            "//! What crate::store and redb::Table keep.\nlet axum = \"orion-chat.redb\";",
        ),
        ("http/auth/jwt.rs", "use super::super::cors;"),
    ] {
        assert_eq!(problems_in(file, source), [""; 0], "{source}");
    }
}

/// Every file below `src`, by its path from there.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (inner, files): (Vec<PathBuf>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            sources.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(sources.len() > ROOMS.len(), "found {}", sources.len());
    sources
}

fn problems_in(file: &str, source: &str) -> Vec<String> {
    let room = file.trim_end_matches(".rs").split('/').next().unwrap();
    let code = code_of(source);
    let mut problems = Vec::new();
    for (name, homes) in CRATES {
        if names_crate(&code, name) && !homes.iter().any(|home| *home == room || *home == file) {
            problems.push(format!("{file} names {name}"));
        }
    }
    if room == "main" {
        return problems;
    }
    let Some((_, may_enter)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        problems.push(format!("{file} is in no room"));
        return problems;
    };
    let entered = entered(file, &code).into_iter();
    let strange = entered.filter(|other| other != room && !may_enter.contains(&other.as_str()));
    problems.extend(strange.map(|other| format!("{file} enters {other}")));
    problems
}

/// The source without its comments.
fn code_of(source: &str) -> String {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn names_crate(code: &str, name: &str) -> bool {
    let import = format!("use {name};");
    starts_of(code, name).any(|rest| rest.starts_with("::"))
        || code.lines().any(|line| line.trim() == import)
}

/// The rooms that paths from the root of the crate lead into.
fn entered(file: &str, code: &str) -> Vec<String> {
    let depth = file.split('/').count();
    let root = format!("{}::", "::super".repeat(depth - 1));
    let of_crate = starts_of(code, "crate").filter_map(|rest| rest.strip_prefix("::"));
    let of_super = starts_of(code, "super").filter_map(|rest| rest.strip_prefix(&root));
    let names = of_crate.chain(of_super).flat_map(first_names);
    names.filter(|name| ROOMS.iter().any(|(room, _)| room == name)).collect()
}

/// The first names of a path, or of each path of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| {
        path.trim_start().split(|c: char| !is_of_name(c)).next().unwrap_or_default().to_owned()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut at) = (0, Vec::new(), 0);
    for (end, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                names.push(name(&group[at..end]));
                at = end + 1;
            }
            '}' if depth == 0 => {
                names.push(name(&group[at..end]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// What stands behind each occurrence of a whole word that is not in the middle of a path.
fn starts_of<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = (&code[..at], &code[at + word.len()..]);
        let begins = !before.ends_with(|c: char| is_of_name(c) || c == ':');
        let ends = !rest.starts_with(is_of_name);
        (begins && ends).then_some(rest)
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
