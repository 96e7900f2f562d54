//! The RESP parser against byte strings that clients send, cut at every byte, and against Redis's error texts.

use super::{COMMON_LONGEST, COMMON_NAME, Resume, common, parse};
use crate::proto::{ParseLimits, Parsed};
use bumpalo::Bump;
use proptest::prelude::*;

const LIMITS: ParseLimits = ParseLimits {
    max_bulk: 512 << 20,
    max_request: 1 << 30,
    max_args: 1 << 20,
    max_inline: 64 << 10,
    authenticated: true,
};

/// What a stream of bytes turned out to hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<Vec<Vec<u8>>>,
    fatal: Option<String>,
    /// Bytes of a request that is not whole.
    left: usize,
}

/// Parses pieces as a connection does: what is not consumed is kept and stands before the next piece.
fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>, limits: &ParseLimits) -> Heard {
    let mut heard = Heard::default();
    let mut resume = Resume::default();
    let mut inbox: Vec<u8> = Vec::new();
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (bump, mut args) = (Bump::new(), Vec::new());
            let fresh = resume.is_fresh();
            let parsed = parse(&inbox[at..], limits, &mut resume, &bump, &mut args);
            if fresh && limits.max_bulk >= COMMON_LONGEST {
                check_common(&inbox[at..], &parsed, &args);
            }
            match parsed {
                Parsed::Request { consumed } => {
                    assert!(consumed > 0 && consumed <= inbox.len() - at && !args.is_empty());
                    assert_eq!(resume, Resume::default());
                    heard.requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    at += consumed;
                }
                Parsed::Skip { consumed } => {
                    assert!(consumed > 0 && consumed <= inbox.len() - at);
                    at += consumed;
                }
                Parsed::Malformed { .. } => unreachable!("RESP has no errors that it goes on after"),
                Parsed::Incomplete { need } => {
                    assert!(need == 0 || need > inbox.len() - at);
                    break;
                }
                Parsed::Fatal { reply } => {
                    heard.fatal = Some(String::from_utf8_lossy(&reply).into_owned());
                    return heard;
                }
            }
        }
        inbox.drain(..at);
    }
    heard.left = inbox.len();
    heard
}

/// The short way finds the same request as the long way did, or none.
fn check_common(bytes: &[u8], parsed: &Parsed, args: &[&[u8]]) {
    let Some(found) = common(bytes) else { return };
    assert_eq!(*parsed, Parsed::Request { consumed: found.consumed });
    let name = &bytes[COMMON_NAME];
    let words = [Some(name), Some(found.key), found.value];
    assert!(args.iter().eq(words.iter().flatten()));
    let expected: &[u8] = if found.value.is_some() { b"set" } else { b"get" };
    assert!(name.eq_ignore_ascii_case(expected));
}

fn whole(bytes: &[u8]) -> Heard {
    hear([bytes], &LIMITS)
}

fn words(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let heard = whole(bytes);
    assert_eq!((heard.fatal, heard.left), (None, 0));
    heard.requests
}

fn error(bytes: &[u8]) -> String {
    whole(bytes).fatal.unwrap_or_else(|| panic!("{:?} is no error", bytes.escape_ascii().to_string()))
}

fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
        bytes.extend_from_slice(arg.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Pipelines like those that the common clients send when they connect and after.
fn corpus() -> Vec<Vec<u8>> {
    let redis_py = [
        request(&["HELLO", "3"]),
        request(&["CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-fqdn"]),
        request(&["CLIENT", "SETINFO", "LIB-NAME", "redis-py"]),
        request(&["SET", "lk", "78781518e64411f1bacc02fc00000001", "NX", "PX", "5000"]),
        request(&["GET", "celery-task-meta-tid1"]),
    ]
    .concat();
    let binary: Vec<u8> = (0..=255).collect();
    let values = [
        request(&[b"SET".as_slice(), b"", &binary]),
        request(&[b"SET".as_slice(), b"*1\r\n$4\r\nPING\r\n", &[b'x'; 1234]]),
        request(&["MSET"; 101]),
    ]
    .concat();
    let people =
        b"PING\r\n\r\n\nset \"a b\" 'it\\'s'\n get\ta\x0bb\r\n*0\r\n*-1\r\nset k \"\\x41\\n\\z\" ''\r\n"
            .to_vec();
    let mixed = [request(&["PING"]), b"echo hi\n".to_vec(), request(&["QUIT"])].concat();
    let broken = [request(&["PING"]), b"*2\r\n$3\r\nGET\r\n:1\r\n".to_vec()].concat();
    let lost = [request(&["PING"]), b"*1\r\n$-1\r\n".to_vec()].concat();
    let half = [request(&["PING"]), b"*2\r\n$3\r\nGET\r\n$5\r\nab".to_vec()].concat();
    vec![redis_py, values, people, mixed, broken, lost, half]
}

#[test]
fn arrays_and_their_limits() {
    assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), [[b"GET".to_vec(), b"k".to_vec()]]);
    assert_eq!(words(b"*1\r\n$0\r\n\r\n"), [[b"".to_vec()]]);
    for len in [0, 1, 9, 10, 11, 99, 100, 999, 1000, 9999, 65535, 65536] {
        let value = vec![b'v'; len];
        assert_eq!(words(&request(&[&value])), [[value]]);
    }
    for none in ["*0\r\n", "*-1\r\n", "*-5\r\n", "\r\n", "\n", "  \t\r\n"] {
        assert_eq!(words(none.as_bytes()).len(), 0);
    }
}

#[test]
fn errors_are_worded_as_redis_does() {
    let long = "1".repeat(70_000);
    for (bytes, expected) in [
        ("*\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$-5\r\n", "invalid bulk length"),
        ("*1\r\n$1x\r\n", "invalid bulk length"),
        ("*1\r\n$007\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$9999999999999\r\n", "invalid bulk length"),
        ("*1\r\n$18446744073709551616\r\n", "invalid bulk length"),
        ("*1\r\nGET\r\n", "expected '$', got 'G'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("*1\rx", "invalid CRLF in request"),
        ("*x\rx", "invalid CRLF in request"),
        ("*0\rx", "invalid CRLF in request"),
        ("*1\r\n$4\rx", "invalid CRLF in request"),
        ("*1\r\n$4\rxPING\r\n", "invalid CRLF in request"),
        ("*1\r\n$12\rxPING\r\n", "invalid CRLF in request"),
        ("*1\r\n$123\rxPING\r\n", "invalid CRLF in request"),
        ("*1\r\n$4\r\nPING\rx", "invalid CRLF in request"),
        ("*1\r\n$4\r\nPINGx\n", "invalid CRLF in request"),
        ("get \"a\r\n", "unbalanced quotes in request"),
        ("get 'a\r\n", "unbalanced quotes in request"),
        ("get \"a\"b\r\n", "unbalanced quotes in request"),
        ("get 'a'b\r\n", "unbalanced quotes in request"),
        ("get \"a\\\"\r\n", "unbalanced quotes in request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
        (&long, "too big inline request"),
        (&format!("{long}\n"), "too big inline request"),
    ] {
        assert_eq!(error(bytes.as_bytes()), format!("-ERR Protocol error: {expected}\r\n"), "{bytes:.40}");
    }
    assert_eq!(
        whole(b"*1\r\n\xff").fatal.unwrap().as_bytes(),
        "-ERR Protocol error: expected '$', got '\u{fffd}'\r\n".as_bytes()
    );
}

#[test]
fn a_stranger_gets_less_than_a_friend() {
    let stranger = ParseLimits { authenticated: false, ..LIMITS };
    let heard = |bytes: &[u8]| hear([bytes], &stranger);
    assert_eq!(heard(&request(&["a"; 10])).requests.len(), 1);
    assert_eq!(heard(&request(&[[b'a'; 16384]])).requests.len(), 1);
    for (bytes, expected) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\n$16385\r\n", "unauthenticated bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
    ] {
        let expected = format!("-ERR Protocol error: {expected}\r\n");
        assert_eq!(heard(bytes.as_bytes()).fatal, Some(expected));
    }
}

#[test]
fn a_request_larger_than_allowed_is_refused_when_it_is_announced() {
    let limits = ParseLimits { max_request: 100, ..LIMITS };
    let heard = |bytes: &[u8]| hear([bytes], &limits);
    assert_eq!(heard(&request(&[[b'a'; 80]])).requests.len(), 1);
    let too_big = Some("-ERR Protocol error: too big request\r\n".to_owned());
    assert_eq!(heard(b"*2\r\n$3\r\nSET\r\n$90\r\n").fatal, too_big);
    assert_eq!(heard(&[b"*50\r\n".as_slice(), &b"$0\r\n\r\n".repeat(16)].concat()).fatal, too_big);
}

#[test]
fn inline_words() {
    let one = |line: &str| words(line.as_bytes()).pop().unwrap_or_default();
    for (line, expected) in [
        ("PING\r\n", &["PING"][..]),
        ("PING\n", &["PING"]),
        ("  set\t a  b \r\n", &["set", "a", "b"]),
        ("set \"a b\" 'c d'\n", &["set", "a b", "c d"]),
        ("set \"\" ''\n", &["set", "", ""]),
        (r#"x "\n\r\t\b\a\\\"\q\x4" '\n'"#, &["x", "\n\r\t\x08\x07\\\"qx4", "\\n"]),
        (r#"x "\x41\x7a\x7A""#, &["x", "Azz"]),
        ("x fo\"o b\"\n", &["x", "foo b"]),
        ("x 'it\\'s'\n", &["x", "it's"]),
        ("x a\x0b\0b\n", &["x", "a\x0b\0b"]),
    ] {
        assert_eq!(
            one(&format!("{}\n", line.trim_end_matches('\n'))),
            expected.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(),
            "{line}"
        );
    }
}

#[test]
fn many_quoted_words_take_memory_once() {
    let line = [b"x ".repeat(10).as_slice(), &b"\"a\" ".repeat(10_000), b"\n"].concat();
    let (bump, mut args) = (Bump::new(), Vec::new());
    let parsed = parse(&line, &LIMITS, &mut Resume::default(), &bump, &mut args);
    assert_eq!((parsed, args.len()), (Parsed::Request { consumed: line.len() }, 10_010));
    assert!(bump.allocated_bytes() < 2 * line.len());
}

#[test]
fn a_browser_is_shown_the_door_in_silence() {
    for line in ["POST / HTTP/1.1\r\n", "post /\r\n", "Host: localhost\r\n", "host: x\n"] {
        assert_eq!(whole(line.as_bytes()).fatal.as_deref(), Some(""));
    }
}

#[test]
fn cut_at_every_byte() {
    for bytes in corpus() {
        let expected = whole(&bytes);
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(hear([head, tail], &LIMITS), expected, "cut at {cut}");
        }
        assert_eq!(hear(bytes.chunks(1), &LIMITS), expected, "byte by byte");
    }
}

#[test]
fn a_large_value_is_looked_at_again_only_when_it_is_there() {
    let mut buf = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n".to_vec();
    let whole_len = buf.len() + 536_870_912 + 2;
    let mut resume = Resume::default();
    for _ in 0..3 {
        let (bump, mut args) = (Bump::new(), Vec::new());
        let parsed = parse(&buf, &LIMITS, &mut resume, &bump, &mut args);
        assert_eq!(parsed, Parsed::Incomplete { need: whole_len });
        buf.extend_from_slice(&[b'v'; 1000]);
    }
}

#[test]
fn the_most_common_forms_take_the_short_way() {
    let long = vec![b'x'; COMMON_LONGEST + 1];
    for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, COMMON_LONGEST, COMMON_LONGEST + 1] {
        let text = &long[..len];
        for args in
            [&[b"GET", text] as &[&[u8]], &[b"get", text], &[b"Set", text, b"v"], &[b"SET", b"k", text]]
        {
            let mut bytes = request(args);
            let whole = bytes.len();
            bytes.extend_from_slice(b"*1\r\n");
            let value = args.get(2).copied();
            let expected = super::Common { key: args[1], value, consumed: whole };
            assert_eq!(common(&bytes), (len <= COMMON_LONGEST).then_some(expected));
            for cut in 0..whole {
                assert_eq!(common(&bytes[..cut]), None, "{len} {cut}");
            }
        }
    }
    for other in [
        "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n",
        "*2\r\n$3\r\nSET\r\n$1\r\nk\r\n",
        "*3\r\n$3\r\nGET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    ] {
        assert_eq!(common(other.as_bytes()), None);
    }
}

proptest! {
    #[test]
    fn the_short_way_is_no_second_grammar(
        set in any::<bool>(),
        key in 0..120_usize,
        value in prop::sample::select(vec![0, 5, 10, 99, 100, 1000, 9999, 10_000]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n$*-+0123459gGeEtTsS\0 \xff".to_vec())), 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
        let mut bytes = if set { request(&[b"SET", &key[..], &value]) } else { request(&[b"GET", &key[..]]) };
        // Nearly all of a long value would be a place that does not matter.
        let head = bytes.len().min(40 + key.len());
        for (place, byte) in changes {
            bytes[place.index(head)] = byte;
        }
        let twice = bytes.repeat(2);
        prop_assert_eq!(hear(pieces(&twice, &cuts), &LIMITS), whole(&twice));
    }

    #[test]
    fn what_is_encoded_is_parsed(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|args| request(args)).collect();
        let heard = hear(pieces(&bytes, &cuts), &LIMITS);
        prop_assert_eq!(heard, Heard { requests, fatal: None, left: 0 });
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop::sample::select(b"*$0123 -\r\n\"'\\xaG\0\xff".to_vec()), 0..80),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let limits = ParseLimits { max_bulk: 40, max_request: 60, max_args: 5, max_inline: 20, authenticated: true };
        prop_assert_eq!(hear(pieces(&bytes, &cuts), &limits), hear([&bytes[..]], &limits));
    }
}

fn pieces<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut from, end)..end]).collect()
}
