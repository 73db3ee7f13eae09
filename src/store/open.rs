//! Opening a data file, which is left as it is unless it is ours and makes sense.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageBackend,
};
use tracing::info;
use uuid::Uuid;

use crate::metrics::Metrics;

use super::fresh::Fresh;
use super::held::{Gate, HeldBackend};
use super::settle::Settle;
use super::space::Space;
use super::step::Step;
use super::tx::{self, Tables, View};
use super::versions::Versions;
use super::writer::Numbers;
use super::{OpenError, StoreError, Stored, file, record, tables};

/// How far the repair of a data file has come.
#[derive(Debug, Clone, Copy)]
pub struct Repair {
    /// Of a hundred.
    pub percent: f64,
    /// How large the file is; all of it is read.
    pub bytes: u64,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent;
        write!(f, "repairing the data file after an unclean stop: {percent:.0} %")
    }
}

/// Opens the file at `path`, which is ours and not of a newer release, and changes nothing of it
/// until its gate lets that through.
pub(super) fn open_held(
    path: &Path,
    cache_bytes: usize,
    on: (Arc<Space>, Arc<Metrics>),
    on_repair: impl Fn(Repair) + 'static,
) -> Result<(Database, Arc<Gate<FileBackend>>), OpenError> {
    let access = |source: std::io::Error| OpenError::Access { path: path.to_owned(), source };
    let file = file::open(path).map_err(access)?;
    let (bytes, inode) = file.metadata().map(|found| (found.len(), found.ino())).map_err(access)?;
    if bytes == 0 {
        return Err(OpenError::damaged(path, "it is empty, which a data file never is"));
    }
    let backend = FileBackend::new(file).map_err(|error| OpenError::refused(path, error))?;
    let opened = open_backend(backend, (path, bytes), cache_bytes, on, on_repair)?;
    // Before it was locked, a restored file may have taken its place.
    if path.metadata().map_err(access)?.ino() != inode {
        return Err(OpenError::InUse { path: path.to_owned() });
    }
    Ok(opened)
}

/// Opens what `backend` has, which is known as `path` and so many `bytes` long, as [`open_held`]
/// does.
pub(super) fn open_backend<B: StorageBackend>(
    backend: B,
    (path, bytes): (&Path, u64),
    cache_bytes: usize,
    on: (Arc<Space>, Arc<Metrics>),
    on_repair: impl Fn(Repair) + 'static,
) -> Result<(Database, Arc<Gate<B>>), OpenError> {
    let (held, gate) = HeldBackend::new(backend, on);
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes).set_repair_callback(move |repair| {
        let repair = Repair { percent: repair.progress() * 100.0, bytes };
        info!("{repair}");
        on_repair(repair);
    });
    // redb may panic on a file that was damaged while it was closed. Nothing is written to it
    // before all that is read now has proved to be good.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = builder.create_with_backend(held);
        let db = db.map_err(|error| OpenError::refused(path, error))?;
        if check_schema(path, &db)? < tables::SCHEMA_VERSION {
            lay_out(&db).map_err(|error| OpenError::unreadable(path, error))?;
        }
        Ok(db)
    }));
    let db =
        opened.unwrap_or_else(|_| Err(OpenError::damaged(path, "its structure makes no sense")))?;
    Ok((db, gate))
}

/// Makes the tables of a new file, and those that a file of an older release has not.
#[expect(clippy::disallowed_methods, reason = "there is no writer yet")]
pub(super) fn lay_out(db: &Database) -> Result<(), StoreError> {
    let mut transaction = db.begin_write()?;
    // A crash right after the first start is as cheap as one after a clean stop.
    transaction.set_quick_repair(true);
    Settle::open(&transaction)?;
    transaction.open_table(tables::SEQ_TO_STEPS)?;
    let version = tables::SCHEMA_VERSION.to_be_bytes();
    {
        let mut meta = transaction.open_table(tables::META)?;
        meta.insert(tables::SCHEMA_VERSION_KEY, version.as_slice())?;
        meta.insert(tables::LOG_ID, new_log_id().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// A number that no other log has, sealed.
pub(super) fn new_log_id() -> Vec<u8> {
    let (log_id, _) = Uuid::new_v4().as_u64_pair();
    record::seal_number(tables::LOG_ID, log_id)
}

/// What a file holds.
pub(super) struct Loaded {
    pub(super) view: View,
    pub(super) next: Numbers,
    /// The number of the last step up to which the tables show everything.
    pub(super) settled: u64,
    pub(super) log_id: u64,
}

/// What is committed, and the numbers that come next. What was not settled before the last stop
/// is fresh again.
pub(super) fn load(tx: impl Into<Arc<ReadTransaction>>) -> Result<Loaded, StoreError> {
    let tx = tx.into();
    let (meta, log) = (tx.open_table(tables::META)?, tx.open_table(tables::SEQ_TO_STEPS)?);
    let session = tx::read_number(&meta, tables::NEXT_SESSION)?;
    let settled = tx::read_number(&meta, tables::SETTLED)?.unwrap_or(0);
    let log_id = tx::read_number(&meta, tables::LOG_ID)?
        .ok_or_else(|| record::damaged("number", tables::LOG_ID))?;
    let mut next = Numbers { seq: 1, session: session.unwrap_or(1) };
    if let Some((seq, steps)) = log.last()? {
        let steps = record::decode_steps(seq.value(), steps.value())?;
        next.seq = seq.value() + u64::try_from(steps.len()).unwrap_or(u64::MAX);
    }
    if settled >= next.seq {
        return Err(record::damaged("number", tables::SETTLED));
    }
    let mut noted = Stored::noted(&meta)?.filter(|(counted, _)| *counted >= settled);
    let (tables, newest, stored) = (Tables::open(tx)?, next.seq - 1, Stored::default());
    let (fresh, versions) = (Fresh::default(), Versions::new(newest));
    let mut view = View { fresh, tables, newest, stored, versions };
    for entry in log.range(settled + 1..)? {
        let (seq, steps) = entry?;
        for (seq, step) in (seq.value()..).zip(record::decode_steps(seq.value(), steps.value())?) {
            if let Step::PutSession { session, .. } = &step {
                next.session = next.session.max(session.number + 1);
            }
            if let Some((_, stored)) = noted.as_mut().filter(|(counted, _)| *counted < seq) {
                stored.count_again(&step, &view);
            }
            view.fresh.apply(step);
        }
    }
    let is_settled = settled == view.newest;
    let settled_sessions = view.tables.by_created.len()?;
    view.stored = match noted {
        Some((_, noted)) if !is_settled || noted.sessions == settled_sessions => noted,
        _ => Stored::look_through(&view)?,
    };
    Ok(Loaded { view, next, settled, log_id })
}

/// The schema version of the file, if it is ours and not newer than this release.
fn check_schema(path: &Path, db: &Database) -> Result<u64, OpenError> {
    let found = db.begin_read().map_err(StoreError::from).and_then(|tx| {
        let version = tx.open_table(tables::META)?.get(tables::SCHEMA_VERSION_KEY)?;
        Ok(version.and_then(|version| version.value().try_into().ok()).map(u64::from_be_bytes))
    });
    match found {
        Ok(Some(found)) if found > tables::SCHEMA_VERSION => {
            let (path, known) = (path.to_owned(), tables::SCHEMA_VERSION);
            Err(OpenError::Newer { path, found, known })
        }
        Ok(Some(found @ 1..=tables::SCHEMA_VERSION)) => Ok(found),
        Ok(found) => Err(OpenError::damaged(path, format!("its schema version is {found:?}"))),
        Err(error) => Err(OpenError::unreadable(path, error)),
    }
}
