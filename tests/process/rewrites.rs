//! SIGKILL behind edits, deletions and requests that are known by a key: what was acknowledged of
//! them holds, be it settled already or in the log alone.

use serde_json::{Value, json};

use crate::support::{Connection, Process, server};

const KILLS: usize = 8;
const MESSAGES: &str = "/api/sessions/s/messages";

/// What one user was told, over all lives of the server.
#[derive(Default)]
struct Told {
    /// The messages that are there, as they were acknowledged last.
    messages: Vec<Value>,
    /// How many were ever saved: the key of the last, and what it says.
    saved: usize,
    /// The last that was saved, as it was acknowledged then, edited or deleted since.
    last: Value,
}

impl Told {
    fn act(&mut self, client: &mut Connection, step: usize) {
        let nth = step * 7 % self.messages.len().max(1);
        match step % 5 {
            3 if !self.messages.is_empty() => {
                let edit = json!({ "userId": "ann", "content": format!("edited by {step}") });
                let path = self.path(nth);
                let edited = client.request("PATCH", &path, &edit, "").unwrap();
                self.messages[nth] = edited.expect(200);
            }
            4 if !self.messages.is_empty() => {
                let path = format!("{}?userId=ann", self.path(nth));
                client.request("DELETE", &path, &json!({}), "").unwrap().expect(200);
                self.messages.remove(nth);
            }
            _ => {
                self.saved += 1;
                self.last = self.save_last(client);
                self.messages.push(self.last.clone());
            }
        }
    }

    /// Saves the last message, whether it was saved already or not.
    fn save_last(&self, client: &mut Connection) -> Value {
        let content = format!("{} {}", self.saved, "x".repeat(self.saved % 7 * 300));
        let body = json!({ "userId": "ann", "role": "user", "content": content });
        let key = format!("Idempotency-Key: {}\r\n", self.saved);
        client.request("POST", MESSAGES, &body, &key).unwrap().expect(201)
    }

    fn path(&self, nth: usize) -> String {
        format!("{MESSAGES}/{}", self.messages[nth]["id"].as_str().unwrap())
    }

    fn check(&self, client: &mut Connection) {
        let history = client.get(&format!("{MESSAGES}?userId=ann")).unwrap().expect(200);
        assert_eq!(history["messages"], json!(self.messages));
        let session = client.get("/api/sessions/s?userId=ann").unwrap().expect(200);
        let text = |message: Option<&Value>| message.map(|message| message["content"].clone());
        assert_eq!(session["messageCount"], self.messages.len());
        assert_eq!(session["firstMessage"], json!(text(self.messages.first())));
        assert_eq!(session["lastMessage"], json!(text(self.messages.last())));
    }
}

#[test]
fn after_a_crash_edits_and_deletions_hold_and_repeats_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(server(folder.path()));
    let session = json!({ "userId": "ann", "sessionId": "s" });
    process.connect().post("/api/sessions", &session).unwrap().expect(201);
    drop(process);
    let (mut told, mut step) = (Told::default(), 0);

    for kill in 0..KILLS {
        let mut process = Process::start(server(folder.path()));
        let mut client = process.connect();
        told.check(&mut client);
        if told.saved > 0 {
            assert_eq!(told.save_last(&mut client), told.last, "it is not saved again");
            told.check(&mut client);
        }
        // From none to some dozens, in no order; the same in each run.
        for _ in 0..kill * 7919 % 83 {
            told.act(&mut client, step);
            step += 1;
        }
        process.kill();
    }

    let process = Process::start(server(folder.path()));
    told.check(&mut process.connect());
    assert!(told.saved > 100 && told.messages.len() > 20, "{} {step}", told.messages.len());
}
