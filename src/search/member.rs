//! A text within a stored row.

use memchr::memmem::Finder;

/// A string member of rows that `serde_json` writes without spaces, found without parsing them.
#[derive(Debug)]
pub struct Member {
    begin: Finder<'static>,
    end: Finder<'static>,
}

impl Member {
    /// The string member `name`, which stands before the member `next`.
    pub fn new(name: &str, next: &str) -> Self {
        // No string holds these: within strings quotes are escaped.
        let begin = Finder::new(format!("\"{name}\":\"").as_bytes()).into_owned();
        let end = Finder::new(format!("\",\"{next}\":").as_bytes()).into_owned();
        Self { begin, end }
    }

    /// The text of the member as it lies in `row`, escaped; the whole row if it is not there.
    pub fn of<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        let text = || {
            let begin = self.begin.find(row)? + self.begin.needle().len();
            let text = row.get(begin..)?;
            text.get(..self.end.find(text)?)
        };
        text().unwrap_or(row)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_is_found_whatever_the_strings_of_its_row_hold() {
        let content = Member::new("content", "timestamp");
        for (id, text, inner) in [
            ("m", "plain", "plain"),
            ("m", "", ""),
            ("\"content\":\"x\",\"timestamp\":", "real", "real"),
            ("m", "\",\"timestamp\":", "\\\",\\\"timestamp\\\":"),
            ("m", "ends with \\", "ends with \\\\"),
            ("m", "\\\",\"timestamp\":", "\\\\\\\",\\\"timestamp\\\":"),
        ] {
            let (id, text) = (json!(id), json!(text));
            let row = format!("{{\"id\":{id},\"content\":{text},\"timestamp\":\"t\"}}");
            assert_eq!(content.of(row.as_bytes()), inner.as_bytes(), "{row}");
        }
        assert_eq!(content.of(b"{\"id\":1}"), b"{\"id\":1}", "the whole row");
    }
}
