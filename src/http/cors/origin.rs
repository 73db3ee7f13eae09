//! Which web origins may call this service: patterns such as `https://*.example.com`.
//!
//! Owns how a pattern is written and when an origin matches it. Knows nothing of requests and
//! headers, which are its parent's.
//!
//! An `Origin` header carries a serialised origin: scheme, host, and the port unless it is the
//! scheme's default, all in lower case (RFC 6454, section 6.2). It is compared byte for byte and
//! never tidied up first: a browser sends one form only, and whatever else arrives is no browser's.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// What is allowed unless the configuration says otherwise.
const DEFAULT_PATTERNS: [&str; 5] = [
    "http://localhost:3000",
    "http://localhost:3005",
    "https://sidekickportal.com",
    "https://*.sidekickportal.com",
    "https://*.vercel.app",
];

/// The longest origin that can match has 267 bytes: `https://`, a host of 253, `:65535`.
const MAX_ORIGIN_BYTES: usize = 300;

/// The longest host name in text form; RFC 1035 allows 255 bytes on the wire.
const MAX_HOST_BYTES: usize = 253;

/// The longest label of a host name (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;

/// The origins that may call, with credentials; an empty list allows none.
///
/// Displayed as the patterns with commas between them, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<OriginPattern>);

impl AllowedOrigins {
    /// The local front ends, the portal with its sub-domains, and every deployment on Vercel.
    ///
    /// Anyone can deploy there. A foreign page gains nothing where a token is asked for, since no
    /// cookie is read and the browser adds nothing that would speak for the visitor; where none is
    /// asked for, it may do what any caller may.
    #[expect(clippy::missing_panics_doc, reason = "parses constants, as the tests do")]
    pub fn defaults() -> Self {
        Self::parse_list(DEFAULT_PATTERNS).expect("the default patterns are well formed")
    }

    /// Reads patterns, each text being one or several with commas between them.
    ///
    /// Empty items are left out, and so are patterns that are there already.
    ///
    /// # Errors
    /// [`InvalidPattern`] for the first item that is no pattern.
    pub fn parse_list<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidPattern> {
        let mut patterns = Vec::new();
        let items = texts.into_iter().flat_map(|text| text.split(','));
        for item in items.filter(|item| !item.trim().is_empty()) {
            let pattern = OriginPattern::parse(item)?;
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        Ok(Self(patterns))
    }

    /// Whether the value of an `Origin` header, as it came over the wire, is allowed.
    pub fn allows(&self, origin: &[u8]) -> bool {
        // The length first, so that an attacker's long header costs one comparison.
        origin.len() <= MAX_ORIGIN_BYTES
            && str::from_utf8(origin)
                .is_ok_and(|origin| self.0.iter().any(|pattern| pattern.matches(origin)))
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return f.write_str("none") };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|pattern| write!(f, ", {pattern}"))
    }
}

/// One origin, or with `*.` before the host all origins below that host.
///
/// The `*` stands for one or more whole DNS labels. Displayed in the form that browsers send.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OriginPattern(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Exact(String),
    /// `domain` begins with its dot; `port` is empty or begins with its colon.
    Below {
        scheme: &'static str,
        domain: String,
        port: String,
    },
}

impl OriginPattern {
    /// Reads `scheme://host[:port]`; white space around it and upper case are forgiven.
    ///
    /// # Errors
    /// [`InvalidPattern`] if it is malformed, would allow too much, or is in a form that no browser
    /// sends and that therefore would never match.
    fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.trim();
        match parse_shape(&text.to_ascii_lowercase()) {
            Ok(shape) => Ok(Self(shape)),
            Err(problem) => Err(InvalidPattern { pattern: text.to_owned(), problem }),
        }
    }

    /// Whether this pattern covers `origin`, byte for byte; `null` is covered by none.
    fn matches(&self, origin: &str) -> bool {
        match &self.0 {
            Shape::Exact(exact) => origin == exact,
            Shape::Below { scheme, domain, port } => origin
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_suffix(port.as_str()))
                .and_then(|host| host.strip_suffix(domain.as_str()))
                .is_some_and(|labels| {
                    // Whole labels only: no `/`, `#`, `@` or `:` can hide where the `*` stands.
                    labels.len() + domain.len() <= MAX_HOST_BYTES && labels.split('.').all(is_label)
                }),
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Exact(exact) => f.write_str(exact),
            Shape::Below { scheme, domain, port } => write!(f, "{scheme}*{domain}{port}"),
        }
    }
}

/// An origin pattern that cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
// `Debug` of the text: quoted, and on one line whatever is in it.
#[error("origin pattern {pattern:?} {problem}")]
pub struct InvalidPattern {
    pattern: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Problem {
    #[error("is empty; write an origin such as https://app.example.com")]
    Empty,
    #[error("contains white space; put a comma between two origins")]
    WhiteSpace,
    #[error("is what sandboxed pages of any site send; name the site itself")]
    Null,
    #[error(
        "would let every site act for its visitors, as credentials are allowed; \
         name the sites, as in https://app.example.com or https://*.example.com"
    )]
    EverySite,
    #[error("does not begin with http:// or https://; write it as in https://app.example.com")]
    Scheme,
    #[error("goes on after host and port, which an origin does not; leave out `{0}`")]
    Surplus(String),
    #[error("contains a user name, which no origin has; leave out everything up to the `@`")]
    UserInfo,
    #[error("names no host; write it as in https://app.example.com")]
    NoHost,
    #[error("has the port `{0}`; write one number from 1 to 65535, without leading zeros")]
    Port(String),
    #[error("names the default port of {scheme}, which browsers never send; leave out `:{port}`")]
    DefaultPort { scheme: &'static str, port: u16 },
    #[error("has a host of {bytes} bytes; the limit is {MAX_HOST_BYTES}")]
    LongHost { bytes: usize },
    #[error("has a `*` that is not the whole first label; write it as in https://*.example.com")]
    MisplacedStar,
    #[error(
        "covers every host under `{0}`; \
         put at least two labels behind the `*.`, as in https://*.example.com"
    )]
    TooWide(String),
    #[error(
        "has the host label `{0}`; write 1 to {MAX_LABEL_BYTES} of a-z, 0-9 and `-`, no `-` at \
         either end, other letters in their xn-- form, an IPv6 address in brackets"
    )]
    Label(String),
    #[error("has a host that ends in a number; write a name, or an address as in 127.0.0.1")]
    Ipv4,
    #[error("has no IPv6 address in its brackets; write it as in http://[::1]:3000")]
    Ipv6,
}

fn parse_shape(text: &str) -> Result<Shape, Problem> {
    match text {
        "" => return Err(Problem::Empty),
        // Fetch refuses a literal `*` together with credentials (CORS check); to reflect every
        // origin instead would be the very hole which that rule closes.
        "*" => return Err(Problem::EverySite),
        "null" => return Err(Problem::Null),
        _ => {}
    }
    if text.contains(char::is_whitespace) {
        return Err(Problem::WhiteSpace);
    }

    let (scheme, rest) = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))
        .ok_or(Problem::Scheme)?;
    if let Some(end) = rest.find(['/', '\\', '?', '#']) {
        return Err(Problem::Surplus(rest.split_at(end).1.to_owned()));
    }
    if rest.contains('@') {
        return Err(Problem::UserInfo);
    }
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, parse_port(scheme, port)?),
        _ => (rest, String::new()),
    };

    match host.strip_prefix("*.") {
        _ if host.is_empty() => Err(Problem::NoHost),
        _ if host == "*" => Err(Problem::EverySite),
        // With its `*` the host is as long as the shortest host that it covers.
        _ if host.len() > MAX_HOST_BYTES => Err(Problem::LongHost { bytes: host.len() }),
        None => Ok(Shape::Exact(format!("{scheme}{}{port}", parse_host(host)?))),
        Some(domain) => {
            check_name(domain)?;
            if !domain.contains('.') {
                return Err(Problem::TooWide(domain.to_owned()));
            }
            Ok(Shape::Below { scheme, domain: format!(".{domain}"), port })
        }
    }
}

/// The port with its colon, as it stands in an origin.
fn parse_port(scheme: &str, text: &str) -> Result<String, Problem> {
    let port = match text.parse::<u16>() {
        // Comparing the text refuses `080` and `+80`, which `parse` takes.
        Ok(port) if port > 0 && port.to_string() == text => port,
        _ => return Err(Problem::Port(text.to_owned())),
    };
    match (scheme, port) {
        ("https://", 443) => Err(Problem::DefaultPort { scheme: "https", port }),
        ("http://", 80) => Err(Problem::DefaultPort { scheme: "http", port }),
        _ => Ok(format!(":{port}")),
    }
}

/// A host without `*`, as browsers write it.
fn parse_host(host: &str) -> Result<String, Problem> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| Problem::Ipv6)?;
        // The URL standard shortens as `Ipv6Addr` does, but has no dotted form of mapped addresses.
        return Ok(match (address.to_ipv4_mapped(), address.segments()) {
            (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
            (None, _) => format!("[{address}]"),
        });
    }
    if host.parse::<Ipv4Addr>().is_err() {
        check_name(host)?;
    }
    Ok(host.to_owned())
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.contains('*') {
        return Err(Problem::MisplacedStar);
    }
    if let Some(label) = name.split('.').find(|label| !is_label(label)) {
        return Err(Problem::Label(label.to_owned()));
    }
    // Browsers read such a host as an IPv4 address and send it with four decimal numbers, or not at
    // all (URL standard, "ends in a number checker").
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex_digits = last.strip_prefix("0x").unwrap_or("-");
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || hex_digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Err(Problem::Ipv4);
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

// Not inside `tests`: there the path would start in a folder of that name.
#[cfg(test)]
#[path = "../../../tests/api/origins.rs"]
mod origins;

#[cfg(test)]
mod tests {
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
        (
            "a.com",
            "does not begin with http:// or https://; write it as in https://app.example.com",
        ),
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
        (
            "https://a.com?x",
            "goes on after host and port, which an origin does not; leave out `?x`",
        ),
        (
            "https://a.com#x",
            "goes on after host and port, which an origin does not; leave out `#x`",
        ),
        (
            "https://a.com\\x",
            "goes on after host and port, which an origin does not; leave out `\\x`",
        ),
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
        (
            "https://a.com:",
            "has the port ``; write one number from 1 to 65535, without leading zeros",
        ),
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
        let patterns = [
            ("https://*.b.a", 57),
            ("https://*.b.a:1", 3),
            ("https://b.a", 1),
            ("https://b.a:1", 1),
        ];

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
            assert!(
                !text.ends_with(":80") && !text.contains(['A', '@']),
                "no browser sends {text}"
            );
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
}
