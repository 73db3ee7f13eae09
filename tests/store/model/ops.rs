//! The random operations.

use super::*;

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
        id: Option<usize>,
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
    Update {
        who: usize,
        session: usize,
        title: Option<String>,
        metadata: Option<usize>,
    },
    Delete {
        who: usize,
        session: usize,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) role: Role,
    pub(super) said: String,
    pub(super) metadata: Option<usize>,
}

pub(super) fn large_op() -> impl Strategy<Value = Op> {
    let session = || 0_usize..40;
    let large = || (1500_usize..2500).prop_map(|chars| "\u{e9}".repeat(chars));
    let created = large().prop_map(|first| Write::Create {
        who: 0,
        id: None,
        title: None,
        first: Some(first),
    });
    let saved = (session(), large()).prop_map(|(session, said)| Write::Save {
        who: 0,
        session,
        message: Text { role: Role::User, said, metadata: None },
        id: None,
    });
    let updated = session().prop_map(|session| Write::Update {
        who: 0,
        session,
        title: Some("renamed".to_owned()),
        metadata: None,
    });
    let deleted = session().prop_map(|session| Write::Delete { who: 0, session });
    let listed =
        (listing(), 1_usize..9).prop_map(|(listing, limit)| Op::List { who: 0, listing, limit });
    let steps = select(vec![1, 1_000_000, -1, -1_000_000, HOUR, -HOUR]);
    prop_oneof![
        6 => created.prop_map(Op::Write),
        4 => saved.prop_map(Op::Write),
        1 => updated.prop_map(Op::Write),
        1 => deleted.prop_map(Op::Write),
        2 => listed,
        4 => steps.prop_map(Op::Step),
        1 => Just(Op::Reopen),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let listed = || (who(), listing(), 1_usize..6);
    let around = (listed(), write());
    let history = (who(), 0_usize..9, order(), 1_usize..9);
    let steps = select(vec![1, 999, 1_000_000, HOUR, 0, -1, -1_000, -HOUR, -90_000 * HOUR]);
    prop_oneof![
        12 => write().prop_map(Op::Write),
        3 => listed().prop_map(|(who, listing, limit)| Op::List { who, listing, limit }),
        2 => around.prop_map(|((who, listing, limit), write)| {
            Op::ListAround { who, listing, limit, write }
        }),
        3 => history.prop_map(|(who, session, order, limit)| {
            Op::History { who, session, order, limit }
        }),
        2 => steps.prop_map(Op::Step),
        2 => Just(Op::Reopen),
    ]
}

pub(super) fn write() -> impl Strategy<Value = Write> {
    let target = || (who(), 0_usize..9);
    let message = (select(vec![Role::User, Role::Assistant, Role::System, Role::Tool]), text());
    let message = (message, option::of(0..METADATA.len()));
    let message = message.prop_map(|((role, said), metadata)| Text { role, said, metadata });
    let titles = || option::weighted(0.3, "[a-z\"\\\\\u{e9}]{1,20}");
    let created = (who(), option::weighted(0.5, 0..SESSIONS.len()), titles());
    let updated = (titles(), option::of(0..METADATA.len()));
    let same = option::weighted(0.4, text());
    prop_oneof![
        5 => (created, option::of(text())).prop_map(|((who, id, title), first)| {
            Write::Create { who, id, title, first }
        }),
        5 => (target(), message, option::weighted(0.4, 0..MESSAGES.len())).prop_map(
            |((who, session), message, id)| Write::Save { who, session, message, id }
        ),
        2 => (target(), 0_usize..9, same).prop_map(|((who, session), nth, text)| {
            Write::Again { who, session, nth, text }
        }),
        2 => (target(), 1_usize..12, 1_usize..9000).prop_map(
            |((who, session), count, bytes)| Write::SaveMany { who, session, count, bytes }
        ),
        2 => (target(), updated).prop_map(|((who, session), (title, metadata))| {
            Write::Update { who, session, title, metadata }
        }),
        2 => target().prop_map(|(who, session)| Write::Delete { who, session }),
    ]
}

/// Never blank, as a blank first message is none.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z \n\t\"\\\\/<\u{1}\u{7f}\u{e9}\u{2028}\u{1f600}]{0,70}\\.",
        3 => (1990_usize..2010).prop_map(|chars| "\u{e9}".repeat(chars)),
        1 => (1_usize..80_000).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

/// Mostly the same user, so that somebody has many sessions.
pub(super) fn who() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)]
}

pub(super) fn order() -> impl Strategy<Value = SortOrder> {
    select(vec![SortOrder::Desc, SortOrder::Asc])
}

pub(super) fn listing() -> impl Strategy<Value = Listing> {
    let by = select(vec![SortBy::UpdatedAt, SortBy::CreatedAt]);
    let bound = || {
        let near = (-1_i64..2).prop_map(|micros| START_MICROS.saturating_add_signed(micros));
        option::weighted(0.2, near.prop_map(Timestamp::from_micros))
    };
    (by, order(), bound(), bound()).prop_map(|(by, order, from, to)| Listing {
        by,
        order,
        from,
        to,
    })
}
