//! Where the data comes from: a server that has the file, or the file itself.

use std::io::{self, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::control::{Frame, Verb, socket_path};
use crate::store::{FinishedFile, OpenError, Piece, Snapshot, StoreError};

use super::{CareError, check, failed, filled};

/// A data file, with whoever has it open.
pub(super) enum Source {
    Server(Server),
    File(Snapshot),
}

/// A connection to the control socket of a server.
pub(super) struct Server {
    stream: UnixStream,
    socket: PathBuf,
}

impl Source {
    /// The data file at `data`. A server is asked first, as the file alone keeps one from starting.
    pub(super) fn of(data: &Path) -> Result<Self, CareError> {
        let access = |source| OpenError::Access { path: data.to_owned(), source };
        let socket = socket_path(data).map_err(access)?;
        match UnixStream::connect(&socket) {
            Ok(stream) => Ok(Self::Server(Server { stream, socket })),
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
                Ok(Self::File(Snapshot::open(data)?))
            }
            Err(source) => Err(CareError::Ask { socket, source }),
        }
    }

    /// A copy, on disk, that is to stand at `target`.
    pub(super) fn copy(self, target: &Path) -> Result<FinishedFile, CareError> {
        match self {
            Self::Server(server) => server.copy(target),
            Self::File(snapshot) => copy(&snapshot, target),
        }
    }

    /// How many records there are, and how many problems, each of which `problem` is told.
    pub(super) fn verify(self, problem: &mut dyn FnMut(&str)) -> Result<(u64, u64), CareError> {
        match self {
            Self::Server(server) => server.verify(problem),
            Self::File(snapshot) => Ok(check(&snapshot, problem)),
        }
    }
}

/// A copy, on disk, of what `snapshot` shows.
pub(super) fn copy(snapshot: &Snapshot, target: &Path) -> Result<FinishedFile, CareError> {
    filled(target, |copy| {
        let put = |piece: Piece<'_>| copy.put(piece);
        snapshot.pieces(put).map_err(|error: StoreError| failed(target, &error))
    })
}

impl Server {
    fn copy(self, target: &Path) -> Result<FinishedFile, CareError> {
        filled(target, |copy| {
            self.ask(Verb::Backup, &mut |frame| {
                match &frame {
                    Frame::Table(name) => copy.put(Piece::Table(name)),
                    Frame::Row(key, value) => copy.put(Piece::Row(key, value)),
                    _ => Ok(()),
                }
                .map_err(|error| failed(target, &error))
            })?;
            Ok(())
        })
    }

    fn verify(self, problem: &mut dyn FnMut(&str)) -> Result<(u64, u64), CareError> {
        let mut problems = 0;
        let records = self.ask(Verb::Verify, &mut |frame| {
            if let Frame::Problem(what) = frame {
                problems += 1;
                problem(&what);
            }
            Ok(())
        })?;
        Ok((records, problems))
    }

    /// Asks for `verb`, and shows `each` frame up to the last, which tells how many records it was.
    fn ask(
        self,
        verb: Verb,
        each: &mut dyn FnMut(Frame) -> Result<(), CareError>,
    ) -> Result<u64, CareError> {
        let Self { mut stream, socket } = self;
        writeln!(stream, "{}", verb.name()).map_err(|source| CareError::Ask { socket, source })?;
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
}
