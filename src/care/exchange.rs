//! Sessions and messages as lines: out of a data file, and into one.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::control::{self, Frame, Verb};
use crate::exchange::{CsvError, ExportError, OnProblem, Tally, csv_to_lines};
use crate::model::{Clock, UserId};
use crate::store::{Store, StoreConfig, StoreError, hand_over};

use super::out_file::OutFile;
use super::place::place;
use super::source::{Server, Source, size_of};
use super::{CareError, News, Unit, failed};

/// Memory for the pages of a data file that nobody serves, in bytes.
pub(super) const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Writes all sessions and messages of the data file at `data`, or those of `user`, as lines to
/// `target`, of mode 0600, in the place of a file that is there. They are those of one moment.
///
/// # Errors
/// [`CareError`], with which nothing is at `target` that was not there before.
pub fn export(
    data: &Path,
    user: Option<&UserId>,
    target: &Path,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Tally, CareError> {
    let target = &place(data, target)?;
    let part = OutFile::create(target).map_err(|error| failed(target, &error))?;
    let mut out = BufWriter::with_capacity(1 << 16, &part.file);
    let tally = lines_to(data, user, (target, &mut out), news)?;
    out.flush().map_err(|error| failed(target, &error))?;
    drop(out);
    part.finish(target).map_err(|error| failed(target, &error))?;
    Ok(tally)
}

/// Writes lines as [`export`] does, to `out`. Without the last, of type `end`, they are not all.
///
/// # Errors
/// [`CareError`]
pub fn export_to(
    data: &Path,
    user: Option<&UserId>,
    out: &mut dyn Write,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Tally, CareError> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let tally = lines_to(data, user, (Path::new("-"), &mut out), news)?;
    out.flush().map_err(|error| failed(Path::new("-"), &error))?;
    Ok(tally)
}

fn lines_to(
    data: &Path,
    user: Option<&UserId>,
    (target, out): (&Path, &mut dyn Write),
    news: &mut dyn FnMut(News<'_>),
) -> Result<Tally, CareError> {
    let mut out = Counted { out, bytes: 0, news };
    match Source::of(data)? {
        Source::Server(server) => {
            let mut sent = Tally::default();
            server.ask(&Verb::Export(user.cloned()), &mut |frame| match frame {
                Frame::Text(text) => out.write_all(&text).map_err(|error| failed(target, &error)),
                Frame::Tally(tally) => {
                    sent = tally;
                    Ok(())
                }
                _ => Ok(()),
            })?;
            Ok(sent)
        }
        Source::File(snapshot, _) => {
            let frozen = snapshot.freeze().map_err(|error| unreadable(data, &error))?;
            let mut out = BufWriter::with_capacity(1 << 16, out);
            crate::exchange::export(&frozen, user, &mut out).map_err(|error| match error {
                ExportError::Io(error) => failed(target, &error),
                ExportError::Store(error) => unreadable(data, &error),
            })
        }
    }
}

fn unreadable(data: &Path, error: &StoreError) -> CareError {
    CareError::Unreadable { path: data.to_owned(), reason: error.to_string() }
}

/// Counts what is written.
struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
    news: &'a mut dyn FnMut(News<'_>),
}

impl Write for Counted<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let written = self.out.write(text)?;
        self.bytes += u64::try_from(written).unwrap_or(0);
        (self.news)(News::progress("writing", self.bytes, None, Unit::Bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What is to be imported.
#[derive(Debug, Clone)]
pub enum Lines {
    /// The lines of a file; `-` is stdin.
    File(PathBuf),
    /// Tables of the service's predecessor.
    Csv(Vec<PathBuf>),
}

/// Stores what `lines` say in the data file at `data`: through the server that has it, else in the
/// file itself, which is made if there is none. What is there already stays as it is.
///
/// # Errors
/// [`CareError::Refused`] if lines were not stored, else what kept it from being done. What stood
/// before is stored.
pub fn import(
    data: &Path,
    lines: &Lines,
    on_problem: OnProblem,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Tally, CareError> {
    let is_new = !data.exists();
    let server = if is_new { None } else { Server::of(data)? };
    if let Some(server) = server {
        return feed(server, lines, on_problem, news);
    }
    let config = StoreConfig::new(data.to_owned(), CACHE_BYTES);
    let store = Store::open(&config, Clock::system(), Arc::default())?;
    if is_new {
        hand_over(data).map_err(|error| failed(data, &error))?;
    }
    let (here, there) = UnixStream::pair().map_err(|error| failed(data, &error))?;
    // As a server would: there is one way in.
    let imported = std::thread::scope(|scope| {
        scope.spawn(|| {
            let there = there;
            // Whoever feeds it hears what it ends with.
            let _answered = control::answer(&there, &store, (None, None));
        });
        feed(Server::at(here), lines, on_problem, news)
    });
    let closed = store.close().map_err(|error| failed(data, &error));
    let tally = imported?;
    closed.map(|()| tally)
}

/// Sends lines to `server`, and hears what becomes of them.
fn feed(
    server: Server,
    lines: &Lines,
    on_problem: OnProblem,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Tally, CareError> {
    let (sent, size) = (AtomicU64::new(0), lines.size());
    let mut tally = Tally::default();
    let mut hear = |frame| {
        match frame {
            Frame::Tally(told) => tally = told,
            Frame::Problem(what) => news(News::Problem(&what)),
            _ => {}
        }
        news(News::progress("importing", sent.load(Ordering::Relaxed), size, Unit::Bytes));
        Ok(())
    };
    let write = |out: &mut dyn Write| lines.write(out, &sent);
    let asked = server.ask_with(&Verb::Import(on_problem), write, &mut hear);
    let (_, fed) = asked.map_err(|error| match error {
        CareError::BrokenOff(why) => CareError::Unfinished { why, stored: stored(tally) },
        other => other,
    })?;
    match fed {
        Err(Unread(path, source)) => Err(CareError::Lines { path, source, stored: stored(tally) }),
        Ok(()) if tally.problems > 0 => {
            Err(CareError::Refused { problems: tally.problems, stored: stored(tally) })
        }
        Ok(()) => Ok(tally),
    }
}

/// What was stored, in words.
pub fn stored(tally: Tally) -> String {
    let Tally { sessions, messages, there, .. } = tally;
    format!("{sessions} sessions and {messages} messages were added, {there} were there already")
}

/// What could not be read, and why.
struct Unread(PathBuf, io::Error);

impl Lines {
    /// How many bytes they are, if that is known.
    fn size(&self) -> Option<u64> {
        match self {
            Self::File(path) if path == Path::new("-") => None,
            Self::File(path) => Some(size_of(path)),
            // Each table of sessions is read twice, and lines are longer than rows.
            Self::Csv(_) => None,
        }
    }

    /// Writes them to `out`, as far as it takes them, and counts in `sent` how many bytes that are.
    fn write(&self, out: &mut dyn Write, sent: &AtomicU64) -> Result<(), Unread> {
        let mut out = Sent { out, sent };
        match self {
            Self::File(path) if path == Path::new("-") => send(path, io::stdin().lock(), &mut out),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| Unread(path.clone(), error))?;
                send(path, file, &mut out)
            }
            Self::Csv(files) => {
                let mut out = BufWriter::with_capacity(1 << 16, out);
                match csv_to_lines(files, &mut out) {
                    Err(CsvError::Read { path, source }) => Err(Unread(path, source)),
                    // Who stopped reading has said why.
                    Err(CsvError::Write(_)) | Ok(()) => Ok(()),
                }
            }
        }
    }
}

/// Sends what `from` holds until it ends, or nobody reads any more.
fn send(path: &Path, mut from: impl Read, out: &mut dyn Write) -> Result<(), Unread> {
    let mut piece = vec![0; 1 << 16];
    loop {
        let len = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unread(path.to_owned(), error)),
        };
        if out.write_all(piece.get(..len).unwrap_or_default()).is_err() {
            return Ok(());
        }
    }
}

struct Sent<'a> {
    out: &'a mut dyn Write,
    sent: &'a AtomicU64,
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sent.fetch_add(u64::try_from(written).unwrap_or(0), Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
