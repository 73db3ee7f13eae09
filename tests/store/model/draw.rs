//! How operations are drawn.

use orion_chat::model::{Role, Timestamp};
use orion_chat::sessions::{SortBy, SortOrder};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::ops::{Change, Op, Pick, Text, Write};
use super::{HOUR, MESSAGES, METADATA, SESSIONS, START_MICROS, TAGS};

use crate::support::Listing;

pub(super) fn op() -> impl Strategy<Value = Op> {
    let listed = || (who(), listing(), 1_usize..6);
    let around = (listed(), write());
    let history = (who(), 0_usize..9, order(), 1_usize..9);
    let steps =
        select(vec![1, 999, 1_000_000, HOUR, 25 * HOUR, 0, -1, -1_000, -HOUR, -90_000 * HOUR]);
    prop_oneof![
        18 => write().prop_map(Op::Write),
        4 => listed().prop_map(|(who, listing, limit)| Op::List { who, listing, limit }),
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

pub(super) fn large_op() -> impl Strategy<Value = Op> {
    let (who, session) = (0, || 0_usize..40);
    let large = || (1500_usize..2500).prop_map(|chars| "\u{e9}".repeat(chars));
    let created = large().prop_map(move |first| Write::Create {
        who,
        id: None,
        title: None,
        first: Some(first),
    });
    let saved = (session(), large()).prop_map(move |(session, said)| {
        let message = Text { role: Role::User, said, metadata: None };
        Write::Save { who, session, message, id: None }
    });
    let updated = (session(), change()).prop_map(move |(session, change)| Write::Update {
        who,
        session,
        change,
    });
    let edited = (session(), pick(), large()).prop_map(move |(session, message, said)| {
        Write::Edit { who, session, message, said: Some(said), metadata: None }
    });
    let cut = (session(), pick()).prop_map(move |(session, message)| Write::DeleteMessage {
        who,
        session,
        message,
    });
    let deleted = session().prop_map(move |session| Write::Delete { who, session });
    let listed =
        (listing(), 1_usize..9).prop_map(move |(listing, limit)| Op::List { who, listing, limit });
    let steps = select(vec![1, 1_000_000, -1, -1_000_000, HOUR, -HOUR]);
    prop_oneof![
        6 => created.prop_map(Op::Write),
        4 => saved.prop_map(Op::Write),
        2 => updated.prop_map(Op::Write),
        1 => edited.prop_map(Op::Write),
        1 => cut.prop_map(Op::Write),
        1 => deleted.prop_map(Op::Write),
        2 => listed,
        4 => steps.prop_map(Op::Step),
        1 => Just(Op::Reopen),
    ]
}

fn write() -> BoxedStrategy<Write> {
    let once = (0_usize..2, 0_u8..2, write_at_will()).prop_map(|(key, print, write)| {
        let write = Box::new(write);
        Write::Once { key, print, write }
    });
    prop_oneof![6 => write_at_will(), 1 => once].boxed()
}

/// Boxed, as the strategies of all writes together do not fit on a test's stack.
fn write_at_will() -> BoxedStrategy<Write> {
    let target = || (who(), 0_usize..9);
    let created = (who(), option::weighted(0.5, 0..SESSIONS.len()), title(), option::of(text()));
    let again = (target(), 0_usize..9, option::weighted(0.4, text()));
    let edit = (option::of(text()), option::of(0..METADATA.len()));
    prop_oneof![
        5 => created.prop_map(|(who, id, title, first)| Write::Create { who, id, title, first }),
        5 => (target(), message(), option::weighted(0.4, pick())).prop_map(
            |((who, session), message, id)| Write::Save { who, session, message, id }
        ),
        2 => again.prop_map(|((who, session), nth, text)| {
            Write::Again { who, session, nth, text }
        }),
        2 => (target(), 1_usize..12, 1_usize..9000).prop_map(
            |((who, session), count, bytes)| Write::SaveMany { who, session, count, bytes }
        ),
        3 => (target(), pick(), edit).prop_map(|((who, session), message, (said, metadata))| {
            Write::Edit { who, session, message, said, metadata }
        }),
        4 => (target(), pick()).prop_map(|((who, session), message)| {
            Write::DeleteMessage { who, session, message }
        }),
        4 => (target(), change()).prop_map(|((who, session), change)| {
            Write::Update { who, session, change }
        }),
        2 => target().prop_map(|(who, session)| Write::Delete { who, session }),
    ]
    .boxed()
}

fn change() -> impl Strategy<Value = Change> {
    let tags = option::weighted(0.4, subsequence(TAGS.to_vec(), 0..=TAGS.len()));
    let flag = || option::weighted(0.4, any::<bool>());
    let metadata = option::weighted(0.3, 0..METADATA.len());
    (title(), metadata, flag(), flag(), tags).prop_map(
        |(title, metadata, archived, pinned, tags)| Change {
            title,
            metadata,
            archived,
            pinned,
            tags,
        },
    )
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        3 => (0_usize..20).prop_map(Pick::Nth),
        1 => Just(Pick::First),
        2 => Just(Pick::Last),
        3 => (0..MESSAGES.len()).prop_map(Pick::Chosen),
        1 => (0_usize..20).prop_map(Pick::AtPlaceOf),
        1 => (0_usize..20).prop_map(Pick::Gone),
    ]
}

fn message() -> impl Strategy<Value = Text> {
    let role = select(vec![Role::User, Role::Assistant, Role::System, Role::Tool]);
    (role, text(), option::of(0..METADATA.len())).prop_map(|(role, said, metadata)| Text {
        role,
        said,
        metadata,
    })
}

fn title() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.3, "[a-z\"\\\\\u{e9}]{1,20}")
}

/// Never blank, as a blank first message is none.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z \n\t\"\\\\/<\u{1}\u{7f}\u{e9}\u{2028}\u{1f600}]{0,70}\\.",
        3 => (1990_usize..2010).prop_map(|chars| "\u{e9}".repeat(chars)),
        1 => (1_usize..80_000).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

/// Mostly the same user, so that somebody has many sessions.
fn who() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)]
}

fn order() -> impl Strategy<Value = SortOrder> {
    select(vec![SortOrder::Desc, SortOrder::Asc])
}

fn listing() -> impl Strategy<Value = Listing> {
    let by = select(vec![SortBy::UpdatedAt, SortBy::CreatedAt]);
    let bound = || {
        let near = (-1_i64..2).prop_map(|micros| START_MICROS.saturating_add_signed(micros));
        option::weighted(0.2, near.prop_map(Timestamp::from_micros))
    };
    let mark = || option::weighted(0.3, any::<bool>());
    let marks = (mark(), mark(), option::weighted(0.2, select(TAGS.to_vec())), any::<bool>());
    (by, order(), bound(), bound(), marks).prop_map(
        |(by, order, from, to, (archived, pinned, tag, pinned_first))| Listing {
            by,
            order,
            from,
            to,
            archived,
            pinned,
            tag,
            pinned_first,
        },
    )
}
