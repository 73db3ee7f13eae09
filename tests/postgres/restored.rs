//! PostgreSQL comes back with less than it had: nothing is lost here, whatever is missing there.

use crate::rig::{Extra, Journal, Load, Scene, Weather, World, eventually, figure};

either_way! {
    an_older_dump_takes_nothing_from_this_node
    a_server_that_went_back_in_time_takes_nothing_from_this_node
    a_server_that_went_back_a_little_takes_nothing_from_this_node
    what_a_promoted_standby_lacks_goes_there_again
    an_emptied_postgres_takes_nothing_from_this_node
    many_deletions_at_once_are_asked_about
    many_that_were_lost_are_sent_again_by_installing
    what_is_saved_while_an_older_dump_is_restored_stays_and_is_quick
}

/// A node that has more than it had, and how it knows what it must still have.
fn grown(extra: Extra, keep: impl FnOnce(&mut Scene)) -> (Scene, Vec<Journal>) {
    let mut scene = Scene::new(extra);
    let load = Load::start(&scene.node, 2, "kept");
    load.wait_for_more(60);
    let mut journals = load.stop();
    scene.check(&journals);
    keep(&mut scene);
    let load = Load::start(&scene.node, 3, "lost");
    load.wait_for_more(90);
    journals.extend(load.stop());
    scene.check(&journals);
    (scene, journals)
}

/// A node with so many sessions of ann's, which are there too.
fn with_sessions(extra: Extra, count: usize) -> Scene {
    let scene = Scene::new(extra);
    for n in 0..count {
        scene.node.create("ann", &format!("s{n}"), "hello");
    }
    scene.node.drained();
    scene.same(&[]);
    scene.node.done(&["postgres", "pull"]);
    scene
}

/// Everything acknowledged is here still.
#[track_caller]
fn assert_all_is_here(scene: &Scene, journals: &[Journal]) {
    for journal in journals {
        let ids: Vec<_> = scene.node.messages(&journal.user, &journal.session);
        let ids: Vec<_> = ids.iter().map(|message| message["id"].as_str().unwrap()).collect();
        let saved: Vec<_> = journal.saved.iter().map(|(id, _)| id.as_str()).collect();
        assert!(ids == saved, "{} has {} of {}", journal.session, ids.len(), saved.len());
    }
}

fn an_older_dump_takes_nothing_from_this_node(extra: Extra) {
    let mut dump = None;
    let (mut scene, journals) = grown(extra, |scene| dump = Some(scene.cluster.dump()));
    scene.cluster.restore(&dump.unwrap());
    after_less(&mut scene, &journals);
}

fn what_is_saved_while_an_older_dump_is_restored_stays_and_is_quick(extra: Extra) {
    let mut dump = None;
    let (mut scene, mut journals) = grown(extra, |scene| dump = Some(scene.cluster.dump()));
    journals.extend(scene.while_writing("an older dump restored", |scene, load| {
        scene.cluster.restore(&dump.unwrap());
        load.wait_for_more(figure(40, 2000));
    }));
    after_less(&mut scene, &journals);
}

fn a_server_that_went_back_in_time_takes_nothing_from_this_node(extra: Extra) {
    let mut copy = None;
    let (mut scene, journals) = grown(extra, |scene| copy = Some(scene.cluster.copy()));
    scene.cluster.go_back_to(&copy.unwrap());
    after_less(&mut scene, &journals);
}

fn a_server_that_went_back_a_little_takes_nothing_from_this_node(extra: Extra) {
    let mut scene = with_sessions(extra, 100);
    let copy = scene.cluster.copy();
    // So few that they could be deletions.
    for n in 0..5 {
        scene.node.create("ann", &format!("lost-{n}"), "hello");
    }
    scene.node.drained();
    scene.node.done(&["postgres", "pull"]);
    scene.cluster.go_back_to(&copy);
    assert_eq!(scene.check(&[]).0.len(), 105);
}

fn what_a_promoted_standby_lacks_goes_there_again(extra: Extra) {
    let mut scene = with_sessions(extra, 60);
    let copy = scene.cluster.copy();
    for n in 0..5 {
        scene.node.create("ann", &format!("lost-{n}"), "hello");
    }
    scene.node.drained();
    scene.node.done(&["postgres", "pull"]);
    scene.link.set(Weather::Down);
    scene.cluster.fail_over_to(&copy);
    // As many transactions as were lost, and more.
    let mut express = scene.express();
    for n in 0..60 {
        express.create("bob", &format!("new-{n}"), "hello");
    }
    scene.link.set(Weather::Fair);
    assert_eq!(scene.check(&[]).0.len(), 125);
}

#[test]
fn a_switchover_brings_nothing_back_that_was_deleted_there() {
    let mut scene = with_sessions(Extra::Installed, 30);
    scene.link.set(Weather::Down);
    scene.express().delete("s1");
    let copy = scene.cluster.copy();
    scene.cluster.fail_over_to(&copy);
    scene.link.set(Weather::Fair);
    let world = scene.check(&[]);
    assert_eq!(world.0.len(), 29);
    assert!(scene.node.session("ann", "s1").is_none());
}

fn an_emptied_postgres_takes_nothing_from_this_node(extra: Extra) {
    let (mut scene, journals) = grown(extra, |_| ());
    scene.express().0.batch_execute("truncate chat_sessions cascade").unwrap();
    after_less(&mut scene, &journals);
}

/// Much is missing there. It is asked what that means, and everything is here; what is said from
/// now on is there too.
#[track_caller]
fn after_less(scene: &mut Scene, journals: &[Journal]) {
    let Journal { user, session, .. } = &journals[0];
    scene.node.save(user, session, "new", "said afterwards");
    scene.node.status_when("it is back, or asks", |status| {
        status["connected"] == true && status["queue"] == 0 || status["paused"].is_string()
    });
    // However often it looks there.
    for _ in 0..3 {
        let _pulled = scene.node.run(&["postgres", "pull"]);
    }
    scene.node.stop();
    scene.node.start_again();
    let _pulled = scene.node.run(&["postgres", "pull"]);
    let mut journals: Vec<_> = journals.to_vec();
    journals[0].saved.push(("new".to_owned(), "said afterwards".to_owned()));
    // Journals of one session follow each other in their order.
    assert_all_is_here(scene, &journals);
    if scene.node.status()["paused"].is_null() {
        // It knows that it was lost, and brings it back.
        scene.check(&journals);
    }
}

fn many_that_were_lost_are_sent_again_by_installing(extra: Extra) {
    let mut scene = with_sessions(extra, 60);
    let sql = "delete from chat_sessions where session_id like 's3%'
        or session_id like 's4%' or session_id like 's5%'";
    scene.express().0.batch_execute(sql).unwrap();
    scene.node.status_when("it asks", |status| status["paused"].is_string());
    if extra == Extra::Installed {
        scene.node.run(&["postgres", "uninstall"]);
    }
    scene.node.run(&["postgres", "install"]);
    scene.node.status_when("it goes on", |status| status["paused"].is_null());
    assert_eq!(scene.check(&[]).0.len(), 60);
}

fn many_deletions_at_once_are_asked_about(extra: Extra) {
    let mut scene = with_sessions(extra, 60);
    let count = |scene: &Scene| scene.node.count_titles("ann", "hello");

    // A few are deletions like others.
    let sql = "delete from chat_sessions where session_id in ('s0', 's1', 's2')";
    scene.express().0.batch_execute(sql).unwrap();
    eventually("they are gone here", || count(&scene) == 57);

    let sql = "delete from chat_sessions where session_id like 's3%'
        or session_id like 's4%' or session_id like 's5%'";
    scene.express().0.batch_execute(sql).unwrap();
    let status = scene.node.status_when("it asks", |status| status["paused"].is_string());
    assert_eq!(count(&scene), 57, "{status}");
    // What is said here meanwhile gets there.
    scene.node.create("ann", "new", "new");
    eventually("it is there", || World::there(&mut scene.cluster.connect()).0.contains_key("new"));

    scene.node.done(&["postgres", "pull", "--accept-deletions"]);
    eventually("they are gone here", || count(&scene) < 30);
    scene.check(&[]);
}

#[test]
fn an_outage_is_no_deletion() {
    let mut scene = Scene::new(Extra::Bare);
    let load = Load::start(&scene.node, 2, "w");
    load.wait_for_more(60);
    let journals = load.stop();
    scene.check(&journals);
    for _ in 0..3 {
        scene.link.set(Weather::Down);
        scene.node.status_when("it is away", |status| status["connected"] == false);
        scene.link.set(Weather::Fair);
        scene.node.status_when("it is back", |status| status["connected"] == true);
    }
    scene.check(&journals);
}
