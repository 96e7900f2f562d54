//! Our reader and writer against another implementation of protobuf (prost), at every cut, and with what is malformed.

use super::wire::{Reader, VARINT_LEN, put_varint, varint, varint_len, zigzag};
use super::*;
use crate::limits::PROTOBUF_NESTING;
use crate::proto::{Item, ItemValue, Outcome, Refusal, ReplyBuf, Scratch, Span};
use bytes::Bytes;
use messages::Message;
use proptest::prelude::*;

#[path = "../../../tests/support/kv_messages.rs"]
mod messages;

const MOST: usize = 100;

#[test]
fn varints_are_those_of_prost() {
    for shift in 0..64 {
        for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift, u64::MAX << shift] {
            let mut expected = Vec::new();
            prost::encoding::encode_varint(value, &mut expected);
            let mut own = [0; VARINT_LEN];
            let len = put_varint(value, &mut own);
            assert_eq!(&own[..len], expected, "{value}");
            assert_eq!(varint_len(value), len);
            assert_eq!(varint(&expected), Ok(Some((value, len))));
            for cut in 0..len {
                assert_eq!(varint(&expected[..cut]), Ok(None), "{value} cut at {cut}");
            }
        }
    }
    assert!(varint(&[0xff; 10]).is_err());
    assert!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]).is_err());
    // Longer than it need be, but protobuf.
    assert_eq!(varint(&[0x80, 0x80, 0x00]), Ok(Some((0, 3))));
    assert_eq!([0, 1, 2, u64::MAX].map(zigzag), [0, -1, 1, i64::MIN]);
}

#[test]
fn frames_are_found_at_every_cut() {
    let mut long = vec![0x80, 0x01];
    long.resize(130, b'x');
    let stream = [&PROTOBUF_MAGIC[..], &[3, b'a', b'b', b'c', 0], &long].concat();
    for cut in 0..=stream.len() {
        let (mut state, mut at, mut bodies) = (State::default(), 0, Vec::new());
        for end in [cut, stream.len()] {
            loop {
                match frame(&stream[at..end], &mut state, 128) {
                    Frame::Magic { consumed } => at += consumed,
                    Frame::Message { body, consumed } => {
                        bodies.push(body.to_vec());
                        at += consumed;
                    }
                    Frame::Incomplete { need } => {
                        assert!(need == 0 || need > end - at, "cut at {cut}: {need}");
                        break;
                    }
                    other => panic!("cut at {cut}: {other:?}"),
                }
            }
        }
        assert_eq!(at, stream.len());
        assert_eq!(bodies, [b"abc".to_vec(), Vec::new(), vec![b'x'; 128]], "cut at {cut}");
    }
}

#[test]
fn frames_that_cannot_be_followed_end_the_connection() {
    assert_eq!(frame(b"\xfaKX", &mut State::default(), 100), Frame::Lost);
    assert_eq!(frame(b"\x03abc", &mut State::default(), 100), Frame::Lost);
    let mut begun = State { begun: true };
    assert_eq!(frame(&[101], &mut begun, 100), Frame::TooLong);
    assert_eq!(frame(&[100], &mut begun, 100), Frame::Incomplete { need: 101 });
    assert_eq!(frame(&[0xff; 9], &mut begun, 100), Frame::Incomplete { need: 0 });
    assert_eq!(frame(&[0xff; 10], &mut begun, 100), Frame::Lost);
    assert_eq!(
        frame(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &mut begun, 100),
        Frame::TooLong
    );
}

/// What our reader found, in prost's types.
fn owned(request: &Request<'_>) -> messages::Request {
    use messages::Call as Theirs;
    let op = match &request.call {
        Call::One(one) => match owned_one(one) {
            messages::One::Get(get) => Theirs::Get(get),
            messages::One::Set(set) => Theirs::Set(set),
            messages::One::Delete(delete) => Theirs::Delete(delete),
            messages::One::Incr(incr) => Theirs::Incr(incr),
        },
        Call::MultiGet(get) => {
            let keys: Vec<_> = get.keys().map(<[u8]>::to_vec).collect();
            assert_eq!(keys.len(), get.count);
            Theirs::MultiGet(messages::MultiGet { keys, want_cas: get.want_cas })
        }
        Call::Batch(batch) => {
            let ops: Vec<_> = batch.ops().map(|one| messages::Op { op: Some(owned_one(&one)) }).collect();
            assert_eq!((ops.len(), batch.writes), (batch.count, batch.ops().any(|one| one.writes())));
            Theirs::Batch(messages::Batch { ops })
        }
        Call::Ping => Theirs::Ping(messages::Ping {}),
        Call::Auth(auth) => {
            Theirs::Auth(messages::Auth { user: auth.user.into(), password: auth.password.to_vec() })
        }
    };
    messages::Request::new(request.id, op)
}

fn owned_one(one: &One<'_>) -> messages::One {
    match *one {
        One::Get(get) => messages::One::Get(messages::Get { key: get.key.to_vec(), want_cas: get.want_cas }),
        One::Set(set) => messages::One::Set(messages::Set {
            key: set.key.to_vec(),
            value: set.value.to_vec(),
            ttl_ms: set.ttl_ms,
            condition: set.condition as i32,
            cas: set.cas,
            flags: set.flags,
            want_cas: set.want_cas,
        }),
        One::Delete(delete) => {
            messages::One::Delete(messages::Delete { key: delete.key.to_vec(), cas: delete.cas })
        }
        One::Incr(incr) => messages::One::Incr(messages::Incr {
            key: incr.key.to_vec(),
            delta: incr.delta,
            initial: incr.initial,
            ttl_ms: incr.ttl_ms,
            cas: incr.cas,
            want_cas: incr.want_cas,
        }),
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..200)
}

fn any_one() -> impl Strategy<Value = messages::One> {
    let number = || prop_oneof![Just(0), 1..300_u64, any::<u64>()];
    prop_oneof![
        (key(), any::<bool>())
            .prop_map(|(key, want_cas)| messages::One::Get(messages::Get { key, want_cas })),
        (
            key(),
            prop::collection::vec(any::<u8>(), 0..300),
            number(),
            0..3_i32,
            number(),
            any::<u32>(),
            any::<bool>()
        )
            .prop_map(|(key, value, ttl_ms, condition, cas, flags, want_cas)| {
                let cas = if condition == 1 { 0 } else { cas };
                messages::One::Set(messages::Set { key, value, ttl_ms, condition, cas, flags, want_cas })
            }),
        (key(), number()).prop_map(|(key, cas)| messages::One::Delete(messages::Delete { key, cas })),
        (key(), any::<i64>(), prop::option::of(number()), number(), number(), any::<bool>()).prop_map(
            |(key, delta, initial, ttl_ms, cas, want_cas)| {
                let ttl_ms = initial.map_or(0, |_| ttl_ms);
                messages::One::Incr(messages::Incr { key, delta, initial, ttl_ms, cas, want_cas })
            }
        ),
    ]
}

fn any_request() -> impl Strategy<Value = messages::Request> {
    use messages::Call as Theirs;
    let op = prop_oneof![
        4 => any_one().prop_map(|one| match one {
            messages::One::Get(get) => Theirs::Get(get),
            messages::One::Set(set) => Theirs::Set(set),
            messages::One::Delete(delete) => Theirs::Delete(delete),
            messages::One::Incr(incr) => Theirs::Incr(incr),
        }),
        1 => (prop::collection::vec(key(), 0..6), any::<bool>())
            .prop_map(|(keys, want_cas)| Theirs::MultiGet(messages::MultiGet { keys, want_cas })),
        1 => prop::collection::vec(any_one(), 0..6).prop_map(|ops| Theirs::Batch(messages::Batch {
            ops: ops.into_iter().map(|one| messages::Op { op: Some(one) }).collect()
        })),
        1 => Just(Theirs::Ping(messages::Ping {})),
        1 => (".{0,20}", prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(user, password)| Theirs::Auth(messages::Auth { user, password })),
    ];
    (any::<u64>(), op).prop_map(|(id, op)| messages::Request::new(id, op))
}

proptest! {
    #[test]
    fn what_prost_writes_is_read(request in any_request()) {
        let bytes = request.encode_to_vec();
        let parsed = parse(&bytes, MOST);
        prop_assert_eq!(parsed.map(|parsed| owned(&parsed)), Ok(request));
    }

    /// Cut or changed, a message is either refused or means what prost takes it for.
    #[test]
    fn what_is_accepted_means_the_same_to_prost(
        request in any_request(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        bytes.truncate(cut.index(bytes.len() + 1));
        for (at, byte) in changes.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Ok(parsed) = parse(&bytes, MOST) {
            prop_assert_eq!(messages::Request::decode(&bytes[..]), Ok(owned(&parsed)));
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, MOST);
        let _ = frame(&bytes, &mut State { begun: true }, 100);
    }
}

/// A field of each type that there is, with numbers that the schema does not have, and groups within groups.
fn unknown_fields() -> Vec<u8> {
    let mut bytes = vec![
        0xf8, 0x06, 0x96, 0x01, // 111: varint
        0xf9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, // 111: 8 bytes
        0xfa, 0x06, 3, b'a', b'b', b'c', // 111: bytes
        0xfd, 0x06, 1, 2, 3, 4, // 111: 4 bytes
    ];
    for _ in 0..PROTOBUF_NESTING {
        bytes.extend([0xfb, 0x06]);
        bytes.extend([0xfa, 0x06, 1, b'a', 0xf9, 0x06, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    for _ in 0..PROTOBUF_NESTING {
        bytes.extend([0xfc, 0x06]);
    }
    bytes
}

#[test]
fn unknown_fields_are_skipped() {
    let unknown = unknown_fields();
    let inner = [&unknown[..], &messages::set("k", "v").encode_to_vec(), &unknown].concat();
    let mut bytes = unknown.clone();
    bytes.push(0x1a);
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend(&inner);
    bytes.extend(&unknown);
    bytes.extend([0x08, 0x07]);
    let expected = messages::Request::new(7, messages::Call::Set(messages::set("k", "v")));
    assert_eq!(parse(&bytes, MOST).map(|parsed| owned(&parsed)), Ok(expected));
}

#[test]
fn groups_have_bounds() {
    let open = |depth: usize| [0xfb, 0x06].repeat(depth);
    let close = |depth: usize| [0xfc, 0x06].repeat(depth);
    let read = |bytes: &[u8]| Reader::new(bytes).field().map(|field| field.is_some());
    assert_eq!(read(&[open(PROTOBUF_NESTING), close(PROTOBUF_NESTING)].concat()), Ok(true));
    assert!(read(&[open(PROTOBUF_NESTING + 1), close(PROTOBUF_NESTING + 1)].concat()).is_err());
    assert!(read(&open(1)).is_err());
    assert!(read(&close(1)).is_err());
    assert!(read(&[0xfb, 0x06, 0x0c]).is_err(), "another group's end");
    assert!(read(&open(1 << 20)).is_err());
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_number() {
    let wrap = |tag: u8, inner: &[u8]| [&[0x08, 0x2a, tag, inner.len() as u8], inner].concat();
    let set = |set: messages::Set| wrap(0x1a, &set.encode_to_vec());
    let bad = messages::Set { condition: 1, cas: 5, ..messages::set("k", "v") };
    let incr = messages::Incr { key: b"k".to_vec(), ttl_ms: 5, ..Default::default() };
    let many = messages::MultiGet { keys: vec![b"k".to_vec(); MOST + 1], want_cas: false };
    let mut many_bytes = vec![0x08, 0x2a, 0x32];
    prost::encoding::encode_varint(many.encoded_len() as u64, &mut many_bytes);
    many_bytes.extend(many.encode_to_vec());
    for (bytes, why) in [
        (vec![0x08, 0x2a], "there is no operation"),
        ([&[0x08, 0x2a][..], &[0x92, 0x06, 0]].concat(), "there is no operation"),
        (wrap(0x12, b""), "a key is missing"),
        (set(bad), "an item cannot both"),
        (set(messages::Set { condition: 3, ..messages::set("k", "v") }), "there is no such condition"),
        (wrap(0x2a, &incr.encode_to_vec()), "ttl_ms"),
        ([wrap(0x12, b"\x0a\x01k"), vec![0x42, 0]].concat(), "there is more than one"),
        ([wrap(0x12, b"\x0a\x01k"), vec![0x12, 3, 0x0a, 1, b'k']].concat(), "there is more than one"),
        (many_bytes, "there are too many"),
        (wrap(0x32, b"\x0a\x00"), "a key is missing"),
        (wrap(0x3a, b"\x0a\x00"), "there is no operation"),
        (wrap(0x3a, b"\x0a\x02\x12\x00"), "a key is missing"),
        (wrap(0x4a, b"\x0a\x01\xff"), "the user's name"),
        (wrap(0x12, b"\x08\x01"), "a field that is bytes"),
        (wrap(0x12, b"\x0a\x01k\x12\x00"), "a field that is a number"),
        (wrap(0x12, b"\x0a\x05k"), "a field ends beyond"),
        (wrap(0x12, b"\x0a"), "a field ends beyond"),
        (wrap(0x12, b"\x02\x00"), "a field has the number 0"),
        (wrap(0x12, b"\x0f\x00"), "a field has a type"),
        (vec![0x08, 0x2a, 0x12, 0x7f], "a field ends beyond"),
        (vec![0x08, 0x2a, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], "a field's number"),
    ] {
        let invalid = parse(&bytes, MOST).expect_err(why);
        assert!(invalid.why.starts_with(why) && invalid.id == 42, "{why}: {invalid:?}");
    }
    // The number stands behind what is wrong.
    assert_eq!(parse(b"\x12\x00\x08\x2a", MOST).map_err(|invalid| invalid.id), Err(42));
    assert_eq!(parse(b"", MOST).map_err(|invalid| invalid.id), Err(0));
}

fn flat(out: &ReplyBuf) -> Vec<u8> {
    let (mut flat, mut done) = (Vec::new(), 0);
    for (at, pin) in &out.pins {
        flat.extend_from_slice(&out.bytes[done..*at]);
        flat.extend_from_slice(pin);
        done = *at;
    }
    flat.extend_from_slice(&out.bytes[done..]);
    flat
}

/// What is written for an item, and what prost writes for the same.
fn check_item(form: &Form, item: Item, value: &[u8], pinned: bool, expected: &messages::Response) {
    let mut scratch = Scratch::default();
    scratch.bytes.extend_from_slice(b"other bytes");
    let span = Span { start: 11, len: value.len() as u32 };
    let value = if pinned {
        scratch.pins.push(Bytes::copy_from_slice(value));
        ItemValue::Pinned(0)
    } else {
        scratch.bytes.extend_from_slice(value);
        ItemValue::Copied(span)
    };
    scratch.items.push(Item { value, ..item });
    let mut out = ReplyBuf::default();
    encode(form, b"k", &Outcome::Item(0), &scratch, &mut out);
    assert_eq!(flat(&out), expected.encode_length_delimited_to_vec());
    let mut out = ReplyBuf::default();
    put_result(form, &Outcome::Item(0), &scratch, &mut out);
    let several = messages::Response { results: vec![expected.clone()], ..Default::default() };
    assert_eq!(flat(&out), several.encode_to_vec());
}

proptest! {
    #[test]
    fn items_are_written_as_prost_does(
        id in any::<u64>(),
        flags in any::<u32>(),
        cas in any::<u64>(),
        ttl_ms in prop::option::of(0..1_000_000_u64),
        value in prop::collection::vec(any::<u8>(), 0..300),
        pinned in any::<bool>(),
        now_ms in 0..1_u64 << 47,
    ) {
        let form = Form { id, now_ms, counts: false };
        let expire_at_ms = ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
        let item = Item { flags, cas, expire_at_ms, value_len: value.len(), ..Item::default() };
        let ttl_ms = ttl_ms.map_or(0, |ttl_ms| ttl_ms.max(1));
        let expected =
            messages::Response { id, cas, flags, ttl_ms, value: value.clone(), ..Default::default() };
        check_item(&form, item, &value, pinned, &expected);
    }
}

#[test]
fn numbers_are_written_as_numbers() {
    for number in [0, 1, 127, 128, u64::MAX] {
        let form = Form { id: 3, now_ms: 0, counts: true };
        let expected = messages::Response { id: 3, cas: 9, number, ..Default::default() };
        let item = Item { cas: 9, ..Item::default() };
        check_item(&form, item, number.to_string().as_bytes(), false, &expected);
        // A number that counting down has made shorter may have blanks behind it.
        check_item(&form, item, format!("{number}  ").as_bytes(), false, &expected);
    }
}

#[test]
fn every_answer_has_its_status() {
    for (outcome, status) in [
        (Outcome::Ok, messages::Status::Ok),
        (Outcome::Pong, messages::Status::Ok),
        (Outcome::Nil, messages::Status::NotFound),
        (Outcome::NotStored, messages::Status::NotStored),
        (Outcome::Exists, messages::Status::Exists),
        (Outcome::NotANumber, messages::Status::NotANumber),
        (Outcome::Refused(Refusal::TooLarge), messages::Status::TooLarge),
        (Outcome::Refused(Refusal::KeyTooLong), messages::Status::TooLarge),
        (Outcome::Refused(Refusal::OutOfMemory), messages::Status::OutOfMemory),
    ] {
        let mut out = ReplyBuf::default();
        let form = Form { id: 300, now_ms: 5, counts: false };
        encode(&form, b"k", &outcome, &Scratch::default(), &mut out);
        let response = messages::Response::decode_length_delimited(&out.bytes[..]).unwrap();
        assert_eq!((response.id, response.status()), (300, status));
        assert_eq!(response.encode_length_delimited_to_vec(), out.bytes);
    }
    for id in [0, 1, u64::MAX] {
        let mut out = ReplyBuf::default();
        put_plain(id, Status::Invalid, "why", &mut out);
        let expected = messages::Response { id, status: 7, message: "why".into(), ..Default::default() };
        assert_eq!(out.bytes, expected.encode_length_delimited_to_vec());
    }
}

#[test]
fn several_results_stand_behind_one_head() {
    for (id, count) in [(0, 0), (0, 1), (5, 0), (5, 2), (u64::MAX, 100)] {
        let mut out = ReplyBuf::default();
        out.put(b"before");
        let start = out.mark();
        for _ in 0..count {
            put_result(
                &Form { id: 0, now_ms: 0, counts: false },
                &Outcome::Nil,
                &Scratch::default(),
                &mut out,
            );
        }
        let (head, len) = put_head(id, out.len_since(start));
        out.insert(start, &head[..len]);
        let result = messages::Response { status: 1, ..Default::default() };
        let expected = messages::Response { id, results: vec![result; count], ..Default::default() };
        assert_eq!(&out.bytes[6..], expected.encode_length_delimited_to_vec());
    }
}
