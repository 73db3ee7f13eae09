//! How far a command is, for who waits at a terminal; nothing of that in a pipe or file.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::care::{News, Unit};

use super::log::without_addresses;

/// Where problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// They are what was asked for.
    Stdout,
    /// Stdout may be a backup, or lines.
    Stderr,
}

/// A line on stderr that shows how far it is, and goes at the end.
#[derive(Debug)]
pub(super) struct Progress {
    tell: Tell,
    bar: ProgressBar,
    verb: &'static str,
}

impl Progress {
    pub(super) fn new(tell: Tell) -> Self {
        // Hidden unless stderr is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self { tell, bar, verb: "" }
    }

    pub(super) fn hear(&mut self, news: News<'_>) {
        match news {
            News::Problem(what) => self.bar.suspend(|| match self.tell {
                Tell::Stdout => super::say(what),
                Tell::Stderr => complain_of(what),
            }),
            News::Progress { verb, done, of, unit } => {
                if verb != self.verb {
                    self.verb = verb;
                    // The style first: each of these draws.
                    self.bar.set_style(style(of, unit));
                    self.bar.set_message(verb);
                    self.bar.reset();
                    self.bar.enable_steady_tick(Duration::from_millis(200));
                }
                // What is copied of a file is less than the file, and may be a little more.
                if let Some(of) = of {
                    self.bar.set_length(of.max(done));
                }
                self.bar.set_position(done);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(of: Option<u64>, unit: Unit) -> ProgressStyle {
    let template = match (of, unit) {
        (Some(_), Unit::Bytes) => {
            "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
        }
        (Some(_), Unit::Records) => "{msg} {wide_bar} {human_pos} of {human_len}, {eta} left",
        (None, Unit::Bytes) => "{spinner} {msg} {bytes}, {bytes_per_sec}",
        (None, Unit::Records) => "{spinner} {msg} {human_pos} records, {per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[expect(clippy::print_stderr, reason = "this is what stderr is for")]
fn complain_of(problem: &str) {
    // It may go to a journal, as that of a nightly backup does.
    let problem = without_addresses(problem.as_bytes());
    eprintln!("{}", String::from_utf8_lossy(&problem));
}
