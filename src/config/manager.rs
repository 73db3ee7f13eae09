//! What a service manager says in the environment.

use std::time::Duration;

use crate::systemd::ManagerConfig;

use super::env::Env;

impl Env<'_> {
    /// What the service manager wants to be told, if this is the process that it started: what one of
    /// them inherited is not meant for it. As the manager wrote these, none is refused.
    pub(super) fn manager(&self, pid: u32) -> ManagerConfig {
        let number = |name| self.text(name).and_then(|value| value.parse::<u64>().ok());
        let is_meant = number("WATCHDOG_PID").is_none_or(|meant| meant == u64::from(pid));
        let micros = number("WATCHDOG_USEC").filter(|micros| is_meant && *micros > 0);
        ManagerConfig {
            notify: (self.0)("NOTIFY_SOCKET"),
            watchdog: micros.map(Duration::from_micros),
        }
    }
}
