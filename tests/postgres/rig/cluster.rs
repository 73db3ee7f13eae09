//! A PostgreSQL server of the test's own, with the portal's tables, reached by a Unix socket alone.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use postgres::{Client, Config, NoTls};
use tempfile::TempDir;

use super::{eventually, is_timed};

const TASKSET: &str = "/usr/bin/taskset";

pub(crate) const DATABASE: &str = "orion_core";
/// The owner of the tables, whom the node and the Express service are.
pub(crate) const OWNER: &str = "orion";
/// The owner's, which must show up nowhere.
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

const TABLES: &str = include_str!("tables.sql");
const SETTINGS: &str = "
listen_addresses = ''
fsync = on
synchronous_commit = on
password_encryption = 'scram-sha-256'
max_connections = 60
max_prepared_transactions = 64
shared_buffers = 32MB
";
/// The superuser comes as he is, by the socket.
const DOORS: &str = "
local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
";
/// Whom the servers run as, since they refuse to be root.
const NOBODY: u32 = 65534;

/// A server that is stopped, and whose data is gone, when this is.
pub(crate) struct Cluster {
    folder: TempDir,
    postmaster: Option<Child>,
    port: u16,
    /// Whether it listens on its port of this machine too, and can encrypt.
    has_tls: bool,
}

impl Cluster {
    /// With empty tables.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::new();
        copy(&template(), &cluster.data());
        cluster.start_again();
        cluster
    }

    /// The same, which listens on a port of this machine too, where it can encrypt with `key`.
    pub(crate) fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        // Nobody else takes it in the meantime, or else it does not start.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut cluster = Self::new();
        (cluster.port, cluster.has_tls) = (free.port(), true);
        copy(&template(), &cluster.data());
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = cluster.data().join(name);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
            give_to_nobody(&to);
        }
        cluster.start_again();
        cluster
    }

    fn new() -> Self {
        Self { folder: folder_of_nobody(), postmaster: None, port: 5432, has_tls: false }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// The folder of the socket.
    pub(crate) fn host(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A connection of the superuser, who sees everything and is in nobody's way.
    pub(crate) fn connect(&self) -> Client {
        self.connect_to(DATABASE).unwrap()
    }

    fn connect_to(&self, database: &str) -> Result<Client, postgres::Error> {
        let mut config = Config::new();
        config.host_path(self.host()).port(self.port).user("postgres").dbname(database);
        config.connect(NoTls)
    }

    /// A connection as the portal has it.
    pub(crate) fn connect_as_owner(&self) -> Client {
        let mut config = Config::new();
        config.host_path(self.host()).port(self.port);
        config.user(OWNER).password(PASSWORD).dbname(DATABASE);
        config.connect(NoTls).unwrap()
    }

    /// Starts it on what there is, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "it runs");
        eventually("PostgreSQL answers", || {
            let ended = self.postmaster.as_mut().map(|child| child.try_wait().unwrap().is_some());
            if ended != Some(false) {
                // As long as something of a killed one is left, the new one ends at once.
                self.postmaster = Some(self.spawn());
            }
            self.connect_to(DATABASE).is_ok()
        });
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.host());
        command.arg("-p").arg(self.port.to_string());
        if self.has_tls {
            command.args(["-h", "127.0.0.1", "-c", "ssl=on"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.unwrap());
        command.spawn().unwrap()
    }

    /// SIGKILL to the postmaster, as when its machine dies.
    pub(crate) fn kill(&mut self) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        postmaster.kill().unwrap();
        postmaster.wait().unwrap();
    }

    /// Stops it in order, though it may be in use.
    pub(crate) fn stop(&mut self) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        signal(postmaster.id(), "INT");
        postmaster.wait().unwrap();
    }

    /// Stops or continues each of its processes, which may not notice.
    pub(crate) fn signal_all(&self, name: &str) {
        let postmaster = self.postmaster.as_ref().expect("it runs").id();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).unwrap();
        for child in children.split_whitespace() {
            signal(child.parse().unwrap(), name);
        }
        signal(postmaster, name);
    }

    /// All that it holds, as a dump of the database.
    pub(crate) fn dump(&self) -> PathBuf {
        let file = self.folder.path().join("dump");
        let mut command = program("pg_dump");
        command.args(["-Fc", "-U", "postgres", "-d", DATABASE, "-f"]).arg(&file);
        done(command.arg("-h").arg(self.host()));
        file
    }

    /// Puts a dump in the place of what there is, whoever uses that.
    pub(crate) fn restore(&self, dump: &Path) {
        let drop = format!("drop database {DATABASE} with (force)");
        self.connect_to("postgres").unwrap().batch_execute(&drop).unwrap();
        let mut command = program("pg_restore");
        command.args(["--create", "-U", "postgres", "-d", "postgres"]);
        done(command.arg("-h").arg(self.host()).arg(dump));
    }

    /// A copy of the whole server as it is, which it is stopped for.
    pub(crate) fn copy(&mut self) -> PathBuf {
        let to = self.folder.path().join("copy");
        self.stop();
        copy(&self.data(), &to);
        self.start_again();
        to
    }

    /// Puts such a copy in the place of the server, as when its machine is restored.
    pub(crate) fn go_back_to(&mut self, earlier: &Path) {
        self.stop();
        fs::remove_dir_all(self.data()).unwrap();
        copy(earlier, &self.data());
        self.start_again();
    }

    /// Has such a copy take the place of the server, as a standby that is promoted.
    pub(crate) fn fail_over_to(&mut self, standby: &Path) {
        let settings = standby.join("postgresql.auto.conf");
        let mut settings = File::options().append(true).create(true).open(settings).unwrap();
        writeln!(settings, "restore_command = 'false'").unwrap();
        let signal = standby.join("recovery.signal");
        drop(File::create(&signal).unwrap());
        fs::set_permissions(&signal, fs::Permissions::from_mode(0o666)).unwrap();
        self.go_back_to(standby);
        let mut client = self.connect();
        eventually("it is promoted", || {
            !client.query_one("select pg_is_in_recovery()", &[]).unwrap().get::<_, bool>(0)
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // At once: nothing of it is kept.
            signal(postmaster.id(), "QUIT");
            let _waited = postmaster.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            let last: Vec<_> = lines.into_iter().rev().collect();
            eprintln!("PostgreSQL's last words:\n{}", last.join("\n"));
        }
    }
}

/// A data folder with the tables, made once for all tests.
fn template() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(home).unwrap();
    let lock = File::create(home.join("postgres.lock")).unwrap();
    lock.lock().unwrap();
    let made_of = format!("{}{TABLES}{SETTINGS}{DOORS}", programs().display());
    let hash = xxhash_rust::xxh3::xxh3_64(made_of.as_bytes());
    let template = home.join(format!("postgres-{hash:016x}"));
    if !template.exists() {
        let part = home.join("postgres.part");
        if part.exists() {
            fs::remove_dir_all(&part).unwrap();
        }
        let mut cluster = Cluster::new();
        cluster.make();
        copy(&cluster.data(), &part);
        fs::rename(part, &template).unwrap();
    }
    template
}

impl Cluster {
    /// Makes what is copied for each test.
    fn make(&mut self) {
        let mut command = program("initdb");
        command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        // Small, so that it is copied quickly.
        done(command.args(["--wal-segsize=1", "-D"]).arg(self.data()));
        let settings = self.data().join("postgresql.conf");
        let defaults = fs::read_to_string(&settings).unwrap();
        fs::write(settings, defaults + SETTINGS).unwrap();
        fs::write(self.data().join("pg_hba.conf"), DOORS).unwrap();
        self.postmaster = Some(self.spawn());
        eventually("the new PostgreSQL answers", || self.connect_to("postgres").is_ok());
        let mut admin = self.connect_to("postgres").unwrap();
        let owner = format!("create role {OWNER} login password '{PASSWORD}'");
        admin.batch_execute(&owner).unwrap();
        admin.batch_execute(&format!("create database {DATABASE} owner {OWNER}")).unwrap();
        drop(admin);
        self.connect().batch_execute(&format!("set role {OWNER}; {TABLES}")).unwrap();
        self.stop();
    }
}

/// A folder that servers may use. Where saves are timed it is in memory: PostgreSQL has a machine of
/// its own, and does not wait for the node's disk, nor the node for what it syncs.
pub(super) fn folder_of_nobody() -> TempDir {
    let folder =
        if is_timed() { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() }.unwrap();
    give_to_nobody(folder.path());
    folder
}

fn give_to_nobody(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A command that is not run as root. Where saves are timed, it keeps to the last of the processors, as
/// it would not be on the node's machine: nice or idle, it would still keep the node waiting for some
/// milliseconds wherever it is in the kernel.
pub(super) fn as_nobody(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if is_timed() {
        let mut pinned = Command::new(TASKSET);
        pinned.args(["--cpu-list", &last_processor()]).arg(program);
        pinned
    } else {
        Command::new(program)
    };
    command.env_clear().current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Does what happens on other machines: it keeps to the last processor too, with all that it starts,
/// where saves are timed.
pub(super) fn elsewhere<T>(work: impl FnOnce() -> T) -> T {
    if !is_timed() {
        return work();
    }
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let keep_to = |processors: String| {
        let mut command = Command::new(TASKSET);
        done(command.args(["--cpu-list", "--pid", &processors]).arg(thread.file_name().unwrap()));
    };
    keep_to(last_processor());
    let done = work();
    keep_to(format!("0-{}", last_processor()));
    done
}

/// Of the machine, whichever this thread keeps to.
fn last_processor() -> String {
    let all = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    all.trim().rsplit(['-', ',']).next().unwrap_or_default().to_owned()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// One of PostgreSQL's programs.
fn program(name: &str) -> Command {
    as_nobody(programs().join(name))
}

/// Where Debian keeps those of its newest PostgreSQL.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let newest = versions.max().unwrap_or(0_u32);
    let folder = PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"));
    assert!(folder.is_dir(), "no PostgreSQL here; apt-get install postgresql pgbouncer faketime");
    folder
}

pub(super) fn signal(pid: u32, name: &str) {
    let mut command = Command::new("sh");
    done(command.args(["-c", r#"kill -s "$0" "$1""#, name]).arg(pid.to_string()));
}

fn copy(from: &Path, to: &Path) {
    done(Command::new("cp").arg("-a").arg(from).arg(to));
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}
