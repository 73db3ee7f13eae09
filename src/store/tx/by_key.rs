//! What is read in the order of keys, whoever owns it: for those who go through everything.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::model::SessionId;
use crate::store::StoreError;
use crate::store::fresh::Owner;
use crate::store::record::{self, Head};

use super::{Noted, SessionRef, View};

impl View {
    pub(super) fn sessions_by_id(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<SessionRef>, StoreError> {
        let mut found = BTreeMap::new();
        let behind = (Bound::Excluded(after.as_bytes()), Bound::Unbounded);
        for head in self.tables.heads.range::<&[u8]>(behind)? {
            let (key, head) = head?;
            let id = std::str::from_utf8(key.value()).ok().and_then(|id| SessionId::parse(id).ok());
            let id = id.ok_or_else(|| record::damaged("session head", key.value()))?;
            if self.fresh.owner(&id).is_some() {
                continue;
            }
            let Head { user_id, number, run } = Head::decode(key.value(), head.value())?;
            found.insert(id.clone(), SessionRef { id, user_id, number, run: Some(run) });
            if found.len() == limit {
                break;
            }
        }
        // What is fresh and comes behind them is for a later page, if this one is full.
        let last = found.last_key_value().map(|(id, _)| id.clone());
        let last = last.filter(|_| found.len() == limit);
        for (id, owner) in self.fresh.owners() {
            let is_wanted = id.as_str() > after && last.as_ref().is_none_or(|last| id <= last);
            if let Owner::Live(user_id, number) = owner
                && is_wanted
            {
                let (user_id, number) = (user_id.clone(), *number);
                let session = SessionRef { id: id.clone(), user_id, number, run: None };
                found.insert(id.clone(), session);
            }
        }
        Ok(found.into_values().take(limit).collect())
    }

    pub(super) fn notes(
        &self,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Noted>, StoreError> {
        let from = after.max(prefix);
        let is_wanted = |key: &[u8]| key.starts_with(prefix) && (key > after || after.is_empty());
        let mut found = BTreeMap::new();
        for note in self.tables.notes.range::<&[u8]>(from..)? {
            let (key, note) = note?;
            if !key.value().starts_with(prefix) || found.len() >= limit {
                break;
            }
            if is_wanted(key.value()) && self.fresh.note(key.value()).is_none() {
                let value = record::unseal("note", key.value(), note.value())?.to_vec();
                found.insert(key.value().to_vec(), value);
            }
        }
        let fresh = self.fresh.notes_from(from).take_while(|(key, _)| key.starts_with(prefix));
        let fresh = fresh.filter_map(|(key, note)| Some((key, note?)));
        for (key, note) in fresh.filter(|(key, _)| is_wanted(key)).take(limit) {
            found.insert(key.to_vec(), note.to_vec());
        }
        Ok(found.into_iter().take(limit).collect())
    }
}
