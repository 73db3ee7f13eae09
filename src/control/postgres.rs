//! What is asked of the replica: one line names it, and lines of text come back: `> ` what is said,
//! `~ ` how far it is, `= ` how it ended, `! ` why it could not be done.

use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::sync::{Answer, Handle, Order};

use super::socket_path;

/// What the lines begin with that ask for something of it.
pub(super) const PREFIX: &str = "postgres ";

/// Each order, with how it is written.
const ORDERS: [(&str, Order); 5] = [
    ("pull", Order::Pull { accept_deletions: false }),
    ("pull-and-delete", Order::Pull { accept_deletions: true }),
    ("push", Order::Push),
    ("retry", Order::Retry),
    ("diff", Order::Diff),
];

/// What a server can be asked about its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// How it is doing: a line of JSON, then one for each of the first refused rows.
    Status,
    /// What lost against other changes: a line of JSON each.
    Conflicts,
    /// To do something.
    Order(Order),
}

/// What it says meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// A line for whoever asked.
    Line(&'a str),
    /// So many rows are done, of about so many.
    Progress(u64, u64),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is done; whether all is as it should be.
    Done(bool),
    /// It could not be done.
    Failed(String),
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Conflicts => "conflicts",
            Self::Order(order) => {
                ORDERS.iter().find(|(_, other)| *other == order).map_or("", |(name, _)| name)
            }
        }
    }

    fn parse(name: &str) -> Option<Self> {
        if let Some(question) =
            [Self::Status, Self::Conflicts].into_iter().find(|question| question.name() == name)
        {
            return Some(question);
        }
        ORDERS.iter().find(|(other, _)| *other == name).map(|(_, order)| Self::Order(*order))
    }
}

/// Answers `question`, the rest of the line. Blocks until it is answered.
pub(super) fn answer(
    question: &str,
    replica: Option<&Handle>,
    out: &mut impl Write,
) -> io::Result<()> {
    let Some(replica) = replica else {
        return end(out, Ending::Failed("the server was started without PostgreSQL".to_owned()));
    };
    match Question::parse(question) {
        None => end(out, Ending::Failed("the server is of another release".to_owned())),
        Some(Question::Status) => match replica.status().lines() {
            Ok(lines) => {
                lines.iter().try_for_each(|line| say(out, line))?;
                end(out, Ending::Done(true))
            }
            Err(error) => end(out, Ending::Failed(error.to_string())),
        },
        Some(Question::Conflicts) => {
            let mut said = Ok(());
            let shown = replica.status().conflicts(&mut |line| {
                said = say(out, line);
                said.is_ok()
            });
            said?;
            match shown {
                Ok(()) => end(out, Ending::Done(true)),
                Err(error) => end(out, Ending::Failed(error.to_string())),
            }
        }
        Some(Question::Order(order)) => {
            let mut answers = replica.ask(order);
            while let Some(answer) = answers.blocking_recv() {
                match answer {
                    Answer::Said(line) => say(out, &line)?,
                    Answer::Progress { done, of } => {
                        writeln!(out, "~ {done} {of}")?;
                        out.flush()?;
                    }
                    Answer::Done(is_well) => return end(out, Ending::Done(is_well)),
                    Answer::Failed(why) => return end(out, Ending::Failed(why)),
                }
            }
            end(out, Ending::Failed("the server is stopping".to_owned()))
        }
    }
}

fn say(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "> {}", line.replace('\n', " "))?;
    out.flush()
}

fn end(out: &mut impl Write, ending: Ending) -> io::Result<()> {
    match ending {
        Ending::Done(is_well) => writeln!(out, "= {is_well}"),
        Ending::Failed(why) => writeln!(out, "! {}", why.replace('\n', " ")),
    }
}

/// Asks the server of the data file at `data`; shows `each` what it says, and gives how it ended. `None` if no server has the file.
///
/// # Errors
/// What the system says when there is no such file or the server cannot be asked, and when it
/// breaks off.
pub fn ask_replica(
    data: &Path,
    question: Question,
    each: &mut dyn FnMut(Told<'_>),
) -> io::Result<Option<Ending>> {
    let mut stream = match UnixStream::connect(socket_path(data)?) {
        Ok(stream) => stream,
        // Nobody listens, or nobody does any more; or the path is too long for a socket.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    writeln!(stream, "{PREFIX}{}", question.name())?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split_at_checked(2) {
            Some(("> ", text)) => each(Told::Line(text)),
            Some(("~ ", text)) => {
                let numbers = text.split_once(' ').map(|(done, of)| (done.parse(), of.parse()));
                if let Some((Ok(done), Ok(of))) = numbers {
                    each(Told::Progress(done, of));
                }
            }
            Some(("= ", text)) => return Ok(Some(Ending::Done(text == "true"))),
            Some(("! ", text)) => return Ok(Some(Ending::Failed(text.to_owned()))),
            _ => break,
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_understood() {
        let orders = ORDERS.into_iter().map(|(_, order)| Question::Order(order));
        for question in orders.chain([Question::Status, Question::Conflicts]) {
            assert_eq!(Question::parse(question.name()), Some(question));
        }
        assert_eq!(Question::parse(""), None);
    }

    #[test]
    fn without_postgres_it_says_so() {
        let mut out = Vec::new();
        answer("status", None, &mut out).unwrap();
        assert_eq!(out, b"! the server was started without PostgreSQL\n");
    }
}
