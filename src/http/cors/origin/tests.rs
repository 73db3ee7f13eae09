use super::origins::{ALLOWED, REFUSED};
use super::*;

#[test]
fn the_defaults_allow_the_front_ends() {
    let defaults = AllowedOrigins::defaults();

    for origin in ALLOWED {
        assert!(defaults.allows(origin.as_bytes()), "{origin:?} is refused");
    }
}

#[test]
fn the_defaults_refuse_everyone_else() {
    let defaults = AllowedOrigins::defaults();

    for origin in REFUSED {
        assert!(!defaults.allows(origin.as_bytes()), "{origin:?} is allowed");
    }
}

#[test]
fn the_tables_hold_header_values_that_arrive_as_they_are_sent() {
    for origin in ALLOWED.iter().chain(REFUSED) {
        assert_eq!(origin.trim(), *origin, "a server trims {origin:?}");
        assert!(!origin.contains(|c: char| c.is_ascii_control()), "{origin:?} is no header");
    }
}

#[test]
fn bytes_that_no_header_should_carry_are_refused() {
    let defaults = AllowedOrigins::defaults();
    let good = "https://www.sidekickportal.com";
    assert!(defaults.allows(good.as_bytes()));

    for byte in (0..=b' ').chain(0x7f..=0xff) {
        let before = [&[byte], good.as_bytes()].concat();
        let behind = [good.as_bytes(), &[byte]].concat();
        let inside = [b"https://w".as_slice(), &[byte], b"w.sidekickportal.com"].concat();
        for origin in [before, behind, inside] {
            assert!(!defaults.allows(&origin), "{} is allowed", origin.escape_ascii());
        }
    }
    assert!(!defaults.allows(b"https://www.sidekickportal.com\r\nX-Evil: 1"));
    assert!(!defaults.allows(b"https://evil.com\0.vercel.app"));
    assert!(!defaults.allows(format!("https://{}.vercel.app", "a.".repeat(4096)).as_bytes()));
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    assert_eq!(
        AllowedOrigins::defaults().to_string(),
        "http://localhost:3000, http://localhost:3005, https://sidekickportal.com, \
         https://*.sidekickportal.com, https://*.vercel.app"
    );
}

/// What stands in the environment or on the command line, how the log shows it, an origin that
/// it allows and one that it refuses.
const OVERRIDES: &[(&[&str], &str, &str, &str)] = &[
    (
        &["https://a.example.com"],
        "https://a.example.com",
        "https://a.example.com",
        "https://b.example.com",
    ),
    (
        &["https://a.com,https://b.com", "http://c.com:8080"],
        "https://a.com, https://b.com, http://c.com:8080",
        "http://c.com:8080",
        "http://c.com",
    ),
    (
        &[" \thttps://a.com , https://b.com \r\n"],
        "https://a.com, https://b.com",
        "https://b.com",
        " https://b.com",
    ),
    (&[",https://a.com,, ,"], "https://a.com", "https://a.com", ""),
    (
        &["https://a.com,https://A.com", "HTTPS://a.COM", "https://b.com"],
        "https://a.com, https://b.com",
        "https://a.com",
        "https://A.com",
    ),
    (
        &["Https://*.Team.Example.COM:8443,https://*.team.example.com:8443"],
        "https://*.team.example.com:8443",
        "https://a.b.team.example.com:8443",
        "https://a.b.team.example.com",
    ),
    (
        &["http://*.a.com", "https://*.a.com"],
        "http://*.a.com, https://*.a.com",
        "http://x.a.com",
        "http://a.com",
    ),
    (&["https://a.com:80"], "https://a.com:80", "https://a.com:80", "http://a.com:80"),
    (&["http://a.com:443"], "http://a.com:443", "http://a.com:443", "https://a.com:443"),
    (&["http://a:65535"], "http://a:65535", "http://a:65535", "http://a:65536"),
    (&["http://localhost"], "http://localhost", "http://localhost", "http://localhost:80"),
    (&["http://127.0.0.1:3000"], "http://127.0.0.1:3000", "http://127.0.0.1:3000", "null"),
    (&["http://*.0xy.0x1g"], "http://*.0xy.0x1g", "http://1.0xy.0x1g", "http://0xy.0x1g"),
    (&["http://[::1]:3000"], "http://[::1]:3000", "http://[::1]:3000", "http://[::1]"),
    (
        &["http://[0:0:0:0:0:0:0:1]", "https://[2001:DB8:0:0:1:0:0:1]:8443"],
        "http://[::1], https://[2001:db8::1:0:0:1]:8443",
        "http://[::1]",
        "http://[0:0:0:0:0:0:0:1]",
    ),
    (
        &["http://[::ffff:127.0.0.1]"],
        "http://[::ffff:7f00:1]",
        "http://[::ffff:7f00:1]",
        "http://[::ffff:127.0.0.1]",
    ),
];

#[test]
fn a_configured_list_replaces_the_defaults() {
    for &(texts, shown, allowed, refused) in OVERRIDES {
        let origins = AllowedOrigins::parse_list(texts.iter().copied()).unwrap();

        assert_eq!(origins.to_string(), shown, "from {texts:?}");
        assert!(origins.allows(allowed.as_bytes()), "{texts:?} refuses {allowed:?}");
        assert!(!origins.allows(refused.as_bytes()), "{texts:?} allows {refused:?}");
    }
}

#[test]
fn a_list_without_patterns_allows_nobody() {
    for texts in [&[][..], &[""], &[",", " , "]] {
        let origins = AllowedOrigins::parse_list(texts.iter().copied()).unwrap();

        assert_eq!(origins.to_string(), "none");
        for origin in ALLOWED.iter().chain(REFUSED) {
            assert!(!origins.allows(origin.as_bytes()), "{texts:?} allows {origin:?}");
        }
    }
}

#[test]
fn the_first_bad_pattern_of_a_list_is_named() {
    let error = AllowedOrigins::parse_list(["https://a.com, *.b.com ,https://*"]).unwrap_err();

    assert_eq!(
        error.to_string(),
        "origin pattern \"*.b.com\" does not begin with http:// or https://; \
         write it as in https://app.example.com"
    );
}

/// A pattern, and what its error says behind the name of the pattern.
const BAD_PATTERNS: &[(&str, &str)] = &[
    ("", "is empty; write an origin such as https://app.example.com"),
    ("null", "is what sandboxed pages of any site send; name the site itself"),
    ("NULL", "is what sandboxed pages of any site send; name the site itself"),
    (
        "*",
        "would let every site act for its visitors, as credentials are allowed; \
         name the sites, as in https://app.example.com or https://*.example.com",
    ),
    ("https://*", "would let every site act"),
    ("http://*:3000", "would let every site act"),
    ("https://a.com https://b.com", "contains white space; put a comma between two origins"),
    ("https://a.com\nhttps://b.com", "contains white space"),
    ("a.com", "does not begin with http:// or https://; write it as in https://app.example.com"),
    ("*://a.com", "does not begin with http:// or https://"),
    ("//a.com", "does not begin with http:// or https://"),
    ("https:/a.com", "does not begin with http:// or https://"),
    ("ftp://a.com", "does not begin with http:// or https://"),
    ("wss://a.com", "does not begin with http:// or https://"),
    ("capacitor://localhost", "does not begin with http:// or https://"),
    ("\"https://a.com\"", "does not begin with http:// or https://"),
    ("https://a.com/", "goes on after host and port, which an origin does not; leave out `/`"),
    (
        "https://a.com:8443/chat?x#y",
        "goes on after host and port, which an origin does not; leave out `/chat?x#y`",
    ),
    ("https://a.com?x", "goes on after host and port, which an origin does not; leave out `?x`"),
    ("https://a.com#x", "goes on after host and port, which an origin does not; leave out `#x`"),
    ("https://a.com\\x", "goes on after host and port, which an origin does not; leave out `\\x`"),
    ("https:///a.com", "goes on after host and port"),
    ("https://*.vercel.app/", "goes on after host and port"),
    (
        "https://user@a.com",
        "contains a user name, which no origin has; leave out everything up to the `@`",
    ),
    ("https://user:secret@*.a.com", "contains a user name"),
    ("https://", "names no host; write it as in https://app.example.com"),
    ("http://:3000", "names no host"),
    (
        "https://a.com:443",
        "names the default port of https, which browsers never send; leave out `:443`",
    ),
    ("https://*.a.com:443", "names the default port of https"),
    (
        "HTTP://a.com:80",
        "names the default port of http, which browsers never send; leave out `:80`",
    ),
    ("https://a.com:", "has the port ``; write one number from 1 to 65535, without leading zeros"),
    ("https://a.com:*", "has the port `*`; write one number"),
    ("https://a.com:0", "has the port `0`; write one number"),
    ("https://a.com:08443", "has the port `08443`; write one number"),
    ("https://a.com:+8443", "has the port `+8443`; write one number"),
    ("https://a.com:65536", "has the port `65536`; write one number"),
    (
        "https://a.*.com",
        "has a `*` that is not the whole first label; write it as in https://*.example.com",
    ),
    ("https://*a.example.com", "has a `*` that is not the whole first label"),
    ("https://a*.example.com", "has a `*` that is not the whole first label"),
    ("https://**.example.com", "has a `*` that is not the whole first label"),
    ("https://*.*.example.com", "has a `*` that is not the whole first label"),
    ("https://example.*", "has a `*` that is not the whole first label"),
    ("https://*example", "has a `*` that is not the whole first label"),
    (
        "https://*.com",
        "covers every host under `com`; \
         put at least two labels behind the `*.`, as in https://*.example.com",
    ),
    ("http://*.localhost:3000", "covers every host under `localhost`"),
    (
        "https://a_b.com",
        "has the host label `a_b`; write 1 to 63 of a-z, 0-9 and `-`, no `-` at either end, \
         other letters in their xn-- form, an IPv6 address in brackets",
    ),
    ("https://*.", "has the host label ``; write"),
    ("https://*..com", "has the host label ``; write"),
    ("https://.a.com", "has the host label ``; write"),
    ("https://a..com", "has the host label ``; write"),
    ("https://a.com.", "has the host label ``; write"),
    ("https://*.a.com.", "has the host label ``; write"),
    ("https://-a.com", "has the host label `-a`; write"),
    ("https://*.a-.com", "has the host label `a-`; write"),
    ("https://bücher.example", "has the host label `bücher`; write"),
    // The Kelvin sign, which Unicode folds to `k` and ASCII leaves alone.
    ("https://\u{212a}.com", "has the host label `\u{212a}`; write"),
    ("https://a%2eb.com", "has the host label `a%2eb`; write"),
    ("https://a.com\0", "has the host label `com\0`; write"),
    ("http://::1", "has the host label `:`; write"),
    ("http://a:1:2", "has the host label `a:1`; write"),
    ("http://[::1", "has the host label `[:`; write"),
    ("http://[::1]a", "has the port `1]a`; write"),
    ("http://*.[::1]", "has the host label `[::1]`; write"),
    (
        "http://1.2.3",
        "has a host that ends in a number; write a name, or an address as in 127.0.0.1",
    ),
    ("http://127.0.0.01", "has a host that ends in a number"),
    ("http://256.0.0.1", "has a host that ends in a number"),
    ("http://2130706433:3000", "has a host that ends in a number"),
    ("http://*.0.0.1", "has a host that ends in a number"),
    ("http://*.127.0.0.1", "has a host that ends in a number"),
    ("http://a.0x7F", "has a host that ends in a number"),
    ("http://0x", "has a host that ends in a number"),
    ("http://[]", "has no IPv6 address in its brackets; write it as in http://[::1]:3000"),
    ("http://[::g]:3000", "has no IPv6 address in its brackets"),
    ("http://[127.0.0.1]", "has no IPv6 address in its brackets"),
    ("http://[fe80::1%eth0]", "has no IPv6 address in its brackets"),
];

#[test]
fn bad_patterns_are_refused_with_a_line_that_names_them() {
    for (pattern, problem) in BAD_PATTERNS {
        let error = OriginPattern::parse(&format!(" {pattern}\n")).unwrap_err().to_string();

        let rest = error.strip_prefix(&format!("origin pattern {pattern:?} "));
        let said = rest.unwrap_or_else(|| panic!("{error} does not name {pattern:?}"));
        assert!(said.starts_with(problem), "{error}");
        assert!(!error.contains('\n') && !error.ends_with('.'), "{error}");
    }
}

#[test]
fn hosts_and_labels_are_refused_past_their_limits_only() {
    let label = "a".repeat(63);
    let longest = [&label[..], &label, &label, &label[2..]].join(".");
    assert_eq!(longest.len(), 253);

    let exact = OriginPattern::parse(&format!("https://{longest}:65535")).unwrap();
    assert!(AllowedOrigins(vec![exact.clone()]).allows(exact.to_string().as_bytes()));
    let error = OriginPattern::parse(&format!("https://a{longest}")).unwrap_err().to_string();
    assert!(error.ends_with(" has a host of 254 bytes; the limit is 253"), "{error}");

    let below = OriginPattern::parse(&format!("https://*.{}:65535", &longest[2..])).unwrap();
    assert!(below.matches(&format!("https://a.{}:65535", &longest[2..])));
    assert!(!below.matches(&format!("https://aa.{}:65535", &longest[2..])));
    assert!(OriginPattern::parse(&format!("https://*.{}", &longest[1..])).is_err());

    assert!(OriginPattern::parse(&format!("https://{label}.com")).is_ok());
    assert!(OriginPattern::parse(&format!("https://{label}a.com")).is_err());
}

#[test]
fn every_short_origin_is_judged_as_the_naive_rule_does() {
    let origins = strings_up_to(7, "ab-.:1");
    // Counted by hand: behind no port a `*` has room for 3 characters, which make 3 + 9 + 36
    // single labels and 9 pairs; behind `:1` it has room for 1.
    let patterns =
        [("https://*.b.a", 57), ("https://*.b.a:1", 3), ("https://b.a", 1), ("https://b.a:1", 1)];

    for (text, expected_matches) in patterns {
        let pattern = OriginPattern::parse(text).unwrap();
        let mut count = 0;
        for origin in origins.iter().map(|rest| format!("https://{rest}")) {
            let judged = pattern.matches(&origin);
            assert_eq!(judged, naive_match(text, &origin), "{origin:?} by {text}");
            count += u32::from(judged);
        }
        assert_eq!(count, expected_matches, "origins that match {text}");
    }
}

#[test]
fn every_edit_of_an_allowed_origin_is_judged_as_the_naive_rule_does() {
    let defaults = AllowedOrigins::defaults();
    let judge_both = |edited: &str| {
        let expected = edited.len() <= MAX_ORIGIN_BYTES
            && DEFAULT_PATTERNS.iter().any(|pattern| naive_match(pattern, edited));
        assert_eq!(defaults.allows(edited.as_bytes()), expected, "{edited:?}");
    };

    let edits = (0..=0x7f_u8).map(char::from).chain("ü\u{212a}。\u{200b}".chars());
    for origin in ALLOWED.iter().filter(|origin| origin.len() < 100) {
        for at in 0..=origin.len() {
            let (before, behind) = origin.split_at(at);
            let behind_next = behind.get(1..).unwrap_or_default();
            judge_both(&format!("{before}{behind_next}"));
            judge_both(&format!("{behind}{before}"));
            edits.clone().for_each(|edit| judge_both(&format!("{before}{edit}{behind}")));
            edits.clone().for_each(|edit| judge_both(&format!("{before}{edit}{behind_next}")));
        }
    }
}

#[test]
fn every_accepted_pattern_can_match_and_reads_back_as_itself() {
    let mut accepted = 0;

    for rest in strings_up_to(5, "aA.-*:80/@") {
        let Ok(pattern) = OriginPattern::parse(&format!("http://{rest}")) else { continue };
        let text = pattern.to_string();

        assert_eq!(OriginPattern::parse(&text), Ok(pattern.clone()));
        for labels in ["a", "0.a-a"] {
            let origin = text.replace('*', labels);
            assert!(pattern.matches(&origin), "{text} never matches");
            assert!(naive_match(&text, &origin), "{text} matches {origin}");
        }
        assert!(!text.ends_with(":80") && !text.contains(['A', '@']), "no browser sends {text}");
        accepted += 1;
    }

    assert!(accepted > 1000, "only {accepted} patterns were tried");
}

/// The rule told a second time, by taking both texts to pieces and comparing from the back.
fn naive_match(pattern: &str, origin: &str) -> bool {
    fn pieces(text: &str) -> Option<(&str, Vec<&str>, &str, usize)> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = rest.find(':').map_or((rest, ""), |colon| rest.split_at(colon));
        Some((scheme, host.rsplit('.').collect(), port, host.len()))
    }
    let good = |label: &&str| {
        let letters = "-abcdefghijklmnopqrstuvwxyz0123456789";
        label.chars().all(|c| letters.contains(c))
            && label.trim_matches('-') == *label
            && !label.is_empty()
            && label.len() < 64
    };
    let Some((scheme, mut wanted, port, _)) = pieces(pattern) else { return false };
    let Some((its_scheme, labels, its_port, host_bytes)) = pieces(origin) else { return false };

    let star = wanted.pop_if(|last| *last == "*").is_some();
    scheme == its_scheme
        && port == its_port
        && host_bytes < 254
        && labels.starts_with(&wanted)
        && labels.iter().all(good)
        && (labels.len() > wanted.len()) == star
}

/// Every string of up to `length` characters of `alphabet`, the empty one among them.
fn strings_up_to(length: usize, alphabet: &str) -> Vec<String> {
    let mut strings = vec![String::new()];
    let mut longest = strings.clone();
    for _ in 0..length {
        longest = longest
            .iter()
            .flat_map(|string| alphabet.chars().map(move |c| format!("{string}{c}")))
            .collect();
        strings.extend(longest.iter().cloned());
    }
    strings
}
