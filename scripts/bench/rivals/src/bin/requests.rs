//! Writes requests as they go over the wire, ready to be drawn at random: each ends with a NUL.
//!
//! requests RIVAL SCENARIO USERS COUNT SEED [ADDRESS]
//!
//! RIVAL is `rest` (orion-chat, Express and SQLite, which have the same routes), `pocketbase` or
//! `limit`; SCENARIO is `list`, `history`, `save` or `unchanged`, for which the server at ADDRESS is
//! asked for the tags of what it holds. For how cost grows: `page`, `search`, and of the one with more
//! sessions or messages than others `wide-list`, `wide-save`, `wide-search`, `deep-page`, `deep-save`,
//! `deep-search`; USERS is then how many of these.

use std::fmt::Write as _;
use std::io::Write as _;

use rivals::client::Client;
use rivals::data::{DEEP, Random, SESSIONS, Session, WIDE, user_id, words};
use rivals::token::{pocketbase_token, token};

/// A page of the portal, which every rival lets in.
const ORIGIN: &str = "https://www.sidekickportal.com";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rival, scenario, users, count, seed] = arguments.first_chunk().expect("five arguments");
    let users = users.parse().expect("a number of users");
    let mut random = Random(seed.parse().expect("a seed"));
    let mut client = arguments.get(5).map(|address| Client::connect(address).expect("a server"));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for _ in 0..count.parse::<u32>().expect("a count") {
        let request = request(rival, scenario, users, &mut random, client.as_mut());
        write!(out, "{request}\0").expect("written");
    }
}

fn request(
    rival: &str,
    scenario: &str,
    users: u32,
    random: &mut Random,
    client: Option<&mut Client>,
) -> String {
    let user = random.below(users);
    // Nothing is saved to long sessions, so that histories stay as long as they are.
    let long = Session { user, number: random.below(SESSIONS / 10) * 10 };
    let short = Session { user, number: random.below(SESSIONS / 10) * 10 + 1 + random.below(9) };
    let id = user_id(user);
    let get = |path: &str, token: &str, more: &str| head("GET", path, token, more) + "\r\n";
    match (rival, scenario) {
        ("limit", "list") => get("/0", "", ""),
        ("limit", "history") => get("/1", "", ""),
        ("limit", "unchanged") => get("/2", "", ""),
        ("rest", "list") => get("/api/sessions/list", &token(&id), ""),
        ("rest", "history") => {
            get(&format!("/api/sessions/messages?sessionId={}", long.id()), &token(&id), "")
        }
        ("rest", "page") => history_page(long),
        ("rest", "search") => get("/api/search?q=monad+portal", &token(&id), ""),
        // As many as a small user has, so that what is sent is as much.
        ("rest", "wide-list") => {
            get(&format!("/api/sessions/list?limit={SESSIONS}"), &token(&user_id(WIDE)), "")
        }
        ("rest", "wide-search") => get("/api/search?q=monad+portal", &token(&user_id(WIDE)), ""),
        ("rest", "deep-search") => get("/api/search?q=monad+portal", &token(&user_id(DEEP)), ""),
        ("rest", "deep-page") => history_page(Session { user: DEEP, number: 0 }),
        ("rest", "save") => save(short, random),
        ("rest", "wide-save") => save(Session { user: WIDE, number: user }, random),
        ("rest", "deep-save") => save(Session { user: DEEP, number: 0 }, random),
        ("rest", "unchanged") => {
            let (path, token) = ("/api/sessions/list", token(&id));
            let client = client.expect("an address");
            let answer = client.ask(get(path, &token, "").as_bytes()).expect("an answer");
            let etag = answer.etag.expect("an entity tag");
            get(path, &token, &format!("If-None-Match: {etag}\r\n"))
        }
        ("pocketbase", "list") => {
            let path = format!("sessions/records?filter=(user='{id}')&sort=-updated");
            get(&records(&path), &pocketbase_token(&id), "")
        }
        ("pocketbase", "history") => {
            let path = format!("messages/records?filter=(session='{}')&sort=created", long.id());
            get(&records(&path), &pocketbase_token(&id), "")
        }
        ("pocketbase", "save") => {
            let body = format!(
                r#"{{"session":"{}","user":"{id}","role":"user","content":"{}"}}"#,
                short.id(),
                words(random.next())
            );
            post("/api/collections/messages/records", &pocketbase_token(&id), &body)
        }
        (rival, scenario) => panic!("{rival} has no {scenario}"),
    }
}

fn history_page(session: Session) -> String {
    let path = format!("/api/sessions/messages?sessionId={}&limit=100&order=desc", session.id());
    head("GET", &path, &token(&user_id(session.user)), "") + "\r\n"
}

fn save(session: Session, random: &mut Random) -> String {
    let (id, content) = (session.id(), words(random.next()));
    let body = format!(r#"{{"sessionId":"{id}","role":"user","content":"{content}"}}"#);
    post("/api/sessions/save-message", &token(&user_id(session.user)), &body)
}

/// A page of 100, which it is not asked to count.
fn records(path: &str) -> String {
    format!("/api/collections/{path}&perPage=100&skipTotal=1")
}

fn post(path: &str, token: &str, body: &str) -> String {
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    head("POST", path, token, &more) + "\r\n" + body
}

fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\n");
    if !token.is_empty() {
        write!(head, "Authorization: Bearer {token}\r\n").expect("written");
    }
    head + more
}
