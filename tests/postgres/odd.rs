//! Rows that one side writes, and the other would write otherwise or not at all.

use serde_json::json;

use crate::rig::{
    Express, Extra, Link, Node, Scene, TO_HEAL, Weather, World, clock, eventually, save, within,
};

either_way! {
    metadata_that_postgres_spells_otherwise_is_not_sent_to_and_fro
    texts_of_all_kinds_get_there_and_back
    rows_that_cannot_be_held_here_stop_nothing
    an_address_in_capitals_is_the_same_user
    two_nodes_beside_one_postgres_agree
    a_message_that_another_node_deletes_and_saves_again_lives
    one_session_id_of_two_users_is_deleted_for_one_of_them
    tables_with_types_of_their_own_are_written_all_the_same
}

fn metadata_that_postgres_spells_otherwise_is_not_sent_to_and_fro(extra: Extra) {
    let mut scene = Scene::new(extra);
    let metadata = r#"{"b": 1.50, "a": {"z": [1, 2.0], "y": null}, "b": 2, "ü": "\u00fc\/"}"#;
    let body = format!(
        r#"{{"userId":"ann","sessionId":"s","firstMessage":"hello","metadata":{metadata}}}"#
    );
    let mut client = scene.node.connect();
    let head = crate::process::post_head("/api/sessions/create", body.len(), "");
    client.send(&format!("{head}{body}")).unwrap();
    client.read_reply().unwrap().expect(201);
    scene.check(&[]);
    scene.node.save("ann", "s", "m1", "one");
    scene.express().rename("s", "renamed");
    eventually("it is here", || scene.node.session("ann", "s").unwrap()["title"] == "renamed");
    let world = scene.check(&[]);
    assert_eq!(world.0["s"].metadata["b"], 2);
    assert_eq!(scene.node.status()["conflicts"], 0);
}

fn texts_of_all_kinds_get_there_and_back(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut express = scene.express();
    let title = "🙂".repeat(255);
    scene.node.create("ann", "here", "hello");
    scene.node.update("ann", "here", json!({ "title": title }));
    express.create("ann", "there", "hello");
    for (n, text) in [
        "🧑‍🧑‍🧒‍🧒 \u{202e}\u{feff}\u{ffff} e\u{301} é",
        "'; drop table chat_messages; --",
        "\\ \\\\ $$ $1 {} % \t \r\n",
        " \u{1}\u{7f}\u{85} ",
        &"long ".repeat(100_000),
    ]
    .into_iter()
    .enumerate()
    {
        scene.node.save("ann", "here", &format!("h{n}"), text);
        express.save("there", &format!("t{n}"), text);
    }
    let world = scene.check(&[]);
    assert_eq!(world.0["here"].title, title);
    assert_eq!(world.0["there"].messages.len(), 6);
}

fn rows_that_cannot_be_held_here_stop_nothing(extra: Extra) {
    let scene = Scene::new(extra);
    let mut express = scene.express();
    express.create("ann", "s", "hello");
    let sql = "insert into chat_messages
        select gen_random_uuid(), 'bad-' || n, 's', role, content, metadata, now()
        from (values (1, null, 'no role', '{}'), (2, 'user', '', '{}'),
            (3, 'user', 'metadata that is no object', '[1]'),
            (4, 'user', repeat('too long ', 1000000), '{}'),
            (5, E'user', 'with a control character in its id', '{}'))
            as v (n, role, content, metadata_text),
            lateral (select metadata_text::jsonb) as j (metadata);
        update chat_messages set message_id = E'bad\\n5' where message_id = 'bad-5';
        insert into chat_sessions (id, session_id, user_id)
        values (gen_random_uuid(), E'bad\\tid', 'ann'), (gen_random_uuid(), 'no-user', '')";
    express.0.batch_execute(sql).unwrap();
    express.save("s", "good", "a good one");
    eventually("the good one is here", || {
        scene.node.said("ann", "s").contains(&"a good one".to_owned())
    });
    scene.node.save("ann", "s", "m1", "one");
    scene.node.drained();
    assert!(express.said("s").contains(&"one".to_owned()));
    let there = World::there(&mut scene.cluster.connect());
    assert!(there.0["s"].messages.len() >= 7, "nothing was deleted there: {there:?}");
}

fn an_address_in_capitals_is_the_same_user(extra: Extra) {
    let scene = Scene::new(extra);
    let mut express = scene.express();
    express.create("Ann@Example.org", "s", "hello");
    express.save("s", "m1", "one");
    let user = "ann@example.org";
    eventually("it is here", || scene.node.said(user, "s") == ["hello", "one"]);
    scene.node.save(user, "s", "m2", "two");
    scene.node.update(user, "s", json!({ "title": "renamed" }));
    scene.node.drained();
    eventually("it is there", || express.said("s") == ["hello", "one", "two"]);
    assert_eq!(express.list("Ann@Example.org"), ["s"], "it is hers as it was written");
    let title = World::there(&mut scene.cluster.connect()).0["s"].title.clone();
    assert_eq!(title, "renamed");
}

fn two_nodes_beside_one_postgres_agree(extra: Extra) {
    let mut scene = Scene::new(extra);
    // Begun by an assistant, before the other node takes all of it at once.
    let mut client = scene.node.connect();
    scene.node.meet("ann");
    let body = json!({ "userId": "ann", "sessionId": "greeted" });
    client.post("/api/sessions/create", &body).unwrap().expect(201);
    let body = json!({
        "userId": "ann", "sessionId": "greeted", "role": "assistant", "content": "How can I help?",
    });
    client.post("/api/sessions/save-message", &body).unwrap().expect(201);
    scene.node.drained();
    let mut other = Node::start(scene.link.port);
    eventually("it is there too", || other.said("ann", "greeted") == ["How can I help?"]);
    scene.node.create("ann", "s", "hello");
    eventually("the other has it", || other.session("ann", "s").is_some());
    for n in 0..20 {
        let node = if n % 2 == 0 { &scene.node } else { &other };
        node.save("ann", "s", &format!("m{n}"), &n.to_string());
        node.create("bob", &format!("s{n}"), "hello");
        if n % 5 == 4 {
            node.update("ann", "s", json!({ "title": n.to_string() }));
        }
    }
    other.delete("bob", "s7");
    let agree = |scene: &Scene, other: &Node| {
        let there = World::there(&mut scene.cluster.connect());
        let users = ["ann", "bob"].map(str::to_owned);
        within(TO_HEAL, "the other node agrees", || {
            let here = World::here(other, users.clone());
            World::there(&mut scene.cluster.connect()).differs(&here).map_or(Ok(()), Err)
        });
        there
    };
    other.drained();
    scene.node.drained();
    agree(&scene, &other);
    let world = scene.check(&[]);
    assert_eq!(world.0.len(), 21);
    assert_eq!(world.0["s"].messages.len(), 21);
    assert_eq!(world.0["greeted"].messages.len(), 1);
    agree(&scene, &other);
    other.stop();
}

fn a_message_that_another_node_deletes_and_saves_again_lives(extra: Extra) {
    let mut scene = Scene::new(extra);
    let other = Node::start(scene.link.port);
    scene.node.create("ann", "s", "hello");
    scene.node.save("ann", "s", "m", "one");
    scene.node.save("ann", "s", "m2", "two");
    eventually("the other has it", || other.said("ann", "s") == ["hello", "one", "two"]);
    scene.node.delete_message("ann", "s", "m");
    eventually("nor has the other", || other.said("ann", "s") == ["hello", "two"]);
    scene.node.save("ann", "s", "m", "again");
    eventually("the other has it again", || other.said("ann", "s") == ["hello", "two", "again"]);
    let mut said = vec!["hello", "two", "again"];
    if extra == Extra::Installed {
        // Both at once, which looks like an edit where nothing tells of the deletion.
        scene.node.delete_message("ann", "s", "m2");
        scene.node.save("ann", "s", "m2", "at once");
        said = vec!["hello", "again", "at once"];
    }
    eventually("the other has both", || other.said("ann", "s") == said);
    other.drained();
    drop(other);
    scene.check(&[]);
    assert_eq!(scene.node.said("ann", "s"), said);
}

fn one_session_id_of_two_users_is_deleted_for_one_of_them(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.link.set(Weather::Down);
    let mut express = scene.express();
    for session in ["s", "t"] {
        express.create("ann", session, "hers");
        express.save(session, &format!("m-{session}"), "hers");
        scene.node.create("bob", session, "his");
    }
    scene.link.set(Weather::Fair);
    scene.node.status_when("his are refused", |status| {
        status["deadLetters"].as_u64() >= Some(2) && status["queue"] == 0
    });
    // His first goes here, hers second there.
    scene.node.delete("bob", "s");
    express.delete("t");
    scene.node.drained();
    scene.node.done(&["postgres", "pull"]);
    assert_eq!(express.said("s"), ["hers"]);
    assert_eq!(scene.node.said("bob", "t"), ["his"]);
    eventually("hers is here", || scene.node.said("ann", "s").contains(&"hers".to_owned()));
    scene.node.done(&["postgres", "retry"]);
    let world = scene.check(&[]);
    assert_eq!(world.0.len(), 2);
}

#[test]
fn a_deletion_by_another_node_takes_nothing_that_was_said_after_it() {
    let mut scene = Scene::new(Extra::Installed);
    let others_link = Link::to(&scene.bouncer.socket());
    let other = Node::start(others_link.port);
    scene.node.create("ann", "s", "hello");
    eventually("the other has it", || other.session("ann", "s").is_some());
    for link in [&others_link, &scene.link] {
        link.set(Weather::Down);
    }
    other.delete("ann", "s");
    scene.node.save("ann", "s", "later", "said later");
    // The deletion gets there first.
    others_link.set(Weather::Fair);
    other.drained();
    scene.link.set(Weather::Fair);
    scene.node.drained();
    scene.node.done(&["postgres", "pull"]);
    other.drained();
    drop(other);
    let world = scene.check(&[]);
    assert_eq!(world.0["s"].messages.len(), 1);
}

fn tables_with_types_of_their_own_are_written_all_the_same(extra: Extra) {
    let scene = Scene::new(extra);
    // Locked in the order in which the node reads them, which it does meanwhile.
    let sql = "begin; lock table chat_sessions, chat_messages;
        alter table chat_messages drop constraint chat_messages_role_check;
        create type speaker as enum ('user', 'assistant', 'tool');
        alter table chat_messages alter column role type speaker using role::speaker;
        create domain short_title as varchar(100) check (value not like '%forbidden%');
        alter table chat_sessions alter column title type short_title; commit";
    scene.express().0.batch_execute(sql).unwrap();
    let mut client = scene.node.connect();
    scene.node.create("ann", "s", "hello");
    for (role, id) in [("tool", "m1"), ("system", "m2"), ("assistant", "m3")] {
        let body = json!({
            "userId": "ann", "sessionId": "s", "role": role, "content": id, "id": id,
        });
        client.post("/api/sessions/save-message", &body).unwrap().expect(201);
    }
    scene.node.create("ann", "bad", "forbidden");
    scene.node.create("ann", "good", "hello");
    scene.node.status_when("all is sent or put aside", |status| {
        status["queue"] == 0 && status["deadLetters"].as_u64() >= Some(3)
    });
    let world = scene.same(&["bad", "m2"]);
    assert_eq!(world.0["s"].messages.len(), 3);
    assert_eq!(world.0.len(), 2);
}

#[test]
fn what_another_node_was_writing_when_this_one_became_known_comes_too() {
    let mut scene = Scene::new(Extra::Installed);
    scene.node.stop();
    let mut express = scene.express();
    express.create("ann", "s", "hello");
    // Nobody is known, so that no outbox tells what a node does.
    express.0.batch_execute("delete from orion_chat.nodes").unwrap();
    let mut nodes_own = scene.cluster.connect();
    let mut left_open = nodes_own.transaction().unwrap();
    left_open.batch_execute("select set_config('orion_chat.node', 'another', true)").unwrap();
    save(&mut left_open, "s", "m1", "written meanwhile").unwrap();

    let other = Node::start(scene.link.port);
    eventually("it is known", || {
        let sql = "select count(*) from orion_chat.nodes";
        express.0.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    eventually("it has what is there", || other.session("ann", "s").is_some());
    express.create("ann", "told", "hello");
    eventually("what is told comes", || other.session("ann", "told").is_some());
    left_open.commit().unwrap();
    eventually("and what is not", || {
        other.said("ann", "s").contains(&"written meanwhile".to_owned())
    });
    other.drained();
    drop(other);
    scene.node.start_again();
    scene.check(&[]);
}

/// Does something there while a node is away for more than a week, after which nobody keeps for it what
/// happens; gives that node, stopped.
fn away_for_long(meanwhile: impl FnOnce(&Scene, &mut Express)) -> (Scene, Node) {
    let scene = Scene::new(Extra::Installed);
    let mut other = Node::start(scene.link.port);
    for n in 0..30 {
        scene.node.create("ann", &format!("s{n}"), "hello");
    }
    scene.node.save("ann", "s1", "m1", "one");
    eventually("the other has them", || {
        other.sessions("ann").len() == 30 && other.said("ann", "s1").len() == 2
    });
    other.drained();
    other.done(&["postgres", "pull"]);
    other.stop();
    let mut express = scene.express();
    let sql = "update orion_chat.nodes set seen_at = seen_at - interval '8 days'";
    express.0.batch_execute(sql).unwrap();
    meanwhile(&scene, &mut express);
    eventually("it is given up", || {
        let sql = "select count(*) from orion_chat.nodes where followed is null";
        express.0.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    scene.node.drained();
    (scene, other)
}

#[test]
fn a_node_that_was_away_for_long_brings_nothing_back() {
    let (mut scene, mut other) = away_for_long(|scene, express| {
        express.delete("s0");
        express.delete_message("m1");
        scene.node.save("ann", "s2", "m2", "two");
    });
    other.start_again();
    eventually("it follows again", || {
        other.session("ann", "s0").is_none()
            && other.said("ann", "s1") == ["hello"]
            && other.said("ann", "s2") == ["hello", "two"]
    });
    let world = scene.check(&[]);
    assert_eq!(world.0.len(), 29);
    other.stop();
}

#[test]
fn what_was_deleted_while_a_node_was_away_for_long_does_not_come_back_when_it_accepts_that() {
    let (mut scene, mut other) = away_for_long(|scene, express| {
        for n in 0..25 {
            scene.node.delete("ann", &format!("s{n}"));
        }
        express.delete("s25");
    });
    other.start_again();
    other.status_when("it asks", |status| status["paused"].is_string());
    other.done(&["postgres", "pull", "--accept-deletions"]);
    assert_eq!(other.sessions("ann").len(), 4);
    assert_eq!(scene.check(&[]).0.len(), 4);
    other.stop();
}

#[test]
fn deletions_are_remembered_until_long_after_they_were_told() {
    let mut scene = Scene::new(Extra::Bare);
    for session in ["s", "t"] {
        scene.node.create("ann", session, "hello");
    }
    scene.node.drained();
    scene.same(&[]);
    scene.node.delete("ann", "s");
    scene.node.drained();
    scene.same(&[]);

    // As a dump of before would.
    let mut express = scene.express();
    let mut bring_back = || {
        express.create("ann", "s", "hello");
        let sql = "update chat_sessions set created_at = now() - interval '1 hour'
            where session_id = 's'";
        express.0.batch_execute(sql).unwrap();
    };
    bring_back();
    scene.node.done(&["postgres", "pull"]);
    assert_eq!(scene.check(&[]).0.len(), 1, "it is gone again");

    // However long it is away, it is told first.
    scene.link.set(Weather::Down);
    scene.node.delete("ann", "t");
    scene.node.stop();
    scene.node.set(&clock("+100d"));
    scene.node.start_again();
    scene.node.status_when("it is away", |status| status["lastError"].is_string());
    scene.link.set(Weather::Fair);
    assert_eq!(scene.check(&[]).0.len(), 0, "it is deleted there too");

    // After that, nobody knows any more.
    bring_back();
    eventually("it is here", || scene.node.session("ann", "s").is_some());
    scene.check(&[]);
}
