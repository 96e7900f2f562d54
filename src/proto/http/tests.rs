//! Heads and bodies at every cut, and what must not be taken for a request.

use super::*;
use crate::limits::{HTTP_FIELDS, HTTP_HEAD};
use crate::proto::{Item, ItemValue, Outcome, ParseLimits, ReplyBuf, Scratch, Span};
use proptest::prelude::*;

const LIMITS: ParseLimits =
    ParseLimits { max_bulk: 1000, max_request: 40_000, max_args: 20, max_inline: 100, authenticated: true };

/// What a connection heard: method, target and body of each request, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<(Method, Vec<u8>, Vec<u8>)>,
    lost: Option<Problem>,
}

fn body_bytes(body: &Body<'_>) -> Vec<u8> {
    match body {
        Body::Whole(bytes) => bytes.to_vec(),
        Body::Pieces { pieces, len } => {
            let bytes = pieces.collect::<Vec<_>>().concat();
            assert_eq!(bytes.len(), *len);
            bytes
        }
    }
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut heard, mut state, mut inbox) = (Heard::default(), State::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let rest = &inbox[at..];
            let head = match find(rest, &mut state, LIMITS.max_request) {
                Found::Skip { consumed } if consumed > 0 => {
                    at += consumed;
                    continue;
                }
                Found::Skip { .. } => break,
                Found::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Found::Head(head) => head,
                Found::Lost(problem) => {
                    heard.lost = Some(problem);
                    return heard;
                }
            };
            match read(rest, &head, &mut state, &LIMITS, LIMITS.max_bulk) {
                Read::Whole { consumed, body } => {
                    assert!(consumed > 0 && consumed <= rest.len());
                    heard.requests.push((head.method, head.target.to_vec(), body_bytes(&body)));
                    state.done(0);
                    at += consumed;
                }
                Read::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Read::Lost(problem) => {
                    heard.lost = Some(problem);
                    return heard;
                }
            }
        }
        inbox = inbox[at..].to_vec();
    }
    heard
}

/// The head of a request with a Host and these further lines.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}").into_bytes()
}

fn lost(bytes: &[u8]) -> Option<(u16, Problem)> {
    hear([bytes]).lost.map(|problem| (problem.status, problem))
}

const STREAM: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\n\
    PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab\r\ncPOST /c HTTP/1.1\nhost:h\n\
    transfer-encoding: Chunked\n\n3;x=\"y\"\r\nabc\r\n00a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nTrailer: t\r\n\r\n\
    DELETE http://h/d HTTP/1.0\r\n\r\nOPTIONS * HTTP/1.1\r\nHost:\r\n\r\n";

fn expected() -> Heard {
    let request = |method, target: &str, body: &str| (method, target.into(), body.into());
    Heard {
        requests: vec![
            request(Method::Get, "/a", ""),
            request(Method::Put, "/b", "ab\r\nc"),
            request(Method::Post, "/c", "abc\r\n\r\n\r\n\r\n\r\n"),
            request(Method::Delete, "/d", ""),
            request(Method::Options, "*", ""),
        ],
        lost: None,
    }
}

#[test]
fn requests_are_heard_the_same_at_every_cut() {
    assert_eq!(hear([STREAM]), expected());
    for cut in 0..=STREAM.len() {
        let (left, right) = STREAM.split_at(cut);
        assert_eq!(hear([left, right]), expected(), "cut at {cut}");
    }
    assert_eq!(hear(STREAM.chunks(1)), expected());
}

#[test]
fn framing_that_two_readers_could_take_for_two_things_ends_the_connection() {
    for (fields, body, problem) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", problem::BOTH_FRAMINGS),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", problem::BOTH_FRAMINGS),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", problem::REPEATED_FIELD),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello", problem::REPEATED_FIELD),
        ("Content-Length: 5, 5\r\n", "hello", problem::BAD_LENGTH),
        ("Content-Length: +5\r\n", "hello", problem::BAD_LENGTH),
        ("Content-Length: -1\r\n", "hello", problem::BAD_LENGTH),
        ("Content-Length: 0x5\r\n", "hello", problem::BAD_LENGTH),
        ("Content-Length: 5 5\r\n", "hello", problem::BAD_LENGTH),
        ("Content-Length: \r\n", "", problem::BAD_LENGTH),
        ("Content-Length: 99999999999999999999\r\n", "", problem::BAD_LENGTH),
        ("Content-Length : 5\r\n", "hello", problem::BAD_HEAD),
        (" Content-Length: 5\r\n", "hello", problem::BAD_HEAD),
        ("X: y\r\n Content-Length: 5\r\n", "hello", problem::BAD_HEAD),
        ("Content-Length: 5\rX: y\r\n", "hello", problem::BAD_HEAD),
        ("Content-Length\0: 5\r\n", "hello", problem::BAD_HEAD),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            problem::REPEATED_FIELD,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", problem::NO_SUCH_CODING),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", problem::NO_SUCH_CODING),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", problem::NO_SUCH_CODING),
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", problem::BAD_HEAD),
        ("Transfer-Encoding: \r\n", "0\r\n\r\n", problem::NO_SUCH_CODING),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n", problem::BAD_HEAD),
        ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n", problem::BAD_HEAD),
        ("Host: other\r\n", "", problem::BAD_HOST),
        ("Expect: 200-ok\r\n", "", problem::EXPECTATION),
    ] {
        let request = post(fields, body);
        assert_eq!(hear([&request[..]]).lost, Some(problem), "{fields:?}");
        assert_eq!(hear(request.chunks(1)), hear([&request[..]]), "{fields:?}");
    }
    assert_eq!(lost(b"GET / HTTP/1.1\r\n\r\n"), Some((400, problem::BAD_HOST)));
    assert_eq!(lost(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"), Some((505, problem::VERSION)));
    assert_eq!(lost(b"GET /\r\n\r\n"), Some((400, problem::BAD_HEAD)));
    assert_eq!(lost(b"GET a HTTP/1.1\r\nHost: h\r\n\r\n"), Some((400, problem::BAD_HEAD)));
    assert_eq!(lost(b"\x16\x03\x01\x02\x00\x01\n\n"), Some((400, problem::BAD_HEAD)));
    assert_eq!(
        lost(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Some((501, problem::NO_SUCH_CODING))
    );
}

#[test]
fn chunks_are_as_rfc_9112_says_or_refused() {
    for (body, problem) in [
        ("5\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("5\r\nhello\n0\r\n\r\n", problem::BAD_CHUNK),
        ("5\r\nhello0\r\n\r\n", problem::BAD_CHUNK),
        ("5\r\nhelloXX0\r\n\r\n", problem::BAD_CHUNK),
        ("5 \r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        (" 5\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("0x5\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("-5\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("+5\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("\r\n", problem::BAD_CHUNK),
        (";x\r\n", problem::BAD_CHUNK),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", problem::BAD_CHUNK),
        ("ffffffffffffffff\r\n", problem::BAD_CHUNK),
        ("10000000000000005\r\nhello\r\n", problem::BAD_CHUNK),
        ("fffffffffffff\r\n", problem::TOO_LARGE),
        ("3e9\r\n", problem::TOO_LARGE),
        ("0\r\nTrailer: t\n\r\n", problem::BAD_CHUNK),
    ] {
        let request = post("Transfer-Encoding: chunked\r\n", body);
        assert_eq!(hear([&request[..]]).lost, Some(problem), "{body:?}");
        assert_eq!(hear(request.chunks(1)), hear([&request[..]]), "{body:?}");
    }
    let pieces = "1\r\na\r\n".repeat(999) + "0\r\n\r\n";
    let heard = hear([&post("Transfer-Encoding: chunked\r\n", &pieces)[..]]);
    assert_eq!((heard.requests[0].2.len(), heard.lost), (999, None));
    let endless = format!("1;{}\r\n", "x".repeat(300));
    assert_eq!(lost(&post("Transfer-Encoding: chunked\r\n", &endless)), Some((400, problem::BAD_CHUNK)));
    let padded = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(300);
    assert_eq!(lost(&post("Transfer-Encoding: chunked\r\n", &padded)), Some((413, problem::TOO_LARGE)));
    let trailer = format!("0\r\n{}", "T: t\r\n".repeat(HTTP_HEAD / 6 + 1));
    assert_eq!(lost(&post("Transfer-Encoding: chunked\r\n", &trailer)), Some((431, problem::HEAD_TOO_LARGE)));
}

#[test]
fn a_head_has_its_limits() {
    let fields = |count: usize| "A: b\r\n".repeat(count);
    // Host is one of them.
    assert_eq!(lost(&post(&fields(HTTP_FIELDS - 1), "")), None);
    assert_eq!(lost(&post(&fields(HTTP_FIELDS), "")), Some((431, problem::HEAD_TOO_LARGE)));
    let long = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(len)).into_bytes();
    let around = long(0).len();
    assert_eq!(lost(&long(HTTP_HEAD - around)), None);
    assert_eq!(lost(&long(HTTP_HEAD - around + 1)), Some((431, problem::HEAD_TOO_LARGE)));
    assert_eq!(lost(&long(HTTP_HEAD)), Some((414, problem::TARGET_TOO_LONG)));
    let value = post(&format!("A: {}\r\n", "x".repeat(HTTP_HEAD)), "");
    assert_eq!(lost(&value), Some((431, problem::HEAD_TOO_LARGE)));
    assert_eq!(lost(&post("Content-Length: 1001\r\n", "")), Some((413, problem::TOO_LARGE)));
}

#[test]
fn connections_stay_or_end() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Connection::Keep),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, CLOSE\r\n\r\n", Connection::Close),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", Connection::Keep),
        ("GET / HTTP/1.0\r\n\r\n", Connection::Close),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Connection::KeepSaid),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", Connection::Close),
    ] {
        let Found::Head(found) = find(head.as_bytes(), &mut State::default(), 100) else { panic!("{head}") };
        assert_eq!((found.connection, found.len), (expected, head.len()), "{head}");
    }
}

#[test]
fn an_unwanted_body_is_skipped() {
    let mut state = State::default();
    state.done(5);
    assert_eq!(find(b"hel", &mut state, 100), Found::Skip { consumed: 3 });
    assert_eq!(find(b"loGET", &mut state, 100), Found::Skip { consumed: 2 });
    assert_eq!(find(b"GET", &mut state, 100), Found::Incomplete { need: 0 });
}

#[test]
fn a_reply_says_what_is_known_of_the_item() {
    let scratch = Scratch {
        bytes: b"..value".to_vec(),
        items: vec![Item {
            value: ItemValue::Copied(Span { start: 2, len: 5 }),
            value_len: 5,
            cas: 7,
            expire_at_ms: Some(3_500),
            ..Item::default()
        }],
        ..Scratch::default()
    };
    let reply = |kind, manner, outcome| {
        let mut out = ReplyBuf::default();
        encode(&Form { kind, manner, now_ms: 1_000 }, b"k", &outcome, &scratch, &mut out);
        String::from_utf8(out.bytes).unwrap()
    };
    let manner = Manner::default();
    let tags = |text: &'static str| Tags::parse(text.as_bytes());
    let read = Kind::Read { if_match: None, if_none_match: None };
    let fields = "ETag: \"7\"\r\nCache-Control: max-age=2\r\nX-TTL-Ms: 2500\r\n\r\n";
    let whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n{fields}value"
    );
    assert_eq!(reply(read, manner, Outcome::Item(0)), whole);
    // The short way for what is wanted most says the same.
    let stays = Scratch {
        bytes: scratch.bytes.clone(),
        items: vec![Item { expire_at_ms: None, ..scratch.items[0] }],
        ..Scratch::default()
    };
    for connection in [Connection::Keep, Connection::KeepSaid] {
        let mut out = ReplyBuf::default();
        let form = Form { kind: read, manner: Manner { connection, ..manner }, now_ms: 1_000 };
        encode(&form, b"k", &Outcome::Item(0), &stays, &mut out);
        let text = String::from_utf8(out.bytes).unwrap().replace("Connection: keep-alive\r\n", "");
        assert_eq!(text, whole.replace("Cache-Control: max-age=2\r\nX-TTL-Ms: 2500\r\n", ""));
    }
    let head_only = Manner { head_only: true, ..manner };
    assert_eq!(reply(read, head_only, Outcome::Item(0)), whole.strip_suffix("value").unwrap());
    let unmodified = Kind::Read { if_match: None, if_none_match: tags("\"1\", W/\"7\"") };
    assert_eq!(reply(unmodified, manner, Outcome::Item(0)), format!("HTTP/1.1 304 Not Modified\r\n{fields}"));
    let other = Kind::Read { if_match: tags("\"8\""), if_none_match: tags("\"7\"") };
    assert!(reply(other, manner, Outcome::Item(0)).starts_with("HTTP/1.1 412 "));
    assert!(reply(read, manner, Outcome::Nil).starts_with("HTTP/1.1 404 "));
    let origin = Manner { origin: Some(b"https://a.example"), connection: Connection::Close, ..manner };
    assert_eq!(
        reply(Kind::Written, origin, Outcome::Item(0)),
        "HTTP/1.1 204 No Content\r\nConnection: close\r\nAccess-Control-Allow-Origin: https://a.example\r\n\
         Access-Control-Expose-Headers: ETag, X-TTL-Ms\r\nVary: Origin\r\nETag: \"7\"\r\n\r\n"
    );
    for (outcome, conditional, status) in [
        (Outcome::Int(1), false, 204),
        (Outcome::Ok, true, 204),
        (Outcome::Int(0), false, 404),
        (Outcome::Nil, true, 412),
        (Outcome::Exists, true, 412),
    ] {
        let reply = reply(Kind::Removed { conditional }, manner, outcome);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    }
}

#[test]
fn errors_are_json_of_the_length_that_they_say() {
    let all = [
        problem::BAD_HEAD,
        problem::BAD_ESCAPE,
        problem::UNAUTHORIZED,
        problem::CROSS_SITE,
        problem::NO_SUCH_KEY,
        problem::LENGTH_REQUIRED,
        problem::CONDITION_FAILED,
        problem::TOO_LARGE,
        problem::KEY_TOO_LONG,
        problem::EXPECTATION,
        problem::HEAD_TOO_LARGE,
        problem::NO_SUCH_METHOD,
        problem::VERSION,
        problem::OUT_OF_MEMORY,
        problem::REPLY_TOO_LARGE,
        problem::INTERNAL,
        problem::method_not_allowed("Allow: GET\r\n"),
    ];
    for problem in all {
        let mut out = ReplyBuf::default();
        put_problem(&problem, &Manner::default(), &mut out);
        let text = String::from_utf8(out.bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", problem.status)), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["error"]["code"], problem.code);
        assert_eq!(json["error"]["message"], problem.message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever pieces, it is heard as if it came at once.
    #[test]
    fn pieces_do_not_matter(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "GET / HTTP/1.1\r\nHost: h\r\n", "\r\n", "\n", "\r", "Content-Length: 3\r\n",
                "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", "0\r\n", "abc", "\0", "PUT /k HTTP/1.0\n",
            ]),
            0..12,
        ),
        sizes in prop::collection::vec(1_usize..20, 0..20),
    ) {
        let stream = parts.concat().into_bytes();
        let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
        for size in sizes {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(hear(pieces), hear([&stream[..]]));
    }
}
