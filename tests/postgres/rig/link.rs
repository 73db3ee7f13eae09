//! The wire between a node and PostgreSQL, with the weather on it: a TCP port that passes on what
//! it gets, until it is told to lose, hold or break it.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::wire::Frame;

/// What happens to what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Connections end, and new ones at once.
    Down,
    /// Nothing arrives, and nobody is told. What was sent meanwhile arrives afterwards.
    BlackHole,
    /// Each message takes so long, in either direction.
    Slow(Duration),
    /// Every so-many-th transaction that changes something is committed, and the connection ends
    /// before the client learns of it.
    AnswersLost {
        every: u64,
    },
    /// At every so-many-th the connection ends before the server is asked to commit.
    CommitsLost {
        every: u64,
    },
    /// A connection ends when a client has sent so many bytes over it.
    CutAfter {
        bytes: usize,
    },
}

/// A port on this machine that leads to a server's Unix socket.
pub(crate) struct Link {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    weather: Weather,
    /// By number, what must be closed to end it.
    open: HashMap<u64, (TcpStream, UnixStream)>,
    /// Connections that were begun, whatever came of them.
    called: u64,
    opened: u64,
    most_open: usize,
    /// Transactions that changed something, or tried to.
    commits: u64,
    lost: u64,
    /// What the clients of these sent, if it is wanted.
    recorded: Option<Vec<Vec<u8>>>,
    is_gone: bool,
}

impl Link {
    pub(crate) fn to(upstream: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            weather: Weather::Fair,
            open: HashMap::new(),
            called: 0,
            opened: 0,
            most_open: 0,
            commits: 0,
            lost: 0,
            recorded: None,
            is_gone: false,
        };
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    /// Changes the weather. Connections that are open stay so, unless it is [`Weather::Down`].
    pub(crate) fn set(&self, weather: Weather) {
        let mut state = self.shared.lock();
        state.weather = weather;
        self.shared.changed.notify_all();
        if weather == Weather::Down {
            state.cut();
        }
    }

    /// Ends all connections; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.shared.lock().cut();
    }

    /// How many connections were begun, whatever came of them.
    pub(crate) fn called(&self) -> u64 {
        self.shared.lock().called
    }

    /// How many connections there were at the same time, at most.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.lock().most_open
    }

    /// How many transactions were committed without an answer, or not committed, by the weather.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// How many transactions that change something went over it.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.lock().commits
    }

    /// Begins to keep what each transaction that changes something consists of.
    pub(crate) fn record(&self) {
        self.shared.lock().recorded = Some(Vec::new());
    }

    /// Ends that, and gives them.
    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        self.shared.lock().recorded.take().unwrap_or_default()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_gone = true;
        state.weather = Weather::Down;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes who accepts.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn cut(&mut self) {
        for (client, server) in self.open.values() {
            // One that has ended by itself is as good.
            let _ended = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
        self.open.clear();
    }

    /// Counts a transaction, and tells whether the weather takes this one.
    fn takes(&mut self, every: u64) -> bool {
        self.commits += 1;
        let takes = self.commits.is_multiple_of(every);
        self.lost += u64::from(takes);
        takes
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let (client, _) = listener.accept().unwrap();
            let mut state = self.lock();
            if state.is_gone {
                return;
            }
            state.called += 1;
            drop(state);
            let shared = Arc::clone(self);
            // It ends with an error, as either end does.
            std::thread::spawn(move || shared.connect(client));
        }
    }

    fn connect(self: Arc<Self>, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        self.fair_enough()?;
        let startup = Frame::read_startup(&mut client)?;
        self.fair_enough()?;
        let mut server = UnixStream::connect(&self.upstream)?;
        server.write_all(&startup.bytes)?;
        let number = {
            let mut state = self.lock();
            state.opened += 1;
            let number = state.opened;
            state.open.insert(number, (client.try_clone()?, server.try_clone()?));
            state.most_open = state.most_open.max(state.open.len());
            number
        };
        let talk = Talk {
            shared: Arc::clone(&self),
            has_written: AtomicBool::new(false),
            said: Mutex::default(),
        };
        let (client_again, server_again) = (client.try_clone()?, server.try_clone()?);
        let end = || {
            let _ended = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ended = talk.answer(&server_again, &client_again);
                end();
            });
            // What a client said before it left still arrives.
            let _ended = talk.ask(&client, &server);
            end();
        });
        self.lock().open.remove(&number);
        Ok(())
    }

    /// Waits until there is a way through; an error if there will be none.
    fn fair_enough(&self) -> io::Result<Weather> {
        let hole = |state: &mut State| state.weather == Weather::BlackHole;
        let weather = self.changed.wait_while(self.lock(), hole).unwrap().weather;
        match weather {
            Weather::Down => Err(io::ErrorKind::ConnectionReset.into()),
            Weather::Slow(delay) => {
                let slow = |state: &mut State| state.weather == weather;
                let _waited = self.changed.wait_timeout_while(self.lock(), delay, slow).unwrap();
                Ok(weather)
            }
            _ => Ok(weather),
        }
    }
}

/// One connection.
struct Talk {
    shared: Arc<Shared>,
    /// Whether the transaction that is open changes something.
    has_written: AtomicBool,
    /// What the client said in it.
    said: Mutex<Vec<u8>>,
}

impl Talk {
    /// Passes on what the client says.
    fn ask(&self, mut client: &TcpStream, mut server: &UnixStream) -> io::Result<()> {
        let mut sent = 0;
        loop {
            let frame = Frame::read(&mut client)?;
            if frame.writes() {
                self.has_written.store(true, Ordering::SeqCst);
            }
            if !frame.proves_identity() {
                self.said.lock().unwrap().extend(&frame.bytes);
            }
            match self.shared.fair_enough()? {
                Weather::CommitsLost { every }
                    if frame.asks_to_commit()
                        && self.has_written.load(Ordering::SeqCst)
                        && self.shared.lock().takes(every) =>
                {
                    return Ok(());
                }
                Weather::CutAfter { bytes } if sent + frame.bytes.len() > bytes => {
                    // It may have sent more before the weather changed.
                    server.write_all(&frame.bytes[..bytes.saturating_sub(sent)])?;
                    return Ok(());
                }
                _ => {}
            }
            sent += frame.bytes.len();
            server.write_all(&frame.bytes)?;
        }
    }

    /// Passes on what the server says: at the end of what belongs together, so that all of an
    /// answer can be lost.
    fn answer(&self, server: &UnixStream, mut client: &TcpStream) -> io::Result<()> {
        let mut server = io::BufReader::new(server);
        let (mut answer, mut is_undone) = (Vec::new(), false);
        loop {
            let frame = Frame::read(&mut server)?;
            answer.extend(&frame.bytes);
            is_undone |= frame.undoes();
            let is_over = frame.ready() == Some(true);
            if is_over && self.end_transaction(is_undone) {
                return Ok(());
            }
            is_undone &= !is_over;
            // The server says more without being asked, or wants to be told something.
            if frame.ready().is_some() || server.buffer().is_empty() && !self.is_held_back() {
                self.shared.fair_enough()?;
                client.write_all(&answer)?;
                answer.clear();
            }
        }
    }

    /// Whether an answer must be whole before it is passed on.
    fn is_held_back(&self) -> bool {
        matches!(self.shared.lock().weather, Weather::AnswersLost { .. })
            && self.has_written.load(Ordering::SeqCst)
    }

    /// Tells whether the answer is lost.
    fn end_transaction(&self, is_undone: bool) -> bool {
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        let has_written = self.has_written.swap(false, Ordering::SeqCst);
        if !has_written || is_undone {
            return false;
        }
        let mut state = self.shared.lock();
        if let Some(recorded) = &mut state.recorded {
            recorded.push(said);
        }
        match state.weather {
            Weather::AnswersLost { every } => state.takes(every),
            Weather::CommitsLost { .. } => false,
            _ => state.takes(u64::MAX),
        }
    }
}
