//! What operators type, see, and must not see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::json;

use crate::process::{command, run, server};
use crate::rig::{Extra, Node, PASSWORD, Scene, Weather, eventually, text};

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
    let mut scene = Scene::with(Extra::Installed, &[("ORION_CHAT_ADMIN_LISTEN", "127.0.0.1:0")]);
    scene.node.create("ann", "s", "hello");
    scene.check(&[]);
    let line = fs::read(format!("/proc/{}/cmdline", scene.node.pid())).unwrap();
    assert!(!text(&line).contains(PASSWORD));
    eventually("metrics tell of it", || scene.node.metrics().contains("postgres_connected 1"));
    assert!(!scene.node.metrics().contains(PASSWORD));
}

#[test]
fn metrics_tell_what_status_tells() {
    let mut scene = Scene::with(Extra::Bare, &[("ORION_CHAT_ADMIN_LISTEN", "127.0.0.1:0")]);
    let gauge = |node: &Node, name: &str| {
        let metrics = node.metrics();
        let line =
            metrics.lines().find(|line| line.starts_with(&format!("orion_chat_postgres_{name} ")));
        let value = line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next();
        value.unwrap().parse::<u64>().unwrap()
    };
    let becomes = |node: &Node, name: &str, is_so: &dyn Fn(u64) -> bool| {
        eventually(name, || is_so(gauge(node, name)));
    };
    scene.node.create("ann", "s", "hello");
    let body = json!({
        "userId": "ann", "sessionId": "s", "role": "system", "content": "no", "id": "refused",
    });
    scene.node.connect().post("/api/sessions/save-message", &body).unwrap().expect(201);
    becomes(&scene.node, "connected", &|it| it == 1);
    becomes(&scene.node, "dead_letters", &|it| it == 1);
    becomes(&scene.node, "queue_rows", &|it| it == 0);

    scene.link.set(Weather::Down);
    scene.express().rename("s", "renamed there");
    scene.node.update("ann", "s", json!({ "title": "renamed here" }));
    becomes(&scene.node, "connected", &|it| it == 0);
    becomes(&scene.node, "queue_rows", &|it| it >= 1);
    becomes(&scene.node, "oldest_pending_seconds", &|it| it >= 1);
    becomes(&scene.node, "pull_lag_seconds", &|it| it >= 2);
    let lag = gauge(&scene.node, "pull_lag_seconds");
    scene.node.stop();
    scene.node.start_again();
    // Who starts again has not taken anything since, either.
    becomes(&scene.node, "pull_lag_seconds", &|it| it >= lag);
    let status = scene.node.status();
    assert!(status["pullLagMs"].as_u64() >= Some(lag * 1000), "{status}");

    scene.link.set(Weather::Fair);
    becomes(&scene.node, "conflicts", &|it| it == 1);
    becomes(&scene.node, "queue_rows", &|it| it == 0);
    becomes(&scene.node, "pull_lag_seconds", &|it| it < lag);
    assert_eq!(gauge(&scene.node, "paused"), 0);
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
fn an_installation_that_others_hold_up_ends_and_holds_up_nobody() {
    let scene = Scene::new(Extra::Bare);
    let (mut holder, mut express) = (scene.express(), scene.express());
    let mut held = holder.0.transaction().unwrap();
    held.batch_execute("lock table chat_messages in row exclusive mode").unwrap();
    let refused = scene.node.run(&["postgres", "install"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("lock"), "{said}");
    express.create("ann", "s", "hello");
    express.save("s", "m", "nobody waits behind it");
    held.rollback().unwrap();
    let sql = "select to_regnamespace('orion_chat') is null";
    assert!(express.0.query_one(sql, &[]).unwrap().get::<_, bool>(0), "it went on alone");
    scene.node.done(&["postgres", "install"]);
}

#[test]
fn each_difference_is_named_with_its_user() {
    let mut scene = Scene::new(Extra::Bare);
    for session in ["same", "alone", "named", "said"] {
        scene.node.create("ann", session, "hello");
    }
    scene.node.drained();
    assert!(scene.node.done(&["postgres", "diff"]).contains("both sides are the same"));
    // Nobody follows meanwhile.
    scene.node.stop();
    let mut express = scene.express();
    express.delete("alone");
    express.create("bob", "there", "hello");
    express.rename("named", "another");
    express.save("said", "m1", "one");
    let output = scene.node.run(&["postgres", "diff"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}{}", text(&output.stderr));
    for line in [
        "ann alone: is here alone",
        "bob there: is there alone",
        "ann named: has another title or other metadata there",
        "ann said: 1 messages are there alone, or say something else there",
        "4 sessions differ",
    ] {
        assert!(stdout.lines().any(|it| it == line), "no {line:?} in {stdout}");
    }
    assert!(!stdout.contains("ann same"), "{stdout}");
    scene.node.start_again();
}

#[test]
fn a_node_without_postgres_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let made = command(folder.path(), &["import", "-"]).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let status = command(folder.path(), &["postgres", "status"]).output().unwrap();
    assert!(text(&status.stdout).contains("DB_HOST"), "{}", text(&status.stdout));
}

#[test]
fn who_looks_for_the_data_in_the_wrong_folder_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    for asked in
        ["postgres status", "postgres conflicts", "postgres diff", "postgres retry", "drain"]
    {
        let arguments: Vec<_> = asked.split(' ').collect();
        let output = command(folder.path(), &arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(73), "{asked}: {said}");
        assert!(said.contains("orion-chat.redb") && said.contains("--data"), "{asked}: {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_pull_on_a_new_node_makes_its_data_file() {
    let scene = Scene::new(Extra::Bare);
    scene.express().create("ann", "s", "hello");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("env"), scene.node.variables()).unwrap();
    let pull = |more: &[&str]| {
        let arguments = [&["postgres", "pull", "--env-file", "env"], more].concat();
        command(folder.path(), &arguments).output().unwrap()
    };
    // The server's file is elsewhere: nobody should look after another one in its place.
    assert_eq!(pull(&[]).status.code(), Some(73));
    let pulled = pull(&["--data", "orion-chat.redb"]);
    assert!(pulled.status.success(), "{}", text(&pulled.stderr));
    assert!(text(&pulled.stdout).contains("orion-chat.redb is made"), "{}", text(&pulled.stdout));
    let made = fs::metadata(folder.path().join("orion-chat.redb")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    let export = command(folder.path(), &["export", "-"]).output().unwrap();
    assert!(text(&export.stdout).contains("hello"), "{}", text(&export.stdout));
}
