//! A session: one conversation of one user.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Content, Invalid, Metadata, SessionId, Tags, Timestamp, UserId};

/// A session as clients read it, which is also how it is stored.
///
/// Its strings stay JSON, so that a stored session is neither unescaped nor escaped on its way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "A session: one conversation of one user.")]
pub struct Session<'a> {
    /// Unique over all users.
    #[serde(borrow)]
    #[schema(value_type = SessionId)]
    pub session_id: Cow<'a, RawValue>,
    /// Whose it is.
    #[serde(borrow)]
    #[schema(value_type = UserId)]
    pub user_id: Cow<'a, RawValue>,
    /// What it is called.
    #[serde(borrow)]
    #[schema(value_type = Title)]
    pub title: Cow<'a, RawValue>,
    /// The oldest message, cut after 2,000 characters with `...`; `null` while there is none.
    #[serde(borrow)]
    #[schema(value_type = Option<String>, required = true)]
    pub first_message: Cow<'a, RawValue>,
    /// The newest message, cut in the same way; `null` while there is none.
    #[serde(borrow)]
    #[schema(value_type = Option<String>, required = true)]
    pub last_message: Cow<'a, RawValue>,
    /// How many messages are stored.
    pub message_count: u64,
    /// When it was created.
    #[serde(borrow)]
    #[schema(value_type = Timestamp)]
    pub created_at: Cow<'a, RawValue>,
    /// When it last changed: a message, a title, metadata.
    #[serde(borrow)]
    #[schema(value_type = Timestamp)]
    pub updated_at: Cow<'a, RawValue>,
    /// The caller's JSON object; `{}` when none was given.
    #[serde(borrow)]
    #[schema(value_type = Metadata)]
    pub metadata: Cow<'a, RawValue>,
    /// Whether it was put away: lists leave it out unless they are asked for it.
    #[serde(default)]
    #[schema(required = true)]
    pub archived: bool,
    /// Whether it is kept at the top.
    #[serde(default)]
    #[schema(required = true)]
    pub pinned: bool,
    /// Words to find it by.
    #[serde(default = "no_tags", borrow)]
    #[schema(value_type = Tags)]
    pub tags: Cow<'a, RawValue>,
    /// When it is to be deleted; absent of one that is kept.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>, nullable = false)]
    pub expires_at: Option<Cow<'a, RawValue>>,
}

impl Session<'_> {
    /// What lists choose it by.
    pub fn marks(&self) -> Marks {
        let Self { archived, pinned, .. } = *self;
        Marks { archived, pinned, tagged: self.tags.get() != "[]" }
    }
}

/// The JSON of tags where there are none.
pub fn no_tags() -> Cow<'static, RawValue> {
    Cow::Borrowed(serde_json::from_str("[]").unwrap_or(RawValue::NULL))
}

/// What lists choose sessions by, known of a row without parsing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Whether it was put away.
    pub archived: bool,
    /// Whether it is kept at the top.
    pub pinned: bool,
    /// Whether it has tags.
    pub tagged: bool,
}

/// What a session is called: 1 to 500 characters, not blank, without NUL.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, max_length = 500, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$")]
pub struct Title(String);

impl Title {
    /// Longest title, in characters: what the column of the service's predecessor holds.
    pub const MAX_CHARS: usize = 500;

    /// Takes `text` as a title.
    ///
    /// # Errors
    /// [`Invalid`] when it is blank, too long or holds a NUL.
    pub fn parse(text: String) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::wrong("title", "is blank; leave it out or give it a name"));
        }
        if text.contains('\0') {
            return Err(Invalid::wrong("title", "holds a NUL character; leave it out"));
        }
        let chars = text.chars().count();
        if chars > Self::MAX_CHARS {
            let limit = Self::MAX_CHARS;
            return Err(Invalid::wrong(
                "title",
                format!("is {chars} characters long; the limit is {limit}"),
            ));
        }
        Ok(Self(text))
    }

    /// The title of a session that was given none: the first 50 characters of its trimmed first
    /// message, with `...` behind them when it is longer, or `New Chat` without a message.
    pub fn derive(first_message: Option<&Content>) -> Self {
        Self(match first_message {
            Some(content) => cut(content.as_str().trim(), 50).into_owned(),
            None => "New Chat".to_owned(),
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a session shows of a message: its text, cut after 2,000 characters with `...`.
pub fn preview(content: &str) -> Cow<'_, str> {
    cut(content, 2000)
}

fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    // As many bytes as characters allowed cannot hold more characters.
    if text.len() <= chars {
        return Cow::Borrowed(text);
    }
    match text.char_indices().nth(chars) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.split_at(end).0)),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(text: &str) -> String {
        Title::derive(Some(&Content::parse("firstMessage", text.to_owned()).unwrap())).0
    }

    #[test]
    fn a_title_is_derived_from_50_characters_of_the_trimmed_first_message() {
        assert_eq!(derived("  hello\n"), "hello");
        assert_eq!(derived(&"\u{e9}".repeat(50)), "\u{e9}".repeat(50));
        assert_eq!(derived(&format!(" {}", "\u{e9}".repeat(51))), "\u{e9}".repeat(50) + "...");
        assert_eq!(Title::derive(None).as_str(), "New Chat");
    }

    #[test]
    fn a_preview_is_whole_up_to_2000_characters() {
        let whole = "\u{1f600}".repeat(2000);

        assert_eq!(preview(&whole), whole);
        assert_eq!(preview(&format!("{whole}x")), format!("{whole}..."));
    }

    #[test]
    fn a_given_title_is_neither_blank_nor_longer_than_500_characters() {
        assert!(Title::parse("\u{e9}".repeat(500)).is_ok());
        for bad in ["", "  ", "a\0", &"x".repeat(501)] {
            assert_eq!(Title::parse(bad.to_owned()).unwrap_err().field, "title");
        }
    }
}
