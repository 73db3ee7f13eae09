//! A `PgBouncer` in transaction mode before a cluster, as the portal has it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::cluster::{Cluster, DATABASE, OWNER, PASSWORD, as_nobody, folder_of_nobody};
use super::eventually;

/// A server that is stopped when this goes.
pub(crate) struct Bouncer {
    folder: TempDir,
    process: Option<Child>,
}

impl Bouncer {
    pub(crate) fn before(cluster: &Cluster) -> Self {
        let folder = folder_of_nobody();
        let (path, host) = (folder.path().display(), cluster.host().display());
        let settings = format!(
            "[databases]\n{DATABASE} = host={host} port=5432\n\
             [pgbouncer]\npool_mode = transaction\nauth_type = scram-sha-256\n\
             auth_file = {path}/users\nunix_socket_dir = {path}\nlisten_addr =\n\
             listen_port = 6432\nlogfile = {path}/log\nserver_login_retry = 1\n"
        );
        fs::write(folder.path().join("ini"), settings).unwrap();
        fs::write(folder.path().join("users"), format!("\"{OWNER}\" \"{PASSWORD}\"\n")).unwrap();
        let mut bouncer = Self { folder, process: None };
        bouncer.start_again();
        bouncer
    }

    pub(crate) fn start_again(&mut self) {
        let mut command = as_nobody("/usr/sbin/pgbouncer");
        command.arg("-q").arg(self.folder.path().join("ini"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("no pgbouncer; apt-get install pgbouncer"));
        eventually("PgBouncer listens", || UnixStream::connect(self.socket()).is_ok());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
        // A new one does not take it from a dead one.
        fs::remove_file(self.socket()).unwrap();
    }

    /// The socket, as PostgreSQL's is named.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.6432")
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ended = (process.kill(), process.wait());
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("PgBouncer's log:\n{log}");
        }
    }
}
