//! What a service manager gives a service, and is told by it: the protocols of systemd, which
//! others speak too. Without one, nothing is given and nobody is told.
//!
//! [`handed_over`] takes the listener that was opened for us (`LISTEN_FDS`), [`Manager`] tells how
//! we are (`NOTIFY_SOCKET`), and [`Manager::feed`] is the proof of life that it asks for
//! (`WATCHDOG_USEC`).

mod listener;
mod manager;

pub use listener::{HandedOver, HandedOverError, handed_over};
pub use manager::{Manager, ManagerConfig};
