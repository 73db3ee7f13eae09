//! The random operations.

use orion_chat::model::Role;
use orion_chat::sessions::SortOrder;

use crate::support::Listing;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(Write),
    List {
        who: usize,
        listing: Listing,
        limit: usize,
    },
    /// A list that is read while somebody writes.
    ListAround {
        who: usize,
        listing: Listing,
        limit: usize,
        write: Write,
    },
    History {
        who: usize,
        session: usize,
        order: SortOrder,
        limit: usize,
    },
    /// Sets the clock forward or back, in microseconds.
    Step(i64),
    Reopen,
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    Create {
        who: usize,
        id: Option<usize>,
        title: Option<String>,
        first: Option<String>,
    },
    Save {
        who: usize,
        session: usize,
        message: Text,
        id: Option<Pick>,
    },
    /// Saves again what is stored, or something else under its id.
    Again {
        who: usize,
        session: usize,
        nth: usize,
        text: Option<String>,
    },
    SaveMany {
        who: usize,
        session: usize,
        count: usize,
        bytes: usize,
    },
    Edit {
        who: usize,
        session: usize,
        message: Pick,
        said: Option<String>,
        metadata: Option<usize>,
    },
    DeleteMessage {
        who: usize,
        session: usize,
        message: Pick,
    },
    Update {
        who: usize,
        session: usize,
        change: Change,
    },
    Delete {
        who: usize,
        session: usize,
    },
    /// A write that is known by a key, and told from others under it by a fingerprint.
    Once {
        key: usize,
        print: u8,
        write: Box<Write>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) role: Role,
    pub(super) said: String,
    pub(super) metadata: Option<usize>,
}

/// What is changed of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    pub(super) title: Option<String>,
    pub(super) metadata: Option<usize>,
    pub(super) archived: Option<bool>,
    pub(super) pinned: Option<bool>,
    pub(super) tags: Option<Vec<&'static str>>,
}

/// Which id of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pick {
    /// The one that some message of the session has.
    Nth(usize),
    First,
    Last,
    /// One that callers choose.
    Chosen(usize),
    /// One that tells where some message of the session stands, and is not its.
    AtPlaceOf(usize),
    /// One of a message that was deleted.
    Gone(usize),
}
