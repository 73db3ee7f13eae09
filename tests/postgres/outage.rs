//! PostgreSQL, the way to it, or the node itself fails, at whatever moment: users notice nothing,
//! and in the end both sides hold the same, each acknowledged message once.

use std::time::{Duration, Instant};

use crate::rig::{
    Dice, Extra, Journal, Load, Scene, TO_HEAL, Weather, World, clock, eventually, figure, pause,
    within,
};

either_way! {
    postgres_is_killed_amid_a_drain
    postgres_stands_still
    this_node_is_killed_amid_a_drain
    this_node_is_killed_at_any_point_of_its_work
    both_are_killed
    answers_to_commit_are_lost
    commits_are_lost
    connections_are_cut_in_the_middle_of_a_batch
    the_link_is_a_black_hole
    the_link_flaps
    the_link_is_slow
    the_pooler_is_killed
    postgres_is_away_when_the_node_starts
    a_node_that_was_alone_for_long_sends_all_that_it_has
    a_node_that_was_alone_for_long_sends_all_without_serving_too
}

fn postgres_is_killed_amid_a_drain(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("PostgreSQL killed", |scene, load| {
        for _ in 0..figure(3, 30) {
            load.wait_for_more(60);
            scene.cluster.kill();
            load.wait_for_more(40);
            scene.cluster.start_again();
            scene.node.status_when("it is back", |status| status["connected"] == true);
        }
    });
    scene.check(&journals);
    assert!(scene.link.most_open() <= 4, "{} connections", scene.link.most_open());
}

fn postgres_stands_still(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("PostgreSQL stopped by a signal", |scene, _| {
        scene.cluster.signal_all("STOP");
        scene.node.status_when("it is given up", |status| status["connected"] == false);
        assert_serves(scene);
        scene.cluster.signal_all("CONT");
    });
    scene.check(&journals);
}

fn this_node_is_killed_amid_a_drain(extra: Extra) {
    let mut scene = Scene::new(extra);
    let (mut dice, mut journals) = (Dice::new(2), Vec::new());
    for life in 0..figure(5, 100) {
        let load = Load::start(&scene.node, 3, &format!("life-{life}"));
        load.wait_for_more(dice.below(100));
        scene.node.kill();
        journals.extend(load.stop());
        scene.node.start_again();
    }
    scene.check(&journals);
}

fn this_node_is_killed_at_any_point_of_its_work(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut journals = Vec::new();
    scene.node.stop();
    for point in 1..=figure(4, 100) {
        // What it says to PostgreSQL, and what it writes to its disk.
        for (call, every) in [("sendto", 11), ("fdatasync", 5)] {
            if scene.node.start_doomed(call, point * every) {
                let load = Load::start(&scene.node, 3, &format!("until-{call}-{point}"));
                journals.extend(load.end());
                scene.node.end();
            }
        }
    }
    scene.node.start_again();
    scene.check(&journals);
}

fn both_are_killed(extra: Extra) {
    let mut scene = Scene::new(extra);
    let (mut dice, mut journals) = (Dice::new(3), Vec::new());
    for life in 0..figure(4, 40) {
        let load = Load::start(&scene.node, 3, &format!("life-{life}"));
        load.wait_for_more(dice.below(100));
        scene.cluster.kill();
        load.wait_for_more(dice.below(50));
        scene.node.kill();
        journals.extend(load.stop());
        if life % 2 == 0 {
            scene.cluster.start_again();
            scene.node.start_again();
        } else {
            scene.node.start_again();
            scene.cluster.start_again();
        }
    }
    scene.check(&journals);
}

fn answers_to_commit_are_lost(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("answers to COMMIT lost", |scene, _| {
        for every in [1, 2, 3, 5] {
            lose(
                scene,
                Weather::AnswersLost { every },
                if every == 1 { 2 } else { figure(2, 300) },
            );
        }
    });
    scene.check(&journals);
}

fn commits_are_lost(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("COMMITs lost", |scene, _| {
        for every in [1, 2, 3] {
            lose(
                scene,
                Weather::CommitsLost { every },
                if every == 1 { 2 } else { figure(2, 100) },
            );
        }
    });
    scene.check(&journals);
}

/// Has this weather until it took `more` transactions.
fn lose(scene: &Scene, weather: Weather, more: u64) {
    let enough = scene.link.lost() + more;
    scene.link.set(weather);
    within(Duration::from_mins(10), "transactions are lost", || {
        let lost = scene.link.lost();
        if lost >= enough {
            Ok(())
        } else {
            Err(format!("{lost} of {enough}, {}", scene.node.status()))
        }
    });
    scene.link.set(Weather::Fair);
}

fn connections_are_cut_in_the_middle_of_a_batch(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut dice = Dice::new(4);
    let journals = scene.while_writing("connections cut", |scene, load| {
        for _ in 0..figure(10, 300) {
            scene.link.set(Weather::CutAfter { bytes: 500 + dice.below(20_000) });
            load.wait_for_more(10);
        }
        scene.link.set(Weather::Fair);
        scene.link.cut();
    });
    scene.check(&journals);
}

fn the_link_is_a_black_hole(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("black hole", |scene, load| {
        for _ in 0..figure(1, 10) {
            load.wait_for_more(20);
            scene.link.set(Weather::BlackHole);
            let gone = |status: &serde_json::Value| status["connected"] == false;
            let status = scene.node.status_when("it is given up", gone);
            assert!(status["lastError"].is_string(), "{status}");
            load.wait_for_more(50);
            let status = scene.node.status();
            assert!(status["queue"].as_u64() > Some(0), "{status}");
            assert!(status["oldestPendingSecs"].as_f64() > Some(0.0), "{status}");
            assert_serves(scene);
            scene.link.set(Weather::Fair);
        }
    });
    scene.check(&journals);
}

fn the_link_flaps(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut dice = Dice::new(7);
    let journals = scene.while_writing("flapping link", |scene, _| {
        let (began, long) = (Instant::now(), Duration::from_secs(figure(6, 600)));
        let longest = Duration::from_millis(figure(700, 10_000));
        while began.elapsed() < long {
            for weather in [Weather::Down, Weather::Fair] {
                scene.link.set(weather);
                pause(dice.time(longest));
            }
        }
    });
    scene.check(&journals);
}

fn the_link_is_slow(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("slow link", |scene, load| {
        scene.link.set(Weather::Slow(Duration::from_millis(30)));
        let enough = scene.link.commits() + 3;
        within(TO_HEAL, "it gets on", || {
            load.wait_for_more(1);
            (scene.link.commits() >= enough).then_some(()).ok_or("not yet")
        });
        scene.link.set(Weather::Fair);
    });
    scene.check(&journals);
}

fn the_pooler_is_killed(extra: Extra) {
    let mut scene = Scene::new(extra);
    let journals = scene.while_writing("pooler killed", |scene, load| {
        for _ in 0..figure(2, 10) {
            load.wait_for_more(50);
            scene.bouncer.kill();
            scene.node.status_when("it is missed", |status| status["connected"] == false);
            scene.bouncer.start_again();
            scene.node.status_when("it is back", |status| status["connected"] == true);
        }
    });
    scene.check(&journals);
}

fn postgres_is_away_when_the_node_starts(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.stop();
    scene.link.set(Weather::Down);
    let began = Instant::now();
    scene.node.start_again();
    assert!(began.elapsed() < Duration::from_secs(3), "it starts in {:?}", began.elapsed());
    let load = Load::start(&scene.node, 2, "away");
    load.wait_for_more(50);
    assert_serves(&scene);
    let status = scene.node.status();
    assert_eq!(status["connected"], false, "{status}");
    scene.link.set(Weather::Fair);
    scene.check(&load.stop());
}

fn a_node_that_was_alone_for_long_sends_all_that_it_has(extra: Extra) {
    let (mut scene, journals) = alone_for_long(extra);
    scene.node.start_again();
    // Not before both sides are compared, though the log has nothing more to send.
    scene.node.done(&["drain", "--wait", "--timeout", "60"]);
    let there = World::there(&mut scene.cluster.connect());
    assert_eq!((there.0.len(), there.0["there"].messages.len()), (4, 3));
    let world = scene.check(&journals);
    assert_eq!(world.0.len(), 4);
    assert_eq!(world.0["there"].messages.len(), 3);
}

fn a_node_that_was_alone_for_long_sends_all_without_serving_too(extra: Extra) {
    let (mut scene, journals) = alone_for_long(extra);
    scene.node.done(&["drain", "--wait"]);
    let there = World::there(&mut scene.cluster.connect());
    assert_eq!((there.0.len(), there.0["there"].messages.len()), (4, 3));
    // Both sides were compared, so that this is a deletion.
    scene.express().delete("later");
    scene.node.start_again();
    assert_eq!(scene.check(&journals).0.len(), 3);
}

/// A node that stood beside PostgreSQL, and then served without it for so long that its log does not
/// reach back; it does not run.
fn alone_for_long(extra: Extra) -> (Scene, Vec<Journal>) {
    let mut scene = Scene::new(extra);
    let mut express = scene.express();
    express.create("ann", "there", "hello");
    express.save("there", "there-1", "one");
    eventually("it is here", || scene.node.said("ann", "there").len() == 2);
    scene.node.stop();
    // An empty variable counts as unset.
    scene.node.set(&[("DB_HOST", "")]);
    scene.node.start_again();
    let cursor = scene.node.cursor("ann");
    scene.node.save("ann", "there", "there-2", "two");
    let load = Load::start(&scene.node, 2, "alone");
    load.wait_for_more(100);
    let journals = load.stop();
    scene.node.stop();

    // In ten days the log of what was done is gone.
    scene.node.set(&clock("+10d"));
    scene.node.start_again();
    scene.node.create("ann", "later", "hello");
    within(TO_HEAL, "the log is gone", || {
        let first = scene.node.follow_since("ann", &cursor).next();
        if first.contains("resync") { Ok(()) } else { Err(first) }
    });
    scene.node.stop();

    scene.node.set(&[("DB_HOST", "127.0.0.1"), ("FAKETIME", "+0")]);
    (scene, journals)
}

/// While PostgreSQL is away, the node is as ready as ever.
fn assert_serves(scene: &Scene) {
    scene.node.connect().get("/ready").unwrap().expect(200);
}

#[test]
fn a_drain_is_waited_for_before_the_switch_back() {
    let mut scene = Scene::new(Extra::Installed);
    scene.link.set(Weather::Down);
    let load = Load::start(&scene.node, 2, "before");
    load.wait_for_more(100);
    let journals = load.stop();

    let in_vain = scene.node.run(&["drain", "--wait", "--timeout", "1"]);
    scene.link.set(Weather::Fair);
    scene.node.done(&["drain", "--wait", "--timeout", "60"]);

    assert!(!in_vain.status.success(), "{in_vain:?}");
    let there = World::there(&mut scene.cluster.connect());
    for journal in &journals {
        let session = &there.0[&journal.session];
        assert_eq!(session.messages.len(), journal.saved.len());
    }
    scene.check(&journals);
}

#[test]
fn a_drain_without_a_server_waits_for_postgres_too() {
    let mut scene = Scene::new(Extra::Installed);
    scene.link.set(Weather::Down);
    scene.node.create("ann", "s", "hello");
    scene.node.stop();
    let in_vain = scene.node.run(&["drain", "--wait", "--timeout", "1"]);
    assert_eq!(in_vain.status.code(), Some(1), "{in_vain:?}");
    let (node, link, called) = (&scene.node, &scene.link, scene.link.called());
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| node.done(&["drain", "--wait", "--timeout", "60"]));
        eventually("it was turned away", || link.called() > called);
        link.set(Weather::Fair);
        assert!(drain.join().unwrap().contains("is in PostgreSQL"));
    });
    assert_eq!(World::there(&mut scene.cluster.connect()).0.len(), 1);
}

#[test]
fn a_long_queue_is_drained_quickly() {
    let mut scene = Scene::new(Extra::Installed);
    scene.link.set(Weather::Down);
    scene.node.status_when("it is away", |status| status["connected"] == false);
    let count = figure(2_000, 200_000);
    let journals = Load::at_full_speed(&scene.node, figure(4, 32), count);
    let queue = scene.node.status()["queue"].as_u64().unwrap();
    assert!(queue > 0);

    scene.link.set(Weather::Fair);
    scene.node.status_when("it is back", |status| status["connected"] == true);
    let began = Instant::now();
    scene.node.done(&["drain", "--wait", "--timeout", "600"]);

    let took = began.elapsed();
    println!("{count} messages drained in {took:?}");
    // 5,000 a second, or what an unoptimised build manages beside others.
    let limit = Duration::from_secs(u64::try_from(count / figure(200, 5_000)).unwrap());
    assert!(took < limit, "{count} in {took:?}");
    scene.check(&journals);
}

#[test]
fn the_figures_tell_the_truth_at_each_step() {
    let mut scene = Scene::new(Extra::Installed);
    let status = scene.node.status_when("it is connected", |status| status["connected"] == true);
    assert_eq!(status["configured"], true, "{status}");
    assert_eq!(status["installed"], true, "{status}");
    scene.node.create("ann", "s", "hello");
    scene.node.drained();

    scene.link.set(Weather::Down);
    scene.node.status_when("it is away", |status| status["connected"] == false);
    scene.node.save("ann", "s", "m1", "one");
    scene.node.save("ann", "s", "m2", "two");
    let status = scene.node.status();
    assert!(status["queue"].as_u64() >= Some(2), "{status}");
    assert!(status["pushLag"].as_u64() >= Some(2), "{status}");
    eventually("the oldest gets older", || {
        scene.node.status()["oldestPendingSecs"].as_f64() >= Some(1.0)
    });

    scene.link.set(Weather::Fair);
    scene.node.drained();
    let status = scene.node.status();
    assert_eq!(status["pushLag"], 0, "{status}");
    assert!(status["oldestPendingSecs"].as_f64().unwrap_or(0.0) == 0.0, "{status}");
    assert!(status["lastError"].is_null(), "{status}");
    scene.check(&[]);
}
