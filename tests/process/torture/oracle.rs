//! What must be so after every recovery, whatever happened before: twelve invariants, looked at
//! over the API of the server as it is.
//!
//! O1 what was acknowledged is there, byte for byte; O2 what was refused is not; O3 what is unknown
//! is there once or not at all, and the same from then on; O4 nothing is there that was never sent;
//! O5 what was acknowledged before another was sent stands before it; O6 what was deleted stays
//! deleted; O7 lists, counts, previews and times follow from the messages; O8 pages are the whole;
//! O9 the log, which is the outbox, tells of every write once; O10 what a listener heard is what the
//! log tells, without a gap; O11 an export, a backup and a restored backup hold what the API shows;
//! O12 nothing panics, the file verifies, and it is ready in 5 s.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::client::{Client, Said, USER};
use super::listener::{self, Event};
use super::world::World;
use crate::support::{Connection, PATIENCE, Process, rows};

/// How soon a server must serve again; a debug build beside other work has more time.
pub(super) const READY: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(20) } else { Duration::from_secs(5) };

/// A session as the API shows it.
struct Found {
    row: String,
    json: Value,
    messages: Vec<(String, Value)>,
}

/// Looks at everything, and gives what is wrong.
pub(super) fn check(world: &mut World, process: &Process) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = look(world, process, &mut problems) {
        problems.push(format!("O12: it does not answer: {error}"));
    }
    let log = process.log();
    if log.contains("panicked") {
        problems.push(format!("O12: it panicked: {log}"));
    }
    problems
}

fn look(world: &mut World, process: &Process, problems: &mut Vec<String>) -> io::Result<()> {
    let mut connection = process.connect();
    for client in &mut world.clients {
        problems.extend(client.repeat(&mut connection, &world.journal));
    }
    problems.extend(world.lead.repeat(&mut connection, &world.journal));
    let mut found = sessions(&mut connection, problems)?;
    for (id, session) in &mut found {
        session.messages = messages(&mut connection, id, problems)?;
        follows(id, session, problems);
    }
    for client in world.clients.iter_mut().chain([&mut world.lead]) {
        see_sessions(client, &mut connection, &found, problems)?;
    }
    see_messages(world, &found, problems);
    see_log(world, process, &mut connection, problems)?;
    for client in &mut world.clients {
        client.drop_what_is_gone();
    }
    Ok(())
}

/// Compares the whole with its pages, and gives it.
fn paged(
    client: &mut Connection,
    path: &str,
    size: usize,
    problems: &mut Vec<String>,
) -> io::Result<Vec<String>> {
    let whole = rows(client, path, 1000)?;
    let pages = rows(client, path, size)?;
    if whole != pages {
        let (many, few) = (whole.len(), pages.len());
        problems.push(format!("O8: {path} has {many} rows, and by {size} a page {few}, or others"));
    }
    Ok(whole)
}

fn sessions(
    client: &mut Connection,
    problems: &mut Vec<String>,
) -> io::Result<HashMap<String, Found>> {
    let mut found = HashMap::new();
    for order in ["sortBy=updatedAt", "sortBy=createdAt&sortOrder=asc"] {
        let path = format!("/api/sessions/list?userId={USER}&{order}");
        let mut times = Vec::new();
        for row in paged(client, &path, 3, problems)? {
            let json: Value = serde_json::from_str(&row).map_err(io::Error::other)?;
            let time = if order == "sortBy=updatedAt" { "updatedAt" } else { "createdAt" };
            times.push(json[time].as_str().map(str::to_owned));
            let id = json["sessionId"].as_str().unwrap_or_default().to_owned();
            let known = found.insert(id.clone(), Found { row, json, messages: Vec::new() });
            if known.is_some() != (order != "sortBy=updatedAt") {
                problems
                    .push(format!("O7: {id} is in one list twice, or in one and not the other"));
            }
        }
        if order == "sortBy=updatedAt" {
            times.reverse();
        }
        if !times.is_sorted() {
            problems.push(format!("O7: {path} is not in its order"));
        }
    }
    for (id, session) in &found {
        let reply = client.get(&format!("/api/sessions/get?userId={USER}&sessionId={id}"))?;
        if reply.body != session.row {
            problems.push(format!("O7: {id} is listed as {} and is {}", session.row, reply.body));
        }
    }
    Ok(found)
}

fn messages(
    client: &mut Connection,
    session: &str,
    problems: &mut Vec<String>,
) -> io::Result<Vec<(String, Value)>> {
    let path = format!("/api/sessions/messages?userId={USER}&sessionId={session}");
    let size = if session.contains("shared") { 97 } else { 2 };
    let rows = paged(client, &path, size, problems)?;
    let parsed = rows.into_iter().map(|row| {
        let json = serde_json::from_str(&row)?;
        Ok((row, json))
    });
    parsed.collect::<Result<_, serde_json::Error>>().map_err(io::Error::other)
}

/// Whether what a session shows of its messages follows from them.
fn follows(id: &str, Found { json, messages, row }: &Found, problems: &mut Vec<String>) {
    let preview_of = |message: Option<&(String, Value)>, preview: &Value| {
        let text = message.and_then(|(_, json)| json["content"].as_str());
        match (text, preview.as_str()) {
            (Some(text), Some(preview)) => text.starts_with(preview.trim_end_matches("...")),
            (text, preview) => text == preview,
        }
    };
    let mut wrong = Vec::new();
    if json["messageCount"] != messages.len() {
        wrong.push("messageCount");
    }
    if !preview_of(messages.first(), &json["firstMessage"]) {
        wrong.push("firstMessage");
    }
    if !preview_of(messages.last(), &json["lastMessage"]) {
        wrong.push("lastMessage");
    }
    let times: Vec<_> = messages.iter().map(|(_, json)| json["timestamp"].as_str()).collect();
    if !times.is_sorted() {
        wrong.push("its messages' order");
    }
    if times.last().is_some_and(|last| *last > json["updatedAt"].as_str()) {
        wrong.push("updatedAt");
    }
    if !wrong.is_empty() {
        let stored = messages.len();
        problems.push(format!("O7: {wrong:?} of {id} with {stored} messages: {row}"));
    }
}

/// Compares a client's sessions with those that are there.
fn see_sessions(
    client: &mut Client,
    connection: &mut Connection,
    found: &HashMap<String, Found>,
    problems: &mut Vec<String>,
) -> io::Result<()> {
    let mut gone = Vec::new();
    for own in &mut client.sessions {
        let Some(id) = own.id.clone() else {
            // Never repeated with success, which is told already.
            own.title = super::journal::Belief::new(None);
            continue;
        };
        let there = found.get(&id);
        let title = there.map(|session| session.json["title"].as_str().unwrap_or_default());
        let (title, before) = (title.map(str::to_owned), own.title.clone());
        if !own.title.see(&title) {
            let kind = if before.is.is_none() { "O6" } else { "O1" };
            problems.push(format!("{kind}: {id} is {title:?}, and was to be {before:?}"));
        }
        if there.is_none() {
            gone.push(id);
        }
    }
    for (n, id) in gone.into_iter().enumerate() {
        client.forget(&id);
        // A few of them are enough.
        if n < 3 {
            let reply =
                connection.get(&format!("/api/sessions/messages?userId={USER}&sessionId={id}"))?;
            if reply.status != 404 {
                problems.push(format!("O6: {id} is gone, and answers {reply:?}"));
            }
        }
    }
    Ok(())
}

/// Compares what was said with what is there.
fn see_messages(world: &mut World, found: &HashMap<String, Found>, problems: &mut Vec<String>) {
    let clients = world.clients.iter().chain([&world.lead]);
    let known = clients.flat_map(|client| &client.sessions).filter_map(|own| own.id.clone());
    let known: HashSet<_> = known.collect();
    let mut said = HashMap::new();
    for client in &mut world.clients {
        said.extend(client.said.iter_mut().map(|said| (said.mark.clone(), said)));
    }
    let mut seen = HashSet::new();
    for (id, session) in found {
        if !known.contains(id) {
            problems.push(format!("O4: nobody made {}", session.row));
        }
        let mut sent_last: Option<Instant> = None;
        for (row, json) in &session.messages {
            let text = json["content"].as_str().unwrap_or_default();
            let mark = text.split_once(' ').map_or("", |(mark, _)| mark);
            let Some(said) = said.get_mut(mark).filter(|said| said.session == *id) else {
                problems.push(format!("O4: in {id}, nobody said {row}"));
                continue;
            };
            if !seen.insert(mark.to_owned()) {
                problems.push(format!("O3: it is there twice: {row}"));
                continue;
            }
            problems.extend(see_message(said, row, json));
            if said.returned.is_some_and(|returned| sent_last.is_some_and(|sent| returned < sent)) {
                problems.push(format!("O5: it stands behind what was sent later: {row}"));
            }
            sent_last = sent_last.max(Some(said.called));
        }
    }
    for (mark, said) in said {
        let before = said.text.clone();
        if !seen.contains(&mark) && !said.text.see(&None) {
            problems.push(format!("O1: {mark} of {} is lost: {before:?}", said.session));
        }
    }
}

/// Compares one message with what is there, which is known from then on.
fn see_message(said: &mut Said, row: &str, json: &Value) -> Option<String> {
    let (before, acknowledged) = (said.text.clone(), said.row.replace(row.to_owned()));
    let fits = said.text.see(&json["content"].as_str().map(str::to_owned));
    said.id = json["id"].as_str().map(str::to_owned);
    said.existed = true;
    if !fits {
        let kind = if before.is.is_none() { "O2, O6" } else { "O1" };
        return Some(format!("{kind}: it was to be {before:?}, and is {row}"));
    }
    let is_another = before.is == said.text.is && acknowledged.as_ref().is_some_and(|it| it != row);
    is_another.then(|| format!("O1: acknowledged as {acknowledged:?} and is {row}"))
}

/// Reads the log since it was read last, and compares it with what was done and what was heard.
fn see_log(
    world: &mut World,
    process: &Process,
    connection: &mut Connection,
    problems: &mut Vec<String>,
) -> io::Result<()> {
    // A change of our own tells where to stop.
    let title = world.lead.rename(connection, &world.journal, super::world::MARKER);
    let Some(title) = title else {
        problems.push("O12: a title cannot be changed".to_owned());
        return Ok(());
    };
    let mut socket = listener::open(&process.address, &world.since)?;
    loop {
        let Ok(event) = listener::next(&mut socket, PATIENCE) else {
            problems
                .push(format!("O10: after {} the log is silent, and more was done", world.since));
            return Ok(());
        };
        let json: Value = serde_json::from_str(&event.1).map_err(io::Error::other)?;
        if json["type"] == "resync" || number(&event.0) <= number(&world.since) {
            problems.push(format!("O10: after {} comes {}", world.since, event.1));
        }
        world.since.clone_from(&event.0);
        world.log.push(event);
        if json["type"] == "message.created" {
            tell(world, &json, problems);
        }
        if json["session"]["title"] == title {
            break;
        }
    }
    for said in world.clients.iter().flat_map(|client| &client.said) {
        if said.told != usize::from(said.existed) {
            let (mark, told) = (&said.mark, said.told);
            problems.push(format!("O9: the log tells of {mark} {told} times: {said:?}"));
        }
    }
    hear(world, problems);
    Ok(())
}

/// Notes that the log tells of a message.
fn tell(world: &mut World, event: &Value, problems: &mut Vec<String>) {
    let text = event["message"]["content"].as_str().unwrap_or_default();
    let mark = text.split_once(' ').map_or("", |(mark, _)| mark);
    let mut said = world.clients.iter_mut().flat_map(|client| &mut client.said);
    match said.find(|said| said.mark == mark) {
        Some(said) => said.told += 1,
        None => problems.push(format!("O9: the log tells of what nobody said: {event}")),
    }
}

/// What each listener heard must be what the log tells from where it was.
fn hear(world: &mut World, problems: &mut Vec<String>) {
    for listener in &mut world.listeners {
        let heard = std::mem::take(&mut listener.heard);
        let told = world.log.get(listener.from..).unwrap_or_default();
        let differs = heard.iter().zip(told).position(|(heard, told)| heard != told);
        if let Some(at) = differs {
            problems.push(format!("O10: heard {:?} where the log has {:?}", heard[at], told[at]));
        } else if let Some((_, lost)) = heard.get(told.len()) {
            problems.push(format!("O10: heard and is not in the log: {lost}"));
        }
        listener.from += heard.len();
    }
    // What all have heard is not needed any more.
    let heard = world.listeners.iter().map(|listener| listener.from).min();
    let heard = heard.unwrap_or(world.log.len()).min(world.log.len());
    world.log.drain(..heard);
    for listener in &mut world.listeners {
        listener.from -= heard;
    }
}

/// The number within a cursor.
fn number(cursor: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Some(u64::from_be_bytes(bytes.get(4..)?.try_into().ok()?))
}

/// What the API shows, as the lines of an export say it: without what follows from the messages.
pub(super) fn lines_of_api(process: &Process) -> io::Result<HashSet<String>> {
    let (mut connection, mut none) = (process.connect(), Vec::new());
    let mut lines = HashSet::new();
    for (id, session) in sessions(&mut connection, &mut none)? {
        lines.insert(line_of_session(&session.json));
        for (_, message) in messages(&mut connection, &id, &mut none)? {
            lines.insert(line_of_message(&message));
        }
    }
    Ok(lines)
}

/// The same of an export's lines.
pub(super) fn lines_of_export(text: &str) -> HashSet<String> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter_map(|line| match line["type"].as_str() {
        Some("session") => Some(line_of_session(&line)),
        Some("message") => Some(line_of_message(&line)),
        _ => None,
    });
    lines.collect()
}

fn line_of_session(json: &Value) -> String {
    let [id, title, metadata] = ["sessionId", "title", "metadata"].map(|name| &json[name]);
    format!("{id} {title} {metadata} {}", millis(&json["updatedAt"]))
}

fn line_of_message(json: &Value) -> String {
    let [session, id, role, text] = ["sessionId", "id", "role", "content"].map(|name| &json[name]);
    format!("{session} {id} {role} {text} {}", millis(&json["timestamp"]))
}

/// A time as the API shows it, which an export tells more exactly.
fn millis(time: &Value) -> String {
    time.as_str().unwrap_or_default().chars().take("2026-11-23T05:32:17.622".len()).collect()
}

/// An event of a log, for who compares.
pub(super) type Log = Vec<Event>;
