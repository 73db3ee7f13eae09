//! The control socket: a running server's door for those who look after its data.
//!
//! It stands beside the data file and is open to the user whom the server runs as, and to root, on
//! the same machine. One line names a verb; what it gives comes back in frames (see [`Frame`]). The
//! lines of an import follow that line, and are stored as whatever else is saved.
//! Rows of a backup are sent as they lie in the file, so that the server does no more than read:
//! the copy is made, checked and synced by whoever asked for it.

mod answer;
mod frame;
mod postgres;
mod verb;

use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::status::Pulse;
use crate::store::Store;
use crate::sync::Handle;

pub use answer::answer;
pub use frame::Frame;
pub use postgres::{Ending, Question, Told, ask_replica};
pub use verb::Verb;

/// How long accepting pauses when no connection can be had.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    /// Opens the socket of the data file at `data`, which this process has locked: a socket in its
    /// place was left there by a server that was killed.
    ///
    /// # Errors
    /// What the system says, as when the path is longer than the 107 bytes of a socket's, or when a
    /// file that is no socket has its name.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = socket_path(data)?;
        match path.symlink_metadata() {
            Ok(left) if left.file_type().is_socket() => std::fs::remove_file(&path)?,
            Ok(_) => {
                let why = format!("{} is in its place; move it away", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        let owner = path.metadata()?.uid();
        Ok(Self { listener, path, owner })
    }

    /// Answers until `stopping` is cancelled; what is being answered then is broken off.
    pub async fn run(
        self,
        asked: (Store, Arc<Pulse>, Option<Handle>),
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                stream = self.accept() => {
                    tasks.spawn(serve(stream, asked.clone(), tasks.clone(), stopping.clone()));
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

async fn serve(
    stream: UnixStream,
    (store, pulse, replica): (Store, Arc<Pulse>, Option<Handle>),
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    let Ok(door) = stream.try_clone() else {
        return;
    };
    let mut work =
        tasks.spawn_blocking(move || answer(&stream, &store, (Some(&pulse), replica.as_ref())));
    let answered = tokio::select! {
        answered = &mut work => answered,
        () = stopping.cancelled() => {
            // Whatever it waits for there ends with an error.
            let _shut = door.shutdown(Shutdown::Both);
            work.await
        }
    };
    match answered.map_err(io::Error::other).flatten() {
        Ok(Some(verb)) => info!("answered {verb}"),
        // It was only asked whether somebody is there.
        Ok(None) => {}
        Err(error) => warn!(%error, "control connection broke off: {error}"),
    }
}
