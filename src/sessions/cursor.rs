//! Where a page ended: opaque to clients, base64url of a tag and numbers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::Timestamp;
use crate::store::Place;

use super::search::Spot;

/// A cursor that no page of this kind and order gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cursor is not one that this list gave in this order; begin again without it")]
pub struct InvalidCursor;

/// The cursor of a list of sessions that ended at `place`. `tag` tells the order of the list.
pub(super) fn of_session(tag: u8, place: Place) -> String {
    let (at, number) = (place.at.as_micros().to_be_bytes(), place.number.to_be_bytes());
    URL_SAFE_NO_PAD.encode([&[tag], at.as_slice(), number.as_slice()].concat())
}

/// The place that a cursor made by [`of_session`] with this `tag` tells.
pub(super) fn session_place(tag: u8, cursor: &str) -> Result<Place, InvalidCursor> {
    let [at, number] = numbers(tag, cursor)?;
    Ok(Place { at: Timestamp::from_micros(at), number })
}

/// The cursor of a history that ended at `place`. `tag` tells its order.
pub(super) fn of_message(tag: u8, place: Timestamp) -> String {
    URL_SAFE_NO_PAD.encode([&[tag], place.as_micros().to_be_bytes().as_slice()].concat())
}

/// The place that a cursor made by [`of_message`] with this `tag` tells.
pub(super) fn message_place(tag: u8, cursor: &str) -> Result<Timestamp, InvalidCursor> {
    let [at] = numbers(tag, cursor)?;
    Ok(Timestamp::from_micros(at))
}

/// The cursor of a search that ended at `spot`.
pub(super) fn of_search(spot: Spot) -> String {
    let (at, number) = (spot.place.at.as_micros().to_be_bytes(), spot.place.number.to_be_bytes());
    URL_SAFE_NO_PAD.encode([search_tag(spot.is_message), at.as_slice(), number.as_slice()].concat())
}

/// The spot that a cursor made by [`of_search`] tells.
pub(super) fn search_spot(cursor: &str) -> Result<Spot, InvalidCursor> {
    let of_kind = |is_message| {
        let [tag] = *search_tag(is_message);
        let place = session_place(tag, cursor).ok()?;
        Some(Spot { place, is_message })
    };
    of_kind(true).or_else(|| of_kind(false)).ok_or(InvalidCursor)
}

const fn search_tag(is_message: bool) -> &'static [u8; 1] {
    if is_message { b"m" } else { b"t" }
}

fn numbers<const N: usize>(tag: u8, cursor: &str) -> Result<[u64; N], InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let (chunks, rest) = match bytes.split_first() {
        Some((first, bytes)) if *first == tag => bytes.as_chunks::<8>(),
        _ => return Err(InvalidCursor),
    };
    let chunks: &[[u8; 8]; N] = chunks.try_into().map_err(|_| InvalidCursor)?;
    if rest.is_empty() { Ok(chunks.map(u64::from_be_bytes)) } else { Err(InvalidCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_tells_its_place_only_to_its_own_order() {
        let place = Place { at: Timestamp::from_micros(7), number: 9 };
        let cursor = of_session(b'u', place);

        assert_eq!(session_place(b'u', &cursor), Ok(place));
        assert_eq!(session_place(b'c', &cursor), Err(InvalidCursor));
        assert_eq!(message_place(b'u', &cursor), Err(InvalidCursor));
        let cursor = of_message(b'a', place.at);
        assert_eq!(message_place(b'a', &cursor), Ok(place.at));
        for hostile in ["", "?", "YQ", "\u{e9}", &cursor[1..], &"A".repeat(4000)] {
            assert_eq!(message_place(b'a', hostile), Err(InvalidCursor), "{hostile}");
        }
    }
}
