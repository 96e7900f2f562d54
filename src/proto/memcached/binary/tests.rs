//! Headers there and back, requests cut at every byte, and the form of each reply.

use super::*;
use crate::proto::{Item, ItemValue, Refusal, Span};
use bytes::Bytes;
use proptest::prelude::*;

const LIMITS: ParseLimits =
    ParseLimits { max_bulk: 1000, max_request: 2000, max_args: 10, max_inline: 100, authenticated: true };

/// A request as clients build it.
pub fn packet(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let body_len = (extras.len() + key.len() + value.len()) as u32;
    let mut bytes = vec![REQUEST_MAGIC, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0, 0, 0]);
    bytes.extend(body_len.to_be_bytes());
    bytes.extend(*b"opaq");
    bytes.extend(7_u64.to_be_bytes());
    [&bytes[..], extras, key, value].concat()
}

/// Every opcode with a request that it accepts.
fn all_requests() -> Vec<Vec<u8>> {
    let extras = [1; 20];
    (0..=0xff)
        .flat_map(|opcode| {
            let verb = Opcode(opcode).verb();
            let lens = [0, 4, 8, 20].into_iter().flat_map(|extras| {
                [0, 3]
                    .into_iter()
                    .flat_map(move |key| [0, 5].into_iter().map(move |value| (extras, key, value)))
            });
            lens.filter(move |(extras, key, value)| verb.fits(*extras, *key, *value)).map(
                move |(extras_len, key, value)| {
                    packet(opcode, &extras[..extras_len], &b"key"[..key], &b"value"[..value])
                },
            )
        })
        .collect()
}

#[test]
fn every_opcode_has_its_verb() {
    let known: Vec<u8> = (0..=0xff).filter(|opcode| Opcode(*opcode).verb() != Verb::Unknown).collect();
    let expected: Vec<u8> = (0..=0x1e).chain(0x20..=0x24).collect();
    assert_eq!(known, expected);
    let quiet: Vec<u8> = (0..=0xff).filter(|opcode| Opcode(*opcode).is_quiet()).collect();
    let loud = [0x00, 0x0c, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0e, 0x0f, 0x1d, 0x23];
    assert_eq!(quiet.len(), loud.len());
    for (loud, quiet) in loud.into_iter().zip(quiet_twins()) {
        assert_eq!(Opcode(loud).verb(), Opcode(quiet).verb(), "{loud:#x} {quiet:#x}");
        assert!(Opcode(quiet).is_quiet() && !Opcode(loud).is_quiet());
    }
}

fn quiet_twins() -> [u8; 14] {
    [0x09, 0x0d, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1e, 0x24]
}

#[test]
fn a_request_may_be_cut_anywhere() {
    for bytes in all_requests() {
        let unknown = Opcode(bytes[1]).verb() == Verb::Unknown;
        let header = Header::read(bytes.first_chunk().unwrap());
        let head_len = HEADER_LEN + header.extras_len + header.key_len;
        let whole = if unknown { head_len } else { bytes.len() };
        for cut in 0..whole {
            let Found::Incomplete { need } = parse(&bytes[..cut], &LIMITS) else {
                panic!("{} bytes of {bytes:?} are no request", cut)
            };
            assert_eq!(need, if cut < HEADER_LEN { HEADER_LEN } else { whole });
        }
        match parse(&[&bytes[..], b"more"].concat(), &LIMITS) {
            Found::Packet { packet, consumed } => {
                assert_eq!(consumed, bytes.len());
                assert_eq!([packet.extras, packet.key, packet.value].concat(), &bytes[HEADER_LEN..]);
                assert_eq!((packet.cas, packet.verb), (7, header.opcode.verb()));
            }
            Found::Refused { status, consumed, skip, .. } => {
                assert_eq!((status, consumed), (Status::UnknownCommand, head_len));
                assert_eq!(consumed + skip as usize, bytes.len());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The status of the last words, if there are any.
fn fatal(bytes: &[u8], limits: &ParseLimits) -> Option<u8> {
    match parse(bytes, limits) {
        Found::Fatal { reply } => {
            assert!(reply.is_empty() || (reply[0] == REPLY_MAGIC && reply[1] == bytes[1]));
            reply.get(7).copied()
        }
        other => panic!("{bytes:?} does not end the connection: {other:?}"),
    }
}

#[test]
fn wrong_lengths_end_the_connection() {
    for (opcode, extras, key, value) in [
        (0x00, 0, 0, 0),
        (0x00, 4, 3, 0),
        (0x09, 0, 3, 1),
        (0x01, 0, 3, 5),
        (0x01, 8, 0, 5),
        (0x11, 7, 3, 5),
        (0x05, 8, 3, 0),
        (0x06, 20, 3, 1),
        (0x04, 0, 3, 1),
        (0x0e, 4, 3, 1),
        (0x08, 3, 0, 0),
        (0x08, 4, 1, 0),
        (0x07, 0, 0, 1),
        (0x0a, 0, 1, 0),
        (0x0b, 1, 0, 0),
        (0x10, 1, 0, 0),
        (0x10, 0, 3, 1),
        (0x1b, 0, 0, 0),
        (0x1c, 0, 3, 0),
        (0x1d, 4, 3, 1),
        (0x1e, 4, 0, 0),
        (0x20, 0, 1, 0),
        (0x21, 0, 0, 5),
    ] {
        let bytes = packet(opcode, &[0; 20][..extras], &b"key"[..key], &b"value"[..value]);
        // The header is enough to know.
        assert_eq!(fatal(&bytes[..HEADER_LEN], &LIMITS), Some(0x04), "{opcode:#x} {extras} {key} {value}");
    }
    let key = [b'k'; 251];
    assert_eq!(fatal(&packet(0x00, b"", &key, b""), &LIMITS), Some(0x04));
    assert!(matches!(parse(&packet(0x00, b"", &key[..250], b""), &LIMITS), Found::Packet { .. }));
    assert_eq!(fatal(&packet(0x50, b"", &key, b""), &LIMITS), Some(0x04));
}

#[test]
fn lengths_that_contradict_each_other_end_the_connection() {
    let mut bytes = packet(0x00, b"", b"key", b"");
    bytes[11] = 2;
    assert_eq!(fatal(&bytes, &LIMITS), Some(0x81));
    let mut bytes = packet(0x01, &[0; 8], b"key", b"");
    bytes[11] = 10;
    assert_eq!(fatal(&bytes, &LIMITS), Some(0x81));
}

#[test]
fn another_magic_ends_the_connection_without_a_word() {
    for magic in (0..=0xff).filter(|magic| *magic != REQUEST_MAGIC) {
        assert_eq!(fatal(&[magic], &LIMITS), None);
        let mut bytes = packet(0x0a, b"", b"", b"");
        bytes[0] = magic;
        assert_eq!(fatal(&bytes, &LIMITS), None);
    }
}

#[test]
fn a_long_value_is_refused_by_its_header_and_key() {
    for (value_len, limits, fits) in [
        (1000, LIMITS, true),
        (1001, LIMITS, false),
        (900, ParseLimits { max_request: 24 + 8 + 3 + 900, ..LIMITS }, true),
        (900, ParseLimits { max_request: 24 + 8 + 3 + 899, ..LIMITS }, false),
    ] {
        let bytes = packet(0x11, &[0; 8], b"key", &vec![b'v'; value_len]);
        match parse(&bytes[..35], &limits) {
            Found::Incomplete { need } if fits => assert_eq!(need, bytes.len()),
            Found::Refused { packet, status, consumed, skip } if !fits => {
                assert_eq!((packet.key, status), (&b"key"[..], Status::TooLarge));
                assert_eq!((consumed, skip), (35, value_len as u64));
            }
            other => panic!("{value_len}: {other:?}"),
        }
    }
}

#[test]
fn a_refused_body_is_skipped_in_pieces() {
    let mut state = State { skip: 10, ..State::default() };
    assert_eq!(state.skipped(b"1234"), 4);
    assert_eq!(state.skipped(b""), 0);
    assert_eq!(state.skipped(b"567890abc"), 6);
    assert_eq!(state.skipped(b"abc"), 0);
}

#[test]
fn before_the_password_only_sasl_and_version_are_answered() {
    let limits = ParseLimits { authenticated: false, ..LIMITS };
    for bytes in all_requests() {
        match bytes[1] {
            0x0b | 0x20..=0x22 => assert!(matches!(parse(&bytes, &limits), Found::Packet { .. })),
            _ => assert_eq!(fatal(&bytes, &limits), Some(0x20)),
        }
    }
    let long = packet(0x21, b"", b"PLAIN", &vec![0; SASL_LEN + 1]);
    assert_eq!(fatal(&long[..HEADER_LEN], &limits), Some(0x20));
}

/// What is answered to a request with this opcode for the key `key`.
fn reply(opcode: u8, outcome: &Outcome, scratch: &Scratch) -> Vec<u8> {
    let bytes = packet(opcode, b"", b"key", b"");
    let form = Form { header: bytes.first_chunk().unwrap() };
    let mut out = ReplyBuf::default();
    encode(&form, b"key", outcome, scratch, &mut out);
    if let Some((at, pin)) = out.pins.pop() {
        assert_eq!(at, out.bytes.len());
        out.bytes.extend(pin);
    }
    out.bytes
}

fn item(value: ItemValue, value_len: usize) -> Item {
    Item { value, value_len, flags: 0x0102_0304, cas: 9, ..Item::default() }
}

#[test]
fn a_hit_has_flags_cas_and_what_was_asked_for() {
    let mut scratch = Scratch { bytes: b"..value".to_vec(), ..Scratch::default() };
    scratch.items.push(item(ItemValue::Copied(Span { start: 2, len: 5 }), 5));
    scratch.pins.push(Bytes::from(vec![b'x'; 70_000]));
    scratch.items.push(item(ItemValue::Pinned(0), 70_000));
    scratch.items.push(item(ItemValue::None, 5));
    for (opcode, index, body) in [
        (0x00, 0, &b"\x01\x02\x03\x04value"[..]),
        (0x09, 0, b"\x01\x02\x03\x04value"),
        (0x1d, 0, b"\x01\x02\x03\x04value"),
        (0x0c, 0, b"\x01\x02\x03\x04keyvalue"),
        (0x0d, 0, b"\x01\x02\x03\x04keyvalue"),
        (0x24, 0, b"\x01\x02\x03\x04keyvalue"),
        (0x0c, 1, &[b"\x01\x02\x03\x04key", &[b'x'; 70_000][..]].concat()),
        (0x1c, 2, b"\x01\x02\x03\x04"),
    ] {
        let reply = reply(opcode, &Outcome::Item(index), &scratch);
        assert_eq!(&reply[HEADER_LEN..], body, "{opcode:#x}");
        let header = Header::read(reply.first_chunk().unwrap());
        assert_eq!((header.magic, header.opcode), (REPLY_MAGIC, Opcode(opcode)));
        assert_eq!((header.extras_len, header.body_len, header.cas), (4, body.len(), 9));
        assert_eq!(header.key_len, if matches!(opcode, 0x0c | 0x0d | 0x24) { 3 } else { 0 });
        assert_eq!(&header.opaque, b"opaq");
    }
}

#[test]
fn quiet_commands_speak_only_of_what_went_wrong() {
    let scratch = Scratch::default();
    for opcode in quiet_twins() {
        let get = matches!(opcode, 0x09 | 0x0d | 0x1e | 0x24);
        assert_eq!(reply(opcode, &Outcome::Ok, &scratch), b"", "{opcode:#x}");
        assert_eq!(reply(opcode, &Outcome::Nil, &scratch).is_empty(), get, "{opcode:#x}");
        assert_eq!(reply(opcode, &Outcome::Exists, &scratch)[7], 0x02, "{opcode:#x}");
    }
}

#[test]
fn each_failure_has_its_status_and_text() {
    let scratch = Scratch::default();
    let too_large = Outcome::Refused(Refusal::TooLarge);
    for (opcode, outcome, status, text) in [
        (0x00, Outcome::Nil, 0x01, "Not found"),
        (0x0c, Outcome::Nil, 0x01, "key"),
        (0x1c, Outcome::Nil, 0x01, "Not found"),
        (0x01, Outcome::Nil, 0x01, "Not found"),
        (0x01, Outcome::Exists, 0x02, "Data exists for key."),
        (0x02, Outcome::NotStored, 0x02, "Data exists for key."),
        (0x03, Outcome::NotStored, 0x01, "Not found"),
        (0x0e, Outcome::NotStored, 0x05, "Not stored."),
        (0x0f, Outcome::Nil, 0x05, "Not stored."),
        (0x04, Outcome::Nil, 0x01, "Not found"),
        (0x05, Outcome::NotANumber, 0x06, "Non-numeric server-side value for incr or decr"),
        (0x05, Outcome::Nil, 0x01, "Not found"),
        (0x01, too_large.clone(), 0x03, "Too large."),
        (0x0e, too_large, 0x05, "Not stored."),
        (0x02, Outcome::Refused(Refusal::OutOfMemory), 0x82, "Out of memory"),
        (0x02, Outcome::Pong, 0x84, "Internal error"),
    ] {
        let reply = reply(opcode, &outcome, &scratch);
        assert_eq!(reply[7], status, "{opcode:#x} {outcome:?}");
        assert_eq!(&reply[HEADER_LEN..], text.as_bytes(), "{opcode:#x} {outcome:?}");
        let header = Header::read(reply.first_chunk().unwrap());
        assert_eq!((header.body_len, header.extras_len, header.cas), (text.len(), 0, 0));
        assert_eq!(header.key_len, if opcode == 0x0c { 3 } else { 0 });
    }
}

#[test]
fn a_counter_is_answered_in_64_bits() {
    let mut scratch = Scratch { bytes: b"18446744073709551615".to_vec(), ..Scratch::default() };
    scratch.items.push(item(ItemValue::Copied(Span { start: 0, len: 20 }), 20));
    for opcode in [0x05, 0x06] {
        let reply = reply(opcode, &Outcome::Item(0), &scratch);
        assert_eq!(&reply[HEADER_LEN..], [0xff; 8]);
        assert_eq!(Header::read(reply.first_chunk().unwrap()).cas, 9);
    }
    assert_eq!(reply(0x15, &Outcome::Item(0), &scratch), b"");
}

proptest! {
    /// What a reply's header was made of can be read from it.
    #[test]
    fn headers_come_back(
        opcode: u8, opaque: [u8; 4], extras in 0..=u8::MAX, key_len: u16, value_len in 0..1_u32 << 31,
        cas: u64,
    ) {
        let lens = [usize::from(extras), usize::from(key_len), value_len as usize];
        let bytes = reply::header(Opcode(opcode), opaque, Status::NotStored, lens, cas);
        let expected = Header {
            magic: REPLY_MAGIC,
            opcode: Opcode(opcode),
            key_len: lens[1],
            extras_len: lens[0],
            body_len: lens.iter().sum(),
            opaque,
            cas,
        };
        prop_assert_eq!(Header::read(&bytes), expected);
        prop_assert_eq!(&bytes[5..8], [0, 0, 5]);
    }

    /// Bytes without meaning are refused or waited for, never more.
    #[test]
    fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..100), authenticated: bool) {
        let bytes = [&[REQUEST_MAGIC][..], &bytes].concat();
        match parse(&bytes, &ParseLimits { authenticated, ..LIMITS }) {
            Found::Packet { consumed, .. } | Found::Refused { consumed, .. } => {
                prop_assert!((HEADER_LEN..=bytes.len()).contains(&consumed));
            }
            Found::Incomplete { need } => prop_assert!(need > bytes.len() && need <= LIMITS.max_request),
            Found::Fatal { .. } => {}
        }
    }
}
