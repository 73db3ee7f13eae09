//! What is shown of a text that was found.

use std::ops::Range;

use super::fold::{Fold, is_ignored};

/// Length of a snippet, and how much of it stands before what was found, in characters.
pub(super) const SNIPPET: usize = 160;
const BEFORE: usize = 50;

/// A text that has all the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A part of the text around the first of the words, on one line; `…` stands where the text
    /// goes on.
    pub snippet: String,
    /// Where the words stand in the snippet: from, to and without, in UTF-16 code units, which is
    /// what `slice` counts in JavaScript. In order, and apart from each other.
    pub highlights: Vec<[usize; 2]>,
}

/// A text, folded, with single spaces.
pub(super) struct Folded<'t> {
    original: &'t str,
    pub(super) text: String,
    /// Where in `text` each character of the original begins that left something there, and where
    /// in the original.
    origins: Vec<(usize, usize)>,
}

impl<'t> Folded<'t> {
    pub(super) fn new(fold: &Fold, original: &'t str) -> Self {
        let (mut out, mut origins) = (Vec::with_capacity(original.len()), Vec::new());
        for (at, c) in original.char_indices() {
            let begin = out.len();
            if !c.is_whitespace() {
                fold.text(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out);
            } else if out.last().is_some_and(|last| *last != b' ') {
                out.push(b' ');
            }
            if out.len() > begin {
                origins.push((begin, at));
            }
        }
        let text = String::from_utf8(out).unwrap_or_default();
        Self { original, text, origins }
    }

    /// What to show of the text, which has words at the places `all` of its folded form, in order.
    pub(super) fn show(&self, all: &[Range<usize>]) -> Found {
        let first = all.first().map_or(0, |range| self.original_range(range).start);
        let window = self.window(first);
        let mut snippet = String::new();
        if window.start > 0 {
            snippet.push('\u{2026}');
        }
        let lead = snippet.len();
        let shown = self.original.get(window.clone()).unwrap_or_default();
        snippet.extend(shown.chars().map(|c| if is_line_break(c) { ' ' } else { c }));
        let mut highlights: Vec<[usize; 2]> = Vec::new();
        let utf16 = |text: &str| text.encode_utf16().count();
        for range in all.iter().map(|range| self.original_range(range)) {
            let range = range.start.max(window.start)..range.end.min(window.end);
            let within = self.original.get(window.start..range.start);
            let (Some(before), Some(word)) = (within, self.original.get(range)) else {
                continue;
            };
            let from = utf16(snippet.get(..lead).unwrap_or_default()) + utf16(before);
            let to = from + utf16(word);
            match highlights.last_mut() {
                Some([_, end]) if from <= *end => *end = to.max(*end),
                _ if from < to => highlights.push([from, to]),
                _ => {}
            }
        }
        if window.end < self.original.len() {
            snippet.push('\u{2026}');
        }
        Found { snippet, highlights }
    }

    /// The part of the original that a part of the folded text came from.
    fn original_range(&self, range: &Range<usize>) -> Range<usize> {
        let holding = |at: usize| self.origins.partition_point(|(folded, _)| *folded <= at);
        let start =
            self.origins.get(holding(range.start).saturating_sub(1)).map_or(0, |(_, at)| *at);
        // Behind the last character: accents that follow it belong to it.
        let end = self.origins.get(holding(range.end.saturating_sub(1)));
        start..end.map_or(self.original.len(), |(_, at)| *at)
    }

    /// The part of the original to show around `first`.
    fn window(&self, first: usize) -> Range<usize> {
        let text = self.original;
        let (before, behind) = text.split_at(first);
        let start = before.char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
        let start = if start == 0 { 0 } else { after_space(text, start..first) };
        let rest = SNIPPET - text.get(start..first).map_or(0, |shown| shown.chars().count());
        let end = behind.char_indices().nth(rest).map_or(text.len(), |(at, _)| first + at);
        let accents = text.get(end..).unwrap_or_default().chars().take_while(|c| is_ignored(*c));
        start..end + accents.map(char::len_utf8).sum::<usize>()
    }
}

/// Where the first word begins within `range`, or its start if it has no space.
fn after_space(text: &str, range: Range<usize>) -> usize {
    let within = text.get(range.clone()).unwrap_or_default();
    let space = within.char_indices().find(|(_, c)| c.is_whitespace());
    let begin = match space {
        Some((at, c)) => at + c.len_utf8(),
        None => within.char_indices().find(|(_, c)| !is_ignored(*c)).map_or(0, |(at, _)| at),
    };
    range.start + begin
}

fn is_line_break(c: char) -> bool {
    c.is_whitespace() && c != ' ' && c != '\u{a0}' && c != '\u{3000}'
}
