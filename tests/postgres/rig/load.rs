//! Writers who save to a node all the time, and remember what was acknowledged and how soon.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::eventually;
use super::node::Node;
use crate::process::Connection;

/// How long a writer rests between two messages.
const REST: Duration = Duration::from_millis(5);

/// What a writer sent.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) user: String,
    pub(crate) session: String,
    /// The ids and texts of acknowledged messages, in their order.
    pub(crate) saved: Vec<(String, String)>,
    /// The id of the message that was sent last, and not acknowledged.
    pub(crate) unsure: Option<String>,
    /// Sessions whose deletion was acknowledged.
    pub(crate) deleted: Vec<String>,
    /// How long each acknowledgement took.
    pub(crate) took: Vec<Duration>,
}

/// Writers at work.
pub(crate) struct Load {
    stop: Sender<()>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Journal>>,
}

impl Load {
    /// So many writers, each with a session of its own that is named after `name`.
    pub(crate) fn start(node: &Node, writers: usize, name: &str) -> Self {
        let (stop, stopped) = channel();
        let stopped = Arc::new(Mutex::new(stopped));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers = (0..writers).map(|n| {
            let writer = Writer {
                journal: Journal {
                    user: format!("user-{n}@example.org"),
                    session: format!("{name}-{n}"),
                    ..Journal::default()
                },
                acknowledged: Arc::clone(&acknowledged),
                stopped: Arc::clone(&stopped),
            };
            let address = node.address().to_owned();
            std::thread::spawn(move || writer.run(&address))
        });
        Self { stop, writers: writers.collect(), acknowledged }
    }

    /// Waits until so many more messages are acknowledged, of all writers together.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, count: usize) {
        let enough = self.acknowledged.load(Ordering::SeqCst) + count;
        eventually("the writers get on", || {
            self.acknowledged.load(Ordering::SeqCst) >= enough
                || self.writers.iter().all(JoinHandle::is_finished)
        });
        let count = self.acknowledged.load(Ordering::SeqCst);
        assert!(count >= enough, "the writers were turned away after {count}");
    }

    /// Ends them, and gives what each did.
    pub(crate) fn stop(self) -> Vec<Journal> {
        drop(self.stop);
        self.writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    }
}

struct Writer {
    journal: Journal,
    acknowledged: Arc<AtomicUsize>,
    stopped: Arc<Mutex<Receiver<()>>>,
}

impl Writer {
    fn run(mut self, address: &str) -> Journal {
        // It ends with an error when the node is killed.
        let _ended = self.write(address);
        self.journal
    }

    fn write(&mut self, address: &str) -> io::Result<()> {
        let mut client = Connection::open(address)?;
        let (user, session) = (self.journal.user.clone(), self.journal.session.clone());
        let body = json!({ "userId": user, "sessionId": session, "title": session });
        post(&mut client, "create", &body)?;
        for n in 0_usize.. {
            if n % 10 == 9 {
                self.create_and_delete(&mut client, n)?;
            }
            let (id, content) = (format!("{session}-{n}"), format!("{n} by {user}"));
            let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
            let body = json!({
                "userId": user, "sessionId": session, "role": role, "id": id, "content": content,
                "metadata": { "n": n },
            });
            self.journal.unsure = Some(id.clone());
            let began = Instant::now();
            post(&mut client, "save-message", &body)?;
            self.journal.took.push(began.elapsed());
            self.journal.unsure = None;
            self.journal.saved.push((id, content));
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            if !self.rest() {
                break;
            }
        }
        Ok(())
    }

    fn create_and_delete(&mut self, client: &mut Connection, n: usize) -> io::Result<()> {
        let session = format!("{}-short-{n}", self.journal.session);
        let user = &self.journal.user;
        let body = json!({ "userId": user, "sessionId": session, "firstMessage": "not for long" });
        post(client, "create", &body)?;
        post(client, "delete", &json!({ "userId": user, "sessionId": session }))?;
        self.journal.deleted.push(session);
        Ok(())
    }

    /// Tells whether to go on.
    fn rest(&self) -> bool {
        // One rests with the lock; the others wait for it, which is rest too.
        let stopped = self.stopped.lock().unwrap();
        stopped.recv_timeout(REST) == Err(RecvTimeoutError::Timeout)
    }
}

fn post(client: &mut Connection, verb: &str, body: &serde_json::Value) -> io::Result<()> {
    let reply = client.post(&format!("/api/sessions/{verb}"), body)?;
    if reply.status == 503 {
        return Err(io::Error::other(reply.body));
    }
    assert!([200, 201].contains(&reply.status), "{reply:?}");
    Ok(())
}

/// The time within which 99 of 100 were acknowledged.
pub(crate) fn p99(journals: &[Journal]) -> Duration {
    let mut took: Vec<_> = journals.iter().flat_map(|journal| journal.took.clone()).collect();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}
