//! Everything together, and what must be true of it in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bouncer::Bouncer;
use super::cluster::{Cluster, elsewhere};
use super::express::Express;
use super::faults::faults;
use super::link::Link;
use super::load::{Journal, Load, p99, saved};
use super::node::Node;
use super::world::World;
use super::{TO_HEAL, is_full, is_timed, within};

/// Whether the node has its own schema there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    /// `orion-chat postgres install` was run.
    Installed,
    /// The portal's tables are all that is there.
    Bare,
}

/// A node, its PostgreSQL behind a `PgBouncer`, and the link between.
pub(crate) struct Scene {
    // In the order of their end.
    pub(crate) node: Node,
    pub(crate) link: Link,
    pub(crate) bouncer: Bouncer,
    pub(crate) cluster: Cluster,
}

impl Scene {
    pub(crate) fn new(extra: Extra) -> Self {
        Self::with(extra, &[])
    }

    /// With more in the node's environment.
    pub(crate) fn with(extra: Extra, environment: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start();
        let bouncer = Bouncer::before(&cluster);
        let link = Link::to(&bouncer.socket());
        let node = Node::start_with(link.port, environment);
        if extra == Extra::Installed {
            node.done(&["postgres", "install"]);
        }
        Self { node, link, bouncer, cluster }
    }

    pub(crate) fn express(&self) -> Express {
        Express::at(&self.cluster)
    }

    /// Waits until both sides hold the same, but for what is `refused` there, and gives it.
    #[track_caller]
    pub(crate) fn same(&self, refused: &[&str]) -> World {
        let mut client = self.cluster.connect();
        within(TO_HEAL, "both sides hold the same", || {
            let there = World::there(&mut client);
            let users: BTreeSet<_> = there.users().chain(self.node.users()).collect();
            let here = World::here(&self.node, users);
            let here = here.without(refused);
            here.differs(&there).map_or(Ok(there), Err)
        })
    }

    /// Waits until all is quiet, and checks what must be true in the end, whatever happened.
    #[track_caller]
    pub(crate) fn check(&mut self, journals: &[Journal]) -> World {
        self.check_but(journals, &[])
    }

    /// The same where there may be a million messages, which are then not read over HTTP.
    pub(crate) fn check_much(&mut self, journals: &[Journal]) {
        if is_full() {
            self.node.drained();
            self.node.done(&["postgres", "diff"]);
        } else {
            self.check(journals);
        }
    }

    /// The same where PostgreSQL must have `refused` what has these ids, and nothing else.
    #[track_caller]
    pub(crate) fn check_but(&mut self, journals: &[Journal], refused: &[&str]) -> World {
        self.node.drained();
        // What came from there may have to go back, such as a count.
        let world = within(TO_HEAL, "nothing is wrong there", || {
            let world = self.same(refused);
            let faults = faults(&world, journals, refused);
            if faults.is_empty() { Ok(world) } else { Err(faults.join("; ")) }
        });
        self.node.drained();
        let status = self.node.status();
        assert_eq!(status["deadLetters"], refused.len() as u64, "{status}");
        assert!(status["paused"].is_null(), "{status}");
        if refused.is_empty() {
            self.node.done(&["postgres", "diff"]);
        }
        self.check_that_it_is_quiet();
        let log = self.node.log();
        assert!(!log.contains(super::PASSWORD), "the password is in the log");
        assert!(!log.contains("panicked"), "{log}");
        world
    }

    /// A second round changes nothing: neither another pull, nor another start.
    #[track_caller]
    fn check_that_it_is_quiet(&mut self) {
        let mut client = self.cluster.connect();
        let mut rows = || {
            // Each version of a row has a place of its own.
            let sql = "select count(*), coalesce(md5(string_agg(x, ',' order by x)), '') from (
                select session_id || xmin::text || ctid::text from public.chat_sessions union all
                select message_id || xmin::text || ctid::text from public.chat_messages) as t (x)";
            let row = client.query_one(sql, &[]).unwrap();
            (row.get::<_, i64>(0), row.get::<_, String>(1))
        };
        let before = rows();
        self.node.done(&["postgres", "pull"]);
        self.node.stop();
        self.node.start_again();
        self.node.drained();
        self.node.done(&["postgres", "pull"]);
        assert_eq!(rows(), before, "rows were written again that had not changed");
    }

    /// Does something to a node that is being written to, which answers no later meanwhile than twice
    /// the usual, or than one without PostgreSQL does then, if saves are timed, and else in half a second.
    #[track_caller]
    pub(crate) fn while_writing(
        &mut self,
        name: &str,
        trouble: impl FnOnce(&mut Self, &Load),
    ) -> Vec<Journal> {
        let usual = self.usual();
        self.while_writing_as((usual, 2), name, trouble)
    }

    /// How a node does that is left alone.
    pub(crate) fn usual(&self) -> Vec<Journal> {
        self.at_rest("before")
    }

    fn at_rest(&self, name: &str) -> Vec<Journal> {
        let load = Load::start(&self.node, 2, name);
        load.wait_for_more(if is_timed() { 1000 } else { 200 });
        load.stop()
    }

    /// The same as [`Scene::while_writing`], where it is known how it did before, and how many times
    /// later it may answer.
    #[track_caller]
    pub(crate) fn while_writing_as(
        &mut self,
        (mut journals, times): (Vec<Journal>, u32),
        name: &str,
        trouble: impl FnOnce(&mut Self, &Load),
    ) -> Vec<Journal> {
        let load = Load::start(&self.node, 2, "during");
        // What goes on here keeps a node waiting that has nothing to do with it, too.
        let other = is_timed().then(Node::alone);
        let beside = other.as_ref().map(|other| Load::start(other, 2, "beside"));
        load.wait_for_more(20);
        elsewhere(|| trouble(self, &load));
        load.wait_for_more(20);
        let during = load.stop();
        let beside = beside.map_or(Duration::ZERO, |load| p99(&load.stop()));
        let slowest = p99(&during);
        if !is_timed() {
            // Others use the machine too: this shows no more than that nobody waits for PostgreSQL.
            let limit = (p99(&journals) * 2).max(Duration::from_millis(500));
            assert!(slowest <= limit, "{name}: 99 of 100 within {slowest:?}");
            journals.extend(during);
            return journals;
        }
        // A disk has better and worse minutes: the usual is that of before and after.
        self.node.drained();
        journals.extend(self.at_rest("after"));
        let (usual, saves) = (p99(&journals), saved(&during));
        let told = format!(
            "{name}: 99 of 100 of {saves} saves within {slowest:?}, usually {usual:?}, without \
             PostgreSQL at that time {beside:?}"
        );
        println!("{told}");
        assert!(slowest <= usual.max(beside) * times, "{told}");
        journals.extend(during);
        journals
    }
}
