//! Too little of something: descriptors, memory; and too many who are slow or silent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::world::{End, Launch, World};
use super::{assert_sound, figure};
use crate::support::{Connection, Process};

/// Not the one whom the world knows everything of.
const BOB: &str = "bob";

/// How much time of the processor a process has taken.
fn cpu(process: &Process) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn save(connection: &mut Connection, n: usize) -> u16 {
    let body = json!({ "userId": BOB, "sessionId": "s", "role": "user", "content": n.to_string() });
    connection.post("/api/sessions/save-message", &body).unwrap().status
}

#[test]
fn torture_by_too_few_descriptors() {
    let mut world = World::new(21);
    let before = ["prlimit", "--nofile=64:64"].map(str::to_owned).to_vec();
    let launch = Launch { before, ..Launch::default() };
    let process = world.start(&launch).unwrap();
    world.set_up(&process).unwrap();
    let mut known = process.connect();
    known.post("/api/sessions", &json!({ "userId": BOB, "sessionId": "s" })).unwrap().expect(201);

    for round in 0..figure("DESCRIPTORS", 4) {
        // Whom it has no descriptor for waits in the system's queue.
        let crowd: Vec<_> = (0..200).map(|_| TcpStream::connect(&process.address)).collect();
        assert!(crowd.iter().filter(|stream| stream.is_ok()).count() > 64);
        let (began, busy) = (Instant::now(), cpu(&process));
        for n in 0..50 {
            assert_eq!(save(&mut known, n), 201, "who was there before");
        }
        while began.elapsed() < Duration::from_secs(1) {
            known.get("/health").unwrap().expect(200);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let busy = cpu(&process).saturating_sub(busy);
        assert!(busy < began.elapsed() / 2, "it spins, round {round}: {busy:?}");
        drop(crowd);
        let freed = Instant::now();
        process.connect().get("/health").unwrap().expect(200);
        assert!(freed.elapsed() < Duration::from_secs(2), "{:?}", freed.elapsed());
    }
    assert!(process.log().lines().count() < 100, "{}", process.log());
    drop(process);
    let (problems, _) = world.recover(&Launch::default());
    assert_sound(&world, "too few descriptors", &problems);
}

/// A group of processes whose memory is bounded. `None`, with a line that says so, where there is
/// no such thing.
struct Group(PathBuf);

impl Group {
    fn new(mib: u64) -> Option<Self> {
        let path = PathBuf::from("/sys/fs/cgroup/memory")
            .join(format!("orion-chat-torture-{}-{mib}", std::process::id()));
        let limited = std::fs::create_dir(&path).and_then(|()| {
            std::fs::write(path.join("memory.limit_in_bytes"), (mib << 20).to_string())
        });
        match limited {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                println!("not tried: a limit of memory, which needs root and cgroups v1: {error}");
                None
            }
        }
    }

    /// What starts a server in it.
    fn launch(&self) -> Launch {
        let script = format!(r#"echo $$ > {}/cgroup.procs; exec "$0" "$@""#, self.0.display());
        Launch { before: vec!["sh".to_owned(), "-c".to_owned(), script], ..Launch::default() }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it has ended.
        let _removed = std::fs::remove_dir(&self.0);
    }
}

/// The most memory that a process had at once, in MiB.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn torture_by_little_memory() {
    // In a debug build redb looks at every page when it opens a file: so it is no large one.
    let Some(group) = Group::new(160) else { return };
    let mut world = World::new(22);
    let process = world.start(&group.launch()).unwrap();
    world.set_up(&process).unwrap();
    let megabytes = figure("MEMORY_MB", 60);
    let large = "x".repeat(900_000);
    let say_much = |writer: usize| {
        let (mut connection, session) = (process.connect(), format!("large-{writer}"));
        let body = json!({ "userId": BOB, "sessionId": session });
        connection.post("/api/sessions", &body).unwrap().expect(201);
        for _ in 0..megabytes / 4 {
            let body =
                json!({ "userId": BOB, "sessionId": session, "role": "user", "content": large });
            connection.post("/api/sessions/save-message", &body).unwrap().expect(201);
        }
        let path = format!("/api/sessions/messages?userId=bob&sessionId={session}");
        assert!(connection.get(&path).unwrap().body.len() > 800_000 * (megabytes / 4));
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|writer| drop(scope.spawn(move || say_much(writer))));
    });
    println!("{megabytes} MB of messages, and at most {} MiB of memory", peak(&process));
    let moment = (300, Duration::ZERO);
    let problems = world.live(process, moment, |process| End::Stop.finish(process));
    assert_sound(&world, "little memory", &problems);
    let (problems, process) = world.recover(&group.launch());
    drop(process);
    assert_sound(&world, "little memory", &problems);
}

/// Sends many large bodies at once, and tells whether that has killed it.
fn fill_memory(process: &mut Process) -> bool {
    let (large, address) = ("x".repeat(1_000_000), process.address.clone());
    std::thread::scope(|scope| {
        for n in 0..60 {
            let (large, address) = (&large, &address);
            scope.spawn(move || {
                let body =
                    json!({ "userId": BOB, "sessionId": n.to_string(), "firstMessage": large });
                let mut connection = Connection::open(address)?;
                connection.post("/api/sessions", &body).map(drop)
            });
        }
    });
    process.end_within(Duration::from_secs(1)).is_some_and(|ended| ended.signal() == Some(9))
}

#[test]
fn torture_by_the_kernels_killing_for_memory() {
    // Less than the cache may have: so the kernel ends it when that fills.
    let Some(group) = Group::new(40) else { return };
    let mut world = World::new(23);
    let mut kills = 0;
    for _ in 0..figure("MEMORY_KILLS", 2) {
        let (problems, process) = world.recover(&group.launch());
        assert_sound(&world, "killed for memory", &problems);
        let moment = (100, Duration::ZERO);
        let problems = world.live(process.unwrap(), moment, |process| {
            kills += usize::from(fill_memory(process));
            process.kill_if_alive();
            Vec::new()
        });
        assert_sound(&world, "killed for memory", &problems);
    }
    let (problems, _) = world.recover(&Launch::default());
    println!("killed for memory {kills} times");
    assert_sound(&world, "killed for memory", &problems);
}

/// What an attacker sends, and then nothing, or a byte now and then.
const SLOW: [&str; 4] = [
    "",
    "GET /api/sessions/list?userId=bob HTTP/1.1\r\nHost: x\r\nX-A",
    "POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
    "GET /api/sessions/messages?userId=bob&sessionId=long HTTP/1.1\r\nHost: x\r\n\r\n",
];

#[test]
fn torture_by_slow_and_silent_clients() {
    let world = World::new(24);
    let process = world.start(&Launch::default()).unwrap();
    let mut client = process.connect();
    for session in ["s", "long"] {
        let body = json!({ "userId": BOB, "sessionId": session });
        client.post("/api/sessions", &body).unwrap().expect(201);
    }
    let text = "x".repeat(500_000);
    for _ in 0..20 {
        let body = json!({ "userId": BOB, "sessionId": "long", "role": "user", "content": text });
        client.post("/api/sessions/save-message", &body).unwrap().expect(201);
    }

    let each = figure("SLOW_CLIENTS", 100);
    let mut crowd = Vec::new();
    for beginning in SLOW {
        for _ in 0..each {
            let mut stream = TcpStream::connect(&process.address).unwrap();
            stream.write_all(beginning.as_bytes()).unwrap();
            crowd.push((beginning, stream));
        }
    }
    // Others are served meanwhile, as if nobody was there.
    let (began, mut times) = (Instant::now(), Vec::new());
    for n in 0..200 {
        let called = Instant::now();
        assert_eq!(save(&mut client, n), 201);
        process.connect().get("/health").unwrap().expect(200);
        times.push(called.elapsed());
    }
    times.sort();
    assert!(times[190] < Duration::from_secs(1), "{:?}", &times[190..]);
    // Each is hung up on: after 10 s without a head, 30 s without a body or a reader.
    for (beginning, stream) in &mut crowd {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let patience = Duration::from_secs(if beginning.len() < 70 { 20 } else { 50 });
        // Who does not read the long history must not begin to now: that is not looked at here.
        while !beginning.contains("long") {
            let mut some = [0; 512];
            match stream.read(&mut some) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(_) => assert!(began.elapsed() < patience, "still open: {beginning:?}"),
            }
        }
    }
    let (took, hung_up) = (began.elapsed(), 3 * each);
    println!(
        "{hung_up} slow and silent clients hung up on within {took:?}, beside {each} who do not read"
    );
}
