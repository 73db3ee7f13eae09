//! Rows that one side writes, and the other would write otherwise or not at all.

use serde_json::json;

use crate::rig::{Extra, Node, Scene, TO_HEAL, World, eventually, within};

either_way! {
    metadata_that_postgres_spells_otherwise_is_not_sent_to_and_fro
    texts_of_all_kinds_get_there_and_back
    rows_that_cannot_be_held_here_stop_nothing
    an_address_in_capitals_is_the_same_user
    two_nodes_beside_one_postgres_agree
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
    let mut other = Node::start(scene.link.port);
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
    assert_eq!(world.0.len(), 20);
    assert_eq!(world.0["s"].messages.len(), 21);
    agree(&scene, &other);
    other.stop();
}
