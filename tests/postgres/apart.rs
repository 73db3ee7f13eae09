//! Both sides are written while they cannot see each other.

use serde_json::json;

use crate::rig::{Dice, Express, Extra, Scene, Weather, World, clock, eventually, figure};

either_way! {
    the_later_title_wins_and_the_other_is_kept
    the_later_text_of_a_message_wins_and_the_other_is_kept
    conflicts_over_conflicts_end
    messages_of_both_sides_are_united
    a_deletion_takes_what_was_said_before_it_and_leaves_what_was_said_after
    a_session_deleted_there_lives_on_by_what_is_said_here_later
    a_deleted_message_stays_deleted
    a_message_that_is_deleted_and_saved_again_lives
    a_session_that_is_deleted_and_made_again_is_the_new_one
    anything_at_all_done_on_both_sides_ends_the_same
    saves_are_quick_while_deletions_meet_late_messages
}

/// A session on both sides, which then lose sight of each other.
fn apart(extra: Extra) -> Scene {
    let scene = Scene::new(extra);
    scene.node.create("ann", "s", "hello");
    scene.node.save("ann", "s", "m0", "zero");
    scene.node.drained();
    scene.same(&[]);
    part(&scene);
    scene
}

fn part(scene: &Scene) {
    scene.link.set(Weather::Down);
    scene.node.status_when("it is away", |status| status["connected"] == false);
}

/// They see each other again, and agree.
#[track_caller]
fn meet(scene: &mut Scene) -> World {
    scene.link.set(Weather::Fair);
    scene.check(&[])
}

fn the_later_title_wins_and_the_other_is_kept(extra: Extra) {
    let mut scene = apart(extra);
    scene.node.update("ann", "s", json!({ "title": "here first" }));
    scene.express().rename("s", "there later");
    assert_eq!(meet(&mut scene).0["s"].title, "there later");
    assert_eq!(scene.node.status()["conflicts"], 1);

    part(&scene);
    scene.express().rename("s", "there first");
    scene.node.update("ann", "s", json!({ "title": "here later" }));
    assert_eq!(meet(&mut scene).0["s"].title, "here later");
    assert_eq!(scene.node.status()["conflicts"], 2);

    // What only one side changed is no conflict.
    scene.express().rename("s", "there alone");
    scene.node.status_when("it is here", |_| {
        scene.node.session("ann", "s").unwrap()["title"] == "there alone"
    });
    scene.node.update("ann", "s", json!({ "title": "here alone" }));
    assert_eq!(meet(&mut scene).0["s"].title, "here alone");
    assert_eq!(scene.node.status()["conflicts"], 2);
}

fn the_later_text_of_a_message_wins_and_the_other_is_kept(extra: Extra) {
    let mut scene = apart(extra);
    let text = |world: &World| {
        let messages = &world.0["s"].messages;
        messages.iter().find(|message| message.id == "m0").unwrap().content.clone()
    };
    scene.node.edit_message("ann", "s", "m0", "here first");
    scene.express().edit("m0", "there later");
    // On the bare tables nobody knows when a text was changed there.
    let (later, lost) = match extra {
        Extra::Installed => ("there later", "here first"),
        Extra::Bare => ("here first", "there later"),
    };
    assert_eq!(text(&meet(&mut scene)), later);
    assert_eq!(scene.node.status()["conflicts"], 1);
    assert!(scene.node.done(&["postgres", "conflicts"]).contains(lost));

    part(&scene);
    scene.express().edit("m0", "there first");
    scene.node.edit_message("ann", "s", "m0", "here later");
    assert_eq!(text(&meet(&mut scene)), "here later");
    assert_eq!(scene.node.status()["conflicts"], 2);

    // What only one side changed is no conflict, whichever was edited before.
    part(&scene);
    scene.express().edit("m0", "there alone");
    assert_eq!(text(&meet(&mut scene)), "there alone");
    part(&scene);
    scene.node.edit_message("ann", "s", "m0", "here alone");
    assert_eq!(text(&meet(&mut scene)), "here alone");
    assert_eq!(scene.node.status()["conflicts"], 2);

    let listed = scene.node.done(&["postgres", "conflicts", "--json"]);
    let listed: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<_> = listed.iter().map(|one| one["content"].as_str().unwrap()).collect();
    assert_eq!(texts, [lost, "there first"]);
    assert_eq!(listed[1]["lost"], "there");
}

fn conflicts_over_conflicts_end(extra: Extra) {
    let mut scene = apart(extra);
    let mut dice = Dice::new(12);
    for generation in 0..figure(3, 30) {
        for _ in 0..=dice.below(3) {
            let title = format!("{generation} {}", dice.below(1000));
            if dice.below(2) == 0 {
                scene.node.update(
                    "ann",
                    "s",
                    json!({ "title": title, "metadata": { "t": title } }),
                );
            } else {
                scene.express().rename("s", &title);
            }
        }
        meet(&mut scene);
        part(&scene);
    }
    meet(&mut scene);
}

fn messages_of_both_sides_are_united(extra: Extra) {
    let mut scene = apart(extra);
    let mut express = scene.express();
    for n in 1..=20 {
        if n % 2 == 0 {
            scene.node.save("ann", "s", &format!("m{n}"), &n.to_string());
        } else {
            express.save("s", &format!("m{n}"), &n.to_string());
        }
    }
    let world = meet(&mut scene);
    let ids: Vec<_> =
        world.0["s"].messages.iter().skip(1).map(|message| message.id.clone()).collect();
    let expected: Vec<_> = (0..=20).map(|n| format!("m{n}")).collect();
    assert_eq!(ids, expected, "in the order of their times");
    assert_eq!(world.0["s"].last, "20");
}

fn a_deletion_takes_what_was_said_before_it_and_leaves_what_was_said_after(extra: Extra) {
    let mut scene = apart(extra);
    let mut express = scene.express();
    express.save("s", "before", "said before the deletion");
    scene.node.delete("ann", "s");
    express.save("s", "after", "said after the deletion");

    let world = meet(&mut scene);

    let ids: Vec<_> = world.0["s"].messages.iter().map(|message| &*message.id).collect();
    assert_eq!(ids, ["after"]);

    part(&scene);
    express.save("s", "again", "said before the second deletion");
    scene.node.delete("ann", "s");
    assert!(!meet(&mut scene).0.contains_key("s"));
}

fn saves_are_quick_while_deletions_meet_late_messages(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut express = scene.express();
    let journals = scene.while_writing("deletions against late messages", |scene, load| {
        for round in 0..figure(2, 30) {
            let [here, there] = ["here", "there"].map(|side| format!("{side}-{round}"));
            for session in [&here, &there] {
                express.create("ann", session, "counted, and not stored");
                express.save(session, &format!("{session}-0"), "said before");
                eventually("it is here", || scene.node.session("ann", session).is_some());
            }
            part(scene);
            scene.node.delete("ann", &here);
            express.save(&here, &format!("{here}-1"), "said after the deletion");
            express.delete(&there);
            scene.node.save("ann", &there, &format!("{there}-1"), "said after the deletion");
            load.wait_for_more(20);
            scene.link.set(Weather::Fair);
            scene.node.status_when("it is back", |status| status["connected"] == true);
        }
    });
    scene.check(&journals);
}

fn a_session_deleted_there_lives_on_by_what_is_said_here_later(extra: Extra) {
    let mut scene = apart(extra);
    scene.express().delete("s");
    scene.node.save("ann", "s", "after", "said after the deletion");

    let world = meet(&mut scene);

    let ids: Vec<_> = world.0["s"].messages.iter().map(|message| &*message.id).collect();
    assert!(ids.contains(&"after"), "{ids:?}");
    if extra == Extra::Installed {
        assert_eq!(ids, ["after"], "the deletion has a time there");
    }
}

fn a_deleted_message_stays_deleted(extra: Extra) {
    let mut scene = apart(extra);
    let mut express = scene.express();
    scene.node.save("ann", "s", "m1", "one");
    express.save("s", "m2", "two");
    meet(&mut scene);
    part(&scene);
    scene.node.delete_message("ann", "s", "m2");
    express.delete_message("m1");
    express.save("s", "m3", "three");

    let world = meet(&mut scene);

    let ids: Vec<_> = world.0["s"].messages.iter().skip(1).map(|message| &*message.id).collect();
    assert_eq!(ids, ["m0", "m3"]);
}

fn a_message_that_is_deleted_and_saved_again_lives(extra: Extra) {
    let mut scene = apart(extra);
    scene.node.save("ann", "s", "m1", "one");
    meet(&mut scene);
    part(&scene);
    // One here alone, the other first there.
    scene.express().delete_message("m1");
    for id in ["m0", "m1"] {
        scene.node.delete_message("ann", "s", id);
        scene.node.save("ann", "s", id, "again");
    }

    let world = meet(&mut scene);

    let said: Vec<_> = world.0["s"].messages.iter().skip(1).collect();
    let said: Vec<_> = said.iter().map(|message| (&*message.id, &*message.content)).collect();
    assert_eq!(said, [("m0", "again"), ("m1", "again")]);
}

fn a_session_that_is_deleted_and_made_again_is_the_new_one(extra: Extra) {
    let mut scene = apart(extra);
    scene.node.delete("ann", "s");
    scene.node.create("ann", "s", "a new beginning");
    let world = meet(&mut scene);
    let texts: Vec<_> = world.0["s"].messages.iter().map(|message| &*message.content).collect();
    assert_eq!(texts, ["a new beginning"]);

    part(&scene);
    let mut express = scene.express();
    express.delete("s");
    express.create("ann", "s", "a newer one");
    express.save("s", "m9", "nine");
    let world = meet(&mut scene);
    let texts: Vec<_> = world.0["s"].messages.iter().map(|message| &*message.content).collect();
    if extra == Extra::Installed {
        assert_eq!(texts, ["a newer one", "nine"], "the deletion was seen there");
    } else {
        assert!(texts.ends_with(&["nine"]), "{texts:?}");
    }
}

/// Random work on both sides, seen and unseen, until both are the same again: by seeds.
fn anything_at_all_done_on_both_sides_ends_the_same(extra: Extra) {
    for seed in 0..figure(2, 60) {
        println!("seed {seed}");
        let mut scene = Scene::new(extra);
        let (mut dice, mut express, mut next) = (Dice::new(100 + seed), scene.express(), 0);
        scene.node.meet("ann");
        part(&scene);
        for round in 0..4 {
            for _ in 0..25 {
                next += 1;
                work(&scene, &mut express, &mut dice, next);
            }
            if round % 2 == 0 {
                meet_whatever_is_gone(&mut scene);
                part(&scene);
            }
        }
        meet_whatever_is_gone(&mut scene);
    }
}

/// They see each other again, and somebody says that what was deleted there was meant to be.
fn meet_whatever_is_gone(scene: &mut Scene) {
    scene.link.set(Weather::Fair);
    scene.node.drained();
    let status = scene.node.status_when("it has looked", |status| {
        status["paused"].is_string() || status["pullLagMs"].as_u64() < Some(1000)
    });
    if status["paused"].is_string() {
        scene.node.done(&["postgres", "pull", "--accept-deletions"]);
    }
    scene.check(&[]);
}

fn work(scene: &Scene, express: &mut Express, dice: &mut Dice, n: usize) {
    let session = format!("s{}", dice.below(4));
    if dice.below(2) == 0 {
        work_here(scene, dice, &session, n);
    } else {
        work_there(express, dice, &session, n);
    }
}

fn work_here(scene: &Scene, dice: &mut Dice, session: &str, n: usize) {
    let is_there = scene.node.session("ann", session).is_some();
    match dice.below(8) {
        _ if !is_there => scene.node.create("ann", session, &format!("first {n}")),
        0 => scene.node.delete("ann", session),
        1 => scene.node.update("ann", session, json!({ "title": format!("title {n}") })),
        2 => {
            let messages = scene.node.messages("ann", session);
            if let Some(message) = messages.get(dice.below(messages.len().max(1))) {
                scene.node.delete_message("ann", session, message["id"].as_str().unwrap());
            }
        }
        _ => scene.node.save("ann", session, &format!("h{n}"), &format!("here {n}")),
    }
}

fn work_there(express: &mut Express, dice: &mut Dice, session: &str, n: usize) {
    let is_there = express.list("ann").iter().any(|id| id == session);
    match dice.below(8) {
        _ if !is_there => express.create("ann", session, &format!("first {n}")),
        0 => express.delete(session),
        1 => express.rename(session, &format!("title {n}")),
        2 => {
            let ids = express.ids(session);
            if let Some(id) = ids.get(dice.below(ids.len().max(1))) {
                express.delete_message(id);
            }
        }
        _ => express.save(session, &format!("t{n}"), &format!("there {n}")),
    }
}

#[test]
fn a_clock_that_is_a_day_behind_loses_no_edit() {
    clocks_apart("-1d");
}

#[test]
fn a_clock_that_is_a_day_ahead_wins_over_no_later_edit() {
    clocks_apart("+1d");
}

/// The node's clock is off by this; PostgreSQL's is not.
fn clocks_apart(offset: &str) {
    let clock = clock(offset);
    let mut scene = Scene::with(Extra::Installed, &clock);
    let mut express = scene.express();
    scene.node.create("ann", "s", "hello");
    let created = scene.node.session("ann", "s").unwrap()["createdAt"].as_str().unwrap().to_owned();
    let sql = "select abs(extract(epoch from $1::text::timestamptz - now())) > 80000";
    assert!(express.0.query_one(sql, &[&created]).unwrap().get::<_, bool>(0), "{created} is near");

    // One after the other sees: the last word counts, whatever the clocks say.
    let mut expected = vec!["hello".to_owned()];
    for n in 0..4 {
        scene.same(&[]);
        let title = format!("title {n}");
        if n % 2 == 0 {
            express.rename("s", &title);
        } else {
            scene.node.update("ann", "s", json!({ "title": title }));
        }
        assert_eq!(scene.check(&[]).0["s"].title, title);
        let text = format!("said here, {n}");
        scene.node.save("ann", "s", &format!("m{n}"), &text);
        expected.push(text);
    }
    assert_eq!(scene.node.said("ann", "s"), expected);
    assert_eq!(scene.node.status()["conflicts"], 0);
    let mut last = 0;
    let journals = scene.while_writing("clocks apart", |scene, load| {
        for n in 0..figure(5, 100) {
            express.rename("s", &format!("renamed there {n}"));
            scene.node.update("ann", "s", json!({ "title": format!("renamed here {n}") }));
            load.wait_for_more(20);
            last = n;
        }
    });
    assert!(scene.check(&journals).0["s"].title.ends_with(&last.to_string()));

    // And while apart, both agree on one of them.
    part(&scene);
    scene.node.update("ann", "s", json!({ "title": "here" }));
    express.rename("s", "there");
    express.save("s", "there", "said there");
    scene.node.save("ann", "s", "here", "said here");
    meet(&mut scene);
}
