//! Message parts: what the AI SDKs show of a message, kept as it was sent.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::Invalid;
use super::metadata::{Metadata, depth};

/// A JSON array of at least one object, byte for byte as it was sent. Its size is bounded by the request's.
#[derive(Debug, Clone)]
pub struct Parts {
    json: Box<RawValue>,
    text: String,
}

impl PartialSchema for Parts {
    fn schema() -> RefOr<Schema> {
        let part = ObjectBuilder::new();
        ArrayBuilder::new().items(part).min_items(Some(1)).into()
    }
}

impl ToSchema for Parts {}

/// A part, as far as its text goes.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

impl Parts {
    /// Takes a JSON value as the parts of a message.
    ///
    /// # Errors
    /// [`Invalid`] when it is not an array of objects, is nested deeper than 64 levels, or when a
    /// text part holds a NUL.
    pub fn parse(json: Box<RawValue>) -> Result<Self, Invalid> {
        let wrong = || Invalid::wrong("parts", "must be an array of JSON objects");
        let parts: Vec<&RawValue> = serde_json::from_str(json.get()).map_err(|_| wrong())?;
        if parts.iter().any(|part| !part.get().starts_with('{')) {
            return Err(wrong());
        }
        if parts.is_empty() {
            return Err(Invalid::wrong("parts", "is empty; leave it out or send one part"));
        }
        if depth(json.get()) > Metadata::MAX_DEPTH {
            let problem = format!("is nested deeper than {} levels", Metadata::MAX_DEPTH);
            return Err(Invalid::wrong("parts", problem));
        }
        let texts = parts.iter().filter_map(|part| text_of(part));
        let text = texts.collect::<String>();
        if text.contains('\0') {
            return Err(Invalid::wrong("parts", "hold a NUL character in a text; leave it out"));
        }
        Ok(Self { json, text })
    }

    /// The array's text.
    pub fn as_raw(&self) -> &RawValue {
        &self.json
    }

    /// What its text parts say, one behind the other.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The text of a part whose `type` is `text`.
fn text_of(part: &RawValue) -> Option<String> {
    let part: Part<'_> = serde_json::from_str(part.get()).ok()?;
    let kind: Cow<'_, str> = serde_json::from_str(part.kind?.get()).ok()?;
    let text: String = serde_json::from_str(part.text?.get()).ok()?;
    (kind == "text").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parts, Invalid> {
        Parts::parse(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn parts_are_kept_as_they_were_sent_and_tell_their_text() {
        let text = r#"[ {"type":"text","text":"Caf\u00e9 "}, {"type":"tool-x","text":"no"},
            {"text":7,"type":"text"}, {"type":"t\u0065xt","text":"noir","x":1.0e2} ]"#;

        let parts = parse(text).unwrap();

        assert_eq!(parts.as_raw().get(), text);
        assert_eq!(parts.text(), "Caf\u{e9} noir");
        assert_eq!(parse(r#"[{"type":"step-start"}]"#).unwrap().text(), "");
    }

    #[test]
    fn other_values_are_refused() {
        let deep = format!("[{}1{}]", "{\"a\":".repeat(64), "}".repeat(64));
        for text in ["{}", "[]", "1", "\"[]\"", "[1]", "[[]]", "[{}, null]", &deep] {
            assert_eq!(parse(text).unwrap_err().field, "parts", "{text}");
        }
        assert!(parse(r#"[{"type":"text","text":"a\u0000"}]"#).is_err());
    }
}
