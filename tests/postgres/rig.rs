//! A node beside a real PostgreSQL: the portal's tables, the other writer, and the weather between.

mod bouncer;
mod cluster;
mod dice;
mod express;
mod faults;
mod link;
mod load;
mod node;
mod replay;
mod scene;
mod wire;
mod world;

use std::time::{Duration, Instant};

pub(crate) use cluster::{Cluster, PASSWORD};
pub(crate) use dice::Dice;
pub(crate) use express::{Express, create, save};
pub(crate) use faults::faults;
pub(crate) use link::{Link, Weather};
pub(crate) use load::{Journal, Load};
pub(crate) use node::{Node, clock, text};
pub(crate) use replay::replay;
pub(crate) use scene::{Extra, Scene};
pub(crate) use world::{Session, World};

/// Tests of these names, each with the node's schema in PostgreSQL and on the portal's bare tables.
macro_rules! either_way {
    ($($name:ident)*) => {
        mod installed {
            $(#[test] fn $name() { super::$name(crate::rig::Extra::Installed); })*
        }
        mod bare {
            $(#[test] fn $name() { super::$name(crate::rig::Extra::Bare); })*
        }
    };
}

/// How soon after the last trouble both sides must be the same.
pub(crate) const TO_HEAL: Duration = Duration::from_secs(40);

/// Whether the figures are those of a release: millions and hours, where a run of the CI has
/// thousands and seconds.
pub(crate) fn is_full() -> bool {
    std::env::var_os("ORION_CHAT_FULL").is_some_and(|value| !value.is_empty())
}

/// Whether it is measured how soon saves are answered, which only means something on a quiet machine.
pub(crate) fn is_timed() -> bool {
    is_full() || std::env::var_os("ORION_CHAT_TIMED").is_some_and(|value| !value.is_empty())
}

/// How long may be waited for what takes longer the more there is.
pub(crate) fn patience() -> Duration {
    if is_timed() { 10 * TO_HEAL } else { TO_HEAL }
}

/// One of two figures: for every run, and for [`is_full`].
pub(crate) fn figure<T>(usual: T, full: T) -> T {
    if is_full() { full } else { usual }
}

/// Waits until `what` is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    within(TO_HEAL, what, || is_so().then_some(()).ok_or(""));
}

/// Waits until something is there, at most so long, and gives it; else tells what was in the way.
#[track_caller]
pub(crate) fn within<T, E: std::fmt::Display>(
    time: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > time => panic!("not within {time:?}: {what}; {why}"),
            // Not at once, as whom it waits for needs the processor too.
            Err(_) => pause(Duration::from_millis(20)),
        }
    }
}

/// Lets time pass: for what lasts a while, or must not happen.
pub(crate) fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
