//! A file of variables, read as systemd reads an `EnvironmentFile`: what a server that it started
//! was given, and a shell beside it does not have.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use crate::cli::EnvArgs;

use super::ConfigError;

/// The variables of a file, or none.
#[derive(Default)]
pub struct EnvFile(HashMap<String, OsString>);

impl EnvFile {
    /// Reads the file that `args` name, if they name one.
    ///
    /// # Errors
    /// [`ConfigError::EnvFile`] when it cannot be read.
    pub fn read(args: &EnvArgs) -> Result<Self, ConfigError> {
        args.env_file.as_deref().map_or_else(|| Ok(Self::default()), Self::of)
    }

    fn of(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        let failed = |source| ConfigError::EnvFile { path: path.to_owned(), source };
        Ok(Self(parse(&text.map_err(failed)?)))
    }

    /// The names that it has something for.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.keys().cloned()
    }

    /// What the file has for `name`.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }
}

impl std::fmt::Debug for EnvFile {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where in a value the reader is, as in systemd's `env-file.c`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In front of it, or behind a closing quote.
    Start,
    Bare,
    Single,
    Double,
}

fn parse(text: &str) -> HashMap<String, OsString> {
    let (mut variables, mut rest) = (HashMap::new(), text);
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return variables;
        }
        let line = rest.split('\n').next().unwrap_or_default();
        match line.split_once('=') {
            Some((name, _)) if !line.starts_with(['#', ';']) => {
                let (value, behind) = value(rest.get(name.len() + 1..).unwrap_or_default());
                variables.insert(name.trim_end().to_owned(), value.into());
                rest = behind;
            }
            _ => rest = rest.get(line.len()..).unwrap_or_default(),
        }
    }
}

/// The value that `text` begins with, and what stands behind it.
fn value(text: &str) -> (String, &str) {
    let (mut value, mut at, mut chars) = (String::new(), At::Start, text.chars());
    // Up to where white space at the end is not cut off.
    let mut kept = 0;
    while let Some(c) = chars.next() {
        match (at, c) {
            (At::Start | At::Bare, '\n') => break,
            (At::Start, '\'') => at = At::Single,
            (At::Start, '"') => at = At::Double,
            (At::Single, '\'') | (At::Double, '"') => at = At::Start,
            (At::Start, c) if c.is_whitespace() => {}
            (At::Start | At::Bare, '\\') => {
                at = At::Bare;
                value.extend(chars.next().filter(|c| *c != '\n'));
                kept = value.len();
            }
            (At::Double, '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
            },
            (at_now, c) => {
                at = if at_now == At::Start { At::Bare } else { at_now };
                value.push(c);
            }
        }
        if at != At::Bare || !c.is_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_are_read_as_systemd_reads_them() {
        let text = "# a comment=1\n; another=2\n\nPORT=3002\n  AUTH = off  \nnonsense\nEMPTY=\n\
                    QUOTED=\"a b \\\"c\\\" \\d $e\"  \nSINGLE='x \"y\\z'\nESCAPED=a\\ b\\\\\n\
                    LONG=one, \\\ntwo\nJOINED=\"a \"'b'\nSECRET=a#b;c=d==\nLAST=1";
        let variables = parse(text);
        let get = |name: &str| variables.get(name).map(|value| value.to_str().unwrap());

        for (name, value) in [
            ("PORT", "3002"),
            ("AUTH", "off"),
            ("EMPTY", ""),
            ("QUOTED", "a b \"c\" \\d $e"),
            ("SINGLE", "x \"y\\z"),
            ("ESCAPED", "a b\\"),
            ("LONG", "one, two"),
            ("JOINED", "a b"),
            ("SECRET", "a#b;c=d=="),
            ("LAST", "1"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
        assert_eq!(variables.len(), 10, "{variables:?}");
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_file() {
        assert_eq!(parse("A=\"b\nC=d\n")["A"], "b\nC=d\n");
        assert_eq!(parse("A=b\\")["A"], "b");
    }
}
