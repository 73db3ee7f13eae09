//! PostgreSQL refuses a row: it is kept, shown, and sent again on demand, and holds up nothing but
//! what hangs on it.

use serde_json::{Value, json};

use crate::process::Connection;
use crate::rig::{Extra, Scene, Weather, eventually, figure, text};

either_way! {
    a_role_that_is_refused_there_holds_up_nothing_else
    refused_rows_anywhere_in_a_batch_leave_the_others_alone
    what_is_refused_lives_on_in_a_session_that_was_deleted_there_before
    what_is_refused_lives_on_though_its_session_is_being_deleted_there
    one_id_in_two_sessions_stops_nothing
    a_deletion_that_somebody_holds_up_there_is_done_later
    what_is_refused_goes_when_it_is_sent_again_and_may
    a_row_that_a_trigger_refuses_is_not_lost_from_sight
    a_session_that_is_refused_holds_up_its_own_messages_alone
    a_changed_table_stops_the_drain_and_nothing_else
    saves_are_quick_while_rows_are_refused
}

fn save_as(client: &mut Connection, role: &str, session: &str, id: &str) {
    let body = json!({
        "userId": "ann", "sessionId": session, "role": role, "content": id, "id": id,
    });
    client.post("/api/sessions/save-message", &body).unwrap().expect(201);
}

fn dead_letters(scene: &Scene, count: usize) -> Value {
    let so_many = |status: &Value| status["deadLetters"] == count as u64 && status["queue"] == 0;
    scene.node.status_when("the refused are put aside", so_many)
}

fn a_role_that_is_refused_there_holds_up_nothing_else(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.create("ann", "s", "hello");
    let mut client = scene.node.connect();
    for (role, id) in [("system", "m1"), ("user", "m2"), ("tool", "m3"), ("assistant", "m4")] {
        save_as(&mut client, role, "s", id);
    }
    dead_letters(&scene, 2);
    let world = scene.check_but(&[], &["m1", "m3"]);
    assert_eq!(world.0["s"].messages.len(), 3);
    assert_eq!(scene.node.said("ann", "s").len(), 5, "they are here as ever");
    let status = scene.node.done(&["postgres", "status"]);
    assert!(status.contains("23514") && status.contains("m1"), "{status}");
}

fn refused_rows_anywhere_in_a_batch_leave_the_others_alone(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.link.set(Weather::Down);
    let mut client = scene.node.connect();
    let mut refused = Vec::new();
    for (session, bad) in [
        ("first", [0].as_slice()),
        ("middle", &[60]),
        ("last", &[119]),
        ("many", &[3, 4, 5, 17, 40, 41, 80, 99, 100, 118]),
    ] {
        let body = json!({ "userId": "ann", "sessionId": session });
        client.post("/api/sessions/create", &body).unwrap().expect(201);
        for n in 0..120 {
            let (id, is_bad) = (format!("{session}-{n}"), bad.contains(&n));
            save_as(&mut client, if is_bad { "system" } else { "user" }, session, &id);
            refused.extend(is_bad.then_some(id));
        }
    }
    scene.link.set(Weather::Fair);
    dead_letters(&scene, refused.len());
    let refused: Vec<_> = refused.iter().map(String::as_str).collect();
    scene.check_but(&[], &refused);
}

fn what_is_refused_lives_on_in_a_session_that_was_deleted_there_before(extra: Extra) {
    let mut scene = Scene::new(extra);
    let sessions = ["first", "second"];
    for session in sessions {
        scene.node.create("ann", session, "hello");
        scene.node.save("ann", session, &format!("old-{session}"), "old");
    }
    scene.same(&[]);
    scene.link.set(Weather::Down);
    let mut client = scene.node.connect();
    for session in sessions {
        let id = format!("late-{session}");
        scene.express().delete(session);
        save_as(&mut client, "system", session, &id);
    }
    scene.link.set(Weather::Fair);
    dead_letters(&scene, 2);
    scene.check_but(&[], &["late-first", "late-second"]);
    for session in sessions {
        let (late, said) = (format!("late-{session}"), scene.node.said("ann", session));
        assert!(said.contains(&late), "{said:?}");
        if extra == Extra::Installed {
            assert_eq!(said, [late], "the deletion has a time there");
        }
    }
}

fn what_is_refused_lives_on_though_its_session_is_being_deleted_there(extra: Extra) {
    let mut scene = Scene::new(extra);
    for session in ["s", "other"] {
        scene.node.create("ann", session, "hello");
    }
    let mut client = scene.node.connect();
    // From now on it is known that the role is refused.
    save_as(&mut client, "system", "other", "m0");
    dead_letters(&scene, 1);
    let mut express = scene.express();
    let mut deletion = express.0.transaction().unwrap();
    deletion.batch_execute("delete from chat_sessions where session_id = 's'").unwrap();
    save_as(&mut client, "system", "s", "late");
    dead_letters(&scene, 2);
    deletion.commit().unwrap();
    drop(express);
    scene.check_but(&[], &["m0", "late"]);
    let said = scene.node.said("ann", "s");
    assert!(said.contains(&"late".to_owned()), "{said:?}");
}

fn one_id_in_two_sessions_stops_nothing(extra: Extra) {
    let scene = Scene::new(extra);
    scene.link.set(Weather::Down);
    for session in ["a", "b", "c"] {
        scene.node.create("ann", session, "hello");
        scene.node.save("ann", session, if session == "c" { "2" } else { "1" }, "numbered");
    }
    scene.link.set(Weather::Fair);
    dead_letters(&scene, 1);
    let said = ["a", "b", "c"].map(|session| scene.express().said(session));
    let numbered = said.concat().iter().filter(|text| *text == "numbered").count();
    assert_eq!(numbered, 2, "an id is there once: {said:?}");
    for session in ["a", "b", "c"] {
        assert_eq!(scene.node.said("ann", session), ["hello", "numbered"]);
    }
}

fn a_deletion_that_somebody_holds_up_there_is_done_later(extra: Extra) {
    let mut scene = Scene::new(extra);
    for session in ["s", "gone"] {
        scene.node.create("ann", session, "hello");
        scene.node.save("ann", session, &format!("m-{session}"), "one");
    }
    scene.node.save("ann", "s", "again", "before");
    scene.same(&[]);
    let mut express = scene.express();
    let mut held = express.0.transaction().unwrap();
    let sql = "select from chat_messages for update";
    held.batch_execute(sql).unwrap();
    for id in ["m-s", "again"] {
        scene.node.delete_message("ann", "s", id);
    }
    scene.node.save("ann", "s", "again", "anew");
    scene.node.delete("ann", "gone");
    dead_letters(&scene, 3);
    held.rollback().unwrap();
    drop(express);
    let world = scene.check(&[]);
    let said: Vec<_> = world.0["s"].messages.iter().map(|message| &*message.content).collect();
    assert_eq!((world.0.len(), said), (1, vec!["hello", "anew"]));
}

fn what_is_refused_goes_when_it_is_sent_again_and_may(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.create("ann", "s", "hello");
    save_as(&mut scene.node.connect(), "system", "s", "m1");
    dead_letters(&scene, 1);
    let retried = scene.node.run(&["postgres", "retry"]);
    assert_eq!(retried.status.code(), Some(1), "{}", text(&retried.stderr));
    assert!(text(&retried.stderr).contains("refused still"), "{}", text(&retried.stderr));
    dead_letters(&scene, 1);
    let diff = scene.node.done(&["postgres", "diff"]);
    assert!(diff.contains("but for 1 that PostgreSQL refused"), "{diff}");
    let sql = "alter table chat_messages drop constraint chat_messages_role_check";
    scene.express().0.batch_execute(sql).unwrap();
    scene.node.done(&["postgres", "retry"]);
    dead_letters(&scene, 0);
    assert!(!scene.node.done(&["postgres", "diff"]).contains("refused"));
    scene.check(&[]);
}

fn a_row_that_a_trigger_refuses_is_not_lost_from_sight(extra: Extra) {
    let mut scene = Scene::new(extra);
    let sql = "create function swallow() returns trigger language plpgsql as $$ begin
            if new.content like '%raised%' then raise exception 'not that'; end if;
            return case when new.content like '%swallowed%' then null else new end; end $$;
        create trigger swallow before insert on chat_messages
            for each row execute function swallow()";
    scene.express().0.batch_execute(sql).unwrap();
    scene.node.create("ann", "s", "hello");
    scene.node.save("ann", "s", "m1", "to be swallowed");
    scene.node.save("ann", "s", "m2", "good");
    scene.node.save("ann", "s", "m3", "to be raised");
    scene.node.save("ann", "s", "m4", "good");
    dead_letters(&scene, 2);
    scene.check_but(&[], &["m1", "m3"]);
    let status = scene.node.done(&["postgres", "status"]);
    assert!(status.contains("m3 of session s: not that (P0001)"), "{status}");
}

fn a_session_that_is_refused_holds_up_its_own_messages_alone(extra: Extra) {
    let mut scene = Scene::new(extra);
    let sql = "alter table chat_sessions add check (title not like '%forbidden%')";
    scene.express().0.batch_execute(sql).unwrap();
    scene.node.create("ann", "bad", "forbidden");
    scene.node.save("ann", "bad", "m1", "one");
    scene.node.create("ann", "good", "hello");
    scene.node.save("ann", "good", "m2", "two");
    scene.node.status_when("all is sent or put aside", |status| {
        status["queue"] == 0 && status["deadLetters"].as_u64() > Some(0)
    });
    assert_eq!(scene.same(&["bad"]).0.len(), 1);

    scene.node.update("ann", "bad", json!({ "title": "allowed" }));
    scene.node.done(&["postgres", "retry"]);
    dead_letters(&scene, 0);
    assert_eq!(scene.check(&[]).0["bad"].messages.len(), 2);
}

fn a_changed_table_stops_the_drain_and_nothing_else(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.create("ann", "s", "hello");
    scene.node.drained();
    let sql = "alter table chat_messages rename column content to text";
    scene.express().0.batch_execute(sql).unwrap();
    scene.node.save("ann", "s", "m1", "one");
    let status = scene.node.status_when("it says why", |status| {
        status["lastError"].as_str().is_some_and(|error| error.contains("content"))
    });
    assert_eq!(status["deadLetters"], 0, "no row is to blame: {status}");
    assert!(status["queue"].as_u64() > Some(0), "{status}");
    scene.node.connect().get("/ready").unwrap().expect(200);
    let sql = "alter table chat_messages rename column text to content";
    scene.express().0.batch_execute(sql).unwrap();
    // Sooner than it would try by itself.
    scene.node.done(&["postgres", "retry"]);
    eventually("it goes on", || scene.node.status()["queue"] == 0);
    scene.check(&[]);
}

fn saves_are_quick_while_rows_are_refused(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.create("ann", "s", "hello");
    let ids: Vec<_> = (0..figure(20, 500)).map(|n| format!("bad-{n}")).collect();
    let journals = scene.while_writing("rows refused", |scene, load| {
        let mut client = scene.node.connect();
        for id in &ids {
            save_as(&mut client, "system", "s", id);
            load.wait_for_more(2);
        }
        // What counts the others comes after them.
        save_as(&mut client, "user", "s", "good");
    });
    scene.check_but(&journals, &ids.iter().map(String::as_str).collect::<Vec<_>>());
}
