//! The tables of the service's predecessor: `fixtures/chat_*.csv` were written by `psql`'s
//! `\copy (select * from chat_…) to … csv header`, from PostgreSQL 15.

use std::fs;
use std::path::PathBuf;
use std::slice::from_ref;

use orion_chat::exchange::{CsvError, OnProblem, Tally, csv_to_lines};
use orion_chat::sessions::SortOrder;
use orion_chat::store::Store;

use super::{field, import, imported, lines, memory};
use crate::support::{get, get_message, history};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/fixtures").join(name)
}

fn lines_of(files: &[PathBuf]) -> String {
    let mut lines = Vec::new();
    csv_to_lines(files, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

/// A store with the tables in it; their order does not matter.
fn store_of_tables() -> Store {
    let store = memory();
    let text = lines_of(&[fixture("chat_messages.csv"), fixture("chat_sessions.csv")]);
    let tally = imported(&store, &text);
    assert_eq!(tally, Tally { sessions: 3, messages: 5, there: 1, problems: 0 });
    store
}

#[test]
fn rows_keep_their_ids_their_times_and_every_character() {
    let store = store_of_tables();

    let id = "session_1759299395565_p0vtcs0b9f";
    let session = get(&store, "ann@example.org", id).unwrap();
    assert_eq!(field(&session, "title"), "Say \"hi\", twice");
    assert!(
        session.contains(r#"{"n": 1.50, "text": "a\nb, \"c\"", "model": "gpt-4o"}"#),
        "{session}"
    );
    let message = get_message(&store, "ann@example.org", id, "msg_1").unwrap();
    assert_eq!(field(&message, "content"), "A monoid, of course: \"\u{b5}\", \\ and\r\n\ttabs");
    let exported = lines(&store, None);
    assert!(exported.contains("\"timestamp\":\"2025-10-01T06:17:02.123456Z\""), "{exported}");
    assert_eq!(field(&get(&store, "bob", "s2").unwrap(), "title"), "Told twice");
    assert_eq!(field(&get(&store, "bob", "empty").unwrap(), "title"), "New Chat");
}

#[test]
fn what_a_session_was_begun_with_is_its_first_message_once() {
    let store = store_of_tables();

    let id = "session_1759299395565_p0vtcs0b9f";
    let said = history(&store, "ann@example.org", id, SortOrder::Asc).unwrap();
    assert_eq!(field(&said[0], "content"), "What is a monad, \"exactly\"?\nTwo lines.");
    assert_eq!(field(&said[0], "role"), "user");
    assert_eq!(field(&said[0], "timestamp"), "2025-10-01T06:16:35.565Z");
    assert!(get(&store, "ann@example.org", id).unwrap().contains("\"messageCount\":2"));
    let told = history(&store, "bob", "s2", SortOrder::Asc).unwrap();
    let told: Vec<_> = told.iter().map(|json| field(json, "id")).collect();
    assert_eq!(told, ["msg_2", "msg_3", "msg_4"], "it was stored there, and is not stored twice");
}

#[test]
fn importing_tables_twice_adds_nothing() {
    let store = store_of_tables();
    let before = lines(&store, None);
    let text = lines_of(&[fixture("chat_sessions.csv"), fixture("chat_messages.csv")]);

    let again = imported(&store, &text);

    assert_eq!((again.sessions, again.messages), (0, 0));
    assert_eq!(lines(&store, None), before);
}

#[test]
fn a_bad_row_is_named_by_its_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.csv");
    for (row, said) in [
        ("a,s2,root,hello,,2025-10-01 06:17:02+00", "role is \"root\""),
        ("a,s2,user,hello,,2025-10-01 06:17:02", "timestamp is"),
        ("a,s2,user,hello,,infinity", "timestamp is"),
        ("a,s2,user,,,2025-10-01 06:17:02+00", "content is empty"),
        (",s2,user,x,,2025-10-01 06:17:02+00", "missing field `id`"),
        ("a,s3,user,x,,2025-10-01 06:17:02+00", "session s3 was not found"),
        ("a,s2,user,x,{,2025-10-01 06:17:02+00", "EOF"),
        ("a,s2,user,x,[],2025-10-01 06:17:02+00", "metadata is not a JSON object"),
        ("a,s2,user", "found record with"),
    ] {
        let header = "message_id,session_id,role,content,metadata,created_at";
        fs::write(&bad, format!("{header}\n{row}\n")).unwrap();
        let store = store_of_tables();

        let (_, problems) = import(&store, lines_of(from_ref(&bad)).as_bytes(), OnProblem::GoOn);

        assert_eq!(problems.len(), 1, "{row}: {problems:?}");
        let expected = format!("{} line 2: ", bad.display());
        assert!(problems[0].starts_with(&expected), "{problems:?}");
        assert!(problems[0].contains(said), "no {said} in {problems:?}");
    }
}

#[test]
fn a_file_that_is_no_such_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.csv");
    let endless = format!("session_id,user_id\n\"{}", "x".repeat(17 << 20));
    for (text, said) in [("a,b\n1,2\n", "neither"), ("", "neither"), (&endless, "longer than")] {
        fs::write(&file, text).unwrap();

        let refused = csv_to_lines(from_ref(&file), &mut Vec::new()).unwrap_err();

        assert!(matches!(refused, CsvError::Read { .. }), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
}
