//! The data: users, each with as many sessions, every tenth of these with a long history. The same
//! for everybody, as it is drawn from its place and not from chance.

/// How many sessions a user has.
pub const SESSIONS: u32 = 50;
/// How many messages every tenth session has; the others have one.
pub const LONG: u32 = 100;
/// The user who has far more sessions than others, and the one who has a far longer one.
pub const WIDE: u32 = 99_999_998;
pub const DEEP: u32 = 99_999_999;
/// When the first session began: 2026-01-01T00:00:00Z, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A session, by whose it is and which of theirs.
#[derive(Clone, Copy)]
pub struct Session {
    pub user: u32,
    pub number: u32,
}

/// A message, by where it stands.
#[derive(Clone, Copy)]
pub struct Message {
    pub session: Session,
    pub number: u32,
}

/// The id of a user: 15 characters, as PocketBase has it.
pub fn user_id(user: u32) -> String {
    format!("user{user:011}")
}

/// Every session of `users` users, one user after the other.
pub fn sessions(users: u32) -> impl Iterator<Item = Session> {
    (0..users).flat_map(|user| (0..SESSIONS).map(move |number| Session { user, number }))
}

impl Session {
    pub fn is_long(self) -> bool {
        self.number % 10 == 0
    }

    pub fn messages(self) -> impl Iterator<Item = Message> {
        let count = if self.is_long() { LONG } else { 1 };
        (0..count).map(move |number| Message { session: self, number })
    }

    pub fn last_message(self) -> Message {
        Message { session: self, number: if self.is_long() { LONG - 1 } else { 0 } }
    }

    /// 15 characters.
    pub fn id(self) -> String {
        format!("s{:08}x{:05}", self.user, self.number)
    }

    pub fn title(self) -> String {
        let text = Message { session: self, number: 0 }.content();
        format!("{}...", &text[..50])
    }

    /// In milliseconds since 1970.
    pub fn created_ms(self) -> u64 {
        EPOCH_MS + u64::from(self.number) * 86_400_000 + u64::from(self.user) * 1000
    }
}

impl Message {
    /// 15 characters.
    pub fn id(self) -> String {
        let Session { user, number } = self.session;
        format!("m{user:07}{number:03}{:04}", self.number)
    }

    pub fn role(self) -> &'static str {
        if self.number % 2 == 0 { "user" } else { "assistant" }
    }

    /// In milliseconds since 1970.
    pub fn created_ms(self) -> u64 {
        self.session.created_ms() + u64::from(self.number) * 1000
    }

    /// From 100 to 340 characters of words.
    pub fn content(self) -> String {
        let Session { user, number } = self.session;
        words((u64::from(user) << 32) | (u64::from(number) << 16) | u64::from(self.number))
    }
}

/// A text of 100 to 340 characters that `seed` alone decides.
pub fn words(seed: u64) -> String {
    const WORDS: [&str; 64] = [
        "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be",
        "by", "on", "not", "he", "his", "but", "at", "are", "this", "have", "from", "or", "had",
        "an", "they", "which", "one", "you", "were", "her", "all", "she", "there", "would",
        "their", "we", "him", "been", "has", "when", "who", "will", "more", "no", "if", "out",
        "session", "message", "history", "portal", "database", "question", "answer", "function",
        "monad", "category", "between", "because", "another", "through",
    ];
    let mut random = Random(seed);
    let length = 100 + random.below(240) as usize;
    let mut text = String::with_capacity(length + 10);
    while text.len() < length {
        text.push_str(WORDS[random.below(64) as usize]);
        text.push(' ');
    }
    text.truncate(length - 1);
    text.push('.');
    text
}

/// SplitMix64: quick, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        (((self.next() >> 32) * u64::from(limit)) >> 32) as u32
    }
}
