//! What each verb gives.

use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::exchange::{ExportError, Import, OnProblem, Told, export};
use crate::model::UserId;
use crate::status::Pulse;
use crate::store::{Note, Snapshot, Store, StoreError, notes};
use crate::sync::Handle;

use super::frame::{write_piece, write_text};
use super::{Frame, Verb, postgres};

/// How long a verb may be waited for, and the other end's taking what it asked for: as long as it
/// does not, the file keeps what was overwritten since.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longer than any verb: a user's id has at most 255 characters.
const VERB_BYTES: u64 = 2048;

/// How much of an export is sent at once.
const TEXT_BYTES: usize = 64 * 1024;

/// Reads a verb and answers it; gives its name, or none if the other end says nothing. `pulse` and
/// `replica` are those of the server, if there is one. Blocks.
///
/// # Errors
/// What the system says when the other end cannot be heard or told.
pub fn answer(
    stream: &UnixStream,
    store: &Store,
    (pulse, replica): (Option<&Pulse>, Option<&Handle>),
) -> io::Result<Option<&'static str>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut line, mut from) = (String::new(), BufReader::with_capacity(1 << 16, stream));
    from.by_ref().take(VERB_BYTES).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    if let Some(question) = line.trim_end().strip_prefix(postgres::PREFIX) {
        postgres::answer(question, replica, &mut out)?;
        return out.flush().map(|()| Some("for PostgreSQL"));
    }
    let Some(verb) = Verb::parse(line.trim_end_matches('\n')) else {
        Frame::Failed("the server is of another release".to_owned()).write(&mut out)?;
        out.flush()?;
        return Ok(Some("what it does not know"));
    };
    let name = verb.name();
    match verb {
        Verb::Backup => backup(&store.snapshot(), &mut out)?,
        Verb::BackedUp => backed_up(store, &mut out)?,
        Verb::Verify => verify(&store.snapshot(), &mut out)?,
        Verb::Status => status(pulse, &mut out)?,
        Verb::Export(user) => export_lines(store.snapshot(), user.as_ref(), &mut out)?,
        Verb::Import(on_problem) => {
            // Whoever types it may take a while, and keeps nobody waiting.
            stream.set_read_timeout(None)?;
            import_lines(store, on_problem, from, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Some(name))
}

fn backup(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut rows = 0;
    let sent = snapshot.pieces(|piece| {
        rows += 1;
        write_piece(out, piece).map_err(ExportError::Io)
    });
    done_or_failed(sent.map(|()| rows), out)
}

fn backed_up(store: &Store, out: &mut impl Write) -> io::Result<()> {
    let noted = store.write_blocking("backed_up", |tx| {
        tx.put_note(notes::BACKED_UP, Some(&tx.now().as_micros().to_be_bytes()));
        Ok::<_, StoreError>(())
    });
    done_or_failed(noted.map(|()| 1).map_err(ExportError::Store), out)
}

fn verify(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut sent = Ok(());
    let records = snapshot.verify(&mut |note| {
        let frame = match note {
            Note::Checked(records) => Frame::Checked(records),
            Note::Problem(what) => Frame::Problem(what),
        };
        // At once: who waits sees what is found, and one who has gone is noticed.
        sent = frame.write(out).and_then(|()| out.flush());
        if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    sent?;
    match records {
        Some(records) => Frame::Done(records).write(out),
        None => Ok(()),
    }
}

fn status(pulse: Option<&Pulse>, out: &mut impl Write) -> io::Result<()> {
    match pulse {
        Some(pulse) => {
            Frame::Status(pulse.status().to_json()).write(out)?;
            Frame::Done(0).write(out)
        }
        None => Frame::Failed("no server has the file".to_owned()).write(out),
    }
}

fn export_lines(snapshot: Snapshot, user: Option<&UserId>, out: &mut impl Write) -> io::Result<()> {
    let frozen = match snapshot.freeze() {
        Ok(frozen) => frozen,
        Err(error) => return Frame::Failed(error.to_string()).write(out),
    };
    let tally = {
        let mut text = BufWriter::with_capacity(TEXT_BYTES, Texts(out));
        export(&frozen, user, &mut text)
    };
    if let Ok(tally) = tally {
        Frame::Tally(tally).write(out)?;
    }
    done_or_failed(tally.map(|tally| tally.sessions + tally.messages), out)
}

fn import_lines(
    store: &Store,
    on_problem: OnProblem,
    from: impl BufRead,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut told = |told: Told| {
        let frame = match told {
            Told::Stored(tally) => Frame::Tally(tally),
            Told::Problem(what) => Frame::Problem(what),
        };
        match frame.write(out).and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    match Import::new(store, on_problem, &mut told).run(from) {
        Ok(tally) => {
            Frame::Tally(tally).write(out)?;
            Frame::Done(tally.sessions + tally.messages).write(out)
        }
        Err(error) => Frame::Failed(error.to_string()).write(out),
    }
}

fn done_or_failed(done: Result<u64, ExportError>, out: &mut impl Write) -> io::Result<()> {
    match done {
        Ok(records) => Frame::Done(records).write(out),
        Err(ExportError::Store(error)) => Frame::Failed(error.to_string()).write(out),
        Err(ExportError::Io(error)) => Err(error),
    }
}

/// Sends what is written to it, each time as one frame.
struct Texts<'a, W>(&'a mut W);

impl<W: Write> Write for Texts<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write_text(self.0, text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
