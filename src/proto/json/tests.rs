//! The JSON lines byte for byte, cut at every byte, and against what serde says of each object by itself.

use super::*;
use crate::proto::Span;
use proptest::prelude::*;

const LIMITS: ParseLimits = ParseLimits {
    max_bulk: 512 << 20,
    max_request: 1 << 20,
    max_args: 1 << 20,
    max_inline: 64 << 10,
    authenticated: true,
};

/// What a stream of bytes turned out to hold: commands, and errors in their places.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<Result<Vec<Vec<u8>>, &'static str>>,
    fatal: Option<String>,
    left: usize,
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>, limits: &ParseLimits) -> Heard {
    let (mut heard, mut resume, mut inbox) = (Heard::default(), Resume::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (bump, mut args) = (Bump::new(), Vec::new());
            let consumed = match parse(&inbox[at..], limits, &mut resume, &bump, &mut args) {
                Parsed::Request { consumed } => {
                    heard.requests.push(Ok(args.iter().map(|arg| arg.to_vec()).collect()));
                    consumed
                }
                Parsed::Malformed { consumed, error } => {
                    heard.requests.push(Err(error));
                    consumed
                }
                Parsed::Skip { consumed } => consumed,
                Parsed::Incomplete { .. } => break,
                Parsed::Fatal { reply } => {
                    heard.fatal = Some(String::from_utf8(reply).unwrap());
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= inbox.len() - at && resume == Resume::default());
            at += consumed;
        }
        inbox.drain(..at);
    }
    heard.left = inbox.len();
    heard
}

fn get(key: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    Ok(vec![b"GET".to_vec(), key.into()])
}

fn set(key: &str, value: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    Ok(vec![b"SET".to_vec(), key.into(), value.into()])
}

#[test]
fn requests() {
    for (text, expected) in [
        (r#"{"key":"k","value":"v"}"#, set("k", "v")),
        (r#"{"value":"v","key":"k"}"#, set("k", "v")),
        (r#"{"key":"k"}"#, get("k")),
        (r#"{"key":"k","value":null}"#, get("k")),
        (r#"{"key":"","value":""}"#, set("", "")),
        ("{ \"key\" :\n\t\"k\" \r\n}", get("k")),
        (r#"{"key":"k","value":"{\"a\":[\"}\"]}"}"#, set("k", r#"{"a":["}"]}"#)),
        (r#"{"key":"\u00e9\ud83d\ude00\n\\","value":"\\\""}"#, set("é😀\n\\", "\\\"")),
        (r#"{"key":"k","extra":{"a":["}",{"b":"\"}"}]},"ttl":5}"#, get("k")),
        (r#"{}"#, Err(INVALID)),
        (r#"{"value":"v"}"#, Err(INVALID)),
        (r#"{"key":5}"#, Err(INVALID)),
        (r#"{"key":null}"#, Err(INVALID)),
        (r#"{"key":"k","value":5}"#, Err(INVALID)),
        (r#"{"key":"k","value":["v"]}"#, Err(INVALID)),
        (r#"{"key":"a","key":"b"}"#, Err(INVALID)),
        (r#"{"key":"a",}"#, Err(INVALID)),
        (r#"{"key":"a","x":[}"#, Err(INVALID)),
        (r#"{'key':'a'}"#, Err(INVALID)),
        (r#"{"key":"\ud83d"}"#, Err(INVALID)),
        (r#"{key}"#, Err(INVALID)),
        ("{\"key\": \"k\n", Err(INVALID)),
        ("{\"key\": \"k\\\n", Err(INVALID)),
    ] {
        let expected = Heard { requests: vec![expected], ..Heard::default() };
        assert_eq!(hear([text.as_bytes()], &LIMITS), expected, "{text}");
    }
    let bad_utf8 = hear([b"{\"key\":\"\xff\"}".as_slice()], &LIMITS);
    assert_eq!(bad_utf8.requests, [Err(INVALID)]);
}

#[test]
fn where_no_object_starts_the_connection_ends() {
    let error = r#"{"status":"ERROR","message":"Invalid request format.","key":null,"value":null}"#;
    for text in ["[1]", "}", "\"key\"", "hello\n", "\u{feff}{}"] {
        let stream = [b"{\"key\":\"k\"}\n".as_slice(), text.as_bytes()].concat();
        let expected = Heard { requests: vec![get("k")], fatal: Some(error.to_owned()), left: 0 };
        assert_eq!(hear([&stream[..]], &LIMITS), expected);
    }
}

#[test]
fn a_request_has_a_largest_size() {
    let request = |len: usize| format!(r#"{{"key":"{}"}}"#, "k".repeat(len - 10)).into_bytes();
    let limits = ParseLimits { max_request: 1000, max_inline: 100, ..LIMITS };
    let stranger = ParseLimits { authenticated: false, ..limits };
    for (limits, most) in [(limits, 1000), (stranger, 100)] {
        assert_eq!(hear([&request(most)[..]], &limits).requests.len(), 1);
        for pieces in [vec![&request(most + 1)[..]], request(most + 1).chunks(7).collect()] {
            let error = hear(pieces, &limits).fatal.unwrap();
            assert_eq!(error, r#"{"status":"ERROR","message":"Request too large.","key":null,"value":null}"#);
        }
    }
}

#[test]
fn cut_at_every_byte() {
    let stream = concat!(
        r#"{"key":"city","value":"Paris"}{"key":"city"}"#,
        "\r\n \n",
        r#"{"key":"a\\\"}{","value":"\u007b\"{}\""}"#,
        r#"{"a":{"b":{"c":"}"}},"key":"é"}{"key":}"#,
        "{\"key\":\"forgot\n{\"key\":\"k\"}{\"key\":\"half"
    );
    let expected = hear([stream.as_bytes()], &LIMITS);
    assert_eq!((expected.requests.len(), expected.left), (7, 12));
    for cut in 0..=stream.len() {
        let (head, tail) = stream.as_bytes().split_at(cut);
        assert_eq!(hear([head, tail], &LIMITS), expected, "cut at {cut}");
    }
    assert_eq!(hear(stream.as_bytes().chunks(1), &LIMITS), expected);
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let (bump, mut args) = (Bump::new(), Vec::new());
    let buf = br#"{"key":"k","value":"plain"}"#;
    parse(buf, &LIMITS, &mut Resume::default(), &bump, &mut args);
    assert_eq!((args, bump.allocated_bytes()), (vec![b"SET".as_slice(), b"k", b"plain"], 0));
}

fn reply(key: &[u8], outcome: Outcome, value: &[u8]) -> (String, Vec<(usize, Bytes)>) {
    let scratch =
        Scratch { bytes: value.to_vec(), pins: vec![Bytes::copy_from_slice(value)], ..Scratch::default() };
    let mut out = ReplyBuf::default();
    encode(key, &outcome, &scratch, &mut out);
    (String::from_utf8(out.bytes).unwrap(), out.pins)
}

#[test]
fn replies() {
    let value = b"a\"b\\\n\r\t\x08\x0c\x01\x7f \xc3\xa9\xff.";
    let shown = r#""a\"b\\\n\r\t\b\f\u0001"#.to_owned() + "\x7f é\u{fffd}.\"";
    let span = Span { start: 0, len: value.len() as u32 };
    for (outcome, expected) in [
        (Outcome::Value(span), format!(r#"{{"status":"OK","message":"","key":"k\"","value":{shown}}}"#)),
        (
            Outcome::Ok,
            r#"{"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}"#
                .into(),
        ),
        (Outcome::Nil, r#"{"status":"OK","message":"Key not found.","key":null,"value":null}"#.into()),
        (
            Outcome::Error("OOM \"no\"".into()),
            r#"{"status":"ERROR","message":"OOM \"no\"","key":null,"value":null}"#.into(),
        ),
    ] {
        assert_eq!(reply(b"k\"", outcome, value), (expected, vec![]));
    }
}

#[test]
fn a_large_value_is_copied_only_to_be_escaped() {
    let head = r#"{"status":"OK","message":"","key":"k","value":"#;
    let (bytes, pins) = reply(b"k", Outcome::Pinned(0), "plain é".as_bytes());
    assert_eq!(bytes, format!("{head}\"\"}}"));
    assert_eq!(pins, [(head.len() + 1, Bytes::from_static("plain é".as_bytes()))]);
    let (bytes, pins) = reply(b"k", Outcome::Pinned(0), b"two\nlines");
    assert_eq!((bytes, pins), (format!("{head}{}}}", r#""two\nlines""#), vec![]));
}

#[test]
fn escaping_ends_at_the_limit_of_a_reply() {
    let scratch =
        Scratch { bytes: Vec::new(), pins: vec![Bytes::from(vec![b'\n'; 100_000])], ..Scratch::default() };
    let mut out = ReplyBuf::default();
    out.limit(1_000);
    encode(b"k", &Outcome::Pinned(0), &scratch, &mut out);
    assert!(out.bytes.len() <= 1_000 && out.unlimit(), "{} bytes", out.bytes.len());
}

proptest! {
    #[test]
    fn what_serde_writes_is_heard(
        pairs in prop::collection::vec((any::<String>(), any::<Option<String>>()), 1..8),
        blanks in prop::collection::vec("[ \r\n\t]{0,3}", 8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        for ((key, value), blank) in pairs.iter().zip(&blanks) {
            bytes.extend(serde_json::to_vec(&serde_json::json!({ "key": key, "value": value })).unwrap());
            bytes.extend_from_slice(blank.as_bytes());
        }
        let expected = pairs.iter().map(|(key, value)| value.as_ref().map_or(get(key), |value| set(key, value)));
        let heard = hear(pieces(&bytes, &cuts), &LIMITS);
        prop_assert_eq!(heard, Heard { requests: expected.collect(), fatal: None, left: 0 });
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(b"{{}}\"\"\\,:keyn1 \n\xff".to_vec()), 0..80),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let limits = ParseLimits { max_request: 30, ..LIMITS };
        prop_assert_eq!(hear(pieces(&bytes, &cuts), &limits), hear([&bytes[..]], &limits));
    }

    #[test]
    fn a_reply_reads_back_as_what_was_stored(key in any::<String>(), value in any::<String>(), pinned in any::<bool>()) {
        let outcome = if pinned { Outcome::Pinned(0) } else { Outcome::Value(Span { start: 0, len: value.len() as u32 }) };
        let (head, pins) = reply(key.as_bytes(), outcome, value.as_bytes());
        let mut text = head;
        for (at, pin) in pins.iter().rev() {
            text.insert_str(*at, std::str::from_utf8(pin).unwrap());
        }
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, serde_json::json!({ "status": "OK", "message": "", "key": key, "value": value }));
    }
}

fn pieces<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut from, end)..end]).collect()
}
