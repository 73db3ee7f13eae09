//! What operators type, see, and must not see.

use std::fs;

use crate::process::{command, run, server};
use crate::rig::{Extra, PASSWORD, Scene, Weather, World, text};

#[test]
fn a_password_in_a_flag_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server(folder.path());
    command.arg("--postgres").arg(format!("postgresql://orion:{PASSWORD}@127.0.0.1:5432/db"));
    let ended = run(command);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
    assert!(ended.stderr.contains("ORION_CHAT_POSTGRES"), "{}", ended.stderr);
}

#[test]
fn a_wrong_password_is_told_without_being_shown_and_stops_nothing() {
    let wrong = "not-the-right-horse";
    let scene = Scene::with(Extra::Bare, &[("DB_PASSWORD", wrong)]);
    scene.node.create("ann", "s", "hello");
    let status = scene.node.status_when("it says why", |status| status["lastError"].is_string());
    assert_eq!(status["connected"], false, "{status}");
    let human = scene.node.done(&["postgres", "status"]);
    for said in [status.to_string(), human, scene.node.log()] {
        assert!(!said.contains(wrong), "{said}");
    }
    scene.node.connect().get("/ready").unwrap().expect(200);
}

#[test]
fn no_secret_is_where_others_can_read_it() {
    let mut scene = Scene::new(Extra::Installed);
    scene.node.create("ann", "s", "hello");
    scene.check(&[]);
    let line = fs::read(format!("/proc/{}/cmdline", scene.node.pid())).unwrap();
    assert!(!text(&line).contains(PASSWORD));
    let metrics = scene.node.connect().get("/metrics").unwrap().body;
    assert!(!metrics.contains(PASSWORD), "{metrics}");
}

#[test]
fn installing_twice_and_uninstalling_leave_the_tables_as_they_were() {
    let mut scene = Scene::new(Extra::Bare);
    let schema = |scene: &Scene| {
        let sql = "select string_agg(x, ',' order by x) from (
            select tgrelid::regclass || tgname from pg_trigger where not tgisinternal union all
            select nspname from pg_namespace where nspname not like 'pg_%' union all
            select table_name || column_name from information_schema.columns
                where table_schema = 'public' union all
            select proname from pg_proc where pronamespace = 'public'::regnamespace) as t (x)";
        let row = scene.cluster.connect().query_one(sql, &[]).unwrap();
        row.get::<_, String>(0)
    };
    let before = schema(&scene);
    scene.node.done(&["postgres", "install"]);
    let installed = schema(&scene);
    assert_ne!(installed, before);
    scene.node.done(&["postgres", "install"]);
    assert_eq!(schema(&scene), installed);
    scene.node.create("ann", "s", "hello");
    scene.check(&[]);

    scene.node.done(&["postgres", "uninstall"]);
    assert_eq!(schema(&scene), before);
    scene.node.save("ann", "s", "m1", "one");
    scene.express().save("s", "m2", "two");
    scene.check(&[]);
}

#[test]
fn a_difference_is_found_and_named() {
    let scene = Scene::new(Extra::Bare);
    scene.node.create("ann", "s", "hello");
    scene.node.create("ann", "same", "hello");
    scene.node.drained();
    scene.node.done(&["postgres", "diff"]);
    let there = World::there(&mut scene.cluster.connect());
    let id = &there.0["s"].messages[0].id;
    scene.node.save("ann", "s", "m1", "one");
    scene.node.drained();
    // Behind the back of everything, so that it is not seen as a change.
    let sql = format!(
        "set session_replication_role = replica;
        update chat_messages set content = 'something else' where message_id = '{id}'"
    );
    scene.link.set(Weather::Fair);
    scene.cluster.connect().batch_execute(&sql).unwrap();
    let output = scene.node.run(&["postgres", "diff"]);
    let (stdout, code) = (text(&output.stdout), output.status.code());
    if code == Some(0) {
        // The pull was quicker, and both are the same again.
        assert!(scene.node.said("ann", "s").contains(&"something else".to_owned()));
        return;
    }
    assert_eq!(code, Some(1), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("ann") && stdout.contains('s'), "{stdout}");
    assert!(!stdout.contains("same"), "{stdout}");
}

#[test]
fn a_node_without_postgres_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let status = command(folder.path(), &["postgres", "status"]).output().unwrap();
    let said = text(&status.stdout) + &text(&status.stderr);
    assert!(said.contains("DB_HOST"), "{said}");
}
