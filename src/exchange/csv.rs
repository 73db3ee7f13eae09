//! The tables of the service's predecessor, as `psql`'s `\copy … csv header` writes them, made into
//! lines.
//!
//! What is derived there is left behind: counts and previews follow from the messages. The
//! predecessor counted the message that a session was begun with and did not store it; so each
//! session's `first_message` is handed on when all messages are, to be stored unless it is there.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::{Reader, StringRecord};
use serde::{Serialize, Serializer};

use super::line::write;

/// Longer than any row of those tables: what a quote that is never closed costs in memory.
const ROW_BYTES: u64 = 16 * 1024 * 1024;

const UNKNOWN: &str = "it is neither chat_sessions nor chat_messages: its first line must name the \
    columns, session_id and user_id among them, or session_id, role and content";

/// Why a table could not be made into lines.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The lines could not be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sessions,
    Messages,
}

/// Writes to `out` the lines of the tables in `files`, which are told apart by their columns: sessions,
/// messages, and what sessions began with. Of a row that cannot be read, it writes a line that says so.
///
/// # Errors
/// [`CsvError`]
pub fn csv_to_lines(files: &[PathBuf], out: &mut dyn Write) -> Result<(), CsvError> {
    let kinds = files.iter().map(|path| Table::open(path).map(|table| (path, table.kind)));
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    for pass in [Pass::Sessions, Pass::Messages, Pass::FirstMessages] {
        for (path, _) in kinds.iter().filter(|(_, kind)| *kind == pass.kind()) {
            Table::open(path)?.write_lines(pass, out)?;
        }
    }
    Ok(())
}

/// What is made lines of, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Sessions,
    Messages,
    FirstMessages,
}

impl Pass {
    fn kind(self) -> Kind {
        match self {
            Self::Sessions | Self::FirstMessages => Kind::Sessions,
            Self::Messages => Kind::Messages,
        }
    }

    fn line(self, row: &Row<'_>) -> Option<Members> {
        match self {
            Self::Sessions => Some(session(row)),
            Self::Messages => Some(message(row)),
            Self::FirstMessages => first_message(row),
        }
    }
}

struct Table<'p> {
    path: &'p Path,
    kind: Kind,
    columns: StringRecord,
    reader: Reader<Bounded>,
    left: Rc<Cell<u64>>,
}

/// A row, by the names of its columns.
struct Row<'a> {
    columns: &'a StringRecord,
    fields: &'a StringRecord,
    source: String,
}

impl<'p> Table<'p> {
    fn open(path: &'p Path) -> Result<Self, CsvError> {
        let failed = |source| CsvError::Read { path: path.to_owned(), source };
        let left = Rc::new(Cell::new(ROW_BYTES));
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let mut reader = Reader::from_reader(Bounded { inner: file, left: Rc::clone(&left) });
        let columns = reader.headers().map_err(|error| failed(io::Error::other(error)))?.clone();
        let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|c| c == *name));
        let kind = if has(&["session_id", "role", "content"]) {
            Kind::Messages
        } else if has(&["session_id", "user_id"]) {
            Kind::Sessions
        } else {
            return Err(failed(io::Error::other(UNKNOWN)));
        };
        Ok(Self { path, kind, columns, reader, left })
    }

    fn write_lines(mut self, pass: Pass, out: &mut dyn Write) -> Result<(), CsvError> {
        let mut fields = StringRecord::new();
        loop {
            self.left.set(ROW_BYTES);
            let read = self.reader.read_record(&mut fields);
            let at = match &read {
                Err(error) => error.position(),
                Ok(_) => fields.position(),
            };
            let line = at.map_or(0, csv::Position::line);
            let source = format!("{} line {line}", self.path.display());
            let row = Row { columns: &self.columns, fields: &fields, source };
            let line = match read {
                Ok(false) => return Ok(()),
                Ok(true) => pass.line(&row),
                Err(error) if error.is_io_error() => {
                    let (path, source) = (self.path.to_owned(), io::Error::other(error));
                    return Err(CsvError::Read { path, source });
                }
                Err(error) => {
                    Some(row.line("unreadable", &[("problem", Some(&error.to_string()))]))
                }
            };
            if let Some(line) = line {
                write(out, &line)?;
            }
        }
    }
}

/// The members of a line, each a string.
struct Members(Vec<(&'static str, String)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Row<'_> {
    /// What stands in this column; NULL and nothing are the same.
    fn get(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.fields.get(at).filter(|value| !value.is_empty())
    }

    fn line(&self, kind: &'static str, members: &[(&'static str, Option<&str>)]) -> Members {
        let given = members.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let fixed = [("type", kind), ("source", self.source.as_str())];
        Members(fixed.into_iter().chain(given).map(|(name, value)| (name, value.into())).collect())
    }

    fn metadata(&self) -> Option<&str> {
        self.get("metadata").filter(|json| *json != "null")
    }
}

fn session(row: &Row<'_>) -> Members {
    let members = [
        ("sessionId", row.get("session_id")),
        ("userId", row.get("user_id")),
        ("title", row.get("title").filter(|title| !title.trim().is_empty())),
        ("firstMessage", row.get("first_message")),
        ("createdAt", row.get("created_at")),
        ("updatedAt", row.get("updated_at")),
        ("metadataText", row.metadata()),
    ];
    row.line("session", &members)
}

fn message(row: &Row<'_>) -> Members {
    let members = [
        ("sessionId", row.get("session_id")),
        ("id", row.get("message_id").or_else(|| row.get("id"))),
        ("role", row.get("role")),
        ("content", Some(row.get("content").unwrap_or_default())),
        ("timestamp", row.get("created_at")),
        ("metadataText", row.metadata()),
    ];
    row.line("message", &members)
}

fn first_message(row: &Row<'_>) -> Option<Members> {
    let first = row.get("first_message").filter(|text| !text.trim().is_empty())?;
    let members = [("sessionId", row.get("session_id")), ("content", Some(first))];
    Some(row.line("firstMessage", &members))
}

/// A reader that ends with an error once nothing is left of what may be read.
struct Bounded {
    inner: BufReader<File>,
    left: Rc<Cell<u64>>,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        let left = self.left.get().checked_sub(u64::try_from(read).unwrap_or(u64::MAX));
        self.left.set(left.ok_or_else(|| {
            io::Error::other(format!("a row is longer than {ROW_BYTES} bytes: is a quote closed?"))
        })?);
        Ok(read)
    }
}
