//! The client's journal: every call with its times and what came of it, kept outside the server's
//! folder; and what a client believes of what it wrote.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Connection, Reply};

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A 2xx that was read to its end: this is its body.
    Ok(String),
    /// A refusal with which nothing was done.
    Fail,
    /// Unknown: no answer, half an answer, or one that promises nothing.
    Info,
}

/// A call that may be made again.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) key: Option<String>,
}

/// A call that was made.
pub(crate) struct Call {
    pub(crate) outcome: Outcome,
    pub(crate) reply: io::Result<Reply>,
    pub(crate) returned: Instant,
}

/// Where every call is written down.
pub(crate) struct Journal {
    file: Mutex<File>,
    path: PathBuf,
    began: Instant,
    calls: AtomicU64,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    doubt: Arc<AtomicBool>,
}

impl Journal {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            file: Mutex::new(File::create(&path).unwrap()),
            path,
            began: Instant::now(),
            calls: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            doubt: Arc::default(),
        }
    }

    /// Makes a call on `client` in the name of `who`, and writes it down.
    pub(crate) fn call(&self, client: &mut Connection, who: &str, request: &Request) -> Call {
        let key = request.key.as_ref().map(|key| format!("Idempotency-Key: {key}\r\n"));
        let (called, method, path) = (Instant::now(), request.method, &request.path);
        let reply = client.request(method, path, &request.body, &key.unwrap_or_default());
        let returned = Instant::now();
        let mut outcome = outcome(&reply);
        if self.doubt.load(Ordering::SeqCst) && matches!(outcome, Outcome::Ok(_)) {
            outcome = Outcome::Info;
        }
        let count = match outcome {
            Outcome::Ok(_) => &self.acknowledged,
            _ => &self.unknown,
        };
        if outcome != Outcome::Fail {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = |at: Instant| at.duration_since(self.began).as_micros();
        let hash = ring::digest::digest(&ring::digest::SHA256, request.body.to_string().as_bytes());
        let line = json!({
            "op": self.calls.fetch_add(1, Ordering::Relaxed),
            "who": who,
            "kind": request.kind,
            "path": request.path,
            "session": request.body["sessionId"],
            "sha256": format!("{hash:?}"),
            "call": u64::try_from(micros(called)).unwrap(),
            "return": u64::try_from(micros(returned)).unwrap(),
            "result": match &outcome {
                Outcome::Ok(_) => "ok",
                Outcome::Fail => "fail",
                Outcome::Info => "info",
            },
            "status": reply.as_ref().map_or(0, |reply| reply.status),
        });
        let mut file = self.file.lock().unwrap();
        writeln!(file, "{line}").unwrap();
        Call { outcome, reply, returned }
    }

    /// While this is set, an acknowledgement does not count.
    pub(crate) fn doubt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.doubt)
    }

    /// How many calls were acknowledged, and of how many is unknown what they did.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.acknowledged.load(Ordering::Relaxed), self.unknown.load(Ordering::Relaxed))
    }

    /// A copy of it that stays, for who looks into what went wrong.
    pub(crate) fn keep(&self) -> PathBuf {
        let name = format!("orion-chat-journal-{}.ndjson", std::process::id());
        let kept = std::env::temp_dir().join(name);
        std::fs::copy(&self.path, &kept).unwrap();
        kept
    }
}

/// Of a 503, only some codes promise that nothing was done.
fn outcome(reply: &io::Result<Reply>) -> Outcome {
    let Ok(reply) = reply else { return Outcome::Info };
    let code = || serde_json::from_str::<Value>(&reply.body).unwrap_or_default()["code"].clone();
    match reply.status {
        200 | 201 => Outcome::Ok(reply.body.clone()),
        400..500 | 507 => Outcome::Fail,
        503 if ["busy", "stopping", "disk_full"].iter().any(|known| code() == *known) => {
            Outcome::Fail
        }
        _ => Outcome::Info,
    }
}

/// What is believed of something that only one client writes.
#[derive(Debug, Clone)]
pub(crate) struct Belief<T> {
    pub(crate) is: T,
    /// What it may be since a call whose outcome is unknown.
    pub(crate) maybe: Option<T>,
}

impl<T: Clone + PartialEq> Belief<T> {
    pub(crate) fn new(is: T) -> Self {
        Self { is, maybe: None }
    }

    pub(crate) fn attempt(&mut self, next: T) {
        self.maybe = Some(next);
    }

    pub(crate) fn learn(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(_) => self.is = self.maybe.take().unwrap_or_else(|| self.is.clone()),
            Outcome::Fail => self.maybe = None,
            Outcome::Info => {}
        }
    }

    /// Sees what it is, which is known from then on; tells whether that may be.
    pub(crate) fn see(&mut self, found: &T) -> bool {
        let unknown = self.maybe.take();
        let fits = self.is == *found || unknown.as_ref() == Some(found);
        self.is = found.clone();
        fits
    }
}
