//! Keeps e-mail addresses out of the log, whatever has them in its text: keys of the data file begin
//! with user ids, and so may what the system or a library says of them.

use std::io::{self, Write};

/// Stands where an address was.
const HIDDEN: &[u8] = "\u{2026}".as_bytes();

/// An `@` in a URL, or in an `Origin`.
const ENCODED: &[u8] = b"%40";

/// Writes what it is given, without e-mail addresses. To be given whole lines.
#[derive(Debug)]
pub(super) struct Discreet<W>(pub(super) W);

impl<W: Write> Write for Discreet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.contains(&b'@') || bytes.windows(3).any(|some| some == ENCODED) {
            self.0.write_all(&without_addresses(bytes))?;
        } else {
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `text` with what looks like an e-mail address left out.
pub(in crate::commands) fn without_addresses(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for word in text.chunk_by(|one, next| is_of_word(*one) == is_of_word(*next)) {
        let at = word.iter().position(|byte| *byte == b'@');
        let at = at.or_else(|| word.windows(3).position(|some| some == ENCODED));
        let is_address = at.is_some_and(|at| 0 < at && at + 1 < word.len());
        out.extend_from_slice(if is_address { HIDDEN } else { word });
    }
    out
}

/// Whether a byte may be one of an address that is not quoted, beyond ASCII too.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".!#$%&'*+-?^_`{|}~@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_left_out_and_all_else_stays() {
        for (text, expected) in [
            ("nothing of the kind\n", "nothing of the kind\n"),
            ("ann@example.org", "\u{2026}"),
            ("under key ann@example.org\\x00s1 is damaged", "under key \u{2026}\\x00s1 is damaged"),
            (r#"{"user":"ann+x@example.org","n":1}"#, "{\"user\":\"\u{2026}\",\"n\":1}"),
            ("\u{fc}ml@b\u{fc}cher.example, bob@x", "\u{2026}, \u{2026}"),
            ("https://ann@example.org/", "https://\u{2026}/"),
            ("https://ann%40example.org", "https://\u{2026}"),
            ("orion-chat@.service and @home", "\u{2026} and @home"),
        ] {
            let mut out = Discreet(Vec::new());
            out.write_all(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(out.0).unwrap(), expected);
        }
    }
}
