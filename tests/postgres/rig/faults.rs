//! What is wrong with a world, in view of what its users were told.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Journal;
use super::world::{Session, World};

/// Everything that is wrong; of what was `refused` there, no counts are known.
pub(crate) fn faults(world: &World, journals: &[Journal], refused: &[&str]) -> Vec<String> {
    let mut faults = miscounts(world, refused);
    let mut by_session = BTreeMap::<_, Vec<&Journal>>::new();
    for journal in journals {
        by_session.entry(&*journal.session).or_default().push(journal);
    }
    for (id, journals) in by_session {
        match world.0.get(id) {
            Some(session) => faults.extend(fault_in(id, session, &journals)),
            None if journals.iter().all(|journal| journal.saved.is_empty()) => {}
            None => faults.push(format!("{id} is lost")),
        }
    }
    let deleted = journals.iter().flat_map(|journal| &journal.deleted);
    let back = deleted.filter(|id| world.0.contains_key(*id));
    faults.extend(back.map(|id| format!("{id} was deleted and is there")));
    faults
}

/// What is counted is what is there, and each message is there once.
fn miscounts(world: &World, refused: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut once = BTreeSet::new();
    for (id, session) in &world.0 {
        let (count, counted) = (session.messages.len(), session.count);
        if refused.is_empty() && i64::try_from(count) != Ok(counted) {
            faults.push(format!("{id} counts {counted} messages and has {count}"));
        }
        let twice = session.messages.iter().filter(|message| !once.insert(&message.id));
        faults.extend(twice.map(|message| format!("{} is there twice", message.id)));
    }
    faults
}

/// What was acknowledged is there, in its order, and nothing else but what was on its way.
fn fault_in(id: &str, session: &Session, journals: &[&Journal]) -> Option<String> {
    if journals.iter().any(|journal| journal.user != session.user) {
        return Some(format!("{id} is {}'s now", session.user));
    }
    let unsure: BTreeSet<_> = journals.iter().filter_map(|one| one.unsure.as_ref()).collect();
    let there = session.messages.iter().filter(|message| !unsure.contains(&message.id));
    let there: Vec<_> = there.map(|message| (&message.id, &message.content)).collect();
    let saved = journals.iter().flat_map(|journal| &journal.saved);
    let saved: Vec<_> = saved.map(|(id, content)| (id, content)).collect();
    if there == saved {
        return None;
    }
    let ids: BTreeSet<_> = there.iter().map(|(id, _)| *id).collect();
    let lost: Vec<_> = saved.iter().map(|(id, _)| *id).filter(|id| !ids.contains(id)).collect();
    let (there, saved) = (there.len(), saved.len());
    Some(format!("{id} has {there} messages of {saved}, in this order or another; lost: {lost:?}"))
}
