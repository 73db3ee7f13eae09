//! The words that are looked for.

use memchr::memmem::Finder;

use crate::model::Invalid;

use super::fold::{Fold, is_unspaced};
use super::snippet::{Folded, Found, SNIPPET};

/// Longest query, in characters.
const MAX_CHARS: usize = 256;
/// The most words and phrases of a query.
const MAX_TERMS: usize = 16;

/// Words and phrases, all of which a text must have.
#[derive(Debug)]
pub struct Query {
    fold: Fold,
    terms: Vec<Term>,
    /// The words of all terms, as they lie on disk once folded.
    words: Vec<Finder<'static>>,
}

/// A word, or a phrase with single spaces.
#[derive(Debug)]
pub(super) struct Term {
    finder: Finder<'static>,
    first: char,
}

impl Query {
    /// Takes `q`: words, and phrases in quotes. A quote that is not closed goes on to the end.
    ///
    /// # Errors
    /// [`Invalid`] when it has no word, is longer than 256 characters, has more than 16 words and
    /// phrases, or holds a NUL.
    pub fn parse(q: &str) -> Result<Self, Invalid> {
        let chars = q.chars().count();
        if chars > MAX_CHARS {
            let problem = format!("is {chars} characters long; the limit is {MAX_CHARS}");
            return Err(Invalid::wrong("q", problem));
        }
        if q.contains('\0') {
            return Err(Invalid::wrong("q", "holds a NUL character; leave it out"));
        }
        let fold = Fold::new();
        let folded = |text: &str| {
            let mut out = Vec::new();
            fold.text(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap_or_default()
        };
        let texts: Vec<_> = split(q).iter().map(|text| folded(text)).collect();
        let mut texts: Vec<_> = texts.iter().map(|text| text.trim()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts.retain(|text| !text.is_empty());
        if texts.is_empty() {
            return Err(Invalid::wrong("q", "has no word; send at least one"));
        }
        if texts.len() > MAX_TERMS {
            let terms = texts.len();
            let problem = format!("has {terms} words and phrases; the limit is {MAX_TERMS}");
            return Err(Invalid::wrong("q", problem));
        }
        let words = texts.iter().flat_map(|text| text.split_whitespace()).map(on_disk);
        let words = words.map(|word| Finder::new(word.as_bytes()).into_owned()).collect();
        let terms = texts.iter().filter_map(|text| Term::new(text)).collect();
        Ok(Self { fold, terms, words })
    }

    /// Whether a stored text may have all the words: false only if it has not. `text` is escaped
    /// as `serde_json` does it; `scratch` is room to work in.
    pub fn may_match(&self, text: &[u8], scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        self.fold.text(text, scratch);
        self.words.iter().all(|word| word.find(scratch).is_some())
    }

    /// `text`, folded, with single spaces.
    fn folded(&self, text: &str) -> String {
        let mut folded = Vec::new();
        self.fold.text(text.as_bytes(), &mut folded);
        let folded = String::from_utf8(folded).unwrap_or_default();
        folded.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Where `text` has all the words; `None` if it has not.
    pub fn find(&self, text: &str) -> Option<Found> {
        // Where the characters came from is found out only of a text that has all the words.
        let plain = self.folded(text);
        if self.terms.iter().any(|term| term.all(&plain).next().is_none()) {
            return None;
        }
        let folded = Folded::new(&self.fold, text);
        let found = self.terms.iter().flat_map(|term| term.all(&folded.text).take(SNIPPET));
        let mut all: Vec<_> = found.collect();
        all.sort_unstable_by_key(|range| range.start);
        Some(folded.show(&all))
    }
}

impl Term {
    fn new(text: &str) -> Option<Self> {
        let finder = Finder::new(text.as_bytes()).into_owned();
        Some(Self { finder, first: text.chars().next()? })
    }

    /// Where it begins a word of `text`, or stands where words are not told apart.
    fn all(&self, text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
        let len = self.finder.needle().len();
        let begins = move |at: usize| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            !self.first.is_alphanumeric()
                || is_unspaced(self.first)
                || before.is_none_or(|before| !before.is_alphanumeric() || is_unspaced(before))
        };
        let found = self.finder.find_iter(text.as_bytes());
        found.filter(move |at| begins(*at)).map(move |at| at..at + len)
    }
}

/// The words and phrases of a query, without their quotes.
fn split(q: &str) -> Vec<String> {
    let is_quote =
        |c: char| matches!(c, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}');
    let mut terms = Vec::new();
    for (n, part) in q.split(is_quote).enumerate() {
        if n % 2 == 1 {
            terms.push(part.split_whitespace().collect::<Vec<_>>().join(" "));
        } else {
            terms.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    terms
}

/// A word as it stands within a JSON string.
fn on_disk(word: &str) -> String {
    let json = serde_json::to_string(word).unwrap_or_default();
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
