//! Frames: a byte that says what it is, four of length (big-endian), and that many of content.

use std::io::{self, Read, Write};

use crate::exchange::Tally;
use crate::store::Piece;

/// Longer than any frame: a record has at most 16 MiB.
const MAX_BYTES: u32 = 32 * 1024 * 1024;

/// What the server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The name of the table that the rows behind it are of.
    Table(String),
    /// A row: its key and its value.
    Row(Vec<u8>, Vec<u8>),
    /// So many records were looked at.
    Checked(u64),
    /// This is wrong with the file.
    Problem(String),
    /// A piece of an export.
    Text(Vec<u8>),
    /// So many sessions and messages were sent or stored.
    Tally(Tally),
    /// How the server is doing, in JSON.
    Status(String),
    /// That was all; so many records were sent or looked at.
    Done(u64),
    /// It cannot go on.
    Failed(String),
}

/// Writes a piece as it is read again.
pub(super) fn write_piece(out: &mut impl Write, piece: Piece<'_>) -> io::Result<()> {
    match piece {
        Piece::Table(name) => write(out, b'T', &[name.as_bytes()]),
        Piece::Row(key, value) => {
            let key_len = u32::try_from(key.len()).map_err(io::Error::other)?;
            write(out, b'R', &[&key_len.to_be_bytes(), key, value])
        }
    }
}

/// Writes a piece of an export as it is read again.
pub(super) fn write_text(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    write(out, b'L', &[text])
}

impl Frame {
    /// Writes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Table(name) => write_piece(out, Piece::Table(name)),
            Self::Row(key, value) => write_piece(out, Piece::Row(key, value)),
            Self::Checked(records) => write(out, b'N', &[&records.to_be_bytes()]),
            Self::Problem(what) => write(out, b'P', &[what.as_bytes()]),
            Self::Text(text) => write_text(out, text),
            Self::Status(json) => write(out, b'H', &[json.as_bytes()]),
            Self::Tally(tally) => {
                let Tally { sessions, messages, there, problems } = tally;
                let numbers = [sessions, messages, there, problems].map(|n| n.to_be_bytes());
                write(out, b'S', &[numbers.as_flattened()])
            }
            Self::Done(records) => write(out, b'D', &[&records.to_be_bytes()]),
            Self::Failed(why) => write(out, b'F', &[why.as_bytes()]),
        }
    }

    /// Reads the next one.
    ///
    /// # Errors
    /// What the system says, [`io::ErrorKind::UnexpectedEof`] where there is none, and
    /// [`io::ErrorKind::InvalidData`] for what no server of this release writes.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let [kind, len @ ..] = read_chunk::<5>(from)?;
        let len = u32::from_be_bytes(len);
        if len > MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = Vec::new();
        from.take(len.into()).read_to_end(&mut content)?;
        if u32::try_from(content.len()) != Ok(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::parse(kind, content).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(kind: u8, content: Vec<u8>) -> Option<Self> {
        let number = |content: Vec<u8>| content.try_into().ok().map(u64::from_be_bytes);
        let text = |content| String::from_utf8(content).ok();
        match kind {
            b'T' => text(content).map(Self::Table),
            b'R' => {
                let (key_len, row) = content.split_first_chunk::<4>()?;
                let key_len = usize::try_from(u32::from_be_bytes(*key_len)).ok()?;
                let (key, value) = row.split_at_checked(key_len)?;
                Some(Self::Row(key.to_vec(), value.to_vec()))
            }
            b'N' => number(content).map(Self::Checked),
            b'P' => text(content).map(Self::Problem),
            b'L' => Some(Self::Text(content)),
            b'H' => text(content).map(Self::Status),
            b'S' => {
                let (numbers, []) = content.as_chunks::<8>() else { return None };
                let numbers = <[_; 4]>::try_from(numbers).ok()?.map(u64::from_be_bytes);
                let [sessions, messages, there, problems] = numbers;
                Some(Self::Tally(Tally { sessions, messages, there, problems }))
            }
            b'D' => number(content).map(Self::Done),
            b'F' => text(content).map(Self::Failed),
            _ => None,
        }
    }
}

fn write(out: &mut impl Write, kind: u8, content: &[&[u8]]) -> io::Result<()> {
    let len: usize = content.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).map_err(io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&len.to_be_bytes())?;
    content.iter().try_for_each(|part| out.write_all(part))
}

fn read_chunk<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut chunk = [0; N];
    from.read_exact(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let frames = [
            Frame::Table("meta".to_owned()),
            Frame::Row(b"key".to_vec(), vec![0; 70_000]),
            Frame::Row(Vec::new(), Vec::new()),
            Frame::Checked(u64::MAX),
            Frame::Problem("a run is damaged".to_owned()),
            Frame::Text(b"{}\n".to_vec()),
            Frame::Tally(Tally { sessions: 1, messages: 2, there: 3, problems: u64::MAX }),
            Frame::Status("{}".to_owned()),
            Frame::Failed(String::new()),
            Frame::Done(7),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }

        let mut rest = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut rest).unwrap(), frame);
        }
        let end = Frame::read(&mut rest).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_cut_short_or_no_frame_is_an_error() {
        let mut bytes = Vec::new();
        Frame::Row(b"key".to_vec(), b"value".to_vec()).write(&mut bytes).unwrap();
        for len in 0..bytes.len() {
            let error = Frame::read(&mut &bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
        for bad in [
            b"X\0\0\0\0".as_slice(),
            b"R\0\0\0\x04\0\0\0\x01",
            b"D\0\0\0\0",
            b"S\0\0\0\x08\0\0\0\0\0\0\0\0",
            b"T\xff\0\0\0",
        ] {
            let error = Frame::read(&mut &*bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
    }
}
