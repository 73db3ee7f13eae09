//! Writers who save to a node all the time, and remember what was acknowledged and how soon.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::node::Node;
use super::{patience, within};
use crate::process::Connection;

/// How long a writer rests between two messages.
const REST: Duration = Duration::from_millis(20);

/// What a writer sent.
#[derive(Debug, Clone, Default)]
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
            let writer = Writer::new(name, n, Arc::clone(&acknowledged), Arc::clone(&stopped));
            node.meet(&writer.journal.user);
            let address = node.address().to_owned();
            std::thread::spawn(move || writer.run(&address))
        });
        Self { stop, writers: writers.collect(), acknowledged }
    }

    /// Saves so many messages over as many connections as told, without a rest.
    pub(crate) fn at_full_speed(node: &Node, writers: usize, count: usize) -> Vec<Journal> {
        std::thread::scope(|scope| {
            // Nobody waits for the other end of the channel.
            let writing = (0..writers).map(|n| {
                let writer =
                    Writer::new("fast", n, Arc::default(), Arc::new(Mutex::new(channel().1)));
                node.meet(&writer.journal.user);
                scope.spawn(move || writer.save_many(node.address(), count / writers))
            });
            let writing: Vec<_> = writing.collect();
            writing.into_iter().map(|writer| writer.join().unwrap().unwrap()).collect()
        })
    }

    /// Waits until so many more messages are acknowledged, of all writers together.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, count: usize) {
        let enough = self.acknowledged.load(Ordering::SeqCst) + count;
        within(patience(), "the writers get on", || {
            let is_over = self.acknowledged.load(Ordering::SeqCst) >= enough
                || self.writers.iter().all(JoinHandle::is_finished);
            is_over.then_some(()).ok_or("they stand still")
        });
        let count = self.acknowledged.load(Ordering::SeqCst);
        assert!(count >= enough, "the writers were turned away after {count}");
    }

    /// Waits until each was turned away, and gives what it did until then.
    pub(crate) fn end(self) -> Vec<Journal> {
        self.writers.into_iter().map(|writer| writer.join().unwrap()).collect()
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
    fn new(
        name: &str,
        n: usize,
        acknowledged: Arc<AtomicUsize>,
        stopped: Arc<Mutex<Receiver<()>>>,
    ) -> Self {
        let journal = Journal {
            user: format!("user-{n}@example.org"),
            session: format!("{name}-{n}"),
            ..Journal::default()
        };
        Self { journal, acknowledged, stopped }
    }

    fn save_many(mut self, address: &str, count: usize) -> io::Result<Journal> {
        let mut client = Connection::open(address)?;
        self.begin(&mut client)?;
        for n in 0..count {
            self.save(&mut client, n)?;
        }
        Ok(self.journal)
    }

    fn run(mut self, address: &str) -> Journal {
        // It ends with an error when the node is killed.
        let _ended = self.write(address);
        self.journal
    }

    fn write(&mut self, address: &str) -> io::Result<()> {
        let mut client = Connection::open(address)?;
        self.begin(&mut client)?;
        for n in 0_usize.. {
            if n % 10 == 9 {
                self.create_and_delete(&mut client, n)?;
            }
            self.save(&mut client, n)?;
            if !self.rest() {
                break;
            }
        }
        Ok(())
    }

    fn begin(&self, client: &mut Connection) -> io::Result<()> {
        let (user, session) = (&self.journal.user, &self.journal.session);
        post(client, "create", &json!({ "userId": user, "sessionId": session, "title": session }))
    }

    fn save(&mut self, client: &mut Connection, n: usize) -> io::Result<()> {
        let journal = &mut self.journal;
        let (user, session) = (&journal.user, &journal.session);
        let (id, content) = (format!("{session}-{n}"), format!("{n} by {user}"));
        let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
        let body = json!({
            "userId": user, "sessionId": session, "role": role, "id": id, "content": content,
            "metadata": { "n": n },
        });
        journal.unsure = Some(id.clone());
        let began = Instant::now();
        post(client, "save-message", &body)?;
        journal.took.push(began.elapsed());
        journal.unsure = None;
        journal.saved.push((id, content));
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
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

/// How many were acknowledged.
pub(crate) fn saved(journals: &[Journal]) -> usize {
    journals.iter().map(|journal| journal.took.len()).sum()
}
