//! The parser at every cut, its errors, and what the encoder writes.

use super::*;
use crate::limits::{MAX_INLINE, TEXT_GET_KEYS, TEXT_GET_LINE};
use crate::proto::{Item, ItemValue, Outcome, ParseLimits, Refusal, ReplyBuf, Scratch, Span};
use bumpalo::Bump;
use proptest::prelude::*;

const LIMITS: ParseLimits =
    ParseLimits { max_bulk: 1000, max_request: 3000, max_args: 20, max_inline: 600, authenticated: true };

/// What a stream of bytes turned out to hold, in words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    said: Vec<String>,
    left: usize,
    fatal: bool,
}

/// Parses pieces as a connection does: what is not consumed stands before the next piece, in memory that moves.
fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut heard, mut state, mut inbox) = (Heard::default(), State::default(), Vec::new());
    let mut keys = Vec::new();
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let bump = Bump::new();
            let rest = &inbox[at..];
            let consumed = match parse(rest, &mut state, &LIMITS, &bump) {
                Parsed::Command { command: Command::Get { keys: some, cas, touch, last }, consumed } => {
                    keys.extend(words(some).map(|key| key.escape_ascii().to_string()));
                    if last {
                        heard.said.push(format!("get {} cas {cas} touch {touch:?}", keys.join(" ")));
                        keys.clear();
                    }
                    consumed
                }
                Parsed::Command { command, consumed } => {
                    heard.said.push(format!("{command:?}"));
                    consumed
                }
                Parsed::Reply { reply, consumed } => {
                    heard.said.push(reply.escape_ascii().to_string());
                    consumed
                }
                Parsed::Refused { key, reply, consumed } => {
                    heard.said.push(format!("{} without {}", reply.escape_ascii(), key.escape_ascii()));
                    consumed
                }
                Parsed::Skip { consumed } => consumed,
                Parsed::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Parsed::Fatal { reply } => {
                    heard.said.push(reply.escape_ascii().to_string());
                    heard.fatal = true;
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= rest.len());
            at += consumed;
        }
        inbox = inbox[at..].to_vec();
    }
    heard.left = inbox.len();
    heard
}

fn said(stream: &[u8]) -> Vec<String> {
    hear([stream]).said
}

const SCRIPT: &[u8] = b"get a\r\ngets a b  c \r\ngat 5 a b\r\nset a 1 2 3\r\nx\r\n\r\nset a 1 2 3 noreply\r\nabcdef\r\n\
    cas k 0 -1 2 77 noreply\r\nhi\r\nms k 2 T30 c\r\nhi\r\nmg Zm9v b k v\r\nmd k q\r\nma k D5\r\nmn\r\nme k\r\n\
    set big 0 0 1500\r\nincr n 5\r\nflush_all 10\r\nversion\r\nbad\r\nstats items\r\ntouch a 5 noreply\r\n";

fn script() -> Vec<u8> {
    let (before, after) = SCRIPT.split_at(SCRIPT.windows(4).position(|w| w == b"incr").unwrap());
    [before, &[b'x'; 1500], b"\r\n", after].concat()
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let script = script();
    let once = hear([&script[..]]);
    assert!(!once.fatal && once.left == 0);
    assert_eq!(once.said.len(), 20, "{:#?}", once.said);
    for cut in 0..=script.len() {
        assert_eq!(hear([&script[..cut], &script[cut..]]), once, "cut at {cut}");
    }
    assert_eq!(hear(script.chunks(1)), once);
}

#[test]
fn errors_are_memcacheds() {
    let long = "k".repeat(251);
    let cases: &[(String, &[&str])] = &[
        ("\r\n".into(), &["ERROR"]),
        ("x\r\n".into(), &["ERROR"]),
        ("get\r\n".into(), &["ERROR"]),
        ("get \r\n".into(), &["ERROR"]),
        ("GET a\r\n".into(), &["ERROR"]),
        (format!("get a {long} b\r\n"), &["CLIENT_ERROR bad command line format"]),
        ("gat x a\r\n".into(), &["CLIENT_ERROR invalid exptime argument"]),
        ("set a 0 0\r\n".into(), &["ERROR"]),
        ("set a 0 0 -1\r\n".into(), &["CLIENT_ERROR bad command line format"]),
        // The block of a line that is wrong is no command.
        (format!("set {long} 0 0 5\r\nquit\n\r\nmn\r\n"), &["CLIENT_ERROR bad command line format", "MN"]),
        ("set a x 0 2\r\nhi\r\nmn\r\n".into(), &["CLIENT_ERROR bad command line format", "MN"]),
        ("set a x 0 2 noreply\r\nhi\r\nmn\r\n".into(), &["", "MN"]),
        ("set a 0 0 3\r\nabcdef\r\n".into(), &["CLIENT_ERROR bad data chunk", "ERROR"]),
        ("set a 0 0 3 noreply\r\nabcdef\r\n".into(), &["", "ERROR"]),
        ("cas a 0 0 1\r\n1\r\n".into(), &["ERROR", "ERROR"]),
        ("cas a 0 0 1 x\r\n1\r\n".into(), &["CLIENT_ERROR bad command line format"]),
        ("delete a 5\r\n".into(), &["CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"]),
        ("delete a b c d\r\n".into(), &["ERROR"]),
        ("incr a\r\n".into(), &["ERROR"]),
        ("incr a -1\r\n".into(), &["CLIENT_ERROR invalid numeric delta argument"]),
        ("touch a x\r\n".into(), &["CLIENT_ERROR invalid exptime argument"]),
        ("flush_all x\r\n".into(), &["CLIENT_ERROR invalid exptime argument"]),
        ("verbosity 1\r\n".into(), &["OK"]),
        ("verbosity 1 noreply\r\n".into(), &[""]),
        ("verbosity\r\n".into(), &["ERROR"]),
        ("cache_memlimit 1\r\n".into(), &["MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"]),
        ("watch\r\n".into(), &["CLIENT_ERROR watch commands not allowed"]),
        ("lru_crawler metadump all\r\n".into(), &["CLIENT_ERROR lru crawler disabled"]),
        ("shutdown now\r\n".into(), &["CLIENT_ERROR invalid shutdown mode"]),
        ("mg\r\n".into(), &["ERROR"]),
        ("ms a\r\n".into(), &["CLIENT_ERROR bad command line format"]),
        ("mg a v v\r\n".into(), &["CLIENT_ERROR duplicate flag"]),
        ("mg a Y\r\n".into(), &["CLIENT_ERROR invalid flag"]),
        ("mg a Tx\r\n".into(), &["CLIENT_ERROR bad token in command line format"]),
        ("mg Zm9! b\r\n".into(), &["CLIENT_ERROR error decoding key"]),
        (format!("mg a O{}\r\n", "1".repeat(32)), &["CLIENT_ERROR opaque token too long"]),
        ("md a Y\r\n".into(), &["CLIENT_ERROR invalid or duplicate flag"]),
        ("ma a Mx\r\n".into(), &["CLIENT_ERROR invalid mode for ma M token"]),
        ("ms a 2 Mx\r\nhi\r\nmn\r\n".into(), &["CLIENT_ERROR invalid mode for ms M token", "MN"]),
        ("ms a 2 M\r\nhi\r\nmn\r\n".into(), &["CLIENT_ERROR incorrect length for M token", "MN"]),
        ("ms a 2\r\nhix\r\n".into(), &["CLIENT_ERROR bad data chunk", "ERROR"]),
        (
            "mg a a b c d e f g h i j k l m n o p q r s\r\n".into(),
            &["CLIENT_ERROR options flags are too long"],
        ),
        ("me\r\n".into(), &["CLIENT_ERROR bad command line format"]),
        ("mx a\r\n".into(), &["ERROR"]),
    ];
    for (stream, expected) in cases {
        let said: Vec<String> =
            said(stream.as_bytes()).iter().map(|line| line.trim_end_matches("\\r\\n").to_owned()).collect();
        assert_eq!(said, *expected, "{stream}");
    }
}

#[test]
fn a_value_beyond_the_limit_is_refused_at_once_and_dropped() {
    let mut state = State::default();
    let bump = Bump::new();
    let line = b"set k 0 0 1001\r\n";
    let refused = Parsed::Refused { key: b"k", reply: TOO_LARGE, consumed: line.len() };
    assert_eq!(parse(line, &mut state, &LIMITS, &bump), refused);
    assert_eq!(parse(&[b'x'; 1000], &mut state, &LIMITS, &bump), Parsed::Skip { consumed: 1000 });
    assert_eq!(parse(b"", &mut state, &LIMITS, &bump), Parsed::Incomplete { need: 0 });
    assert_eq!(parse(b"x\r\nmn\r\n", &mut state, &LIMITS, &bump), Parsed::Skip { consumed: 3 });
    assert!(state.is_fresh());
    // A length that no memory has is dropped for as long as it comes.
    let line = b"add k 0 0 18446744073709551615\r\n";
    let reply = Parsed::Reply { reply: TOO_LARGE, consumed: line.len() };
    assert_eq!(parse(line, &mut state, &LIMITS, &bump), reply);
    assert_eq!(parse(&[0; 50], &mut state, &LIMITS, &bump), Parsed::Skip { consumed: 50 });
    assert!(!state.is_fresh());
}

#[test]
fn a_line_without_end_is_the_last_one() {
    let heard = hear([&[b'x'; 601][..]]);
    assert!(heard.fatal && heard.said == ["CLIENT_ERROR line too long\\r\\n"]);
    assert!(!hear([&[b'x'; 600][..]]).fatal);
    // A retrieval may be longer.
    let keys = [&b"get "[..], &b"key ".repeat(700)].concat();
    assert!(!hear([&keys[..]]).fatal && hear([&keys[..], &keys[..]]).fatal);
    const { assert!(MAX_INLINE < TEXT_GET_LINE) };
}

#[test]
fn very_many_keys_come_in_portions() {
    let keys: Vec<String> = (0..2 * TEXT_GET_KEYS + 1).map(|n| n.to_string()).collect();
    let stream = format!("gats 9 {}  \r\nmn\r\n", keys.join("  "));
    let mut state = State::default();
    let (bump, mut at, mut sizes, mut all) = (Bump::new(), 0, Vec::new(), Vec::new());
    loop {
        match parse(&stream.as_bytes()[at..], &mut state, &LIMITS, &bump) {
            Parsed::Command { command: Command::Get { keys, cas, touch, last }, consumed } => {
                assert!(cas && touch == Some(9));
                sizes.push(words(keys).count());
                all.extend(words(keys).map(|key| String::from_utf8(key.to_vec()).unwrap()));
                at += consumed;
                assert_eq!(last, state.is_fresh());
            }
            other => {
                assert_eq!(other, Parsed::Reply { reply: b"MN\r\n", consumed: 4 });
                break;
            }
        }
    }
    assert_eq!(sizes, [TEXT_GET_KEYS, TEXT_GET_KEYS, 1]);
    assert_eq!(all, keys);
}

#[test]
fn the_short_way_takes_what_is_usual_and_nothing_else() {
    let get = common(b"get key\r\nrest").unwrap();
    assert_eq!((get.key, get.set, get.consumed), (&b"key"[..], None, 9));
    let set = common(b"set key 7 60 5 noreply\r\na\r\nbc\r\nrest").unwrap();
    let expected = CommonSetOf { flags: 7, exptime: 60, value: b"a\r\nbc", noreply: true };
    assert_eq!((set.key, set.set, set.consumed), (&b"key"[..], Some(expected), 31));
    for other in [
        &b"get a b\r\n"[..],
        b"get a\n",
        b"get \r\n",
        b"get a",
        b"gets a\r\n",
        b"set a 0 0 1 \r\nx\r\n",
        b"set a 0 -1 1\r\nx\r\n",
        b"set a 0 0 1\r\nxy\r\n",
        b"set a 0 0 1\r\nx\r",
        b"set a 0 0 10000\r\n",
        b"set a 4294967296 0 1\r\nx\r\n",
        b"set a  0 0 1\r\nx\r\n",
        b"set  0 0 1\r\nx\r\n",
        b"add a 0 0 1\r\nx\r\n",
    ] {
        assert_eq!(common(other), None, "{}", other.escape_ascii());
    }
    let long = [b"get ", &[b'k'; 251][..], b"\r\n"].concat();
    assert_eq!(common(&long), None);
    assert!(common(&[b"get ", &[b'k'; 250][..], b"\r\n"].concat()).is_some());
}

/// A key is searched eight bytes at a time: each byte is found wherever it stands, and none is taken for another.
#[test]
fn the_short_way_finds_where_a_key_ends() {
    for at in 0..20 {
        for byte in 0..=u8::MAX {
            let mut key = [b'k'; 20];
            key[at] = byte;
            for line in
                [[b"get ", &key[..], b"\r\n"].concat(), [b"set ", &key[..], b" 0 0 1\r\nx\r\n"].concat()]
            {
                let found = common(&line).map(|common| common.key);
                assert_eq!(found, (byte > b' ').then_some(&key[..]), "{}", line.escape_ascii());
            }
        }
    }
}

use super::common::CommonSet as CommonSetOf;

proptest! {
    /// Whatever comes, in whatever pieces, it is read the same, and what the short way takes the long way takes so too.
    #[test]
    fn anything_may_come(stream in bytes(), cut in 0_usize..200) {
        let cut = cut.min(stream.len());
        prop_assert_eq!(hear([&stream[..cut], &stream[cut..]]), hear([&stream[..]]));
        if let Some(common) = common(&stream) {
            let (bump, mut state) = (Bump::new(), State::default());
            let (key, consumed) = match parse(&stream, &mut state, &LIMITS, &bump) {
                Parsed::Command { command: Command::Get { keys, last: true, .. }, consumed } => (keys, consumed),
                Parsed::Command { command: Command::Storage(storage), consumed } => (storage.key, consumed),
                Parsed::Refused { key, .. } => (key, common.consumed),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!((key, consumed), (common.key, common.consumed));
        }
    }

    #[test]
    fn anything_may_come_before_authentication(stream in bytes(), cut in 0_usize..200) {
        let cut = cut.min(stream.len());
        let hear = |pieces: &[&[u8]]| {
            let (mut state, mut inbox, mut said) = (State::default(), Vec::new(), Vec::new());
            for piece in pieces {
                inbox.extend_from_slice(piece);
                let mut at = 0;
                loop {
                    at += match login(&inbox[at..], &mut state) {
                        Login::Try { user, password, consumed } => {
                            said.push([user, b" ", password].concat());
                            consumed
                        }
                        Login::Reply { reply, consumed } => {
                            said.push(reply.to_vec());
                            consumed
                        }
                        Login::Skip { consumed } => consumed,
                        Login::Incomplete { .. } => break,
                        Login::Fatal => return said,
                    };
                }
                inbox.drain(..at);
            }
            said
        };
        prop_assert_eq!(hear(&[&stream[..cut], &stream[cut..]]), hear(&[&stream[..]]));
    }
}

/// Bytes with many words of the protocol among them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "get ",
            "gets ",
            "gat ",
            "set ",
            "cas ",
            "append ",
            "mg ",
            "ms ",
            "md ",
            "ma ",
            "me ",
            "mn",
            "incr ",
            "touch ",
            "delete ",
            "flush_all",
            "stats",
            "noreply",
            "k ",
            "a ",
            "Zm9v ",
            "b ",
            "0 ",
            "1 ",
            "2",
            "5 ",
            "1500 ",
            " -1 ",
            "18446744073709551615 ",
            "v ",
            "q ",
            "T30 ",
            "O1 ",
            "ME ",
            "C7 ",
            "\r\n",
            "\r\n",
            "\n",
            " ",
            "\0",
            "x",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

#[test]
fn a_password_may_have_spaces_and_nothing_else_is_served() {
    let mut state = State::default();
    let stream = b"set any 0 0 14\r\ndefault so big\r\n";
    let expected = Login::Try { user: b"default", password: b"so big", consumed: stream.len() };
    assert_eq!(login(stream, &mut state), expected);
    for (stream, reply) in [
        (&b"get a\r\n"[..], "CLIENT_ERROR unauthenticated\r\n"),
        (b"set a 0 0 x\r\n", "CLIENT_ERROR unauthenticated\r\n"),
        (b"set a 0 0 7\r\ndefault\r\n", "CLIENT_ERROR bad authentication token format\r\n"),
        (b"set a 0 0 3\r\na bcde", "CLIENT_ERROR bad command line termination\r\n"),
        (b"set a 0 0 99999\r\n", "CLIENT_ERROR auth token too long\r\n"),
    ] {
        match login(stream, &mut State::default()) {
            Login::Reply { reply: said, .. } => assert_eq!(said, reply.as_bytes()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(login(&[b'x'; 3000], &mut state), Login::Fatal);
}

fn encoded(form: &Form<'_>, outcome: &Outcome, item: Item) -> String {
    let scratch = Scratch { bytes: b"value".to_vec(), items: vec![item], ..Scratch::default() };
    let mut out = ReplyBuf::default();
    encode(form, b"key", outcome, &scratch, &mut out);
    out.bytes.escape_ascii().to_string().replace("\\r\\n", "|")
}

fn item() -> Item {
    Item {
        value: ItemValue::Copied(Span { start: 0, len: 5 }),
        value_len: 5,
        flags: 9,
        cas: 77,
        expire_at_ms: Some(10_500),
        expire_at_ms_before: Some(10_500),
        idle_s: 3,
        hit_before: true,
        ..Item::default()
    }
}

#[test]
fn classic_replies() {
    let value = |cas, last| Form::Value { cas, last };
    for (form, outcome, expected) in [
        (value(false, true), Outcome::Item(0), "VALUE key 9 5|value|END|"),
        (value(false, true), Outcome::Value(Span { start: 1, len: 3 }), "VALUE key 0 3|alu|END|"),
        (value(false, false), Outcome::Value(Span { start: 0, len: 0 }), "VALUE key 0 0||"),
        (value(true, false), Outcome::Item(0), "VALUE key 9 5 77|value|"),
        (value(false, false), Outcome::Nil, ""),
        (value(false, true), Outcome::Nil, "END|"),
        (Form::Stored, Outcome::Ok, "STORED|"),
        (Form::Stored, Outcome::NotStored, "NOT_STORED|"),
        (Form::Stored, Outcome::Exists, "EXISTS|"),
        (Form::Stored, Outcome::Nil, "NOT_FOUND|"),
        (Form::Stored, Outcome::Refused(Refusal::TooLarge), "SERVER_ERROR object too large for cache|"),
        (Form::Stored, Outcome::Refused(Refusal::OutOfMemory), "SERVER_ERROR out of memory storing object|"),
        (Form::Silent, Outcome::Refused(Refusal::OutOfMemory), ""),
        (Form::Number, Outcome::Item(0), "value|"),
        (Form::Number, Outcome::Nil, "NOT_FOUND|"),
        (Form::Number, Outcome::Refused(Refusal::OutOfMemory), "SERVER_ERROR out of memory|"),
        (Form::Deleted, Outcome::Ok, "DELETED|"),
        (Form::Touched, Outcome::Item(0), "TOUCHED|"),
        (Form::Touched, Outcome::Nil, "NOT_FOUND|"),
        (Form::Debug { written: b"key", now_ms: 0 }, Outcome::Nil, "EN|"),
        (
            Form::Debug { written: b"key", now_ms: 0 },
            Outcome::Item(0),
            "ME key exp=11 la=3 cas=77 fetch=yes cls=1 size=8|",
        ),
    ] {
        assert_eq!(encoded(&form, &outcome, item()), expected, "{form:?} {outcome:?}");
    }
}

#[test]
fn meta_replies_follow_the_order_of_the_flags() {
    let form = |verb, flags| MetaForm {
        verb,
        flags,
        written: b"a2V5",
        binary: true,
        quiet: words(flags).any(|flag| flag == b"q"),
        known: words(flags).any(|flag| flag == b"C77").then_some(77),
        sent: 4,
        now_ms: 500,
    };
    let stale = Item { stale: true, won: true, ..item() };
    let taken = Item { stale: true, taken: true, expire_at_ms: None, expire_at_ms_before: None, ..item() };
    let touched = Item { expire_at_ms: Some(90_500), ..item() };
    let made = Item { expire_at_ms_before: None, won: true, ..item() };
    let (get, set) = (MetaVerb::Get, MetaVerb::Set);
    for (verb, flags, outcome, item, expected) in [
        (
            get,
            &b"s v q t c f l h k O7 u"[..],
            Outcome::Item(0),
            item(),
            "VA 5 s5 t10 c77 f9 l3 h1 ka2V5 b O7|value|",
        ),
        (get, b"t", Outcome::Item(0), stale, "HD t10 X W|"),
        (get, b"t v", Outcome::Item(0), taken, "VA 5 t-1 Z X|value|"),
        (get, b"t T90", Outcome::Item(0), touched, "HD t10|"),
        (get, b"T90 t", Outcome::Item(0), touched, "HD t90|"),
        (get, b"t N10", Outcome::Item(0), made, "HD t-1 W|"),
        (get, b"N10 t", Outcome::Item(0), made, "HD t10 W|"),
        (MetaVerb::Count, b"t T90", Outcome::Item(0), touched, "HD t10|"),
        (get, b"v f C77", Outcome::Item(0), item(), "HD f9|"),
        (get, b"v f C77", Outcome::Item(0), Item { cas: 78, ..item() }, "VA 5 f9|value|"),
        (get, b"k O7", Outcome::Nil, item(), "EN ka2V5 b O7|"),
        (get, b"q k", Outcome::Nil, item(), ""),
        (set, b"c s T30", Outcome::Item(0), item(), "HD c77 s5|"),
        (set, b"c s", Outcome::Exists, item(), "EX c0 s4|"),
        (set, b"q", Outcome::Ok, item(), ""),
        (set, b"q O1", Outcome::NotStored, item(), "NS O1|"),
        (set, b"q", Outcome::Nil, item(), "NF|"),
        (MetaVerb::Delete, b"q", Outcome::Ok, item(), ""),
        (MetaVerb::Delete, b"q", Outcome::Nil, item(), "NF|"),
        (MetaVerb::Delete, b"O1 v c", Outcome::Ok, item(), "HD O1|"),
        (MetaVerb::Count, b"v t c", Outcome::Item(0), item(), "VA 5 t10 c77|value|"),
        (MetaVerb::Count, b"q v", Outcome::Item(0), item(), ""),
        (
            MetaVerb::Count,
            b"q",
            Outcome::NotANumber,
            item(),
            "CLIENT_ERROR cannot increment or decrement non-numeric value|",
        ),
    ] {
        let text = flags.escape_ascii();
        assert_eq!(encoded(&Form::Meta(form(verb, flags)), &outcome, item), expected, "{verb:?} {text}");
    }
}
