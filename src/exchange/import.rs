//! Taking sessions and messages in, from lines that may be anything.

mod chunk;

use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::sessions::SessionError;
use crate::store::{Store, StoreError};

use super::Tally;
use super::line::{Kind, Line};
use chunk::{Entry, Item, Outcome, store};

/// Longer than any line that is written: a message of 1 MiB whose parts say it again.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// How much is written in one go: some milliseconds in which others wait, who share its sync.
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNK_ITEMS: usize = 512;

/// What to do when a line cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnProblem {
    /// Stop before it.
    Stop,
    /// Leave it out.
    GoOn,
}

/// Why an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The lines could not be read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The data could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever was told does not listen any more.
    #[error("the other end has gone")]
    Unheard,
}

/// What is told while lines are taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// So much is stored.
    Stored(Tally),
    /// This line was not stored: which, and why, in one line.
    Problem(String),
}

/// An import on its way.
pub struct Import<'a> {
    store: &'a Store,
    on_problem: OnProblem,
    told: &'a mut dyn FnMut(Told) -> ControlFlow<()>,
    tally: Tally,
    chunk: Vec<Entry>,
    chunk_bytes: usize,
    /// Sessions and messages that were read.
    read: (u64, u64),
    begun: bool,
    ended: bool,
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("tally", &self.tally).finish_non_exhaustive()
    }
}

/// That is all: a problem was told, or nobody listens.
struct Stopped;

type Step = Result<ControlFlow<Stopped>, ImportError>;

impl<'a> Import<'a> {
    /// An import into `store`, which tells `told` how it goes, until that breaks it off.
    pub fn new(
        store: &'a Store,
        on_problem: OnProblem,
        told: &'a mut dyn FnMut(Told) -> ControlFlow<()>,
    ) -> Self {
        Self {
            store,
            on_problem,
            told,
            tally: Tally::default(),
            chunk: Vec::new(),
            chunk_bytes: 0,
            read: (0, 0),
            begun: false,
            ended: false,
        }
    }

    /// Stores what the lines of `from` say, in order. Must not be called where tasks run.
    ///
    /// # Errors
    /// [`ImportError`]. What was told to be stored is.
    pub fn run(mut self, mut from: impl BufRead) -> Result<Tally, ImportError> {
        let (mut text, mut number) = (Vec::new(), 0_u64);
        loop {
            number += 1;
            let step = match read_line(&mut from, &mut text)? {
                Read::End => break,
                Read::TooLong => self.problem(&format!(
                    "line {number} is longer than {LINE_BYTES} bytes, which no line needs to be"
                ))?,
                Read::Line => self.line(number, &text)?,
            };
            if step.is_break() {
                return Ok(self.tally);
            }
        }
        if self.store_chunk()?.is_continue() && self.begun && !self.ended {
            let cut = "the last line, of type \"end\", is missing: what is read was cut short";
            let _stopped = self.problem(cut)?;
        }
        Ok(self.tally)
    }

    fn line(&mut self, number: u64, text: &[u8]) -> Step {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
        if text.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut name = format!("line {number}");
        let line = Kind::of(text).and_then(|kind| {
            if let Some(source) = &kind.source {
                name = source.chars().filter(|c| !c.is_control()).take(300).collect();
            }
            kind.read(text)
        });
        let item = match line {
            Ok(Line::Begin) => {
                self.begun = true;
                return Ok(ControlFlow::Continue(()));
            }
            Ok(Line::End { sessions, messages }) => return self.end(&name, (sessions, messages)),
            Ok(Line::Session(session)) => Item::Session(session),
            Ok(Line::Message(message)) => Item::Message(message),
            Ok(Line::FirstMessage(session, content)) => Item::FirstMessage(session, content),
            Err(error) => return self.problem(&format!("{name}: {error}")),
        };
        match item {
            Item::Session(_) => self.read.0 += 1,
            Item::Message(_) => self.read.1 += 1,
            Item::FirstMessage(..) => {}
        }
        self.chunk.push(Entry { name, item });
        self.chunk_bytes += text.len();
        if self.chunk.len() >= CHUNK_ITEMS || self.chunk_bytes >= CHUNK_BYTES {
            return self.store_chunk();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, name: &str, told: (u64, u64)) -> Step {
        self.ended = true;
        if told == self.read {
            return Ok(ControlFlow::Continue(()));
        }
        self.problem(&format!(
            "{name} tells of {} sessions and {} messages, and {} and {} stand before it",
            told.0, told.1, self.read.0, self.read.1
        ))
    }

    /// Tells of a problem with a line, when what stands before it is stored.
    fn problem(&mut self, what: &str) -> Step {
        if self.store_chunk()?.is_break() {
            return Ok(ControlFlow::Break(Stopped));
        }
        self.tell_problem(what.to_owned())
    }

    fn tell_problem(&mut self, what: String) -> Step {
        self.tally.problems += 1;
        if (self.told)(Told::Problem(what)).is_break() {
            return Err(ImportError::Unheard);
        }
        Ok(match self.on_problem {
            OnProblem::Stop => ControlFlow::Break(Stopped),
            OnProblem::GoOn => ControlFlow::Continue(()),
        })
    }

    /// Stores what was read, in one transaction.
    fn store_chunk(&mut self) -> Step {
        if self.chunk.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        self.chunk_bytes = 0;
        let chunk: Arc<[Entry]> = std::mem::take(&mut self.chunk).into();
        let on_problem = self.on_problem;
        let stored = self.store.write_blocking("import", move |tx| store(tx, &chunk, on_problem));
        let Outcome { tally, problems } = stored.map_err(|error| match error {
            SessionError::Store(error) => error,
            // Every other is a problem of its entry.
            other => StoreError::Structure(other.to_string().into()),
        })?;
        self.tally.sessions += tally.sessions;
        self.tally.messages += tally.messages;
        self.tally.there += tally.there;
        for problem in problems {
            if self.tell_problem(problem)?.is_break() {
                return Ok(ControlFlow::Break(Stopped));
            }
        }
        match (self.told)(Told::Stored(self.tally)) {
            ControlFlow::Continue(()) => Ok(ControlFlow::Continue(())),
            ControlFlow::Break(()) => Err(ImportError::Unheard),
        }
    }
}

enum Read {
    Line,
    TooLong,
    End,
}

/// Reads a line into `text`; of one that is too long, no more than that.
fn read_line(from: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<Read> {
    let limit = u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
    text.clear();
    from.take(limit).read_until(b'\n', text)?;
    if text.is_empty() {
        return Ok(Read::End);
    }
    if text.len() < LINE_BYTES || text.ends_with(b"\n") {
        return Ok(Read::Line);
    }
    while !text.is_empty() && !text.ends_with(b"\n") {
        text.clear();
        from.take(limit).read_until(b'\n', text)?;
    }
    Ok(Read::TooLong)
}
