//! A first pull of all that the portal has: bounded memory, broken off and continued.

use std::time::{Duration, Instant};

use crate::rig::{Extra, Scene, figure, within};

/// At most so long for a part of it.
const A_WHILE: Duration = Duration::from_mins(10);

/// Who have the sessions there.
const USERS: usize = 50;

either_way! {
    a_first_pull_is_broken_off_and_goes_on
}

fn a_first_pull_is_broken_off_and_goes_on(extra: Extra) {
    let mut scene = Scene::new(extra);
    let usual = scene.usual();
    scene.node.drained();
    scene.node.stop();
    let messages = figure(10_000, 1_000_000);
    let sessions = messages / 100;
    scene.express().fill(messages, USERS);

    let began = Instant::now();
    scene.node.start_again();
    let mut highest = 0;
    for quarter in 1..4 {
        within(A_WHILE, "some of it is here", || {
            highest = highest.max(scene.node.peak_memory_mib());
            (sessions_here(&scene) > sessions / 4 * quarter).then_some(()).ok_or("not yet")
        });
        scene.node.kill();
        scene.node.start_again();
    }
    // They wait for a disk that takes a million rows meanwhile.
    let journals = scene.while_writing_as((usual, 10), "first pull", |scene, _| {
        // One after the other: to ask for all of them again and again would keep the saves waiting.
        for user in 0..USERS {
            within(A_WHILE, "all of a user's is here", || {
                highest = highest.max(scene.node.peak_memory_mib());
                (sessions_of(scene, user) == sessions / USERS).then_some(()).ok_or("not yet")
            });
        }
    });
    let took = began.elapsed();
    println!("first pull: {messages} messages in {took:?}, {highest} MiB, broken off 3 times");
    assert!(highest < 400, "{highest} MiB");
    scene.check_much(&journals);
}

fn sessions_here(scene: &Scene) -> usize {
    (0..USERS).map(|user| sessions_of(scene, user)).sum()
}

fn sessions_of(scene: &Scene, user: usize) -> usize {
    scene.node.sessions(&format!("user-{user}")).len()
}
