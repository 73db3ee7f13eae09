//! The control socket: a running server's door for those who look after its data.
//!
//! It stands beside the data file and is open to the user whom the server runs as, and to root, on
//! the same machine. One line names a verb; what it gives comes back in frames (see [`Frame`]).
//! Rows of a backup are sent as they lie in the file, so that the server does no more than read:
//! the copy is made, checked and synced by whoever asked for it.

mod frame;

use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::store::{Note, Snapshot, Store, StoreError};

pub use frame::Frame;

/// How long a verb may be waited for, and the other end's taking what it asked for: as long as it
/// does not, the file keeps what was overwritten since.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long accepting pauses when no connection can be had.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// All that the file holds.
    Backup,
    /// What is wrong with it.
    Verify,
}

impl Verb {
    const ALL: [Self; 2] = [Self::Backup, Self::Verify];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
        }
    }
}

/// Where the socket of the server of the data file at `data` is, by whatever name it is called.
///
/// # Errors
/// What the system says when there is no such file.
pub fn socket_path(data: &Path) -> io::Result<PathBuf> {
    let mut path = data.canonicalize()?.into_os_string();
    path.push(".sock");
    Ok(path.into())
}

/// The socket. It goes when this does.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Control {
    /// Opens the socket of the data file at `data`, which this process has locked: what is in its
    /// place was left there by a server that was killed.
    ///
    /// # Errors
    /// What the system says, as when the path is longer than the 107 bytes of a socket's.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = socket_path(data)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        let owner = path.metadata()?.uid();
        Ok(Self { listener, path, owner })
    }

    /// Answers until `stopping` is cancelled; what is being answered then is broken off.
    pub async fn run(self, store: Store, tasks: TaskTracker, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                stream = self.accept() => {
                    tasks.spawn(serve(stream, store.clone(), tasks.clone(), stopping.clone()));
                }
            }
        }
    }

    async fn accept(&self) -> UnixStream {
        loop {
            let accepted = self.listener.accept().await.and_then(|(stream, _)| {
                let peer = stream.peer_cred()?.uid();
                Ok((stream.into_std()?, peer))
            });
            match accepted {
                Ok((stream, peer)) if [0, self.owner].contains(&peer) => return stream,
                // It came before the socket had its mode.
                Ok((_, peer)) => warn!("user {peer} may not use the control socket"),
                Err(error) => {
                    warn!(%error, "cannot accept control connections: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next server replaces one that stays.
        let _removed = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, store: Store, tasks: TaskTracker, stopping: CancellationToken) {
    let Ok(door) = stream.try_clone() else {
        return;
    };
    let mut work = tasks.spawn_blocking(move || answer(&stream, &store));
    let answered = tokio::select! {
        answered = &mut work => answered,
        () = stopping.cancelled() => {
            // Whatever it waits for there ends with an error.
            let _shut = door.shutdown(Shutdown::Both);
            work.await
        }
    };
    match answered.map_err(io::Error::other).flatten() {
        Ok(Some(verb)) => info!("answered {}", verb.name()),
        // It was only asked whether somebody is there.
        Ok(None) => {}
        Err(error) => warn!(%error, "control connection broke off: {error}"),
    }
}

/// Reads a verb and answers it; gives none if the other end says nothing.
fn answer(stream: &UnixStream, store: &Store) -> io::Result<Option<Verb>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, 64)).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == line.trim_end());
    match verb {
        Some(Verb::Backup) => backup(&store.snapshot(), &mut out)?,
        Some(Verb::Verify) => verify(&store.snapshot(), &mut out)?,
        None => Frame::Failed("the server is of another release".to_owned()).write(&mut out)?,
    }
    out.flush()?;
    Ok(verb)
}

fn backup(snapshot: &Snapshot, out: &mut impl io::Write) -> io::Result<()> {
    let mut rows = 0;
    let sent = snapshot.pieces(|piece| {
        rows += 1;
        frame::write_piece(out, piece).map_err(Unsent::Io)
    });
    match sent {
        Ok(()) => Frame::Done(rows).write(out),
        Err(Unsent::Store(error)) => Frame::Failed(error.to_string()).write(out),
        Err(Unsent::Io(error)) => Err(error),
    }
}

/// Why a backup was not sent to its end.
enum Unsent {
    Store(StoreError),
    Io(io::Error),
}

impl From<StoreError> for Unsent {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn verify(snapshot: &Snapshot, out: &mut impl io::Write) -> io::Result<()> {
    let mut sent = Ok(());
    let records = snapshot.verify(&mut |note| {
        let frame = match note {
            Note::Checked(records) => Frame::Checked(records),
            Note::Problem(what) => Frame::Problem(what),
        };
        // At once: who waits sees what is found, and one who has gone is noticed.
        sent = frame.write(out).and_then(|()| out.flush());
        if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    sent?;
    match records {
        Some(records) => Frame::Done(records).write(out),
        None => Ok(()),
    }
}
