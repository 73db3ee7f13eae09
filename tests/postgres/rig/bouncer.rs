//! A `PgBouncer` in transaction mode before a cluster, as the portal has it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::cluster::{Cluster, DATABASE, OWNER, PASSWORD, as_nobody, folder_of_nobody};
use super::eventually;

/// A server that is stopped when this goes.
pub(crate) struct Bouncer {
    folder: TempDir,
    process: Child,
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
        let mut command = as_nobody("/usr/sbin/pgbouncer");
        command.arg("-q").arg(folder.path().join("ini"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer starts; apt-get install pgbouncer");
        let bouncer = Self { folder, process };
        eventually("PgBouncer listens", || bouncer.socket().exists());
        bouncer
    }

    /// The socket, as PostgreSQL's is named.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.6432")
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _waited = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("PgBouncer's log:\n{log}");
        }
    }
}
