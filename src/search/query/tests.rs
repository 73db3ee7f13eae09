use proptest::prelude::*;

use super::*;

fn query(q: &str) -> Query {
    Query::parse(q).unwrap()
}

fn row(content: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "id": "m", "content": content })).unwrap()
}

/// What is highlighted, as a page would cut it out.
fn highlighted(found: &Found) -> Vec<String> {
    let units: Vec<u16> = found.snippet.encode_utf16().collect();
    let cut = |[from, to]: &[usize; 2]| String::from_utf16(&units[*from..*to]).unwrap();
    found.highlights.iter().map(cut).collect()
}

#[test]
fn words_are_found_at_the_start_of_words_and_elsewhere_only_where_no_spaces_are_written() {
    for (q, text, hits) in [
        ("port", "ports, Report, PORT", Some(vec!["port", "PORT"])),
        ("port", "a report", None),
        ("cafe", "Un CAF\u{c9} noir", Some(vec!["CAF\u{c9}"])),
        ("caf\u{e9}", "cafe\u{301}s", Some(vec!["cafe\u{301}"])),
        ("strasse", "Die Stra\u{df}e", Some(vec!["Stra\u{df}e"])),
        ("istanbul", "\u{130}STANBUL", Some(vec!["\u{130}STANBUL"])),
        (
            "\u{3bf}\u{3b4}\u{3bf}\u{3c3}",
            "\u{397} \u{3bf}\u{3b4}\u{3cc}\u{3c2}",
            Some(vec!["\u{3bf}\u{3b4}\u{3cc}\u{3c2}"]),
        ),
        (
            "\u{43c}\u{438}\u{440}",
            "\u{41c}\u{438}\u{440}\u{443} \u{43c}\u{438}\u{440}",
            Some(vec!["\u{41c}\u{438}\u{440}", "\u{43c}\u{438}\u{440}"]),
        ),
        ("\u{4eac}\u{90fd}", "\u{6771}\u{4eac}\u{90fd}\u{306f}", Some(vec!["\u{4eac}\u{90fd}"])),
        ("\u{e01}\u{e32}", "\u{e21}\u{e35}\u{e01}\u{e32}\u{e23}", Some(vec!["\u{e01}\u{e32}"])),
        (
            "\u{d55c}\u{ad6d}",
            "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165}",
            Some(vec!["\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"]),
        ),
        (
            "\u{30ac}\u{30a4}",
            "\u{30ab}\u{3099}\u{30a4}\u{30c8}\u{3099}",
            Some(vec!["\u{30ab}\u{3099}\u{30a4}"]),
        ),
        (
            "\u{d55c}\u{ad6d}",
            "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165}",
            Some(vec!["\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"]),
        ),
        (
            "\u{30ac}\u{30a4}",
            "\u{30ab}\u{3099}\u{30a4}\u{30c8}\u{3099}",
            Some(vec!["\u{30ab}\u{3099}\u{30a4}"]),
        ),
        ("\u{1f600}", "so\u{1f600}!", Some(vec!["\u{1f600}"])),
        ("c++", "C++ and C", Some(vec!["C++"])),
        ("it's", "It\u{2019}s", Some(vec!["It\u{2019}s"])),
    ] {
        let found = query(q).find(text);
        assert_eq!(
            found.as_ref().map(highlighted),
            hits.map(|hits| hits.into_iter().map(str::to_owned).collect()),
            "{q} in {text}"
        );
    }
}

#[test]
fn all_words_must_be_there_and_phrases_as_they_stand() {
    assert!(query("blue moon").find("Moon over a blue sea").is_some());
    assert!(query("blue moon").find("blue sea").is_none());
    assert!(query("\"blue moon\"").find("a blue \n moon").is_some(), "whatever the space");
    assert!(query("\"blue moon\"").find("moon blue").is_none());
    assert!(query("\"blue moon").find("blue moon").is_some(), "a quote that is not closed");
    assert!(query("sea \u{201c}blue moon\u{201d}").find("Blue moon, sea").is_some());
}

#[test]
fn what_is_no_query_is_refused() {
    let many: Vec<_> = (0..17).map(|n| n.to_string()).collect();
    let many = many.join(" ");
    for q in ["", " ", "\"\"", "\u{301}", "a\0", &"x".repeat(257), &many] {
        assert_eq!(Query::parse(q).unwrap_err().field, "q", "{q:?}");
    }
}

#[test]
fn a_word_that_is_said_twice_is_looked_for_once() {
    assert_eq!(query(&"a ".repeat(100)).find("a b").unwrap().highlights, [[0, 1]]);
}

#[test]
fn a_snippet_is_a_line_around_the_first_word() {
    let text = format!("{}needle\nin {}", "hay ".repeat(100), "straw ".repeat(100));

    let found = query("needle").find(&text).unwrap();

    assert!(found.snippet.starts_with("\u{2026}hay ") && found.snippet.ends_with('\u{2026}'));
    assert!(found.snippet.contains("needle in straw"), "{}", found.snippet);
    assert!(found.snippet.chars().count() <= 162);
    assert_eq!(highlighted(&found), ["needle"]);
    assert_eq!(query("a").find("a").unwrap().snippet, "a");
}

#[test]
fn what_json_escapes_is_found_on_disk() {
    for (q, text) in [
        ("say\\n", "say\\n"),
        ("c:\\dir", "in C:\\dir"),
        ("a\u{1f}b", "a\u{1f}b"),
        ("x\"y", "x y"),
        ("\u{ff02}", "\u{ff02}"),
        ("\"two words\"", "two\nwords"),
    ] {
        assert!(query(q).find(text).is_some(), "{q}");
        assert!(query(q).may_match(&row(text), &mut Vec::new()), "{q}");
    }
    assert!(!query("absent").may_match(&row("present"), &mut Vec::new()));
}

/// Text of characters that fold, split and escape in every way.
fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex(
        "[aAbB \n\t\"\\\\/\u{1f}\u{e9}\u{301}\u{df}\u{130}\u{3a3}\u{ad}\u{200d}\u{ff02}\u{ff21}\u{6771}\u{1f600}\u{fb01}]{0,12}",
    )
    .unwrap()
}

proptest! {
    #[test]
    fn nothing_that_is_found_is_passed_over_on_disk(q in text(), before in text(), behind in text()) {
        let Ok(query) = Query::parse(&q) else { return Ok(()) };
        for text in [format!("{before}{q}{behind}"), format!("{before} {q} {behind}"), before] {
            if query.find(&text).is_some() {
                prop_assert!(query.may_match(&row(&text), &mut Vec::new()), "{q:?} in {text:?}");
            }
        }
    }

    #[test]
    fn highlights_lie_within_the_snippet_in_order(q in text(), parts in proptest::collection::vec(text(), 0..30)) {
        let Ok(query) = Query::parse(&q) else { return Ok(()) };
        let Some(found) = query.find(&parts.join(&q)) else { return Ok(()) };

        let len = found.snippet.encode_utf16().count();
        let mut end = 0;
        for [from, to] in &found.highlights {
            prop_assert!(end <= *from && from < to && *to <= len, "{found:?}");
            end = *to;
        }
        prop_assert!(!found.highlights.is_empty(), "{found:?}");
        let words = highlighted(&found);
        prop_assert!(words.iter().all(|word| !word.is_empty()));
    }

    #[test]
    fn no_text_and_no_query_is_too_strange(q in ".*", text in ".*") {
        if let Ok(query) = Query::parse(&q) {
            let _found = query.find(&text);
            query.may_match(text.as_bytes(), &mut Vec::new());
        }
    }
}
