//! Whatever in a file has the seal of a record, wherever it lies.

use super::pages::{Node, PAGE, Pages};
use super::walk::ordered;
use super::{Kind, StoreError};
use crate::store::record;

/// How often the file's size may be read: pages that are damaged, or made to deceive, may say
/// that they are long.
const READINGS: u64 = 16;

/// Is shown a record: of which table, its key, numbers being big-endian, and its value.
type Each<'a> = dyn FnMut(Kind, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// Shows `each` every record of `pages`, those of the past too. Tells `read` how far it is.
pub(super) fn scan(
    pages: &Pages,
    read: &mut dyn FnMut(u64, u64),
    each: &mut Each<'_>,
) -> Result<(), StoreError> {
    let (mut at, mut left) = (PAGE, pages.len.saturating_mul(READINGS));
    while at < pages.len {
        let mut used = 0;
        // Keys of any width first: most tables have them.
        for width in [None, Some(8)] {
            let head = pages.read(at, PAGE);
            let end = match Node::of(&head, width) {
                Some(Node::Leaf(leaf)) => leaf.end().and_then(|end| u64::try_from(end).ok()),
                _ => None,
            };
            let Some(end) = end.filter(|end| *end <= left) else { continue };
            left -= end;
            used = used.max(show(&pages.read(at, end), width, each)?);
        }
        // Where the rows are good, nothing else lies between them.
        at += used.next_multiple_of(PAGE).max(PAGE);
        read(at.min(pages.len), pages.len);
    }
    Ok(())
}

/// Shows the records of a leaf; gives how long it is if all of its rows are records.
fn show(bytes: &[u8], width: Option<usize>, each: &mut Each<'_>) -> Result<u64, StoreError> {
    let Some(Node::Leaf(leaf)) = Node::of(bytes, width) else {
        return Ok(0);
    };
    let mut good = 0;
    for n in 0..leaf.count {
        let Some((key, value)) = leaf.row(n) else { break };
        let key = ordered(key, width);
        if record::unseal("record", &key, value).is_ok() {
            good += 1;
            for kind in Kind::ALL.into_iter().filter(|kind| kind.is_numbered() == width.is_some()) {
                each(kind, &key, value)?;
            }
        }
    }
    let is_whole = good == leaf.count;
    Ok(if is_whole { u64::try_from(bytes.len()).unwrap_or(0) } else { 0 })
}
