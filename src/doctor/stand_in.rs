//! A server with the same configuration where none runs, for a moment, on a free port of this
//! machine and with no data: so that questions are answered by the very code that will serve.

use std::fs::DirBuilder;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Peer;
use crate::model::Clock;
use crate::server::{Server, ServerConfig, StartError};
use crate::store::StoreError;

/// A server that is there to be asked. It stops when this goes.
pub(super) struct StandIn {
    peer: Peer,
    stop: CancellationToken,
    running: JoinHandle<Result<(), StoreError>>,
    _folder: Folder,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum StandInError {
    /// There is no place for its file.
    #[error("cannot try the configuration out in {folder}: {source}; name another folder in TMPDIR", folder = folder.display())]
    Folder {
        /// Where it was to be.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It did not start.
    #[error("cannot try the configuration out: {0}")]
    Start(#[from] StartError),
}

impl StandIn {
    pub(super) async fn start(config: ServerConfig, clock: Clock) -> Result<Self, StandInError> {
        let folder = Folder::make()?;
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        // What is elsewhere is left alone: the admin listener's port, and above all PostgreSQL.
        let mut config = ServerConfig { listen, admin: None, postgres: None, ..config };
        config.store.path = folder.0.join("orion-chat.redb");
        let server = Server::bind(config, clock).await?;
        let peer = Peer::listening_on(server.address());
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "it is waited for by stop()")]
        let running = tokio::spawn(server.run(stop.clone()));
        Ok(Self { peer, stop, running, _folder: folder })
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// Waits until it has stopped, so that it writes nothing where its folder was.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _what_it_ended_with = self.running.await;
    }
}

/// A folder of our own, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, StandInError> {
        let name = format!("orion-chat-doctor-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(source) => {
                let folder = folder.parent().map_or_else(PathBuf::new, Path::to_owned);
                Err(StandInError::Folder { folder, source })
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}
