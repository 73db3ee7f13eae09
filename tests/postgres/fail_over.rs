//! The tunnel is switched to the node when PostgreSQL dies, and back when it is there again.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::rig::{Express, Extra, Scene, eventually, figure};

either_way! {
    users_notice_no_fail_over
    saves_are_quick_through_fail_overs
}

/// What users said, session by session, wherever it was taken.
#[derive(Default)]
struct Said(BTreeMap<String, Vec<String>>);

impl Said {
    fn next(&mut self, session: &str) -> String {
        let said = self.0.entry(session.to_owned()).or_default();
        said.push(format!("{session}-{}", said.len()));
        said.last().unwrap().clone()
    }
}

fn users_notice_no_fail_over(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut said = Said::default();
    for round in 0..figure(3, 20) {
        // PostgreSQL is up: they talk to Express, and the node listens.
        let mut express = scene.express();
        let new = format!("express-{round}");
        express.create("ann", &new, "counted, and not stored");
        for session in said.0.keys().cloned().chain([new]).collect::<Vec<_>>() {
            say_there(&mut express, &mut said, &session);
        }
        // The last of it may not be here yet.
        scene.cluster.kill();
        drop(express);

        let began = Instant::now();
        let new = format!("node-{round}");
        scene.node.create("ann", &new, &said.next(&new));
        let took = began.elapsed();
        assert!(took.as_secs() < 2, "the first answer took {took:?}");
        for session in scene.node.sessions("ann") {
            let session = session["sessionId"].as_str().unwrap();
            for _ in 0..3 {
                let id = said.next(session);
                scene.node.save("ann", session, &id, &id);
            }
        }

        scene.cluster.start_again();
        if round % 2 == 0 {
            // Some still talk to the node while others are back already.
            let id = said.next("express-0");
            scene.express().save("express-0", &id, &id);
            let id = said.next("node-0");
            scene.node.save("ann", "node-0", &id, &id);
        }
        scene.node.done(&["drain", "--wait", "--timeout", "60"]);
    }

    let world = scene.check(&[]);
    assert_eq!(world.0.len(), said.0.len());
    for (session, expected) in &said.0 {
        let there: Vec<_> = world.0[session].messages.iter().map(|one| &one.content).collect();
        let first = usize::from(session.starts_with("express"));
        assert_eq!(there[first..], expected.iter().collect::<Vec<_>>(), "{session}");
    }
    println!("{world} after {} fail-overs", figure(3, 20));
}

fn saves_are_quick_through_fail_overs(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("fail-overs", |scene, load| {
        for round in 0..figure(2, 20) {
            let session = format!("express-{round}");
            let mut express = scene.express();
            express.create("ann", &session, "counted, and not stored");
            express.save(&session, &format!("{session}-0"), "said there");
            scene.cluster.kill();
            load.wait_for_more(40);
            scene.cluster.start_again();
            scene.express().save(&session, &format!("{session}-1"), "said again");
            scene.node.status_when("it is back", |status| status["connected"] == true);
        }
    });
    scene.check(&journals);
}

fn say_there(express: &mut Express, said: &mut Said, session: &str) {
    for _ in 0..3 {
        let id = said.next(session);
        express.save(session, &id, &id);
    }
}

#[test]
fn a_warm_node_has_what_express_saved_before_the_end() {
    let mut scene = Scene::new(Extra::Installed);
    let mut express = scene.express();
    express.create("ann", "s", "hello");
    express.save("s", "m1", "one");
    eventually("it is here", || scene.node.said("ann", "s").contains(&"one".to_owned()));
    scene.cluster.kill();
    assert_eq!(scene.node.said("ann", "s"), ["hello", "one"]);
    scene.node.save("ann", "s", "m2", "two");
    scene.cluster.start_again();
    scene.check(&[]);
    assert_eq!(scene.express().said("s"), ["hello", "one", "two"]);
}
