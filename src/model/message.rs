//! A message: one line of a conversation.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::invalid::excerpt;
use super::{Invalid, MessageId, Metadata, Parts, SessionId, Timestamp};

/// A message as clients read it, which is also how it is stored.
///
/// Its strings stay JSON, so that a stored message is neither unescaped nor escaped on its way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "A message: one line of a conversation.")]
pub struct Message<'a> {
    /// Unique within the session.
    #[serde(borrow)]
    #[schema(value_type = MessageId)]
    pub id: Cow<'a, RawValue>,
    /// The session it belongs to.
    #[serde(borrow)]
    #[schema(value_type = SessionId)]
    pub session_id: Cow<'a, RawValue>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(borrow)]
    #[schema(value_type = String, pattern = r"^[^\x00]*$")]
    pub content: Cow<'a, RawValue>,
    /// When it was saved; strictly increasing within a session.
    #[serde(borrow)]
    #[schema(value_type = Timestamp)]
    pub timestamp: Cow<'a, RawValue>,
    /// The caller's JSON object; `{}` when none was given.
    #[serde(borrow)]
    #[schema(value_type = Metadata)]
    pub metadata: Cow<'a, RawValue>,
    /// The message of the session that this one follows, if its writer said so.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = MessageId, required = false)]
    pub parent_id: Option<Cow<'a, RawValue>>,
    /// What is shown of it, if that is more than text; absent when none were given.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Parts, required = false)]
    pub parts: Option<Cow<'a, RawValue>>,
    /// When it was edited last; absent if it never was.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Timestamp, required = false)]
    pub edited_at: Option<Cow<'a, RawValue>>,
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person.
    User,
    /// The model.
    Assistant,
    /// Instructions to the model.
    System,
    /// What a tool returned.
    Tool,
}

impl Role {
    /// Takes `text` as a role.
    ///
    /// # Errors
    /// [`Invalid`] when it is none of the four.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "user" => Ok(Self::User),
            "assistant" => Ok(Self::Assistant),
            "system" => Ok(Self::System),
            "tool" => Ok(Self::Tool),
            other => Err(Invalid::wrong(
                "role",
                format!("is {}; it must be user, assistant, system or tool", excerpt(other)),
            )),
        }
    }
}

/// The text of a message: not empty, without NUL. Its size is bounded by the request's.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, pattern = r"^[^\x00]+$")]
pub struct Content(String);

impl Content {
    /// Takes `text` as a message's content; `field` is what the caller calls it.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty or holds a NUL, which PostgreSQL cannot store.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::wrong(field, "is empty; send at least one character"));
        }
        if text.contains('\0') {
            return Err(Invalid::wrong(field, "holds a NUL character; leave it out"));
        }
        Ok(Self(text))
    }

    /// What the text parts of a message say. May be empty, as other parts may say it all.
    pub fn of_parts(parts: &Parts) -> Self {
        Self(parts.text().to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_the_four_and_case_counts() {
        for text in ["user", "assistant", "system", "tool"] {
            assert!(Role::parse(text).is_ok());
        }
        for text in ["", "User", "function", "user "] {
            assert_eq!(Role::parse(text).unwrap_err().field, "role");
        }
    }

    #[test]
    fn content_is_any_text_but_empty_or_with_nul() {
        for text in [" ", "\n", "\u{1f468}\u{200d}\u{1f469}", "\u{202e}abc", "<script>"] {
            assert_eq!(Content::parse("content", text.to_owned()).unwrap().as_str(), text);
        }
        for text in ["", "\0", "a\0b"] {
            assert!(Content::parse("content", text.to_owned()).is_err());
        }
    }
}
