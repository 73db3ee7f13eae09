//! Reads, done on both sides.

use orion_chat::sessions::{SortBy, SortOrder};

use super::ops::Write;
use super::rows::Session;
use super::writes::refusal;
use super::{USERS, World};

use crate::support::{self, Listing};

impl World {
    /// Whoever reads a list while somebody writes misses no session that stays as it is, and sees
    /// none twice.
    pub(super) fn list_around(
        &mut self,
        who: &'static str,
        listing: Listing,
        limit: usize,
        write: &Write,
    ) {
        let before = self.model.list(who, listing);
        let first = support::list_page(&self.store, who, listing, limit, None).unwrap();

        self.write(write);

        let (mut seen, mut cursor) = (first.rows(), first.next_cursor);
        while let Some(at) = cursor {
            let page = support::list_page(&self.store, who, listing, limit, Some(at)).unwrap();
            seen.extend(page.rows());
            cursor = page.next_cursor;
        }
        let after = self.model.list(who, listing);
        for unchanged in before.iter().filter(|row| after.contains(row)) {
            let times = seen.iter().filter(|row| *row == unchanged).count();
            assert_eq!(times, 1, "{unchanged} in {seen:?}");
        }
    }

    pub(super) fn compare_all(&self) {
        for caller in USERS {
            for (by, order) in [
                (SortBy::UpdatedAt, SortOrder::Desc),
                (SortBy::UpdatedAt, SortOrder::Asc),
                (SortBy::CreatedAt, SortOrder::Desc),
                (SortBy::CreatedAt, SortOrder::Asc),
            ] {
                self.compare_list(caller, Listing { by, order, ..Listing::NEWEST }, 2);
            }
            for id in &self.ids {
                let got = support::get(&self.store, caller, id).map_err(refusal);
                assert_eq!(got, self.model.find(caller, id).map(Session::json));
                self.compare_history(caller, id, SortOrder::Asc, 7);
                self.compare_messages(caller, id);
            }
        }
    }

    #[track_caller]
    pub(super) fn compare_list(&self, caller: &'static str, listing: Listing, limit: usize) {
        let listed = support::list(&self.store, caller, listing, limit).unwrap();
        assert_eq!(listed, self.model.list(caller, listing));
    }

    pub(super) fn compare_history(
        &self,
        caller: &'static str,
        id: &str,
        order: SortOrder,
        limit: usize,
    ) {
        let whole = support::history(&self.store, caller, id, order).map_err(refusal);
        let paged = support::history_by_page(&self.store, caller, id, order, limit);
        assert_eq!(paged.map_err(refusal), whole, "in pages as whole");
        assert_eq!(whole, self.model.history(caller, id, order));
    }

    /// Each message is found by its id, and none by an id that is free.
    fn compare_messages(&self, caller: &'static str, session: &str) {
        let Ok(stored) = self.model.find(caller, session) else { return };
        let ids = stored.messages.iter().filter_map(|message| message.id.as_ref());
        for id in ids.chain(&self.gone) {
            let got = support::get_message(&self.store, caller, session, id).ok();
            let expected = stored.message(id).map(|message| message.json(session));
            assert_eq!(got, expected, "{id}");
        }
    }
}
