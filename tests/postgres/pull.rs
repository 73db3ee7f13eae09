//! What others write there appears here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postgres::Transaction;

use crate::rig::{
    Cluster, Dice, Express, Extra, Load, Scene, create, eventually, figure, pause, save, within,
};

either_way! {
    what_is_done_there_appears_here_soon
    the_first_message_that_express_never_stores_is_there_for_good
    rows_that_express_left_half_empty_come_too
    no_slow_committer_is_missed
    many_rows_of_one_moment_all_come
    a_pull_without_a_server_brings_everything
}

/// At most so long for many.
const A_WHILE: Duration = Duration::from_mins(10);

/// How soon it must be here; on a machine that others use too, longer.
fn soon() -> Duration {
    Duration::from_secs(figure(15, 2))
}

fn what_is_done_there_appears_here_soon(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut express = scene.express();
    express.create("ann", "s", "hello");
    let mut slowest = Duration::ZERO;
    let mut here = |what: &str, is_so: &dyn Fn() -> bool| {
        let began = Instant::now();
        within(soon(), what, || is_so().then_some(()).ok_or("not yet"));
        slowest = slowest.max(began.elapsed());
    };
    let node = &scene.node;
    here("the session", &|| node.session("ann", "s").is_some());
    let mut events = node.follow("ann");
    for n in 0..5 {
        express.save("s", &format!("m{n}"), &format!("message {n}"));
        here("the message", &|| node.said("ann", "s").contains(&format!("message {n}")));
        events.wait_for(&format!("message {n}"));
    }
    express.rename("s", "a new title");
    here("the title", &|| node.session("ann", "s").unwrap()["title"] == "a new title");
    express.edit("m0", "edited");
    here("the edit", &|| node.said("ann", "s").contains(&"edited".to_owned()));
    if extra == Extra::Installed {
        express.delete_message("m1");
        here("the message's end", &|| !node.said("ann", "s").contains(&"message 1".to_owned()));
        express.delete("s");
        here("the session's end", &|| node.session("ann", "s").is_none());
    } else {
        // Found by comparing ids, now and then.
        express.delete_message("m1");
        eventually("the message is gone", || {
            !node.said("ann", "s").contains(&"message 1".to_owned())
        });
        express.delete("s");
        eventually("the session is gone", || node.session("ann", "s").is_none());
    }
    println!("what was done there was here within {slowest:?}");
    scene.check(&[]);
}

#[test]
fn what_is_new_on_bare_tables_does_not_wait_for_a_comparison_of_all() {
    let mut scene = Scene::new(Extra::Bare);
    let mut express = scene.express();
    let messages = figure(10_000, 1_000_000);
    express.fill(messages.try_into().unwrap(), 1);
    let filled = Instant::now();
    within(A_WHILE, "all of it is here", || {
        let sessions = scene.node.sessions("user-0");
        let here: u64 = sessions.iter().map(|it| it["messageCount"].as_u64().unwrap()).sum();
        if here == messages { Ok(()) } else { Err(here) }
    });
    let lag = |scene: &Scene| {
        let status = scene.node.status();
        status["pullLagMs"].as_u64().map_or(Duration::MAX, Duration::from_millis)
    };
    within(A_WHILE, "both sides were compared since", || match lag(&scene) {
        lag if lag < filled.elapsed() => Ok(()),
        lag => Err(format!("{lag:?} ago")),
    });
    let (mut rounds, mut uncompared, mut slowest) = (0, 0, Duration::ZERO);
    let (mut before, mut was_compared) = (Duration::MAX, false);
    let mut events = scene.node.follow("ann");
    // Through a comparison, and until there was time for many.
    let began = Instant::now();
    while rounds < 10 || !was_compared {
        assert!(began.elapsed() < A_WHILE, "both sides are not compared any more");
        let (session, text) = (format!("new-{rounds}"), format!("message {rounds}"));
        let began = Instant::now();
        express.create("ann", &session, "hello");
        express.save(&session, &session, &text);
        express.rename(&session, "renamed");
        let is_here = || {
            let found = scene.node.session("ann", &session)?;
            let said = scene.node.said("ann", &session).contains(&text);
            (said && found["title"] == "renamed").then_some(())
        };
        within(soon(), "it is here", || is_here().ok_or("not yet"));
        slowest = slowest.max(began.elapsed());
        let compared =
            scene.node.status()["pullLagMs"].as_u64().map(Duration::from_millis).unwrap();
        uncompared += u32::from(compared > began.elapsed());
        was_compared |= rounds > 0 && compared < before;
        (rounds, before) = (rounds + 1, compared);
        events.wait_for(&text);
    }
    println!("beside {messages} messages, what was done there was here within {slowest:?}");
    assert!(3 * uncompared > rounds, "{uncompared} of {rounds} did not wait for a comparison");
    scene.check_much(&[]);
}

fn the_first_message_that_express_never_stores_is_there_for_good(extra: Extra) {
    let mut scene = Scene::new(extra);
    let mut express = scene.express();
    express.create("ann", "s", "said in the beginning");
    eventually("it is here", || scene.node.said("ann", "s") == ["said in the beginning"]);
    express.save("s", "m1", "one");
    let world = scene.check(&[]);
    assert_eq!(world.0["s"].count, 2);
    assert_eq!(express.said("s"), ["said in the beginning", "one"]);
}

fn rows_that_express_left_half_empty_come_too(extra: Extra) {
    let mut scene = Scene::new(extra);
    let sql = "insert into chat_sessions (id, session_id, user_id)
        values (gen_random_uuid(), 's', 'ann');
        insert into chat_messages (id, message_id, session_id, role, content)
        values (gen_random_uuid(), 'm1', 's', 'user', 'one')";
    scene.express().0.batch_execute(sql).unwrap();
    eventually("they are here", || scene.node.said("ann", "s") == ["one"]);
    // Such as a time, which the other side learns, and then both have it.
    scene.node.save("ann", "s", "m2", "two");
    scene.node.drained();
    let world = scene.check(&[]);
    assert_eq!(world.0["s"].messages.len(), 2);
}

fn no_slow_committer_is_missed(extra: Extra) {
    let mut scene = Scene::new(extra);
    let writers = figure(8, 32);
    let rows = figure(1_500, 100_000);
    let longest = Duration::from_millis(figure(400, 3_000));
    let journals = scene.while_writing("slow committers", |scene, _| {
        let cluster = &scene.cluster;
        let ids: BTreeSet<String> = std::thread::scope(|scope| {
            let writing = (0..writers).map(|writer| {
                scope.spawn(move || commit_slowly(cluster, writer, rows / writers, longest))
            });
            let writing: Vec<_> = writing.collect();
            writing.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        within(Duration::from_mins(5), "all of them are here", || {
            let here = (0..writers).flat_map(|n| scene.node.messages("slow", &format!("slow-{n}")));
            let here: BTreeSet<_> =
                here.map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            let missing = ids.difference(&here).count();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{missing} of {} are missing", ids.len()))
            }
        });
        println!("{} rows of {writers} slow committers, none missed", ids.len());
    });
    scene.check(&journals);
}

/// Saves so many messages in transactions that are held for random times, some of which are taken
/// back, whole or in part. Gives the ids of those that are there.
fn commit_slowly(cluster: &Cluster, writer: usize, rows: usize, longest: Duration) -> Vec<String> {
    let mut client = cluster.connect_as_owner();
    let (mut dice, mut ids) = (Dice::new(writer as u64), Vec::new());
    let session = format!("slow-{writer}");
    create(&mut client, "slow", &session, "not stored").unwrap();
    while ids.len() < rows {
        let mut work = client.transaction().unwrap();
        let mut new = Vec::new();
        for _ in 0..=dice.below(40) {
            let id = format!("{session}-{}-{}", ids.len(), new.len());
            save(&mut work, &session, &id, "held back").unwrap();
            new.push(id);
        }
        if dice.below(4) == 0 {
            take_back(&mut work, &session);
        }
        pause(dice.time(longest));
        match dice.below(8) {
            0 => work.rollback().unwrap(),
            1 => {
                // In two phases, by somebody else.
                let name = format!("{session}-{}", ids.len());
                work.batch_execute(&format!("prepare transaction '{name}'")).unwrap();
                drop(work);
                pause(longest / 4);
                client.batch_execute(&format!("commit prepared '{name}'")).unwrap();
                ids.extend(new);
            }
            _ => {
                work.commit().unwrap();
                ids.extend(new);
            }
        }
    }
    ids
}

/// Does more, and takes that back.
fn take_back(work: &mut Transaction<'_>, session: &str) {
    let mut more = work.transaction().unwrap();
    save(&mut more, session, &format!("{session}-never"), "never there").unwrap();
    more.rollback().unwrap();
}

fn many_rows_of_one_moment_all_come(extra: Extra) {
    let mut scene = Scene::new(extra);
    let count = figure(1_000, 10_000);
    let mut express = scene.express();
    let sql = format!(
        "insert into chat_sessions select gen_random_uuid(), 's' || n, 'ann', 'old', null, null, 0,
            '{{}}', now(), now() from generate_series(1, {count}) as n"
    );
    express.0.batch_execute(&sql).unwrap();
    let titles = |title: &str| scene.node.count_titles("ann", title);
    eventually("all are here", || titles("old") == count);
    express.0.batch_execute("update chat_sessions set title = 'new'").unwrap();
    eventually("all are renamed", || titles("new") == count);
    scene.check(&[]);
}

fn a_pull_without_a_server_brings_everything(extra: Extra) {
    let mut scene = Scene::new(extra);
    scene.node.stop();
    let mut express = scene.express();
    for session in 0..20 {
        express.create("ann", &format!("s{session}"), "first");
        express.save(&format!("s{session}"), &format!("m{session}"), "second");
    }
    scene.node.done(&["postgres", "pull"]);
    scene.cluster.stop();
    scene.node.start_again();
    for session in 0..20 {
        assert_eq!(scene.node.said("ann", &format!("s{session}")), ["first", "second"]);
    }
    scene.cluster.start_again();
    scene.check(&[]);
}

#[test]
fn a_transaction_that_is_left_open_holds_up_nobody_for_good() {
    let mut scene = Scene::new(Extra::Installed);
    let mut forgetful = scene.express();
    forgetful.create("ann", "open", "hello");
    let mut left_open = forgetful.0.transaction().unwrap();
    save(&mut left_open, "open", "m1", "left open").unwrap();
    let load = Load::start(&scene.node, 2, "meanwhile");
    let mut express = Express::at(&scene.cluster);
    express.create("ann", "s", "hello");
    express.save("s", "m2", "committed");
    load.wait_for_more(100);
    // What is saved here gets there all the same.
    let journals = load.stop();
    scene.node.drained();
    left_open.commit().unwrap();
    eventually("it is here", || scene.node.said("ann", "open").contains(&"left open".to_owned()));
    eventually("and the other", || scene.node.said("ann", "s").contains(&"committed".to_owned()));
    scene.check(&journals);
}
