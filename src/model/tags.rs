//! Tags: words by which a user finds sessions again.

use utoipa::ToSchema;

use super::Invalid;

/// The tags of a session: up to 20, in the order in which they were given, none of them twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, ToSchema)]
#[schema(value_type = Vec<Tag>, max_items = 20)]
pub struct Tags(Vec<String>);

/// One tag: 1 to 64 characters, not blank, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(
    value_type = String,
    min_length = 1,
    max_length = 64,
    pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
)]
pub struct Tag(String);

impl Tags {
    /// The most tags of a session.
    pub const MAX: usize = 20;

    /// Takes `tags` as the tags of a session. One that is given twice counts once.
    ///
    /// # Errors
    /// [`Invalid`] when there are more than 20, or one is none.
    pub fn parse(tags: Vec<String>) -> Result<Self, Invalid> {
        let mut taken: Vec<String> = Vec::new();
        for tag in tags {
            let Tag(tag) = Tag::parse("tags", tag)?;
            if taken.contains(&tag) {
                continue;
            }
            // Before the next is compared with all of them.
            if taken.len() == Self::MAX {
                let problem = format!("are more than {}, which is the limit", Self::MAX);
                return Err(Invalid::wrong("tags", problem));
            }
            taken.push(tag);
        }
        Ok(Self(taken))
    }

    /// The tags.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Tag {
    /// The longest tag, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Takes `text`, which the caller calls `field`, as a tag.
    ///
    /// # Errors
    /// [`Invalid`] when it is blank, longer than 64 characters, or holds a control character.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Invalid> {
        let limit = Self::MAX_CHARS;
        if text.trim().is_empty() {
            return Err(Invalid::wrong(field, "hold a blank one; leave it out"));
        }
        let chars = text.chars().count();
        if chars > limit {
            let problem = format!("hold one of {chars} characters; the limit is {limit}");
            return Err(Invalid::wrong(field, problem));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::wrong(field, "hold a control character; leave it out"));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tags: &[&str]) -> Result<Tags, Invalid> {
        Tags::parse(tags.iter().map(|tag| (*tag).to_owned()).collect())
    }

    #[test]
    fn tags_are_kept_in_order_and_once() {
        assert_eq!(parse(&["b", "a", "b"]).unwrap().as_slice(), ["b", "a"]);
        assert!(parse(&["\u{e9}".repeat(64).as_str()]).is_ok(), "characters, not bytes");
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let many: Vec<_> = (0..21).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for tags in [&["x".repeat(65).as_str()][..], &[""], &[" "], &["a\n"], &many] {
            assert_eq!(parse(tags).unwrap_err().field, "tags", "{tags:?}");
        }
        assert!(parse(&many[..20]).is_ok());
    }
}
