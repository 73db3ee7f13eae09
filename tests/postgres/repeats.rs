//! PostgreSQL hears again, in any order, what it was told before.

use crate::rig::{Dice, Extra, Load, Scene, eventually, figure, replay};
use serde_json::json;

#[test]
fn batches_repeated_and_shuffled_change_nothing() {
    let mut scene = Scene::new(Extra::Installed);
    scene.link.record();
    let mut express = scene.express();
    let load = Load::start(&scene.node, 3, "w");
    for n in 0..10 {
        load.wait_for_more(30);
        let title = json!({ "title": format!("title {n}"), "metadata": { "n": n } });
        scene.node.update("user-0@example.org", "w-0", title);
        let sql = "select title from chat_sessions where session_id = 'w-0'";
        eventually("it is there", || {
            let rows = express.0.query(sql, &[]).unwrap();
            rows.iter().any(|row| row.get::<_, &str>(0) == format!("title {n}"))
        });
    }
    let journals = load.stop();
    let before = scene.check(&journals);
    let batches = scene.link.recorded();
    assert!(batches.len() > 10, "{} batches", batches.len());

    let mut dice = Dice::new(8);
    let more = scene.while_writing("batches repeated and shuffled", |scene, load| {
        for _ in 0..figure(3, 30) {
            let mut order: Vec<_> = batches.iter().collect();
            dice.shuffle(&mut order);
            assert!(replay(&scene.cluster, order) > 0, "all were refused");
            load.wait_for_more(20);
        }
    });
    // A node repeats nothing of what was deleted since; where others do, a comparison finds it.
    scene.node.done(&["postgres", "pull"]);
    let mut after = scene.check(&journals.into_iter().chain(more).collect::<Vec<_>>());
    after.0.retain(|id, _| before.0.contains_key(id));
    assert_eq!(after.differs(&before), None);
}

#[test]
fn an_older_data_file_does_not_undo_what_came_after_it() {
    let mut scene = Scene::new(Extra::Installed);
    let load = Load::start(&scene.node, 2, "before");
    load.wait_for_more(100);
    let mut journals = load.stop();
    scene.node.done(&["backup", "backup.redb"]);
    scene.node.update("user-0@example.org", "before-0", json!({ "title": "newer" }));
    let load = Load::start(&scene.node, 2, "after");
    load.wait_for_more(100);
    journals.extend(load.stop());
    scene.check(&journals);

    scene.node.stop();
    scene.node.done(&["restore", "backup.redb"]);
    scene.node.start_again();

    let world = scene.check(&journals);
    assert_eq!(world.0["before-0"].title, "newer");
}
