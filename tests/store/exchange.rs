//! Sessions and messages as lines: out of one store and into another, and from hands that may have
//! done anything to them.

mod csv;

use std::fmt::Write as _;
use std::ops::ControlFlow;

use orion_chat::exchange::{Import, OnProblem, Tally, Told, export};
use orion_chat::model::{ChangeKind, Clock, MetadataUpdate, Parts, Role, Tags, Timestamp};
use orion_chat::sessions::{self, Expires, MessageEdit, SessionUpdate, SortBy, SortOrder};
use orion_chat::store::{Snapshot, Store, StoreError};
use serde_json::value::RawValue;

use crate::support::{
    Listing, content, create, draft, get, get_message, history, list, message_id, metadata,
    new_file, open, problems, save, session_id, title, user, wait,
};

/// The lines of everything that `store` holds, or of what is this user's.
fn lines(store: &Store, of: Option<&str>) -> String {
    let mut lines = Vec::new();
    let frozen = store.snapshot().freeze().unwrap();
    export(&frozen, of.map(user).as_ref(), &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

/// What came of an import, and the problems that were told.
fn import(store: &Store, lines: &[u8], on_problem: OnProblem) -> (Tally, Vec<String>) {
    let mut problems = Vec::new();
    let mut told = |told| {
        if let Told::Problem(what) = told {
            problems.push(what);
        }
        ControlFlow::Continue(())
    };
    let tally = Import::new(store, on_problem, &mut told).run(lines).unwrap();
    (tally, problems)
}

/// Checks that nothing was wrong, and gives how much was added.
#[track_caller]
fn imported(store: &Store, lines: &str) -> Tally {
    let (tally, problems) = import(store, lines.as_bytes(), OnProblem::Stop);
    assert_eq!(problems, [""; 0]);
    tally
}

fn memory() -> Store {
    Store::in_memory(Clock::system()).unwrap()
}

/// A store with all that a session and a message can be.
fn store_of_everything() -> Store {
    let store = memory();
    create(&store, "ann", "plain", "hello\n\"there\" \u{1f600}");
    create(&store, "bob", "marked", "one");
    save(&store, "bob", "marked", "two").unwrap();
    let mut rich = draft("marked", Role::Tool, "three");
    rich.id = Some(message_id("chosen by a caller"));
    rich.parts = Some(parts("[{\"type\":\"text\",\r\n \"text\":\"three\"}]"));
    rich.metadata = Some(metadata("{\"n\":1.50e3,\n\"n\":\"\\u00e9\"}"));
    wait(sessions::save_message(&store, user("bob"), rich, None)).unwrap();
    let mut child = draft("marked", Role::User, "a child");
    child.parent_id = Some(message_id("chosen by a caller"));
    wait(sessions::save_message(&store, user("bob"), child, None)).unwrap();
    let edit = MessageEdit { content: Some(content("3")), ..MessageEdit::default() };
    let of = (session_id("marked"), message_id("chosen by a caller"));
    wait(sessions::edit_message(&store, user("bob"), of.clone(), edit, None)).unwrap();
    let wordless = parts(r#"[{"type":"step-start"}]"#);
    let edit = MessageEdit { parts: Some(wordless), ..MessageEdit::default() };
    wait(sessions::edit_message(&store, user("bob"), of, edit, None)).unwrap();
    let update = SessionUpdate {
        title: Some(title("a title")),
        metadata: Some(MetadataUpdate::Replace(metadata("{\"b\":1,\"a\":[ 2 ]}"))),
        archived: Some(true),
        pinned: Some(true),
        tags: Some(Tags::parse(vec!["x y".to_owned(), "z".to_owned()]).unwrap()),
        expires: Some(Expires::At(Timestamp::MAX)),
        seen: None,
    };
    wait(sessions::update(&store, user("bob"), session_id("marked"), update, None)).unwrap();
    let empty = sessions::NewSession { id: Some(session_id("empty")), ..Default::default() };
    wait(sessions::create(&store, user("bob"), empty, None)).unwrap();
    store
}

fn parts(json: &str) -> Parts {
    Parts::parse(RawValue::from_string(json.to_owned()).unwrap()).unwrap()
}

/// All that clients can read of these users.
fn shown(store: &Store, users: &[&str]) -> Vec<String> {
    let mut shown = Vec::new();
    for user in users {
        for by in [SortBy::UpdatedAt, SortBy::CreatedAt] {
            let listing = Listing { by, archived: None, ..Listing::NEWEST };
            let sessions = list(store, user, listing, 10).unwrap();
            for session in &sessions {
                let session: serde_json::Value = serde_json::from_str(session).unwrap();
                let id = session["sessionId"].as_str().unwrap();
                shown.push(get(store, user, id).unwrap());
                shown.extend(history(store, user, id, SortOrder::Asc).unwrap());
            }
            shown.extend(sessions);
        }
    }
    shown
}

#[test]
fn what_is_exported_is_the_same_when_it_is_imported_elsewhere() {
    let (here, there) = (store_of_everything(), memory());
    let exported = lines(&here, None);

    let tally = imported(&there, &exported);

    assert_eq!((tally.sessions, tally.messages), (3, 5), "{exported}");
    assert_eq!(lines(&there, None), exported);
    assert_eq!(shown(&there, &["ann", "bob"]), shown(&here, &["ann", "bob"]));
    let by_id = get_message(&there, "bob", "marked", "chosen by a caller");
    assert!(by_id.unwrap().contains("step-start"), "it is found by its id");
}

#[test]
fn importing_twice_adds_nothing() {
    let (here, there) = (store_of_everything(), memory());
    let exported = lines(&here, None);
    imported(&there, &exported);
    let before = newest(&there);

    let again = imported(&there, &exported);

    assert_eq!(again, Tally { there: 8, ..Tally::default() });
    assert_eq!(lines(&there, None), exported);
    assert_eq!(newest(&there), before, "nothing was written");
}

#[test]
fn an_export_is_of_one_moment_and_of_whom_was_asked_for() {
    let store = store_of_everything();
    let frozen = store.snapshot().freeze().unwrap();
    let before = lines(&store, None);
    save(&store, "ann", "plain", "later").unwrap();

    let mut then = Vec::new();
    export(&frozen, None, &mut then).unwrap();

    assert_eq!(String::from_utf8(then).unwrap(), before);
    let of_ann = lines(&store, Some("ann"));
    assert!(of_ann.contains("later") && !of_ann.contains("bob"), "{of_ann}");
    assert!(of_ann.ends_with("{\"type\":\"end\",\"sessions\":1,\"messages\":2}\n"), "{of_ann}");
    assert_eq!(lines(&store, Some("nobody")).lines().count(), 2);
}

#[test]
fn what_is_settled_and_what_is_fresh_are_exported_and_a_file_is_sound_after_an_import() {
    let (folder, path) = new_file();
    let store = open(&path).unwrap();
    let everything = lines(&store_of_everything(), None);
    imported(&store, &everything);
    store.close().unwrap();
    let store = open(&path).unwrap();
    save(&store, "ann", "plain", "fresh").unwrap();
    create(&store, "zoe", "new", "also fresh");
    let exported = lines(&store, None);

    let elsewhere = open(&folder.path().join("elsewhere.redb")).unwrap();
    imported(&elsewhere, &exported);

    assert_eq!(lines(&elsewhere, None), exported);
    for store in [store, elsewhere] {
        store.close().unwrap();
    }
    for file in [path, folder.path().join("elsewhere.redb")] {
        let snapshot = Snapshot::open(&file).unwrap();
        assert_eq!(problems(&snapshot), [""; 0]);
    }
}

#[test]
fn an_import_never_takes_the_place_of_what_is_there() {
    let store = memory();
    create(&store, "ann", "s", "hello");
    let exported = lines(&store, None);
    let update = SessionUpdate { title: Some(title("renamed")), ..SessionUpdate::default() };
    wait(sessions::update(&store, user("ann"), session_id("s"), update, None)).unwrap();
    let message = exported.lines().nth(2).unwrap();
    let edited = serde_json::from_str::<serde_json::Value>(message).unwrap();
    let id = message_id(edited["id"].as_str().unwrap());
    let edit = MessageEdit { content: Some(content("hello!")), ..MessageEdit::default() };
    wait(sessions::edit_message(&store, user("ann"), (session_id("s"), id), edit, None)).unwrap();
    let now = lines(&store, None);

    assert_eq!(imported(&store, &exported).there, 2);
    assert_eq!(lines(&store, None), now);

    let other = message.replace("hello", "something else").replace("}\n", "");
    let (tally, problems) = import(&memory_with_hello(message), other.as_bytes(), OnProblem::Stop);
    assert_eq!((tally.messages, problems.len()), (0, 1));
    assert!(problems[0].contains("taken by another message"), "{problems:?}");
}

/// A store with a session and this message of it, never edited.
fn memory_with_hello(message: &str) -> Store {
    let store = memory();
    imported(&store, &format!("{}\n{message}\n", session_line("s", "ann")));
    store
}

fn session_line(id: &str, user: &str) -> String {
    format!(
        r#"{{"type":"session","sessionId":"{id}","userId":"{user}","createdAt":"2026-01-01T00:00:00Z"}}"#
    )
}

fn message_line(session: &str, id: &str, at: &str, content: &str) -> String {
    format!(
        r#"{{"type":"message","sessionId":"{session}","id":"{id}","role":"user","content":"{content}","timestamp":"{at}"}}"#
    )
}

#[test]
fn somebody_elses_session_is_not_taken_over() {
    let store = memory();
    create(&store, "ann", "s", "hello");
    let before = lines(&store, None);

    let stolen = session_line("s", "eve");
    let (tally, problems) = import(&store, stolen.as_bytes(), OnProblem::GoOn);

    assert_eq!(problems, ["line 1: session id s is taken"]);
    assert_eq!(tally, Tally { problems: 1, ..Tally::default() });
    assert_eq!(lines(&store, None), before);
}

#[test]
fn messages_come_in_any_order_and_stand_in_that_of_their_times() {
    let store = memory();
    let mut text = session_line("s", "ann") + "\n";
    for (id, at) in [("c", "10:00:02"), ("a", "10:00:00"), ("b", "10:00:01"), ("b2", "10:00:01")] {
        text += &message_line("s", id, &format!("2026-01-01T{at}Z"), id);
        text += "\n";
    }
    imported(&store, &text);
    let later = message_line("s", "b3", "2026-01-01T10:00:01Z", "b3");

    imported(&store, &later);

    let shown = history(&store, "ann", "s", SortOrder::Asc).unwrap();
    let said: Vec<_> = shown.iter().map(|json| field(json, "content")).collect();
    assert_eq!(said, ["a", "b", "b2", "b3", "c"]);
    let session = get(&store, "ann", "s").unwrap();
    assert_eq!(field(&session, "firstMessage"), "a");
    assert_eq!(field(&session, "lastMessage"), "c");
    assert!(session.contains("\"messageCount\":5"), "{session}");
    assert_eq!(field(&session, "updatedAt"), "2026-01-01T10:00:02.000Z");
    let exported = lines(&store, None);
    for micros in ["01.000000Z", "01.000001Z", "01.000002Z"] {
        assert!(exported.contains(micros), "times strictly increase: {exported}");
    }
    save(&store, "ann", "s", "now").unwrap();
    assert_eq!(imported(&store, &text).there, 5);
}

fn field(json: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json[name].as_str().unwrap_or_default().to_owned()
}

#[test]
fn thousands_of_messages_of_one_moment_each_get_a_place() {
    let store = memory();
    let mut text = session_line("s", "ann") + "\n";
    for n in 0..3000 {
        writeln!(text, "{}", message_line("s", &format!("m{n}"), "2026-01-01T10:00:00Z", "x"))
            .unwrap();
    }

    assert_eq!(imported(&store, &text).messages, 3000);
    assert_eq!(imported(&store, &text).there, 3001);

    let shown = history(&store, "ann", "s", SortOrder::Asc).unwrap();
    let ids: Vec<_> = shown.iter().map(|json| field(json, "id")).collect();
    assert!(ids.iter().enumerate().all(|(n, id)| *id == format!("m{n}")), "in order");
}

#[test]
fn a_bad_line_is_named_and_nothing_of_it_is_stored() {
    let good = session_line("good", "ann");
    let at = "2026-01-01T00:00:00Z";
    let message = |id: &str, at: &str, content: &str| message_line("good", id, at, content);
    let deep = "[".repeat(500);
    for (bad, said) in [
        ("nonsense", "is not as it should be"),
        ("{\"type\":\"session\"", "EOF"),
        ("[]", "is not as it should be"),
        (&deep, "is not as it should be"),
        ("{}", "missing field `type`"),
        (r#"{"type":"chat"}"#, "type is \"chat\""),
        (r#"{"type":"orion-chat","version":2}"#, "version is 2"),
        (r#"{"type":"session","userId":"ann"}"#, "sessionId"),
        (&good.replace("\"good\"", "\"\""), "sessionId is empty"),
        (&good.replace("\"good\"", "\"a\\u0000b\""), "control character"),
        (&good.replace("\"good\"", &format!("{:?}", "x".repeat(256))), "256 characters"),
        (&good.replace("2026-01-01T00:00:00Z", "tomorrow"), "createdAt is \"tomorrow\""),
        (&good.replace("2026", "2226").replace("good", "next"), "yet to come"),
        (
            &good.replace("\"userId\"", "\"metadata\":[],\"userId\""),
            "metadata is not a JSON object",
        ),
        (&good.replace("\"userId\"", "\"metadataText\":\"{\",\"userId\""), "EOF"),
        (&good.replace("\"userId\"", "\"tags\":[\"\"],\"userId\""), "tags"),
        (&good.replace("\"userId\"", "\"expiresAt\":\"soon\",\"userId\""), "expiresAt is \"soon\""),
        (&good.replace("\"userId\"", "\"title\":\" \",\"userId\""), "title is blank"),
        (&message("a", at, ""), "content is empty"),
        (&message("a", at, "\\u0000"), "NUL"),
        (&message("a", at, "x").replace("\"user\"", "\"root\""), "role is \"root\""),
        (&message("a", "9999-12-31T23:59:59Z", "x"), "yet to come"),
        (&message("a", at, "x").replace("good", "nowhere"), "session nowhere was not found"),
        (&message("a", at, "\\ud800"), "is not as it should be"),
        (&format!("{{\"type\":\"session\",\"x\":\"{}\"}}", "x".repeat(5 << 20)), "longer than"),
    ] {
        for (on_problem, added) in [(OnProblem::Stop, 1), (OnProblem::GoOn, 2)] {
            let store = memory();
            let text = format!("{good}\n\n{bad}\n{}\n", session_line("after", "ann"));

            let (tally, problems) = import(&store, text.as_bytes(), on_problem);

            assert_eq!(problems.len(), 1, "{bad:.80}: {problems:?}");
            assert!(problems[0].starts_with("line 3"), "{problems:?}");
            assert!(problems[0].contains(said), "no {said:?} in {problems:?}");
            assert_eq!((tally.sessions, tally.messages), (added, 0), "{bad:.80}");
            let listed = list(&store, "ann", Listing::NEWEST, 10).unwrap();
            assert_eq!(u64::try_from(listed.len()), Ok(added));
        }
    }
    let (_, problems) = import(&memory(), b"{\"type\":\"\xff\"}", OnProblem::Stop);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn what_was_cut_short_is_told_and_can_be_gone_on_with() {
    let exported = lines(&store_of_everything(), None);
    let all: Vec<_> = exported.split_inclusive('\n').collect();
    for cut in 2..all.len() {
        let store = memory();

        let (_, problems) = import(&store, all[..cut].concat().as_bytes(), OnProblem::Stop);
        assert!(problems[0].contains("cut short"), "{problems:?}");

        imported(&store, &exported);
        assert_eq!(lines(&store, None), exported, "after {cut} lines");
    }
    let one_less = [&all[..3], &all[4..]].concat().concat();
    let (_, problems) = import(&memory(), one_less.as_bytes(), OnProblem::GoOn);
    assert!(problems.last().unwrap().contains("stand before it"), "{problems:?}");
}

#[test]
fn what_follows_a_session_hears_of_what_is_imported() {
    let store = memory();
    create(&store, "ann", "plain", "hello");
    let before = newest(&store);
    let exported = lines(&store_of_everything(), Some("bob")).replace("\"bob\"", "\"ann\"");

    imported(&store, &exported);

    let changes = store.read(|tx| tx.changes(&user("ann"), before)).unwrap().unwrap().changes;
    let created = |kind: &ChangeKind| matches!(kind, ChangeKind::MessageCreated(_));
    let messages: Vec<_> = changes.iter().filter(|change| created(&change.kind)).collect();
    assert_eq!((changes.len(), messages.len()), (6, 4));
    for message in messages {
        let session = message.session.as_ref().expect("its session comes with it");
        assert!(String::from_utf8_lossy(session).contains("\"messageCount\":4"));
    }
}

fn newest(store: &Store) -> u64 {
    store.read(|tx| Ok::<_, StoreError>(tx.newest())).unwrap()
}

/// Times of a fixed clock do not matter to an import: a message's is its own.
#[test]
fn an_import_keeps_to_the_microsecond_whatever_the_clock_shows() {
    let clock = Clock::new(|| Timestamp::from_micros(1_795_000_000_000_000));
    let store = Store::in_memory(clock).unwrap();
    let text =
        [session_line("s", "ann"), message_line("s", "m", "2026-01-01T00:00:00.123456+00:00", "x")];

    imported(&store, &text.join("\n"));

    assert!(lines(&store, None).contains("\"timestamp\":\"2026-01-01T00:00:00.123456Z\""));
}
