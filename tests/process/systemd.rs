//! What a service manager gives it and is told: the protocols of systemd.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use orion_chat::model::Clock;
use orion_chat::store::{Store, StoreConfig, StoreError};
use orion_chat::systemd::{Manager, ManagerConfig};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ended, PATIENCE, Process, run, server};

/// A service manager: the socket by which it is told things.
struct Told {
    socket: UnixDatagram,
    /// What `NOTIFY_SOCKET` says.
    address: String,
    #[expect(dead_code, reason = "is kept until it goes")]
    folder: TempDir,
}

impl Told {
    fn by_path() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::new(socket, path.to_str().unwrap().to_owned(), folder)
    }

    fn by_abstract_name() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As unique as the folder's.
        let name = folder.path().join("notify").to_str().unwrap().to_owned();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"), folder)
    }

    fn new(socket: UnixDatagram, address: String, folder: TempDir) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, address, folder }
    }

    /// The next that it is told.
    #[track_caller]
    fn next(&self) -> String {
        let mut bytes = [0; 1000];
        let length = self.socket.recv(&mut bytes).expect("it is told something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// What it was told and has not asked for yet.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 1000];
        std::iter::from_fn(|| {
            let length = self.socket.recv(&mut bytes).ok()?;
            Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
        })
        .collect()
    }
}

/// A server of `folder` that tells `told`.
fn telling(folder: &Path, told: &Told) -> Command {
    let mut command = server(folder);
    command.env("NOTIFY_SOCKET", &told.address);
    command
}

/// Has the child of `command` find `socket` as its descriptor 3, `count` times, as systemd does.
/// Its process id is that of the shell, which becomes what it runs.
fn handing_over(socket: impl Into<OwnedFd>, count: usize, command: Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    let script = r#"LISTEN_PID=$$ exec "$0" "$@" 3<&0 4<&0 </dev/null"#;
    shell.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().env("LISTEN_FDS", count.to_string()).stdin(Stdio::from(socket.into()));
    shell.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
}

#[test]
fn it_tells_that_it_serves_that_it_lives_and_that_it_stops() {
    for told in [Told::by_path(), Told::by_abstract_name()] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = telling(folder.path(), &told);
        command.env("WATCHDOG_USEC", "100000");
        // Its log is not waited for: what it tells must be enough.
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();

        let ready = told.next();
        let address = ready.strip_prefix("READY=1\nSTATUS=serving on http://").expect(&ready);
        TcpStream::connect(address).unwrap();
        let began = Instant::now();
        for _ in 0..5 {
            assert_eq!(told.next(), "WATCHDOG=1");
        }
        // The first came at once, and three may have waited to be heard.
        assert!(began.elapsed() >= Duration::from_millis(45), "took {:?}", began.elapsed());

        let pid = child.id().to_string();
        assert!(Command::new("sh").args(["-c", r#"kill "$0""#, &pid]).status().unwrap().success());
        assert!(child.wait().unwrap().success());

        let mut rest = told.rest();
        rest.retain(|text| text != "WATCHDOG=1");
        assert_eq!(
            rest,
            ["STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\nSTATUS=stopping on SIGTERM"],
            "{}",
            told.address
        );
    }
}

#[test]
fn one_that_does_not_start_is_never_ready_and_says_why() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Told::by_path());
    std::fs::write(folder.path().join("orion-chat.redb"), "no data file at all").unwrap();

    let ended = run(telling(folder.path(), &told));

    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
    let [status] = &told.rest()[..] else { panic!("it was told something else") };
    assert!(status.starts_with("STATUS=data file") && status.contains("damaged"), "{status}");
}

#[test]
fn a_repair_is_waited_for() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Told::by_path());
    let mut repairs = Vec::new();
    while repairs.is_empty() {
        let mut process = Process::start(server(folder.path()));
        let session = json!({ "userId": "ann", "firstMessage": "hello" });
        process.connect().post("/api/sessions/create", &session).unwrap().expect(201);
        // The second after a write is over sooner than this on a busy machine: then once more.
        process.kill();

        let process = Process::start(telling(folder.path(), &told));
        if process.log().contains("repairing") {
            repairs = std::iter::from_fn(|| Some(told.next()))
                .take_while(|text| !text.starts_with("READY=1"))
                .collect();
        }
    }

    for text in &repairs {
        let expected = "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=repairing the data file";
        assert!(text.starts_with(expected), "{text}");
    }
}

/// The writer stands still, as on a disk that does not answer any more.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_no_proof_of_life() {
    const LIMIT: Duration = Duration::from_mins(1);
    let (folder, told) = (tempfile::tempdir().unwrap(), Told::by_path());
    let path = folder.path().join("orion-chat.redb");
    let config = StoreConfig { reserve_bytes: Some(0), ..StoreConfig::new(path, 1 << 20) };
    let store = Store::open(&config, Clock::system(), Arc::default()).unwrap();
    let notify = Some(told.address.clone().into());
    let manager = Manager::new(ManagerConfig { notify, watchdog: Some(LIMIT) });
    told.socket.set_nonblocking(true).unwrap();
    let heard = tokio::net::UnixDatagram::from_std(told.socket.try_clone().unwrap()).unwrap();
    let mut beside = tokio::task::JoinSet::new();
    let (checked, hanging) = (store.clone(), store.clone());
    beside.spawn(manager.feed(move || check(checked.clone())));
    let mut bytes = [0; 100];
    let length = heard.recv(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..length], b"WATCHDOG=1", "while it answers");

    let ((stood_still, stands_still), (go_on, told_to)) = (channel(), channel::<()>());
    let mut stuck = tokio::task::JoinSet::new();
    stuck.spawn(async move {
        let work = move |_: &mut orion_chat::store::WriteTx<'_>| {
            stood_still.send(()).unwrap();
            // It is told by the end of the channel.
            let _over = told_to.recv();
            Ok::<(), StoreError>(())
        };
        hanging.write("hang", work).await
    });
    tokio::task::yield_now().await;
    stands_still.recv().unwrap();
    let next = tokio::time::timeout(LIMIT * 10, heard.recv(&mut bytes)).await;
    assert!(next.is_err(), "it proved to live while it stood still");

    drop(go_on);
    let length = heard.recv(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..length], b"WATCHDOG=1", "when it answers again");
    stuck.join_all().await.into_iter().for_each(|stuck| stuck.unwrap());
}

async fn check(store: Store) -> Result<(), StoreError> {
    store.check().await
}

#[test]
fn it_serves_on_the_socket_that_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();

    let process = Process::start(handing_over(socket, 1, server(folder.path())));

    assert_eq!(process.address, address);
    process.connect().get("/health").unwrap().expect(200);
    let warning = format!("listening on {address}, the socket that was handed over");
    assert!(process.log().contains(&warning), "{}", process.log());
}

#[test]
fn the_port_is_held_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start =
        || Process::start(handing_over(socket.try_clone().unwrap(), 1, server(folder.path())));
    let mut process = start();
    let session = json!({ "userId": "ann", "sessionId": "s" });
    process.connect().post("/api/sessions/create", &session).unwrap().expect(201);
    let address = process.address.clone();
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));

    // Nobody serves now, and nobody is refused.
    let mut waiting: Vec<_> = (0..20).map(|_| process.connect()).collect();
    for client in &mut waiting {
        client.send("GET /api/sessions/s?userId=ann HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    let process = start();

    assert_eq!(process.address, address);
    for client in &mut waiting {
        client.read_reply().unwrap().expect(200);
    }
}

#[test]
fn a_socket_that_cannot_be_served_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let unix = || OwnedFd::from(UnixListener::bind(folder.path().join("socket")).unwrap());
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let connection = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        drop(caller);
        OwnedFd::from(connection)
    };
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    for (socket, count, complaint) in [
        (tcp(), 2, "2 sockets were handed over (web:admin), and this server takes one"),
        (unix(), 1, "none to listen on by TCP"),
        (udp(), 1, "none to listen on by TCP"),
        (connection(), 1, "it is a connection from 127.0.0.1"),
        (file(), 1, "none to listen on by TCP"),
    ] {
        let mut command = handing_over(socket, count, server(folder.path()));
        command.env("LISTEN_FDNAMES", "web:admin");

        let Ended { code, stderr } = run(command);

        assert_eq!(code, Some(78), "{stderr}");
        assert!(stderr.contains(complaint), "no {complaint:?} in {stderr}");
    }
    assert!(!folder.path().join("orion-chat.redb").exists(), "the data file was not touched");
}

#[test]
fn without_tokens_a_socket_that_others_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let command = crate::support::command(folder.path(), &[]);

    let Ended { code, stderr } = run(handing_over(socket, 1, command));

    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains(&address) && stderr.contains("can be reached by others"), "{stderr}");
}

#[test]
fn a_socket_that_was_handed_to_another_process_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server(folder.path());
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").env("LISTEN_FDNAMES", "web");

    let process = Process::start(command);

    process.connect().get("/health").unwrap().expect(200);
    assert!(!process.log().contains("handed over"), "{}", process.log());
}
