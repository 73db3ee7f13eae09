//! JSON that belongs to the caller: kept as it was sent.

use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Invalid;
use super::merge_patch::merge;

/// How metadata is changed.
#[derive(Debug, Clone)]
pub enum MetadataUpdate {
    /// This takes the place of what was there.
    Replace(Metadata),
    /// This is merged into what was there (RFC 7396).
    Merge(Metadata),
}

impl MetadataUpdate {
    /// Takes a JSON value as what replaces metadata, or what is merged into it.
    ///
    /// # Errors
    /// [`Invalid`] when it is no metadata itself.
    pub fn parse(value: Box<RawValue>, merges: bool) -> Result<Self, Invalid> {
        let metadata = Metadata::parse(value)?;
        Ok(if merges { Self::Merge(metadata) } else { Self::Replace(metadata) })
    }

    /// What `stored` metadata becomes.
    ///
    /// # Errors
    /// [`Invalid`] when the outcome is too large or too deep.
    pub fn apply(&self, stored: &RawValue) -> Result<Box<RawValue>, Invalid> {
        match self {
            Self::Replace(metadata) => Ok(metadata.0.clone()),
            Self::Merge(patch) => {
                let merged = RawValue::from_string(merge(stored, &patch.0));
                let broken = |_| Invalid::wrong("metadata", "cannot be merged");
                Metadata::parse(merged.map_err(broken)?).map(|merged| merged.0)
            }
        }
    }
}

/// Any JSON object of at most 64 KiB and 64 levels, byte for byte as it was sent.
#[derive(Debug, Clone, ToSchema)]
#[schema(value_type = Object)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// Largest text, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Deepest nesting of objects and arrays, counting the object itself.
    pub const MAX_DEPTH: usize = 64;

    /// Takes a JSON value as metadata.
    ///
    /// # Errors
    /// [`Invalid`] when it is not an object, too large or too deep.
    pub fn parse(value: Box<RawValue>) -> Result<Self, Invalid> {
        let text = value.get();
        if !text.starts_with('{') {
            return Err(Invalid::wrong("metadata", "is not a JSON object"));
        }
        if text.len() > Self::MAX_BYTES {
            let (bytes, limit) = (text.len(), Self::MAX_BYTES);
            return Err(Invalid::wrong(
                "metadata",
                format!("is {bytes} bytes; the limit is {limit}"),
            ));
        }
        if depth(text) > Self::MAX_DEPTH {
            let problem = format!("is nested deeper than {} levels", Self::MAX_DEPTH);
            return Err(Invalid::wrong("metadata", problem));
        }
        Ok(Self(value))
    }

    /// The object's text.
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// The object's text, or `{}` where none was given.
    pub fn raw_or_empty(metadata: Option<&Self>) -> &RawValue {
        match metadata {
            Some(metadata) => &metadata.0,
            None => serde_json::from_str("{}").unwrap_or(RawValue::NULL),
        }
    }
}

/// How deep objects and arrays are nested in a JSON text. Needs no stack, so that hostile text
/// can be measured before it is parsed; text that is not JSON gives some number.
pub fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Metadata, Invalid> {
        Metadata::parse(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn an_object_is_kept_as_it_was_sent() {
        let text = r#"{ "b":1.0e2 , "a":"\u00e9", "a":[] }"#;

        assert_eq!(parse(text).unwrap().as_raw().get(), text);
        assert_eq!(Metadata::raw_or_empty(None).get(), "{}");
    }

    #[test]
    fn other_values_are_refused() {
        for text in ["[]", "1", "\"{}\"", "null", "true"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));

        assert!(parse(&nested(64)).is_ok());
        assert!(parse(&nested(65)).is_err());
        assert!(parse(&sized(64 * 1024)).is_ok());
        assert!(parse(&sized(64 * 1024 + 1)).is_err());
    }

    #[test]
    fn brackets_within_strings_do_not_count() {
        assert_eq!(depth(r#"{"a":"[[[{\"[[","b":[1]}"#), 2);
        assert_eq!(depth(r#"{"\\":{}}"#), 2);
    }
}
