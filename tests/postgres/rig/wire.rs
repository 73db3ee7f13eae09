//! As much of PostgreSQL's protocol as a link must know to see where a transaction ends.

use std::io::{self, Read, Write};

/// A message of either end, as it came.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// What kind it is; 0 for a start-up message, which has no kind.
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

/// What a client may say before it starts up.
const ASKS_FOR_ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
const NO: &[u8] = b"N";

impl Frame {
    /// The next message; an error when there is none any more.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        Self::read_rest(from, kind, head.to_vec(), length)
    }

    /// The start-up message of a client; that there is no encryption here is said before it.
    pub(super) fn read_startup(client: &mut (impl Read + Write)) -> io::Result<Self> {
        loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let frame = Self::read_rest(client, 0, length.to_vec(), length)?;
            let code = frame.body().first_chunk().map(|code| u32::from_be_bytes(*code));
            if !code.is_some_and(|code| ASKS_FOR_ENCRYPTION.contains(&code)) {
                return Ok(frame);
            }
            client.write_all(NO)?;
        }
    }

    fn read_rest(
        from: &mut impl Read,
        kind: u8,
        mut bytes: Vec<u8>,
        length: [u8; 4],
    ) -> io::Result<Self> {
        let rest = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
        let read = from.take(rest).read_to_end(&mut bytes)?;
        if read as u64 != rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { kind, bytes })
    }

    /// A client's start-up message, by which it is `user` of `database`.
    pub(super) fn startup(user: &str, database: &str) -> Vec<u8> {
        let parameters = format!("user\0{user}\0database\0{database}\0\0");
        let mut bytes = u32::try_from(parameters.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(196_608_u32.to_be_bytes());
        bytes.extend(parameters.as_bytes());
        bytes
    }

    fn body(&self) -> &[u8] {
        &self.bytes[if self.kind == 0 { 4 } else { 5 }..]
    }

    /// The SQL that a client sends, in lower case; nothing for what is no SQL.
    pub(super) fn sql(&self) -> String {
        let text = match self.kind {
            b'Q' => self.body(),
            // The name of the statement comes first.
            b'P' => self.body().splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default(),
            _ => return String::new(),
        };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).to_lowercase()
    }

    /// Whether it is the SQL of a change.
    pub(super) fn writes(&self) -> bool {
        let sql = self.sql();
        ["insert into", "update ", "delete from", "merge into"]
            .iter()
            .any(|verb| sql.contains(verb))
    }

    /// Whether a client asks by it to commit.
    pub(super) fn asks_to_commit(&self) -> bool {
        self.sql().trim_start().starts_with("commit")
    }

    /// Whether a server refuses or takes back something by it.
    pub(super) fn undoes(&self) -> bool {
        self.kind == b'E' || (self.kind == b'C' && self.body().starts_with(b"ROLLBACK"))
    }

    /// Whether a server waits for the next request; and if so, whether it is in no transaction.
    pub(super) fn ready(&self) -> Option<bool> {
        (self.kind == b'Z').then(|| self.body() == b"I")
    }

    /// Whether it belongs to a client's proof of who it is.
    pub(super) fn proves_identity(&self) -> bool {
        self.kind == b'p'
    }
}
