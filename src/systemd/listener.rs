//! The listener that a service manager opened and keeps open: across our restarts, callers wait
//! where they would be refused.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

/// A listener that was opened for us.
#[derive(Debug)]
pub struct HandedOver {
    /// The listener.
    pub listener: TcpListener,
    /// Its address.
    pub address: SocketAddr,
}

/// Why what was handed over cannot be served. Each text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HandedOverError {
    /// There is more than one.
    #[error(
        "{count} sockets were handed over ({names}), and this server takes one; keep one ListenStream= in the socket unit"
    )]
    Several {
        /// How many.
        count: usize,
        /// What they are called.
        names: String,
    },
    /// It is no TCP listener.
    #[error(
        "the socket that was handed over is none to listen on by TCP: {0}; write ListenStream=ADDRESS:PORT and Accept=no into the socket unit"
    )]
    Unfit(io::Error),
}

/// The listener that was handed over to this process by `LISTEN_FDS` and `LISTEN_PID`, if one was.
/// `names` is what `LISTEN_FDNAMES` holds.
///
/// To be called before any thread is started, as it takes the first two out of the environment, so
/// that no process that is started from here believes that it was meant.
///
/// # Errors
/// [`HandedOverError`].
pub fn handed_over(names: Option<OsString>) -> Result<Option<HandedOver>, HandedOverError> {
    let mut given = ListenFd::from_env();
    if given.len() > 1 {
        let names = names.unwrap_or_default().to_string_lossy().escape_default().to_string();
        return Err(HandedOverError::Several { count: given.len(), names });
    }
    let Some(listener) = given.take_tcp_listener(0).map_err(HandedOverError::Unfit)? else {
        return Ok(None);
    };
    let (listener, address) = fit(listener).map_err(HandedOverError::Unfit)?;
    Ok(Some(HandedOver { listener, address }))
}

/// The listener, if it is no connection, as it would be with `Accept=yes`.
fn fit(listener: TcpListener) -> io::Result<(TcpListener, SocketAddr)> {
    let stream = TcpStream::from(OwnedFd::from(listener));
    if let Ok(peer) = stream.peer_addr() {
        return Err(io::Error::other(format!("it is a connection from {peer}")));
    }
    let listener = TcpListener::from(OwnedFd::from(stream));
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
