//! What can be had of a damaged file, in a new one.

use std::io::{self, BufReader, BufWriter};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::exchange::{Found, Import, OnProblem, Told, salvaged_lines};
use crate::model::Clock;
use crate::store::{self, Salvage, Snapshot, Store, StoreConfig};

use super::exchange::CACHE_BYTES;
use super::out_file::Part;
use super::{CareError, News, Unit, check, failed, sound};

/// What a salvage came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salvaged {
    /// What was found, and what is missing.
    pub found: Found,
    /// How many stretches of the file could not be read.
    pub lost: usize,
    /// What was found and could not be stored.
    pub refused: u64,
}

/// Puts what can be read of the damaged data file at `from`, which stays as it is, into a new file at
/// `target`, where none may be. That is checked before it gets its name.
///
/// Sessions and messages are kept, with their ids and times; not the log of changes, nor the answers to requests
/// that may be repeated. Tells `news` what was found and could not be stored.
///
/// # Errors
/// [`CareError`], with which nothing is at `target`.
pub fn salvage(
    from: &Path,
    target: &Path,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Salvaged, CareError> {
    if target.exists() {
        return Err(failed(target, &"it is there already: choose another name"));
    }
    let found = store::salvage(from, target, &mut |done, of| {
        news(News::progress("searching", done, Some(of), Unit::Bytes));
    })?;
    let part = Part::beside(target);
    let config = StoreConfig::new(part.path().to_owned(), CACHE_BYTES);
    let store = Store::open(&config, Clock::system(), Arc::default())?;
    let stored = store_found(&found, &store, news);
    let closed = store.close().map_err(|error| failed(target, &error));
    let salvaged = Salvaged { lost: found.lost(), ..stored? };
    closed?;
    if salvaged.found.sessions == 0 && salvaged.lost > 0 {
        let problems = u64::try_from(salvaged.lost).unwrap_or(u64::MAX);
        sound(from, problems, "nothing in it could be salvaged: restore a backup")?;
    }
    let (_, problems) = check(&Snapshot::open(part.path())?, news);
    sound(part.path(), problems, "nothing was salvaged: see whether its disk is failing")?;
    part.publish_new(target).map_err(|error| failed(target, &error))?;
    Ok(salvaged)
}

fn store_found(
    found: &Salvage,
    store: &Store,
    news: &mut dyn FnMut(News<'_>),
) -> Result<Salvaged, CareError> {
    let broken = |error: &dyn ToString| CareError::BrokenOff(error.to_string());
    let (reader, writer) = io::pipe().map_err(|error| broken(&error))?;
    let mut told = |told| {
        match told {
            Told::Stored(tally) => {
                let done = tally.sessions + tally.messages;
                news(News::progress("storing", done, None, Unit::Records));
            }
            Told::Problem(what) => news(News::Problem(&format!("left out: {what}"))),
        }
        ControlFlow::Continue(())
    };
    std::thread::scope(|scope| {
        let mut writer = BufWriter::with_capacity(1 << 16, writer);
        let writing = scope.spawn(move || salvaged_lines(found, &mut writer));
        let stored = Import::new(store, OnProblem::GoOn, &mut told).run(BufReader::new(reader));
        let written = writing.join().map_err(|_| broken(&"reading panicked"))?;
        let found = written.map_err(|error| broken(&error))?;
        let refused = stored.map_err(|error| broken(&error))?.problems;
        Ok(Salvaged { found, lost: 0, refused })
    })
}
