//! A disk that is only simulated: what was synced is safe, and of the rest anything may be there
//! after a crash, in any order, or half of it.
//!
//! It keeps to what redb asks of a disk: what was synced stays, a byte is written whole or not at
//! all, and writing some bytes does not touch those beside them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// Of this many bytes a disk writes all or nothing, unless it is worse than others.
const SECTOR: usize = 512;

/// A disk; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>, Arc<AtomicUsize>);

#[derive(Debug)]
struct State {
    /// What is read.
    live: Vec<u8>,
    /// What was synced.
    durable: Arc<Vec<u8>>,
    /// What was not, in order.
    pending: Vec<Op>,
    fault: Option<Fault>,
    moments: Vec<Moment>,
}

/// Something that is done to it.
#[derive(Debug, Clone)]
enum Op {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

/// A moment at which the power may go.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    durable: Arc<Vec<u8>>,
    pending: Vec<Op>,
    /// How many writes were acknowledged then, at least.
    pub(crate) acknowledged: usize,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Read,
    Write,
    SetLen,
    Sync,
}

/// An error that it gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) ask: Ask,
    /// At which time it is asked for that.
    pub(crate) at: usize,
    /// Whether from then on.
    pub(crate) stays: bool,
    pub(crate) kind: io::ErrorKind,
}

/// How much of what was not synced is there after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    Everything,
    /// All but the first so many.
    Prefix(usize),
    /// The first so many alone.
    Suffix(usize),
    /// One alone.
    Only(usize),
    /// All but one.
    AllBut(usize),
    /// Each or not, by the bits of this number.
    Some(u64),
    /// As above; and of those that are there, sectors or not, by its bits too.
    Torn(u64),
    /// The same byte by byte, for the first of them.
    TornByBytes(u64),
    /// As above, and the file is no longer than it was.
    WithoutGrowth(u64),
    /// In another order.
    Reordered(u64),
}

impl Disk {
    pub(crate) fn new(image: Vec<u8>, acknowledged: &Arc<AtomicUsize>) -> Self {
        let state = State {
            durable: Arc::new(image.clone()),
            live: image,
            pending: Vec::new(),
            fault: None,
            moments: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)), Arc::clone(acknowledged))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// With an error that it will give.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Without any more.
    pub(crate) fn mend(&self) {
        self.state().fault = None;
    }

    /// Whether it gave that error.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().fault.is_none_or(|fault| fault.at == 0)
    }

    /// What a process reads that starts anew while the power stays on.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.state().live.clone()
    }

    /// The moment of now.
    pub(crate) fn now(&self) -> Moment {
        self.state().moment(self.1.load(Ordering::SeqCst))
    }

    /// All moments up to now.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.state().moments)
    }

    /// Does as it is asked, unless something is wrong; `moment` before that.
    fn ask(&self, ask: Ask, work: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.fails(ask) {
            return Err(kind.into());
        }
        if ask != Ask::Read {
            let moment = state.moment(self.1.load(Ordering::SeqCst));
            state.moments.push(moment);
        }
        work(&mut state);
        Ok(())
    }
}

impl State {
    /// How it fails at what is asked, if it does.
    fn fails(&mut self, ask: Ask) -> Option<io::ErrorKind> {
        let fault = self.fault.as_mut().filter(|fault| fault.ask == ask)?;
        fault.at = fault.at.saturating_sub(1);
        let Fault { at, stays, kind, .. } = *fault;
        if at == 0 && !stays {
            self.fault = None;
        }
        (at == 0).then_some(kind)
    }

    fn moment(&self, acknowledged: usize) -> Moment {
        let (durable, pending) = (Arc::clone(&self.durable), self.pending.clone());
        Moment { durable, pending, acknowledged }
    }
}

impl Op {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => image.resize(*len, 0),
            Self::Write { offset, data } => {
                if image.len() < offset + data.len() {
                    image.resize(offset + data.len(), 0);
                }
                image[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    /// The pieces of `size` bytes of it whose bits are set.
    fn torn(&self, size: usize, mut bits: u64) -> Vec<Self> {
        let Self::Write { offset, data } = self else { return vec![self.clone()] };
        let mut pieces = Vec::new();
        for (n, piece) in data.chunks(size).enumerate() {
            bits = bits.rotate_right(1) ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if bits & 1 == 1 {
                let (offset, data) = (offset + n * size, piece.to_vec());
                pieces.push(Self::Write { offset, data });
            }
        }
        pieces
    }
}

impl Moment {
    /// How many ops were not synced.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there after the power went at this moment.
    pub(crate) fn image(&self, loss: Loss) -> Vec<u8> {
        let mut image = self.durable.to_vec();
        let (len, count) = (image.len(), self.pending.len());
        let by_bits =
            |bits: u64, n: usize| bits.rotate_right(u32::try_from(n % 64).unwrap()) & 1 == 1;
        let kept = |n: usize| match loss {
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::Prefix(first) => n >= first,
            Loss::Suffix(first) => n < first,
            Loss::Only(one) => n == one % count.max(1),
            Loss::AllBut(one) => n != one % count.max(1),
            Loss::Some(bits)
            | Loss::Torn(bits)
            | Loss::TornByBytes(bits)
            | Loss::WithoutGrowth(bits)
            | Loss::Reordered(bits) => by_bits(bits, n),
        };
        let mut ops: Vec<_> = (0..count).filter(|n| kept(*n)).collect();
        if let Loss::Reordered(bits) = loss {
            ops.sort_by_key(|n| (bits ^ *n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        for (nth, op) in ops.iter().map(|n| &self.pending[*n]).enumerate() {
            match loss {
                Loss::Torn(bits) => {
                    op.torn(SECTOR, bits >> 7).iter().for_each(|piece| piece.apply(&mut image));
                }
                Loss::TornByBytes(bits) if nth == 0 => {
                    op.torn(1, bits >> 7).iter().for_each(|piece| piece.apply(&mut image));
                }
                _ => op.apply(&mut image),
            }
        }
        if matches!(loss, Loss::WithoutGrowth(_)) {
            image.truncate(len);
        }
        image
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut found = false;
        self.ask(Ask::Read, |state| {
            if let Some(bytes) = state.live.get(offset..offset + out.len()) {
                out.copy_from_slice(bytes);
                found = true;
            }
        })?;
        if found { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let op = Op::SetLen(usize::try_from(len).unwrap());
        self.ask(Ask::SetLen, |state| state.change(op))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let op = Op::Write { offset: usize::try_from(offset).unwrap(), data: data.to_vec() };
        self.ask(Ask::Write, |state| state.change(op))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ask(Ask::Sync, |state| {
            let durable = Arc::make_mut(&mut state.durable);
            for op in state.pending.drain(..) {
                op.apply(durable);
            }
        })
    }
}

impl State {
    fn change(&mut self, op: Op) {
        op.apply(&mut self.live);
        self.pending.push(op);
    }
}
