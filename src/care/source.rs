//! Where the data comes from: a server that has the file, or the file itself.

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::control::{Frame, Verb, socket_path};
use crate::store::{FinishedFile, NewFile, OpenError, Piece, Snapshot, StoreError};

use super::{CareError, News, Unit, check, failed, filled};

/// A data file, with whoever has it open.
pub(super) enum Source {
    Server(Server),
    File(Snapshot, u64),
}

/// A connection to a server, by its control socket.
pub(super) struct Server {
    stream: UnixStream,
    socket: PathBuf,
    /// The size of its data file, in bytes.
    size: u64,
}

/// Is told how it goes.
type Hear<'a> = &'a mut dyn FnMut(News<'_>);

impl Source {
    /// The data file at `data`. A server is asked first, as the file alone keeps one from starting.
    pub(super) fn of(data: &Path) -> Result<Self, CareError> {
        match Server::of(data)? {
            Some(server) => Ok(Self::Server(server)),
            None => Ok(Self::File(Snapshot::open(data)?, size_of(data))),
        }
    }

    /// A copy, on disk, that is to stand at `target`.
    pub(super) fn copy(self, target: &Path, news: Hear<'_>) -> Result<FinishedFile, CareError> {
        match self {
            Self::Server(server) => server.copy(target, news),
            Self::File(snapshot, size) => copy(&snapshot, target, size, news),
        }
    }

    /// How many records there are, and how many problems, each of which `news` is told.
    pub(super) fn verify(self, news: Hear<'_>) -> Result<(u64, u64), CareError> {
        match self {
            Self::Server(server) => server.verify(news),
            Self::File(snapshot, _) => Ok(check(&snapshot, news)),
        }
    }
}

/// The size of the file at `path`, for those who wait; nothing depends on it.
pub(super) fn size_of(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

/// A copy, on disk, of what `snapshot` shows, whose file has this size.
pub(super) fn copy(
    snapshot: &Snapshot,
    target: &Path,
    size: u64,
    news: Hear<'_>,
) -> Result<FinishedFile, CareError> {
    let copy = filled(target, |copy| fill(copy, snapshot, (target, size), news))?;
    copy.finish().map_err(|error| failed(target, &error))
}

/// Puts into `copy`, which is to stand at `target`, what `snapshot` shows, whose file has this size.
pub(super) fn fill(
    copy: &mut NewFile,
    snapshot: &Snapshot,
    (target, size): (&Path, u64),
    news: Hear<'_>,
) -> Result<(), CareError> {
    let mut copied = Copied::new(size, news);
    let put = |piece: Piece<'_>| {
        copied.count(piece);
        copy.put(piece)
    };
    snapshot.pieces(put).map_err(|error: StoreError| failed(target, &error))
}

/// Counts what is copied, and tells of it now and then.
struct Copied<'a> {
    bytes: u64,
    told: u64,
    of: u64,
    news: Hear<'a>,
}

impl<'a> Copied<'a> {
    /// After how many bytes it is told.
    const PACE: u64 = 1 << 20;

    fn new(of: u64, news: Hear<'a>) -> Self {
        Self { bytes: 0, told: 0, of, news }
    }

    fn count(&mut self, piece: Piece<'_>) {
        if let Piece::Row(key, value) = piece {
            self.bytes += u64::try_from(key.len() + value.len()).unwrap_or(0);
        }
        if self.bytes >= self.told + Self::PACE {
            self.told = self.bytes;
            (self.news)(News::progress("copying", self.bytes, Some(self.of), Unit::Bytes));
        }
    }
}

impl Server {
    /// The server that has the data file at `data`, if one does.
    pub(super) fn of(data: &Path) -> Result<Option<Self>, CareError> {
        let access = |source| OpenError::Access { path: data.to_owned(), source };
        let socket = socket_path(data).map_err(access)?;
        match UnixStream::connect(&socket) {
            Ok(stream) => Ok(Some(Self { stream, socket, size: size_of(data) })),
            // Nobody listens, or nobody does any more.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::ConnectionRefused
                        // A path that is too long for a socket.
                        | io::ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(CareError::Ask { socket, source }),
        }
    }

    /// Whoever is at the other end of `stream`.
    pub(super) fn at(stream: UnixStream) -> Self {
        Self { stream, socket: PathBuf::new(), size: 0 }
    }

    /// How it is doing, in JSON.
    pub(super) fn status(self) -> Result<String, CareError> {
        let mut status = String::new();
        self.ask(&Verb::Status, &mut |frame| {
            if let Frame::Status(json) = frame {
                status = json;
            }
            Ok(())
        })?;
        Ok(status)
    }

    fn copy(self, target: &Path, news: Hear<'_>) -> Result<FinishedFile, CareError> {
        let copy = filled(target, |copy| {
            // Its writers wait for the same disk.
            copy.take_turns();
            let mut copied = Copied::new(self.size, news);
            self.ask(&Verb::Backup, &mut |frame| {
                let piece = match &frame {
                    Frame::Table(name) => Piece::Table(name),
                    Frame::Row(key, value) => Piece::Row(key, value),
                    _ => return Ok(()),
                };
                copied.count(piece);
                copy.put(piece).map_err(|error| failed(target, &error))
            })?;
            Ok(())
        })?;
        copy.finish().map_err(|error| failed(target, &error))
    }

    fn verify(self, news: Hear<'_>) -> Result<(u64, u64), CareError> {
        let mut problems = 0;
        let records = self.ask(&Verb::Verify, &mut |frame| {
            match frame {
                Frame::Problem(what) => {
                    problems += 1;
                    news(News::Problem(&what));
                }
                Frame::Checked(n) => news(News::progress("checking", n, None, Unit::Records)),
                _ => {}
            }
            Ok(())
        })?;
        Ok((records, problems))
    }

    /// Asks for `verb`, and shows `each` frame up to the last, which tells how many records it was.
    pub(super) fn ask(
        mut self,
        verb: &Verb,
        each: &mut dyn FnMut(Frame) -> Result<(), CareError>,
    ) -> Result<u64, CareError> {
        self.say(verb)?;
        hear(self.stream, each)
    }

    /// Asks for `verb` as [`Server::ask`] does, and tells it what `feed` writes.
    pub(super) fn ask_with<T: Send>(
        mut self,
        verb: &Verb,
        feed: impl FnOnce(&mut dyn Write) -> T + Send,
        each: &mut dyn FnMut(Frame) -> Result<(), CareError>,
    ) -> Result<(u64, T), CareError> {
        self.say(verb)?;
        let Self { stream, socket, .. } = self;
        let lines = stream.try_clone().map_err(|source| CareError::Ask { socket, source })?;
        std::thread::scope(|scope| {
            let feeding = scope.spawn(move || {
                let done = feed(&mut &lines);
                // It may have gone already.
                let _shut = lines.shutdown(Shutdown::Write);
                done
            });
            let heard = hear(stream, each);
            let done = feeding.join().map_err(|_| CareError::BrokenOff("reading panicked".into()));
            Ok((heard?, done?))
        })
    }

    fn say(&mut self, verb: &Verb) -> Result<(), CareError> {
        let said = writeln!(self.stream, "{verb}");
        said.map_err(|source| CareError::Ask { socket: self.socket.clone(), source })
    }
}

fn hear(
    stream: UnixStream,
    each: &mut dyn FnMut(Frame) -> Result<(), CareError>,
) -> Result<u64, CareError> {
    let mut frames = BufReader::with_capacity(1 << 16, stream);
    loop {
        match Frame::read(&mut frames) {
            Ok(Frame::Done(records)) => return Ok(records),
            Ok(Frame::Failed(why)) => return Err(CareError::BrokenOff(why)),
            Ok(frame) => each(frame)?,
            Err(error) => return Err(CareError::BrokenOff(error.to_string())),
        }
    }
}
