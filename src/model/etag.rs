//! Entity tags: which version of something a client has seen (RFC 9110, section 8.8.3).

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// A strong entity tag: a hash of what it tags, so that equal ones tag equal bytes. Not against
/// forgery: who makes two versions of one tag fools nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag(u128);

impl ETag {
    /// The tag of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }

    /// The tag, to be kept.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The tag that was kept.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:032x}\"", self.0)
    }
}

/// What an `If-Match` or `If-None-Match` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETags {
    /// `*`: whatever there is.
    Any,
    /// These, as they were sent, with their quotes.
    Listed(Vec<String>),
}

impl ETags {
    /// Takes the field's value; what is malformed in it matches nothing.
    pub fn parse(field: &str) -> Self {
        if field.trim() == "*" {
            return Self::Any;
        }
        let tags = field.split(',').map(|tag| tag.trim().to_owned());
        Self::Listed(tags.filter(|tag| !tag.is_empty()).collect())
    }

    /// Whether `tag` is listed: the strong comparison of `If-Match`, to which weak tags are never
    /// equal.
    pub fn matches(&self, tag: ETag) -> bool {
        self.has(|listed| listed == tag.to_string())
    }

    /// Whether `tag` is listed, be it as a weak one: the comparison of `If-None-Match`. A proxy
    /// that compresses an answer makes its tag weak.
    pub fn matches_weakly(&self, tag: ETag) -> bool {
        self.has(|listed| listed.strip_prefix("W/").unwrap_or(listed) == tag.to_string())
    }

    fn has(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| is_wanted(tag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = ETag::of(b"1");
        for (field, strong, weak) in [
            (format!("{tag}"), true, true),
            (format!("\"a\", {tag} ,\"b\""), true, true),
            (format!("W/{tag}"), false, true),
            ("*".to_owned(), true, true),
            (String::new(), false, false),
            (tag.to_string().replace('"', ""), false, false),
            (ETag::of(b"2").to_string(), false, false),
        ] {
            assert_eq!(ETags::parse(&field).matches(tag), strong, "{field}");
            assert_eq!(ETags::parse(&field).matches_weakly(tag), weak, "{field}");
        }
    }
}
