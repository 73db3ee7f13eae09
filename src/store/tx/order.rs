//! Rows in either order, and one layer of them over another.

use std::ops::Bound;

/// Rows in one order.
pub(super) type Rows<'a, T> = Box<dyn Iterator<Item = T> + 'a>;

pub(super) fn directed<'a, T>(
    rows: impl DoubleEndedIterator<Item = T> + 'a,
    newest_first: bool,
) -> Rows<'a, T> {
    if newest_first { Box::new(rows.rev()) } else { Box::new(rows) }
}

/// The rows of both, and where both have one, that of `above`.
pub(super) fn overlaid<'a, P: Ord + Copy + 'a, T: 'a>(
    above: Rows<'a, (P, T)>,
    below: Rows<'a, (P, T)>,
    newest_first: bool,
) -> Rows<'a, (P, T)> {
    let (mut above, mut below) = (above.peekable(), below.peekable());
    Box::new(std::iter::from_fn(move || {
        let Some(at) = above.peek().map(|(at, _)| *at) else {
            return below.next();
        };
        let before = below.next_if(|(next, _)| comes_before(*next, at, newest_first));
        if before.is_some() {
            return before;
        }
        let _hidden = below.next_if(|(next, _)| *next == at);
        above.next()
    }))
}

pub(super) fn next<T>(
    rows: &mut impl DoubleEndedIterator<Item = T>,
    newest_first: bool,
) -> Option<T> {
    if newest_first { rows.next_back() } else { rows.next() }
}

pub(super) fn comes_before<P: Ord>(place: P, other: P, newest_first: bool) -> bool {
    if newest_first { place > other } else { place < other }
}

/// Whether a range can hold nothing, which maps and redb answer with a panic if its ends cross.
pub(super) fn is_empty<P: Ord>((from, to): (Bound<P>, Bound<P>)) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_hides_the_one_below_it_in_either_order() {
        let read = |above: &[u8], below: &[u8], newest_first| {
            let rows = |layer: &[u8], name: char| {
                let rows: Vec<_> = layer.iter().map(|place| (*place, name)).collect();
                directed(rows.into_iter(), newest_first)
            };
            let rows = overlaid(rows(above, 'A'), rows(below, 'b'), newest_first);
            rows.map(|(place, name)| format!("{place}{name}")).collect::<Vec<_>>().join(" ")
        };

        for (above, below, upwards, downwards) in [
            (&[2, 4][..], &[1, 2, 3, 5][..], "1b 2A 3b 4A 5b", "5b 4A 3b 2A 1b"),
            (&[1, 9], &[1, 9], "1A 9A", "9A 1A"),
            (&[], &[1, 2], "1b 2b", "2b 1b"),
            (&[1, 2], &[], "1A 2A", "2A 1A"),
            (&[8, 9], &[1], "1b 8A 9A", "9A 8A 1b"),
            (&[1], &[8, 9], "1A 8b 9b", "9b 8b 1A"),
        ] {
            assert_eq!(read(above, below, false), upwards);
            assert_eq!(read(above, below, true), downwards);
        }
    }
}
