//! The bytes of every released version, for ever: an old file must open. A new version adds its
//! own below; what stands here is never changed.

use std::sync::Arc;

use proptest::collection;
use proptest::prelude::*;
use proptest::sample::{self, Index};
use wincode::SchemaWrite;

use super::*;
use crate::model::{IdempotencyKey, MessageId, SessionId};
use crate::store::facts::Facts;
use crate::store::run::Run;
use crate::store::step::{Answer, Cause, FreshSession, Step};
use crate::store::usage::Usage;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn head() -> Head {
    let run = Place { at: at(1_795_411_937_622_000), number: 7 };
    Head { user_id: UserId::parse("ann@example.org").unwrap(), number: 300, run }
}

fn steps() -> Vec<Step> {
    let user_id = UserId::parse("ann").unwrap();
    let id = SessionId::parse("s1").unwrap();
    let session = |updated_at| {
        Arc::new(FreshSession {
            id: id.clone(),
            user_id: user_id.clone(),
            number: 1,
            facts: Facts::created(at(5)),
            updated_at,
            json: b"{}".as_slice().into(),
        })
    };
    let message = |chosen| Step::PutMessage {
        user_id: user_id.clone(),
        number: 1,
        at: at(70_000),
        chosen,
        json: b"[]".as_slice().into(),
    };
    vec![
        Step::PutSession { cause: Cause::Created, session: session(at(5)) },
        Step::PutSession { cause: Cause::Updated, session: session(at(6)) },
        Step::PutSession { cause: Cause::Message, session: session(at(70_000)) },
        message(None),
        message(Some(MessageId::parse("m1").unwrap())),
        Step::DeleteSession {
            user_id: user_id.clone(),
            id: id.clone(),
            number: 1,
            created_at: at(5),
            at: at(80_000),
        },
    ]
}

fn answer() -> Answer {
    let json = b"{}".as_slice().into();
    Answer { fingerprint: [7; 16], at: at(90_000), created: true, tag: Some([9; 16]), json }
}

/// What came with schema version 2.
fn later_steps() -> Vec<Step> {
    let user_id = UserId::parse("ann").unwrap();
    vec![
        Step::EditMessage {
            user_id: user_id.clone(),
            number: 1,
            place: at(70_000),
            at: at(75_000),
            json: b"{}".as_slice().into(),
        },
        Step::DeleteMessage {
            user_id: user_id.clone(),
            session_id: SessionId::parse("s1").unwrap(),
            number: 1,
            place: at(70_000),
            at: at(80_000),
            id: MessageId::parse("m1").unwrap(),
            is_chosen: true,
        },
        Step::PutAnswer {
            user_id,
            key: IdempotencyKey::parse("k1").unwrap(),
            answer: Arc::new(answer()),
        },
    ]
}

/// What came with schema version 3.
fn latest_steps() -> Vec<Step> {
    let key: Arc<[u8]> = b"key".as_slice().into();
    vec![
        Step::PutNote { key: Arc::clone(&key), value: Some(b"note".as_slice().into()) },
        Step::PutNote { key, value: None },
        Step::Mirrored { steps: 300 },
    ]
}

/// What came with schema version 4.
fn usage_step() -> Vec<Step> {
    let user_id = UserId::parse("ann").unwrap();
    vec![Step::PutUsage { user_id, at: at(95_000), usage: usage() }]
}

fn usage() -> Usage {
    Usage { sessions: 3, bytes: 70_000 }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

const HEAD_V1: &str = "01b13f9d050f616e6e406578616d706c652e6f7267fb2c01fdf077c4eaea60060007";
const RUN_V1: &str = "0198b26fef0105696e646578027b7d";
const STEPS_V1: &str = concat!(
    "01e8f9064a06000003616e6e027331010505027b7d000103616e6e027331010506027b7d00020361",
    "6e6e0273310105fc70110100027b7d0203616e6e01fc7011010000025b5d0203616e6e01fc701101",
    "0001026d31025b5d0103616e6e0273310105fc80380100",
);
const LATER_STEPS_V1: &str = concat!(
    "011a661dc7030303616e6e01fc70110100fcf8240100027b7d0403616e6e02733101fc70110100fc",
    "80380100026d31010503616e6e026b3107070707070707070707070707070707fc905f0100010109090909090909090909090909090909027b7d",
);
const LATEST_STEPS_V1: &str = "0171420c560306036b657901046e6f746506036b65790007fb2c01";
const ANSWER_V1: &str = "01ab1fdf8c07070707070707070707070707070707fc905f0100010109090909090909090909090909090909027b7d";
const USAGE_STEP_V1: &str = "01eddd4511010803616e6efc1873010003fc70110100";
const USAGE_V1: &str = "0198a754bd03fc70110100";
const SEALED_V1: &str = "01a0cfd42a7331";

#[test]
fn version_1_is_written_as_it_was_released() {
    assert_eq!(hex(&head().encode(b"s1").unwrap()), HEAD_V1);
    assert_eq!(hex(&encode_run(b"key", true, b"index", b"{}").unwrap()), RUN_V1);
    assert_eq!(hex(&encode_steps(1, &steps()).unwrap()), STEPS_V1);
    assert_eq!(hex(&encode_steps(1, &later_steps()).unwrap()), LATER_STEPS_V1);
    assert_eq!(hex(&encode_steps(1, &latest_steps()).unwrap()), LATEST_STEPS_V1);
    assert_eq!(hex(&encode_answer(b"key", &answer()).unwrap()), ANSWER_V1);
    assert_eq!(hex(&encode_steps(1, &usage_step()).unwrap()), USAGE_STEP_V1);
    assert_eq!(hex(&encode_usage(b"key", usage()).unwrap()), USAGE_V1);
    assert_eq!(hex(&seal(b"key", b"s1")), SEALED_V1);
}

#[test]
fn what_is_written_is_read_again() {
    assert_eq!(Head::decode(b"s1", &head().encode(b"s1").unwrap()).unwrap(), head());
    let run = encode_run(b"key", true, b"index", b"{}").unwrap();
    assert_eq!(decode_run(b"key", &run).unwrap(), (true, b"index".as_slice(), b"{}".as_slice()));
    for steps in [steps(), later_steps(), latest_steps(), usage_step()] {
        assert_eq!(decode_steps(1, &encode_steps(1, &steps).unwrap()).unwrap(), steps);
    }
    let answered = encode_answer(b"key", &answer()).unwrap();
    assert_eq!(decode_answer(b"key", &answered).unwrap(), answer());
    let told = encode_usage(b"key", usage()).unwrap();
    assert_eq!(decode_usage(b"key", &told).unwrap(), usage());
    assert_eq!(unseal("id", b"key", &seal(b"key", b"s1")).unwrap(), b"s1");
}

#[test]
fn every_flipped_bit_and_every_missing_byte_is_found_out() {
    let good = encode_steps(1, &steps()).unwrap();

    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_steps(1, &bad).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(decode_steps(1, &good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_record_under_anothers_key_is_found_out() {
    let steps = encode_steps(1, &steps()).unwrap();
    let head = head().encode(b"s1").unwrap();

    assert!(decode_steps(2, &steps).is_err());
    assert!(Head::decode(b"s2", &head).is_err());
    assert!(unseal("id", b"other", &seal(b"key", b"s1")).is_err());
}

/// A length that claims more than there is must be an error: without a limit, the attempt to get
/// so much memory would end the process. A checksum would not stop whoever can write the file.
#[test]
fn a_length_of_an_exbibyte_is_an_error() {
    let huge = [253_u8, 0, 0, 0, 0, 0, 0, 0, 16];

    assert!(decode_steps(1, &seal(&1_u64.to_be_bytes(), &huge)).is_err());
    let run = [&[1_u8], huge.as_slice()].concat();
    assert!(decode_run(b"key", &seal(b"key", &run)).is_err());
}

#[test]
fn bytes_behind_a_record_and_unknown_versions_are_errors() {
    let mut run =
        unseal("run", b"key", &encode_run(b"key", true, b"", b"").unwrap()).unwrap().to_vec();
    assert!(decode_run(b"key", &seal(b"key", &run)).is_ok());

    run.push(0);
    assert!(decode_run(b"key", &seal(b"key", &run)).is_err());
    let mut newer = encode_run(b"key", true, b"", b"").unwrap();
    newer[0] = 2;
    assert!(decode_run(b"key", &newer).is_err());
}

/// A record whose checksum holds, of a good one with some bytes in the place of others: by whoever can
/// write the file.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    // The place, the facts and the end of each of three rows of two bytes.
    let entry = |n: u8| [[n; 24].as_slice(), &[2 * n, 0, 0, 0]].concat();
    let index = [entry(1), entry(2), entry(3)].concat();
    let good = [
        encode_run(b"key", true, &index, b"{}{}{}"),
        encode_steps(1, &steps()),
        encode_steps(1, &later_steps()),
        encode_steps(1, &latest_steps()),
        head().encode(b"key"),
        encode_answer(b"key", &answer()),
        encode_usage(b"key", usage()),
    ];
    let whole = good.map(|record| record.unwrap().split_off(ENVELOPE));
    let patches = collection::vec((any::<Index>(), any::<u8>()), 0..6);
    let forged = (sample::select(whole.to_vec()), patches).prop_map(|(mut record, patches)| {
        for (place, byte) in patches {
            let place = place.index(record.len());
            record[place] = byte;
        }
        record
    });
    prop_oneof![4 => forged, 1 => collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn what_is_sealed_and_makes_no_sense_is_an_error_and_no_more(record in forged()) {
        let sealed = seal(b"key", &record);
        let _head = Head::decode(b"key", &sealed);
        let _usage = decode_usage(b"key", &sealed);
        let _answer = decode_answer(b"key", &sealed);
        let _steps = decode_steps(1, &seal(&1_u64.to_be_bytes(), &record));
        if let Ok(run) = Run::decode(b"key", &sealed) {
            let shown: usize = run.rows().map(|row| row.json.len()).sum();
            prop_assert!(run.rows().rev().count() <= record.len() && shown < 1 << 30);
            let _wrong = run.check(Place::LAST, Some(Place::FIRST));
        }
    }
}

/// The way out of bincode: a second, maintained implementation writes the same bytes.
#[test]
fn another_implementation_writes_the_same_bytes() {
    #[derive(SchemaWrite)]
    struct Run {
        is_first: bool,
        index: Vec<u8>,
        json: Vec<u8>,
    }
    #[derive(SchemaWrite)]
    struct Head {
        user_id: String,
        number: u64,
        run_at_micros: u64,
        run_number: u64,
    }
    let config = wincode::config::Configuration::default().with_varint_encoding();
    let run = Run { is_first: true, index: b"index".to_vec(), json: vec![b'x'; 70_000] };
    let told = head();
    let head = Head {
        user_id: told.user_id.as_str().to_owned(),
        number: told.number,
        run_at_micros: told.run.at.as_micros(),
        run_number: told.run.number,
    };

    let (ours, theirs) = (
        encode_run(b"key", true, &run.index, &run.json).unwrap(),
        wincode::config::serialize(&run, config).unwrap(),
    );
    assert_eq!(unseal("run", b"key", &ours).unwrap(), theirs);
    let (ours, theirs) =
        (told.encode(b"s1").unwrap(), wincode::config::serialize(&head, config).unwrap());
    assert_eq!(unseal("head", b"s1", &ours).unwrap(), theirs);
}
