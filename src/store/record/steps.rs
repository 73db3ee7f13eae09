//! The bytes of steps and of answers.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};

use crate::model::{IdempotencyKey, Invalid, MessageId, SessionId, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::facts::Facts;
use crate::store::step::{Answer, Cause, FreshSession, Step};
use crate::store::usage::Usage;

use super::{damaged, decode, encode};

#[derive(Encode, BorrowDecode)]
enum CauseV1 {
    Created,
    Updated,
    Message,
}

#[derive(Encode, BorrowDecode)]
enum StepV1<'a> {
    PutSession {
        cause: CauseV1,
        user_id: &'a str,
        id: &'a str,
        number: u64,
        facts: u64,
        updated_at_micros: u64,
        json: &'a [u8],
    },
    DeleteSession {
        user_id: &'a str,
        id: &'a str,
        number: u64,
        created_at_micros: u64,
        at_micros: u64,
    },
    PutMessage {
        user_id: &'a str,
        number: u64,
        at_micros: u64,
        chosen: Option<&'a str>,
        json: &'a [u8],
    },
    EditMessage {
        user_id: &'a str,
        number: u64,
        place_micros: u64,
        at_micros: u64,
        json: &'a [u8],
    },
    DeleteMessage {
        user_id: &'a str,
        session_id: &'a str,
        number: u64,
        place_micros: u64,
        at_micros: u64,
        id: &'a str,
        is_chosen: bool,
    },
    PutAnswer {
        user_id: &'a str,
        key: &'a str,
        answer: AnswerV1<'a>,
    },
    PutNote {
        key: &'a [u8],
        value: Option<&'a [u8]>,
    },
    Mirrored {
        steps: u32,
    },
    PutUsage {
        user_id: &'a str,
        at_micros: u64,
        usage: UsageV1,
    },
}

#[derive(Encode, BorrowDecode)]
struct UsageV1 {
    sessions: u64,
    bytes: u64,
}

#[derive(Encode, BorrowDecode)]
struct AnswerV1<'a> {
    fingerprint: [u8; 16],
    at_micros: u64,
    created: bool,
    tag: Option<[u8; 16]>,
    json: &'a [u8],
}

/// Steps, the first of which has sequence number `seq`.
pub(in crate::store) fn encode_steps(seq: u64, steps: &[Step]) -> Result<Vec<u8>, StoreError> {
    let size = steps.iter().map(Step::bytes).sum();
    let steps = steps.iter().map(|step| match step {
        Step::PutSession { cause, session } => StepV1::PutSession {
            cause: (*cause).into(),
            user_id: session.user_id.as_str(),
            id: session.id.as_str(),
            number: session.number,
            facts: session.facts.to_bits(),
            updated_at_micros: session.updated_at.as_micros(),
            json: &session.json,
        },
        Step::DeleteSession { user_id, id, number, created_at, at } => StepV1::DeleteSession {
            user_id: user_id.as_str(),
            id: id.as_str(),
            number: *number,
            created_at_micros: created_at.as_micros(),
            at_micros: at.as_micros(),
        },
        Step::PutMessage { user_id, number, at, chosen, json } => StepV1::PutMessage {
            user_id: user_id.as_str(),
            number: *number,
            at_micros: at.as_micros(),
            chosen: chosen.as_ref().map(MessageId::as_str),
            json,
        },
        Step::EditMessage { user_id, number, place, at, json } => StepV1::EditMessage {
            user_id: user_id.as_str(),
            number: *number,
            place_micros: place.as_micros(),
            at_micros: at.as_micros(),
            json,
        },
        Step::DeleteMessage { user_id, session_id, number, place, at, id, is_chosen } => {
            StepV1::DeleteMessage {
                user_id: user_id.as_str(),
                session_id: session_id.as_str(),
                number: *number,
                place_micros: place.as_micros(),
                at_micros: at.as_micros(),
                id: id.as_str(),
                is_chosen: *is_chosen,
            }
        }
        Step::PutAnswer { user_id, key, answer } => StepV1::PutAnswer {
            user_id: user_id.as_str(),
            key: key.as_str(),
            answer: AnswerV1::of(answer),
        },
        Step::PutNote { key, value } => StepV1::PutNote { key, value: value.as_deref() },
        Step::Mirrored { steps } => StepV1::Mirrored { steps: *steps },
        Step::PutUsage { user_id, at, usage } => StepV1::PutUsage {
            user_id: user_id.as_str(),
            at_micros: at.as_micros(),
            usage: UsageV1::of(*usage),
        },
    });
    encode(&seq.to_be_bytes(), size, steps.collect::<Vec<_>>())
}

/// What [`encode_steps`] was given.
pub(in crate::store) fn decode_steps(seq: u64, bytes: &[u8]) -> Result<Vec<Step>, StoreError> {
    let key = &seq.to_be_bytes();
    let steps: Vec<StepV1<'_>> = decode("log entry", key, bytes)?;
    let steps = steps.into_iter().map(StepV1::parse).collect::<Result<_, _>>();
    steps.map_err(|_| damaged("log entry", key))
}

/// Those of the steps that are `user`'s, with their numbers; and how many there are in all.
pub(in crate::store) fn decode_steps_of(
    user: &UserId,
    seq: u64,
    bytes: &[u8],
) -> Result<(Vec<(u64, Step)>, u64), StoreError> {
    let key = &seq.to_be_bytes();
    let steps: Vec<StepV1<'_>> = decode("log entry", key, bytes)?;
    let len = u64::try_from(steps.len()).unwrap_or(u64::MAX);
    let of_user = (seq..).zip(steps).filter(|(_, step)| step.user_id() == Some(user.as_str()));
    let parsed = of_user.map(|(seq, step)| Ok((seq, step.parse()?)));
    let parsed = parsed.collect::<Result<_, Invalid>>();
    Ok((parsed.map_err(|_| damaged("log entry", key))?, len))
}

impl From<Cause> for CauseV1 {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Created => Self::Created,
            Cause::Updated => Self::Updated,
            Cause::Message => Self::Message,
        }
    }
}

impl From<CauseV1> for Cause {
    fn from(cause: CauseV1) -> Self {
        match cause {
            CauseV1::Created => Self::Created,
            CauseV1::Updated => Self::Updated,
            CauseV1::Message => Self::Message,
        }
    }
}

impl StepV1<'_> {
    fn user_id(&self) -> Option<&str> {
        Some(match self {
            Self::PutSession { user_id, .. }
            | Self::DeleteSession { user_id, .. }
            | Self::PutMessage { user_id, .. }
            | Self::EditMessage { user_id, .. }
            | Self::DeleteMessage { user_id, .. }
            | Self::PutAnswer { user_id, .. }
            | Self::PutUsage { user_id, .. } => user_id,
            Self::PutNote { .. } | Self::Mirrored { .. } => return None,
        })
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind")]
    fn parse(self) -> Result<Step, Invalid> {
        Ok(match self {
            Self::PutSession { cause, user_id, id, number, facts, updated_at_micros, json } => {
                let session = FreshSession {
                    id: SessionId::parse(id)?,
                    user_id: UserId::parse(user_id)?,
                    number,
                    facts: Facts::from_bits(facts),
                    updated_at: Timestamp::from_micros(updated_at_micros),
                    json: json.into(),
                };
                Step::PutSession { cause: cause.into(), session: Arc::new(session) }
            }
            Self::DeleteSession { user_id, id, number, created_at_micros, at_micros } => {
                Step::DeleteSession {
                    user_id: UserId::parse(user_id)?,
                    id: SessionId::parse(id)?,
                    number,
                    created_at: Timestamp::from_micros(created_at_micros),
                    at: Timestamp::from_micros(at_micros),
                }
            }
            Self::PutMessage { user_id, number, at_micros, chosen, json } => Step::PutMessage {
                user_id: UserId::parse(user_id)?,
                number,
                at: Timestamp::from_micros(at_micros),
                chosen: chosen.map(MessageId::parse).transpose()?,
                json: json.into(),
            },
            Self::EditMessage { user_id, number, place_micros, at_micros, json } => {
                Step::EditMessage {
                    user_id: UserId::parse(user_id)?,
                    number,
                    place: Timestamp::from_micros(place_micros),
                    at: Timestamp::from_micros(at_micros),
                    json: json.into(),
                }
            }
            Self::DeleteMessage {
                user_id,
                session_id,
                number,
                place_micros,
                at_micros,
                id,
                is_chosen,
            } => Step::DeleteMessage {
                user_id: UserId::parse(user_id)?,
                session_id: SessionId::parse(session_id)?,
                number,
                place: Timestamp::from_micros(place_micros),
                at: Timestamp::from_micros(at_micros),
                id: MessageId::parse(id)?,
                is_chosen,
            },
            Self::PutAnswer { user_id, key, answer } => Step::PutAnswer {
                user_id: UserId::parse(user_id)?,
                key: IdempotencyKey::parse(key)?,
                answer: Arc::new(answer.parse()),
            },
            Self::PutNote { key, value } => {
                Step::PutNote { key: key.into(), value: value.map(Into::into) }
            }
            Self::Mirrored { steps } => Step::Mirrored { steps },
            Self::PutUsage { user_id, at_micros, usage } => Step::PutUsage {
                user_id: UserId::parse(user_id)?,
                at: Timestamp::from_micros(at_micros),
                usage: usage.parse(),
            },
        })
    }
}

impl<'a> AnswerV1<'a> {
    fn of(answer: &'a Answer) -> Self {
        Self {
            fingerprint: answer.fingerprint,
            at_micros: answer.at.as_micros(),
            created: answer.created,
            tag: answer.tag,
            json: &answer.json,
        }
    }

    fn parse(self) -> Answer {
        Answer {
            fingerprint: self.fingerprint,
            at: Timestamp::from_micros(self.at_micros),
            created: self.created,
            tag: self.tag,
            json: self.json.into(),
        }
    }
}

impl UsageV1 {
    fn of(Usage { sessions, bytes }: Usage) -> Self {
        Self { sessions, bytes }
    }

    fn parse(self) -> Usage {
        Usage { sessions: self.sessions, bytes: self.bytes }
    }
}

pub(in crate::store) fn encode_usage(key: &[u8], usage: Usage) -> Result<Vec<u8>, StoreError> {
    encode(key, 20, UsageV1::of(usage))
}

/// What [`encode_usage`] was given.
pub(in crate::store) fn decode_usage(key: &[u8], bytes: &[u8]) -> Result<Usage, StoreError> {
    decode("usage", key, bytes).map(UsageV1::parse)
}

pub(in crate::store) fn encode_answer(key: &[u8], answer: &Answer) -> Result<Vec<u8>, StoreError> {
    encode(key, 40 + answer.json.len(), AnswerV1::of(answer))
}

/// What [`encode_answer`] was given.
pub(in crate::store) fn decode_answer(key: &[u8], bytes: &[u8]) -> Result<Answer, StoreError> {
    decode("answer", key, bytes).map(AnswerV1::parse)
}
