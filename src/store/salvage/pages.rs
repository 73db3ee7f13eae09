//! Pages of a redb file, format 3, as they lie there: read without trust.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The size of the smallest page, which redb has fixed.
pub(super) const PAGE: u64 = 4096;

/// Larger than any page: a record has at most 16 MiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// A file of pages.
#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    pub(super) len: u64,
}

/// Where a page is, and what its bytes add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) page: u64,
    pub(super) checksum: u128,
}

/// How a file is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    header_pages: u64,
    data_pages: u64,
}

impl Pages {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// What the file has there: less than that where it ends, nothing where it cannot be read.
    pub(super) fn read(&self, at: u64, len: u64) -> Vec<u8> {
        let len = len.min(MAX_BYTES).min(self.len.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// The layout, and the roots of the tree of tables: the newest first.
    pub(super) fn roots(&self) -> Option<(Layout, Vec<Root>)> {
        let header = self.read(0, 320);
        let layout = Layout {
            header_pages: u64::from(u32_at(&header, 16)?),
            data_pages: u64::from(u32_at(&header, 20)?),
        };
        let fits = header.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a")
            && u32_at(&header, 12)? == 4096
            && (1..=1 << 20).contains(&layout.data_pages)
            && layout.header_pages <= 1 << 20;
        let primary = usize::from(header.get(9)? & 1);
        let slots = [primary, 1 - primary].into_iter();
        let roots = slots.filter_map(|slot| slot_root(header.get(64 + 128 * slot..)?));
        fits.then(|| (layout, roots.collect()))
    }

    /// The bytes of a page, if they add up.
    pub(super) fn page(&self, layout: Layout, root: Root) -> Option<Vec<u8>> {
        let order = root.page >> 59;
        let index = root.page & (0x000f_ffff >> order.min(20));
        let region = (root.page >> 20) & 0x000f_ffff;
        let len = PAGE.checked_shl(u32::try_from(order).ok()?).filter(|len| *len <= MAX_BYTES)?;
        let pages_before = region
            .checked_mul(layout.header_pages + layout.data_pages)?
            .checked_add(1 + layout.header_pages)?;
        let at = pages_before.checked_mul(PAGE)?.checked_add(index.checked_mul(len)?)?;
        let bytes = self.read(at, len);
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }
}

fn slot_root(slot: &[u8]) -> Option<Root> {
    let sum = u128::from_le_bytes(*slot.get(112..128)?.first_chunk()?);
    let adds_up = xxhash_rust::xxh3::xxh3_128(slot.get(..112)?) == sum;
    (adds_up && *slot.get(1)? != 0).then(|| root_at(slot, 8)).flatten()
}

/// The root that is written at `at`: page, checksum.
pub(super) fn root_at(bytes: &[u8], at: usize) -> Option<Root> {
    let page = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let checksum = u128::from_le_bytes(*bytes.get(at + 8..)?.first_chunk()?);
    Some(Root { page, checksum })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn end_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

fn count_at(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?)))
}

/// What a page says it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    Leaf(Leaf<'a>),
    Branch(Branch<'a>),
}

/// A page of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf<'a> {
    bytes: &'a [u8],
    pub(super) count: usize,
    /// The width of its keys, if they all have the same.
    width: Option<usize>,
}

/// A page of pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<'a> {
    bytes: &'a [u8],
    count: usize,
    width: Option<usize>,
}

impl<'a> Node<'a> {
    /// The page, whose keys are of this width.
    pub(super) fn of(bytes: &'a [u8], width: Option<usize>) -> Option<Self> {
        let count = count_at(bytes).filter(|count| *count > 0)?;
        match *bytes.first()? {
            LEAF => Some(Self::Leaf(Leaf { bytes, count, width })),
            BRANCH => Some(Self::Branch(Branch { bytes, count, width })),
            _ => None,
        }
    }

    /// Whether its bytes add up to `checksum`.
    pub(super) fn adds_up_to(&self, checksum: u128) -> bool {
        let used = match self {
            Self::Leaf(leaf) => leaf.end().and_then(|end| leaf.bytes.get(..end)),
            Self::Branch(branch) => {
                branch.key_end(branch.count - 1).and_then(|end| branch.bytes.get(..end))
            }
        };
        used.is_some_and(|used| xxhash_rust::xxh3::xxh3_128(used) == checksum)
    }
}

impl<'a> Leaf<'a> {
    fn keys_from(&self) -> usize {
        let ends = if self.width.is_some() { 1 } else { 2 };
        4 + 4 * ends * self.count
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        match self.width {
            Some(width) => Some(self.keys_from() + width * (n + 1)),
            None => end_at(self.bytes, 4 + 4 * n),
        }
    }

    fn value_end(&self, n: usize) -> Option<usize> {
        let ends_from = if self.width.is_some() { 4 } else { 4 + 4 * self.count };
        end_at(self.bytes, ends_from + 4 * n)
    }

    /// Where its last value ends.
    pub(super) fn end(&self) -> Option<usize> {
        self.value_end(self.count - 1)
    }

    /// The `n`th key and value, if they are within the page.
    pub(super) fn row(&self, n: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (key_from, value_from) = match n.checked_sub(1) {
            Some(before) => (self.key_end(before)?, self.value_end(before)?),
            None => (self.keys_from(), self.key_end(self.count - 1)?),
        };
        let key = self.bytes.get(key_from..self.key_end(n)?)?;
        Some((key, self.bytes.get(value_from..self.value_end(n)?)?))
    }
}

impl<'a> Branch<'a> {
    fn key_end(&self, n: usize) -> Option<usize> {
        let ends_from = 8 + 24 * (self.count + 1);
        match self.width {
            Some(width) => Some(ends_from + width * (n + 1)),
            None => end_at(self.bytes, ends_from + 4 * n),
        }
    }

    /// The `n`th key: that of the last row of the `n`th page, or of none behind it.
    fn key(&self, n: usize) -> Option<&'a [u8]> {
        let from = match (n.checked_sub(1), self.width) {
            (Some(before), _) => self.key_end(before)?,
            (None, Some(_)) => 8 + 24 * (self.count + 1),
            (None, None) => 8 + 24 * (self.count + 1) + 4 * self.count,
        };
        self.bytes.get(from..self.key_end(n)?)
    }

    /// Its pages in order, each with the key that its rows come after, and the one up to which they
    /// go.
    pub(super) fn children(
        self,
    ) -> impl Iterator<Item = (Option<&'a [u8]>, Option<&'a [u8]>, Option<Root>)> {
        let pages_from = 8 + 16 * (self.count + 1);
        (0..=self.count).map(move |n| {
            let sum = self.bytes.get(8 + 16 * n..).and_then(|bytes| bytes.first_chunk());
            let page = self.bytes.get(pages_from + 8 * n..).and_then(|bytes| bytes.first_chunk());
            let root = sum.zip(page).map(|(sum, page)| Root {
                page: u64::from_le_bytes(*page),
                checksum: u128::from_le_bytes(*sum),
            });
            (n.checked_sub(1).and_then(|before| self.key(before)), self.key(n), root)
        })
    }
}
