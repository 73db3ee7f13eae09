//! Folding: letters without case and accents.

use unicode_normalization::char::decompose_compatible;

/// Characters below this are folded by table: Latin, Greek, Cyrillic, Hebrew, Arabic.
const TABLE_END: u32 = 0x700;
const TABLE_BEGIN: u32 = 0x80;

/// Looked at together for being ASCII, which most text is.
const BLOCK: usize = 32;

/// How each character is folded. Made anew for each search, in some ten microseconds.
#[derive(Debug)]
pub(super) struct Fold {
    /// What the characters of the table become.
    table: Vec<Short>,
}

/// Up to three bytes; for more there is a longer way.
#[derive(Debug, Clone, Copy)]
enum Short {
    Two([u8; 2]),
    Other(u8, [u8; 3]),
    Long,
}

impl Short {
    fn new(bytes: &[u8]) -> Self {
        let mut padded = [0; 3];
        match (bytes, padded.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            ([a, b], ..) => Self::Two([*a, *b]),
            (bytes, Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Self::Other(len, padded)
            }
            _ => Self::Long,
        }
    }
}

impl Fold {
    pub(super) fn new() -> Self {
        let folded = |code| {
            let mut bytes = Vec::new();
            if let Some(c) = char::from_u32(code) {
                fold(c, &mut bytes);
            }
            Short::new(&bytes)
        };
        Self { table: (TABLE_BEGIN..TABLE_END).map(folded).collect() }
    }

    /// Appends `text`, folded, to `out`. It is UTF-8; what is not stays as it is.
    pub(super) fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        out.reserve(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let blocks = rest.chunks(BLOCK).take_while(|block| block.is_ascii()).count();
            let (ascii, behind) = rest.split_at((blocks * BLOCK).min(rest.len()));
            out.extend(ascii.iter().map(u8::to_ascii_lowercase));
            // The block that is not ASCII throughout, character by character.
            rest = behind;
            while behind.len() - rest.len() < BLOCK && !rest.is_empty() {
                rest = self.first(rest, out);
            }
        }
    }

    /// Appends the first character of `text`, folded, to `out`: as nothing, or as one or more.
    /// Returns the rest of the text.
    #[inline]
    fn first<'t>(&self, text: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
        match text {
            [byte @ ..0x80, rest @ ..] => {
                out.push(byte.to_ascii_lowercase());
                rest
            }
            // U+4000 to U+9FFF: Han.
            [lead @ 0xe4..=0xe9, second, third, rest @ ..] => {
                out.extend_from_slice(&[*lead, *second, *third]);
                rest
            }
            [0xc2..0xe0, ..] => self.run_of_two(text, out),
            _ => self.first_of_any(text, out),
        }
    }

    /// Appends characters of two bytes each that are folded to two bytes each, as those of a word
    /// in Greek or Cyrillic are; the first, whatever it becomes.
    #[inline]
    fn run_of_two<'t>(&self, text: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
        let mut rest = text;
        while let [lead @ 0xc2..0xe0, second, behind @ ..] = rest {
            let code = usize::from(lead & 0x1f) << 6 | usize::from(second & 0x3f);
            let at = code.wrapping_sub(TABLE_BEGIN as usize);
            let Some(Short::Two(folded)) = self.table.get(at) else {
                break;
            };
            out.extend_from_slice(folded);
            rest = behind;
        }
        if rest.len() == text.len() { self.first_of_any(text, out) } else { rest }
    }

    fn first_of_any<'t>(&self, text: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
        let longest = text.get(..4).unwrap_or(text);
        let valid = longest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let Some(c) = valid.chars().next() else {
            out.extend(text.first());
            return text.get(1..).unwrap_or_default();
        };
        self.char(c, out);
        text.get(c.len_utf8()..).unwrap_or_default()
    }

    #[inline]
    fn char(&self, c: char, out: &mut Vec<u8>) {
        let at = u32::from(c).wrapping_sub(TABLE_BEGIN);
        match usize::try_from(at).ok().and_then(|at| self.table.get(at)) {
            Some(Short::Two(bytes)) => out.extend_from_slice(bytes),
            Some(Short::Other(len, bytes)) => {
                out.extend_from_slice(bytes.get(..usize::from(*len)).unwrap_or_default());
            }
            Some(Short::Long) | None => fold(c, out),
        }
    }
}

fn fold(c: char, out: &mut Vec<u8>) {
    if is_written_as_it_is(c) {
        return push(c, out);
    }
    for c in c.to_lowercase() {
        match c {
            '\u{df}' => out.extend_from_slice(b"ss"),
            '\u{e6}' => out.extend_from_slice(b"ae"),
            '\u{153}' => out.extend_from_slice(b"oe"),
            '\u{fe}' => out.extend_from_slice(b"th"),
            '\u{f8}' => out.push(b'o'),
            '\u{142}' => out.push(b'l'),
            '\u{111}' | '\u{f0}' => out.push(b'd'),
            '\u{131}' => out.push(b'i'),
            // The end of a Greek word has a letter of its own.
            '\u{3c2}' => push('\u{3c3}', out),
            '\u{2018}' | '\u{2019}' => out.push(b'\''),
            c => decompose_compatible(c, |part| push_part(c, part, out)),
        }
    }
}

/// Appends a part of what `whole` is made of.
fn push_part(whole: char, part: char, out: &mut Vec<u8>) {
    if is_ignored(part) {
        return;
    }
    match part {
        // In JSON these stand for something else, and what lies on disk is JSON.
        '"' | '\\' => push(whole, out),
        part => part.to_lowercase().for_each(|part| push(part, out)),
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Han has no case and no parts.
fn is_written_as_it_is(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x9fff | 0x2_0000..=0x3_ffff)
}

/// Accents and vowel points; and what has no width.
pub(super) fn is_ignored(c: char) -> bool {
    matches!(u32::from(c),
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f
        | 0x591..=0x5bd | 0x5bf | 0x5c1..=0x5c2 | 0x5c4..=0x5c5 | 0x5c7
        | 0x610..=0x61a | 0x640 | 0x64b..=0x65f | 0x670
        | 0xad | 0x200b..=0x200d | 0x2060 | 0xfe00..=0xfe0f | 0xfeff)
}

/// Whether words of this script are written without spaces between them.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0xe00..=0xeff | 0xf00..=0xfff | 0x1000..=0x109f | 0x1780..=0x17ff
        | 0x2e80..=0x31ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0xff66..=0xff9f
        | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut out = Vec::new();
        Fold::new().text(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn case_and_accents_are_folded_in_every_script() {
        for (text, expected) in [
            ("Caf\u{e9} CAFE\u{301}", "cafe cafe"),
            ("Stra\u{df}e \u{1e9e}", "strasse ss"),
            ("\u{130}stanbul \u{131}", "istanbul i"),
            ("\u{141}\u{f3}d\u{17a} \u{d8}re \u{c6}sir", "lodz ore aesir"),
            (
                "\u{39f}\u{3b4}\u{3cc}\u{3c2} \u{39f}\u{394}\u{39f}\u{3a3}",
                "\u{3bf}\u{3b4}\u{3bf}\u{3c3} \u{3bf}\u{3b4}\u{3bf}\u{3c3}",
            ),
            ("\u{419}\u{41e}\u{414}", "\u{438}\u{43e}\u{434}"),
            ("\u{5e9}\u{5b8}\u{5c1}\u{5dc}\u{5d5}\u{5b9}\u{5dd}", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}"),
            ("\u{645}\u{64e}\u{631}", "\u{645}\u{631}"),
            ("\u{ff21}\u{ff42}\u{ff11}", "ab1"),
            ("\u{6771}\u{4eac}", "\u{6771}\u{4eac}"),
            ("\u{304c} \u{ff76}\u{ff9e}", "\u{304b}\u{3099} \u{30ab}\u{3099}"),
            ("\u{ac01}", "\u{1100}\u{1161}\u{11a8}"),
            ("co\u{ad}op it\u{2019}s", "coop it's"),
            ("\u{ff02}\u{ff3c}", "\u{ff02}\u{ff3c}"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn long_text_is_folded_as_its_characters_are() {
        let text = "A\u{c9}x".repeat(100) + &"Z".repeat(70) + "\u{6771}" + &"b".repeat(33);
        let one_by_one: String = text.chars().map(|c| folded(&c.to_string())).collect();

        assert_eq!(folded(&text), one_by_one);
    }
}
