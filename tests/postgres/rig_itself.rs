//! The rig does what its users count on: a trouble that does not happen would prove nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::{Client, Config, NoTls};

use crate::rig::{
    Cluster, Express, Link, Load, Node, PASSWORD, Session, Weather, World, faults, pause, replay,
};

/// A client that comes over a link, as a node does.
fn client(link: &Link) -> Result<Client, postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(link.port).dbname("orion_core");
    config.user("orion").password(PASSWORD).connect(NoTls)
}

fn save(client: &mut Client, id: &str) -> Result<(), postgres::Error> {
    let mut work = client.transaction()?;
    crate::rig::save(&mut work, "s", id, "hello")?;
    work.commit()
}

fn ids(cluster: &Cluster) -> BTreeSet<String> {
    let world = World::there(&mut cluster.connect());
    let messages = world.0.into_values().flat_map(|session| session.messages);
    messages.map(|message| message.id).collect()
}

fn cluster_with_a_session() -> (Cluster, Link) {
    let cluster = Cluster::start();
    Express::at(&cluster).create("ann", "s", "never stored");
    let link = Link::to(&cluster.socket());
    (cluster, link)
}

#[test]
fn express_counts_a_message_that_it_never_stores() {
    let (cluster, _link) = cluster_with_a_session();
    let mut express = Express::at(&cluster);
    express.save("s", "m1", "one");

    let world = World::there(&mut cluster.connect());
    assert_eq!(world.0["s"].count, 2);
    assert_eq!(express.said("s"), ["one"]);
    express.delete("s");
    assert_eq!(express.list("ann"), [""; 0]);
    assert_eq!(ids(&cluster), BTreeSet::new());
}

#[test]
fn a_lost_answer_leaves_the_change_and_an_error() {
    let (cluster, link) = cluster_with_a_session();
    link.set(Weather::AnswersLost { every: 2 });

    let first = save(&mut client(&link).unwrap(), "m1");
    let second = save(&mut client(&link).unwrap(), "m2");

    assert!(first.is_ok(), "{first:?}");
    assert!(second.is_err());
    assert_eq!(link.lost(), 1);
    assert_eq!(ids(&cluster), ["m1", "m2"].map(str::to_owned).into());
}

#[test]
fn a_lost_commit_leaves_an_error_and_no_change() {
    let (cluster, link) = cluster_with_a_session();
    link.set(Weather::CommitsLost { every: 1 });

    let saved = save(&mut client(&link).unwrap(), "m1");

    assert!(saved.is_err());
    assert_eq!(ids(&cluster), BTreeSet::new());
}

#[test]
fn a_cut_link_ends_a_connection_in_the_middle_of_what_is_said() {
    let (cluster, link) = cluster_with_a_session();
    let mut client = client(&link).unwrap();
    link.set(Weather::CutAfter { bytes: 1000 });

    assert!((0..10).any(|n| save(&mut client, &format!("m{n}")).is_err()));
    assert!(client.is_closed());
    drop(cluster);
}

#[test]
fn a_black_hole_answers_nobody_until_it_is_gone() {
    let (_cluster, link) = cluster_with_a_session();
    let mut client = client(&link).unwrap();
    link.set(Weather::BlackHole);

    std::thread::scope(|scope| {
        let saving = scope.spawn(|| save(&mut client, "m1"));
        pause(Duration::from_millis(200));
        assert!(!saving.is_finished());
        link.set(Weather::Fair);
        saving.join().unwrap().unwrap();
    });
}

#[test]
fn a_link_that_is_down_lets_nobody_in() {
    let (_cluster, link) = cluster_with_a_session();
    let mut before = client(&link).unwrap();
    link.set(Weather::Down);

    assert!(save(&mut before, "m1").is_err());
    assert!(client(&link).is_err());
    link.set(Weather::Fair);
    client(&link).unwrap();
}

#[test]
fn what_was_recorded_can_be_said_again() {
    let (cluster, link) = cluster_with_a_session();
    link.record();
    save(&mut client(&link).unwrap(), "m1").unwrap();
    let recorded = link.recorded();
    Express::at(&cluster).delete_message("m1");

    assert_eq!(recorded.len(), 1);
    assert_eq!(replay(&cluster, &recorded), 1);
    assert_eq!(ids(&cluster), ["m1"].map(str::to_owned).into());
    assert_eq!(replay(&cluster, &recorded), 0, "there is one with this id");
}

#[test]
fn a_killed_server_comes_back_with_what_was_committed() {
    let (mut cluster, _link) = cluster_with_a_session();
    Express::at(&cluster).save("s", "m1", "one");

    cluster.kill();
    cluster.start_again();

    assert_eq!(Express::at(&cluster).said("s"), ["one"]);
}

#[test]
fn a_restored_server_has_what_it_had() {
    let (mut cluster, _link) = cluster_with_a_session();
    let (dump, copy) = (cluster.dump(), cluster.copy());
    Express::at(&cluster).save("s", "m1", "one");
    cluster.restore(&dump);
    assert_eq!(ids(&cluster), BTreeSet::new());
    Express::at(&cluster).save("s", "m2", "two");
    cluster.go_back_to(&copy);
    assert_eq!(ids(&cluster), BTreeSet::new());
}

#[test]
fn a_server_that_stands_still_answers_when_it_goes_on() {
    let (cluster, _link) = cluster_with_a_session();
    let mut express = Express::at(&cluster);
    cluster.signal_all("STOP");
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| express.save("s", "m1", "one"));
        pause(Duration::from_millis(200));
        assert!(!saving.is_finished());
        cluster.signal_all("CONT");
        saving.join().unwrap();
    });
}

#[test]
fn writers_remember_what_was_acknowledged_and_its_loss_is_found() {
    // No PostgreSQL is needed for that.
    let mut node = Node::start(1);
    let load = Load::start(&node, 2, "w");
    load.wait_for_more(50);
    node.kill();
    let journals = load.stop();
    assert!(journals.iter().all(|journal| journal.saved.len() > 10));
    node.start_again();

    let users = journals.iter().map(|journal| journal.user.clone());
    let good = World::here(&node, users);
    assert_eq!(faults(&good, &journals, &[]), [""; 0]);

    let spoil = |spoil: &dyn Fn(&mut World)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(bad.differs(&good).is_some());
        faults(&bad, &journals, &[]).join("; ")
    };
    let messages =
        |world: &mut World| std::mem::take(&mut world.0.get_mut("w-0").unwrap().messages);
    let put = |world: &mut World, messages| world.0.get_mut("w-0").unwrap().messages = messages;

    let lost = spoil(&|world| {
        let mut all = messages(world);
        all.remove(3);
        put(world, all);
    });
    assert!(lost.contains("w-0-3"), "{lost}");
    let swapped = spoil(&|world| {
        let mut all = messages(world);
        all.swap(3, 4);
        put(world, all);
    });
    assert!(swapped.contains("in this order or another"), "{swapped}");
    let twice = spoil(&|world| {
        let mut all = messages(world);
        all.push(all[3].clone());
        put(world, all);
    });
    assert!(twice.contains("w-0-3 is there twice"), "{twice}");
    let changed = spoil(&|world| {
        let mut all = messages(world);
        all[3].content.push('!');
        put(world, all);
    });
    assert!(changed.contains("w-0 has"), "{changed}");
    let other = spoil(&|world| world.0.get_mut("w-0").unwrap().user = "eve".to_owned());
    assert!(other.contains("eve"), "{other}");
    let gone = spoil(&|world| drop(world.0.remove("w-1")));
    assert!(gone.contains("w-1 is lost"), "{gone}");
    let deleted = journals[0].deleted[0].clone();
    let back = spoil(&|world| {
        let session = world.0["w-0"].clone();
        world.0.insert(deleted.clone(), Session { messages: Vec::new(), count: 0, ..session });
    });
    assert!(back.contains("was deleted and is there"), "{back}");
}
