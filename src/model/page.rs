//! Pages: how much of a long list one answer holds, and its JSON.

use std::fmt::Write as _;

use utoipa::ToSchema;

use super::Invalid;
use super::invalid::excerpt;

/// How many rows a page holds at most: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = usize, minimum = 1)]
pub struct PageSize(usize);

impl PageSize {
    /// The most rows of a page; more are cut down to this.
    pub const MAX: Self = Self(1000);
    /// What a list gives to those who do not ask.
    pub const DEFAULT: Self = Self(100);

    /// Takes the `limit` that a caller sent.
    ///
    /// # Errors
    /// [`Invalid`] when it is no whole number of at least 1.
    pub fn parse(limit: &str) -> Result<Self, Invalid> {
        // By digits and not by what `parse` takes: `+5` is no number here, and 10^30 is one.
        let is_number = !limit.is_empty() && limit.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || limit.bytes().all(|byte| byte == b'0') {
            return Err(Invalid::wrong(
                "limit",
                format!("is {}; it must be a whole number from 1 to 1000", excerpt(limit)),
            ));
        }
        Ok(Self(limit.parse().unwrap_or(usize::MAX).min(Self::MAX.0)))
    }

    /// The number of rows.
    pub const fn rows(self) -> usize {
        self.0
    }
}

/// The JSON object of a page, built by appending rows that are JSON already:
/// `{"<name>":[row,row],"count":2,"nextCursor":"…"}`.
#[derive(Debug)]
pub struct JsonPage {
    text: Vec<u8>,
    count: usize,
}

impl JsonPage {
    /// Begins the page whose rows stand under `name`; `capacity` is its likely size in bytes.
    pub fn begin(name: &str, capacity: usize) -> Self {
        let mut text = Vec::with_capacity(capacity);
        text.extend_from_slice(b"{\"");
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\":[");
        Self { text, count: 0 }
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[u8]) {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.text.extend_from_slice(row);
        self.count += 1;
    }

    /// How many rows it has.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many bytes are waiting to be taken or finished.
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether no row was pushed.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes out what is written so far, for sending a long page in pieces.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// A bare array of `rows`.
    pub fn array(rows: &[Vec<u8>]) -> Vec<u8> {
        [b"[".as_slice(), &rows.join(b",".as_slice()), b"]"].concat()
    }

    /// Ends the page, with the cursor of the next one if there is one. A cursor has no
    /// characters that JSON escapes.
    pub fn finish(mut self, next_cursor: Option<&str>) -> Vec<u8> {
        let mut end = format!("],\"count\":{}", self.count);
        if let Some(cursor) = next_cursor {
            // Writing to a String cannot fail.
            let _written = write!(end, ",\"nextCursor\":\"{cursor}\"");
        }
        self.text.extend_from_slice(end.as_bytes());
        self.text.push(b'}');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number_of_at_least_1_and_clamped_to_1000() {
        for (text, rows) in
            [("1", 1), ("1000", 1000), ("1001", 1000), ("9999999999999999999999999", 1000)]
        {
            assert_eq!(PageSize::parse(text).unwrap().rows(), rows);
        }
        for text in ["0", "-1", "abc", "", "1.5", "+5", " 5", "1e3"] {
            assert_eq!(PageSize::parse(text).unwrap_err().field, "limit", "{text}");
        }
    }

    #[test]
    fn a_page_is_json() {
        let mut page = JsonPage::begin("rows", 0);
        assert_eq!(JsonPage::begin("rows", 0).finish(None), br#"{"rows":[],"count":0}"#);

        page.push(b"1");
        page.push(b"{}");

        assert_eq!(page.finish(Some("abc")), br#"{"rows":[1,{}],"count":2,"nextCursor":"abc"}"#);
    }
}
