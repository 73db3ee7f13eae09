//! A client that works: it creates, saves, edits and deletes, one call after the other, and
//! remembers what it was told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

use serde_json::{Value, json};

use super::dice::Dice;
use super::journal::{Belief, Call, Journal, Outcome, Request};
use crate::support::Connection;

/// All are this user, and each touches what it made itself, but for the shared session.
pub(crate) const USER: &str = "ann";

/// How many sessions a client has at most.
const SESSIONS: usize = 6;

/// A session of a client's own.
#[derive(Debug)]
pub(crate) struct Own {
    /// None until the server has told which one it chose.
    pub(crate) id: Option<String>,
    /// None while there is no such session.
    pub(crate) title: Belief<Option<String>>,
}

/// A message that was sent.
#[derive(Debug)]
pub(crate) struct Said {
    /// The session that it belongs to; empty until its id is known.
    pub(crate) session: String,
    /// What each of its texts begins with, and nothing else that anybody sends.
    pub(crate) mark: String,
    /// Its id, once that is known.
    pub(crate) id: Option<String>,
    /// None while there is no such message.
    pub(crate) text: Belief<Option<String>>,
    /// As it was acknowledged last.
    pub(crate) row: Option<String>,
    /// Whether it was ever stored, as far as is known.
    pub(crate) existed: bool,
    /// How often listeners were told that it was created.
    pub(crate) told: usize,
    /// When it was sent, and when that was acknowledged.
    pub(crate) called: Instant,
    pub(crate) returned: Option<Instant>,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
enum About {
    Create(usize, Option<usize>),
    Retitle(usize),
    DeleteSession(usize),
    Save(usize),
    Edit(usize),
    DeleteMessage(usize),
}

/// A client.
pub(crate) struct Client {
    pub(crate) name: String,
    /// Whether it deletes more than it says.
    deletes: bool,
    dice: Dice,
    count: usize,
    pub(crate) sessions: Vec<Own>,
    pub(crate) said: Vec<Said>,
    /// The call of which is unknown what it did.
    pending: Option<(Request, About)>,
    /// The last call with a key that was acknowledged, and how.
    keyed: Option<(Request, String)>,
}

impl Client {
    pub(crate) fn new(name: &str, seed: u64, deletes: bool) -> Self {
        let (dice, name) = (Dice::new(seed), name.to_owned());
        let (sessions, said, pending, keyed) = (Vec::new(), Vec::new(), None, None);
        Self { name, deletes, dice, count: 0, sessions, said, pending, keyed }
    }

    /// Works until it is told to stop or gets no answer, and tells of each that it gets.
    pub(crate) fn work(
        &mut self,
        (address, shared): (&str, &str),
        journal: &Journal,
        (stop, told): (&AtomicBool, &Sender<Instant>),
    ) -> io::Result<()> {
        let mut client = Connection::open(address)?;
        while !stop.load(Ordering::Relaxed) {
            let (request, about) = self.draw(shared);
            let call = self.call(&mut client, journal, request, about);
            if call.outcome == Outcome::Info {
                return call.reply.map(drop);
            }
            told.send(call.returned).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Makes so many calls, or fewer if one gets no answer.
    pub(crate) fn work_alone(&mut self, address: &str, journal: &Journal, calls: usize) {
        let Ok(mut client) = Connection::open(address) else { return };
        let shared = self.sessions.first().and_then(|own| own.id.clone()).unwrap_or_default();
        for _ in 0..calls {
            let (request, about) = self.draw(&shared);
            if self.call(&mut client, journal, request, about).outcome == Outcome::Info {
                return;
            }
        }
    }

    fn draw(&mut self, shared: &str) -> (Request, About) {
        let live: Vec<_> = self.live().collect();
        let (make, drop) = if self.deletes { (35, 35) } else { (8, 5) };
        let pick = self.dice.below(100);
        let session = live.get(self.dice.below(live.len())).copied();
        match session {
            _ if pick < make && live.len() < SESSIONS => self.create(),
            // The first one stays.
            Some(own) if pick < make + drop && own != live[0] => self.delete_session(own),
            Some(own) if pick < 75 => {
                let id = self.sessions[own].id.clone().unwrap_or_default();
                self.save(&id)
            }
            Some(own) if pick > 94 => self.retitle(own),
            _ => self.touch_message(shared),
        }
    }

    /// Its sessions that are there for sure.
    fn live(&self) -> impl Iterator<Item = usize> {
        let known = |own: &Own| own.id.is_some() && own.title.is.is_some();
        let live = self.sessions.iter().enumerate().filter(move |(_, own)| known(own));
        live.map(|(own, _)| own)
    }

    fn number(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn text(&mut self, mark: &str) -> String {
        // Now and then so much that it takes a page of its own.
        let length = if self.dice.below(50) == 0 { 9000 } else { self.dice.below(600) };
        format!("{mark} {} {}", self.number(), "\u{e9}\"x ".repeat(length / 4))
    }

    /// A key for every other call.
    fn key(&mut self, number: usize) -> Option<String> {
        (self.dice.below(2) == 0).then(|| format!("{}-key-{number}", self.name))
    }

    fn say(&mut self, session: &str) -> (usize, String) {
        let number = self.number();
        let mark = format!("{}/{number}:", self.name);
        let text = self.text(&mark);
        self.said.push(Said {
            session: session.to_owned(),
            mark,
            id: None,
            text: Belief::new(None),
            row: None,
            existed: false,
            told: 0,
            called: Instant::now(),
            returned: None,
        });
        (self.said.len() - 1, text)
    }

    /// A session of its own: of an id that it chooses, or else under a key.
    fn create(&mut self) -> (Request, About) {
        let number = self.number();
        let key = self.key(number);
        let id = key.is_none().then(|| format!("{}-session-{number}", self.name));
        let (said, text) = self.say(id.as_deref().unwrap_or_default());
        let title = format!("{} {number}", self.name);
        self.sessions.push(Own { id: id.clone(), title: Belief::new(None) });
        let mut body = json!({ "userId": USER, "title": title, "firstMessage": text });
        body["sessionId"] = id.into();
        let own = self.sessions.len() - 1;
        (request("create", "POST", "/api/sessions", body, key), About::Create(own, Some(said)))
    }

    /// A session without messages, under this id.
    pub(crate) fn begin(&mut self, client: &mut Connection, journal: &Journal, id: &str) {
        self.sessions.push(Own { id: Some(id.to_owned()), title: Belief::new(None) });
        let body = json!({ "userId": USER, "sessionId": id, "title": id });
        let own = self.sessions.len() - 1;
        let request = request("create", "POST", "/api/sessions", body, None);
        self.call(client, journal, request, About::Create(own, None));
    }

    /// Ends a session that [`Client::begin`] began.
    pub(crate) fn end(&mut self, client: &mut Connection, journal: &Journal, id: &str) {
        let own = self.sessions.iter().position(|own| own.id.as_deref() == Some(id)).unwrap();
        let (request, about) = self.delete_session(own);
        self.call(client, journal, request, about);
    }

    /// Gives a session another title, which it had never before; none if that is refused.
    pub(crate) fn rename(
        &mut self,
        client: &mut Connection,
        journal: &Journal,
        id: &str,
    ) -> Option<String> {
        let own = self.sessions.iter().position(|own| own.id.as_deref() == Some(id)).unwrap();
        let (request, about) = self.retitle(own);
        let title = request.body["title"].as_str().unwrap().to_owned();
        let call = self.call(client, journal, request, about);
        matches!(call.outcome, Outcome::Ok(_)).then_some(title)
    }

    fn retitle(&mut self, own: usize) -> (Request, About) {
        let id = self.sessions[own].id.clone();
        let number = self.number();
        let key = self.key(number);
        let title = format!("{} again {number}", self.name);
        let body = json!({ "userId": USER, "sessionId": id, "title": title });
        (request("update", "POST", "/api/sessions/update", body, key), About::Retitle(own))
    }

    fn delete_session(&mut self, own: usize) -> (Request, About) {
        let body = json!({ "userId": USER, "sessionId": self.sessions[own].id });
        let request = request("delete", "POST", "/api/sessions/delete", body, None);
        (request, About::DeleteSession(own))
    }

    fn save(&mut self, session: &str) -> (Request, About) {
        let (said, text) = self.say(session);
        let number = self.number();
        let key = self.key(number);
        let chosen = self.dice.below(2) == 0;
        let id = chosen.then(|| format!("{}-message-{number}", self.name));
        self.said[said].id.clone_from(&id);
        let mut body =
            json!({ "userId": USER, "sessionId": session, "role": "user", "content": text });
        body["id"] = id.into();
        let path = "/api/sessions/save-message";
        (request("save", "POST", path, body, key), About::Save(said))
    }

    /// Saves to the shared session, or changes or deletes one of its last messages somewhere.
    fn touch_message(&mut self, shared: &str) -> (Request, About) {
        let recent = self.said.len().saturating_sub(30);
        let said = recent + self.dice.below(30);
        let found = self.said.get(said).filter(|said| {
            let in_live = |own: usize| self.sessions[own].id.as_ref() == Some(&said.session);
            said.text.is.is_some() && said.id.is_some() && self.live().any(in_live)
        });
        let Some(found) = found.filter(|_| self.dice.below(3) == 0) else {
            return self.save(shared);
        };
        let id = found.id.clone().unwrap_or_default();
        let path = format!("/api/sessions/{}/messages/{id}?userId={USER}", found.session);
        let mark = found.mark.clone();
        if self.dice.below(2) == 0 {
            let body = json!({});
            return (
                request("delete-message", "DELETE", &path, body, None),
                About::DeleteMessage(said),
            );
        }
        let body = json!({ "content": self.text(&mark) });
        (request("edit", "PATCH", &path, body, None), About::Edit(said))
    }

    fn call(
        &mut self,
        client: &mut Connection,
        journal: &Journal,
        request: Request,
        about: About,
    ) -> Call {
        self.attempt(&request, about);
        let call = journal.call(client, &self.name, &request);
        self.learn(about, &call);
        match &call.outcome {
            Outcome::Info => self.pending = Some((request, about)),
            Outcome::Ok(body) if request.key.is_some() => {
                self.keyed = Some((request, body.clone()));
            }
            _ => {}
        }
        call
    }

    fn attempt(&mut self, request: &Request, about: About) {
        let text = |name: &str| request.body[name].as_str().map(str::to_owned);
        match about {
            About::Create(own, said) => {
                self.sessions[own].title.attempt(text("title"));
                if let Some(said) = said {
                    self.said[said].text.attempt(text("firstMessage"));
                }
            }
            About::Retitle(own) => self.sessions[own].title.attempt(text("title")),
            About::DeleteSession(own) => self.sessions[own].title.attempt(None),
            About::Save(said) | About::Edit(said) => self.said[said].text.attempt(text("content")),
            About::DeleteMessage(said) => self.said[said].text.attempt(None),
        }
    }

    fn learn(&mut self, about: About, call: &Call) {
        let outcome = &call.outcome;
        let body: Value = match outcome {
            Outcome::Ok(body) => serde_json::from_str(body).unwrap(),
            _ => Value::Null,
        };
        let id = |name: &str| body[name].as_str().map(str::to_owned);
        match about {
            About::Create(own, said) => {
                let own = &mut self.sessions[own];
                own.title.learn(outcome);
                own.id = id("sessionId").or(own.id.take());
                if let Some(said) = said {
                    let said = &mut self.said[said];
                    said.text.learn(outcome);
                    said.session = own.id.clone().unwrap_or_default();
                    said.existed |= body.is_object();
                    said.returned = body.is_object().then_some(call.returned);
                }
            }
            About::Retitle(own) => self.sessions[own].title.learn(outcome),
            About::DeleteSession(own) => {
                self.sessions[own].title.learn(outcome);
                if body.is_object() {
                    let gone = self.sessions[own].id.clone();
                    self.forget(gone.as_deref().unwrap_or_default());
                }
            }
            About::Save(said) | About::Edit(said) | About::DeleteMessage(said) => {
                let said = &mut self.said[said];
                said.text.learn(outcome);
                if let Outcome::Ok(row) = outcome
                    && !matches!(about, About::DeleteMessage(_))
                {
                    said.id = id("id");
                    said.row = Some(row.clone());
                    said.existed = true;
                    said.returned = said.returned.or(Some(call.returned));
                }
            }
        }
    }

    /// Expects nothing any more of a session that is gone.
    pub(crate) fn forget(&mut self, session: &str) {
        for said in self.said.iter_mut().filter(|said| said.session == session) {
            said.text = Belief::new(None);
        }
    }

    /// Drops what is gone for good and was told, so that long runs do not look at it again.
    pub(crate) fn drop_what_is_gone(&mut self) {
        self.pending = None;
        self.said.retain(|said| said.text.is.is_some());
        self.sessions.retain(|own| own.title.is.is_some());
    }

    /// Repeats the call of which is unknown what it did, if that is safe, and the last one with a
    /// key, which must be answered as before. Gives what is wrong with the answers.
    pub(crate) fn repeat(&mut self, client: &mut Connection, journal: &Journal) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some((request, before)) = self.keyed.clone() {
            let call = journal.call(client, &self.name, &request);
            if call.outcome != Outcome::Ok(before.clone()) {
                problems.push(format!(
                    "O3: {} answered {:?} under its key, and {before} before",
                    request.kind, call.outcome
                ));
            }
        }
        let Some((request, about)) = self.pending.take() else { return problems };
        let chosen = request.body["id"].is_string()
            || (matches!(about, About::Create(..)) && request.body["sessionId"].is_string());
        // Without either it is looked for as it is.
        if request.key.is_none() && !(chosen && self.dice.below(2) == 0) {
            return problems;
        }
        let kind = request.kind;
        let call = self.call(client, journal, request, about);
        if !matches!(call.outcome, Outcome::Ok(_)) {
            problems.push(format!("O3: {kind} was refused when it was repeated: {:?}", call.reply));
        }
        problems
    }
}

fn request(
    kind: &'static str,
    method: &'static str,
    path: &str,
    body: Value,
    key: Option<String>,
) -> Request {
    Request { kind, method, path: path.to_owned(), body, key }
}
