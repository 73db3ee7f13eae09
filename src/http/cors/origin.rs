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

    /// Each pattern, with an origin that it covers.
    pub fn examples(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().map(|pattern| {
            let shown = pattern.to_string();
            let example = shown.replacen('*', "an-example", 1);
            (shown, example)
        })
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
mod tests;
