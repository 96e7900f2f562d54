//! Packets against a store of their own: what each opcode does, in what order it is answered, and what ends a connection.

use super::*;
use crate::command::barrier::tests::fake_host::FakeHost;
use crate::command::testing::{Client, flatten};
use crate::command::{self, Context, Flow, PauseMode, execute_now};
use crate::conn::Session;
use crate::proto::memcached::binary::{HEADER_LEN, Header};
use crate::proto::{Scratch, encode};
use bumpalo::Bump;

/// A connection to a store that nobody else uses.
struct Peer {
    client: Client<FakeHost>,
    state: State,
    inbox: Vec<u8>,
    paused: Option<PauseMode>,
    closed: bool,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            client: Client::with_host(FakeHost::default()),
            state: State::default(),
            inbox: Vec::new(),
            paused: None,
            closed: false,
        }
    }

    fn with_password() -> Peer {
        let mut peer = Peer::new();
        peer.client.host.password = Some("s3cret");
        peer.client.session = Session::new(7, false);
        peer
    }

    /// Receives bytes as a connection does and returns what it answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let (mut at, mut answers) = (0, Vec::new());
        while at < inbox.len() && !self.closed {
            let (consumed, answer) = self.step(&inbox[at..]);
            answers.extend(answer);
            at += consumed;
            if consumed == 0 {
                break;
            }
        }
        self.inbox = inbox[at..].to_vec();
        answers
    }

    /// One step; returns how many bytes it took and what it answers.
    fn step(&mut self, rest: &[u8]) -> (usize, Vec<u8>) {
        let (bump, mut requests) = (Bump::new(), Vec::new());
        let client = &mut self.client;
        let limits = ParseLimits {
            max_bulk: 1 << 20,
            max_request: 2 << 20,
            max_args: 1,
            max_inline: 1,
            authenticated: client.session.authenticated,
        };
        let ctx = PlanContext {
            store: &client.store,
            buffer: None,
            bump: &bump,
            session: &client.session,
            host: &client.host,
            held: false,
            paused: self.paused,
            now_ms: client.now_ms,
        };
        let step = next(rest, &mut self.state, &limits, &ctx, &mut client.stats, &mut requests);
        let (mut scratch, mut out) = (Scratch::default(), ReplyBuf::default());
        execute_now(&client.store, &mut requests, &mut scratch, &mut client.stats, client.now_ms);
        for request in &requests {
            encode(&request.form, request.key.bytes, &request.outcome, &scratch, &mut out);
        }
        let consumed = match step {
            Step::Planned { consumed } => consumed,
            Step::Last { consumed } => {
                self.closed = true;
                consumed
            }
            Step::Barrier { consumed, barrier } => {
                let mut ctx = Context {
                    store: &client.store,
                    session: &mut client.session,
                    host: &client.host,
                    stats: &mut client.stats,
                    scripts: None,
                    held: None,
                    now_ms: client.now_ms,
                };
                self.closed = command::run(&barrier, &mut ctx, &mut out) == Flow::Close;
                consumed
            }
            Step::Incomplete { need } => {
                assert!(need > rest.len());
                0
            }
            Step::Paused => 0,
            Step::Fatal { reply } => {
                self.closed = true;
                out.put(&reply);
                0
            }
        };
        (consumed, flatten(&out))
    }

    /// Sends packets and shows the answers.
    fn ask(&mut self, packets: &[Vec<u8>]) -> Vec<String> {
        show(&self.hear(&packets.concat()))
    }
}

/// A request; its opaque is its opcode, four times.
fn packet(opcode: u8, extras: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let body_len = (extras.len() + key.len() + value.len()) as u32;
    let mut bytes = vec![0x80, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0, 0, 0]);
    bytes.extend(body_len.to_be_bytes());
    bytes.extend([opcode; 4]);
    bytes.extend([0; 8]);
    [&bytes[..], extras, key.as_bytes(), value].concat()
}

fn with_cas(mut packet: Vec<u8>, cas: u64) -> Vec<u8> {
    packet[16..24].copy_from_slice(&cas.to_be_bytes());
    packet
}

fn get(key: &str) -> Vec<u8> {
    packet(0x00, b"", key, b"")
}

fn store(opcode: u8, key: &str, value: &[u8], flags: u32, expiry: u32) -> Vec<u8> {
    packet(opcode, &[flags.to_be_bytes(), expiry.to_be_bytes()].concat(), key, value)
}

fn set(key: &str, value: &str) -> Vec<u8> {
    store(0x01, key, value.as_bytes(), 5, 0)
}

fn count(opcode: u8, key: &str, delta: u64, initial: u64, expiry: u32) -> Vec<u8> {
    let extras = [&delta.to_be_bytes()[..], &initial.to_be_bytes(), &expiry.to_be_bytes()].concat();
    packet(opcode, &extras, key, b"")
}

const NOOP: u8 = 0x0a;

fn noop() -> Vec<u8> {
    packet(NOOP, b"", "", b"")
}

/// Each answer: opcode, status if there is one, then extras, key and value where they are; `cas` if it has one.
fn show(mut bytes: &[u8]) -> Vec<String> {
    let mut shown = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_LEN>() {
        let h = Header::read(header);
        assert_eq!((h.magic, h.opaque), (0x81, [h.opcode.0; 4]));
        let status = u16::from_be_bytes([header[6], header[7]]);
        let (body, rest) = bytes[HEADER_LEN..].split_at(h.body_len);
        let mut line = format!("{:02x}", h.opcode.0);
        if status != 0 {
            line += &format!(" !{status:x}");
        }
        for part in
            [&body[..h.extras_len], &body[h.extras_len..][..h.key_len], &body[h.extras_len + h.key_len..]]
                .into_iter()
                .filter(|part| !part.is_empty())
        {
            line += &format!(" {}", part.escape_ascii());
        }
        if h.cas != 0 {
            line += " cas";
        }
        shown.push(line);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a packet: {bytes:?}");
    shown
}

/// The CAS of the first answer.
fn cas_of(answers: &[u8]) -> u64 {
    Header::read(answers.first_chunk().unwrap()).cas
}

#[test]
fn values_come_back_with_flags_and_cas() {
    let mut peer = Peer::new();
    let large = "x".repeat(20_000);
    assert_eq!(peer.ask(&[set("k", "v"), get("k")]), ["01 cas", "00 \\x00\\x00\\x00\\x05 v cas"]);
    assert_eq!(peer.ask(&[packet(0x0c, b"", "k", b"")]), ["0c \\x00\\x00\\x00\\x05 k v cas"]);
    assert_eq!(peer.ask(&[get("none"), packet(0x0c, b"", "none", b"")]), ["00 !1 Not found", "0c !1 none"]);
    assert_eq!(peer.ask(&[set("k", ""), get("k")]), ["01 cas", "00 \\x00\\x00\\x00\\x05 cas"]);
    let expected = format!("00 \\x00\\x00\\x00\\x05 {large} cas");
    assert_eq!(peer.ask(&[set("k", &large), get("k")]), ["01 cas", &expected]);
}

#[test]
fn a_noop_ends_what_stood_before_it() {
    let mut peer = Peer::new();
    let quiet_get = |key| packet(0x0d, b"", key, b"");
    assert_eq!(peer.ask(&[store(0x11, "a", b"1", 0, 0), store(0x11, "b", b"2", 3, 0), noop()]), ["0a"]);
    assert_eq!(
        peer.ask(&[quiet_get("a"), quiet_get("none"), quiet_get("b"), noop(), get("a")]),
        [
            "0d \\x00\\x00\\x00\\x00 a 1 cas",
            "0d \\x00\\x00\\x00\\x03 b 2 cas",
            "0a",
            "00 \\x00\\x00\\x00\\x00 1 cas"
        ]
    );
    // The quiet forms of what fails are answered, those of what succeeds are not.
    assert_eq!(
        peer.ask(&[
            store(0x12, "a", b"x", 0, 0),
            store(0x13, "none", b"x", 0, 0),
            packet(0x14, b"", "none", b""),
            packet(0x19, b"", "none", b"x"),
            count(0x15, "none", 1, 1, CREATE_NOTHING),
            store(0x12, "c", b"x", 0, 0),
            store(0x13, "a", b"9", 0, 0),
            packet(0x19, b"", "a", b"0"),
            packet(0x1a, b"", "a", b"1"),
            count(0x15, "a", 2, 0, 0),
            count(0x16, "a", 1, 0, 0),
            packet(0x14, b"", "b", b""),
            noop(),
            get("a"),
        ]),
        [
            "12 !2 Data exists for key.",
            "13 !1 Not found",
            "14 !1 Not found",
            "19 !5 Not stored.",
            "15 !1 Not found",
            "0a",
            "00 \\x00\\x00\\x00\\x00 191 cas"
        ]
    );
    assert_eq!(peer.ask(&[packet(0x18, b"", "", b""), quiet_get("a"), noop()]), ["0a"]);
    assert_eq!(peer.ask(&[noop(), packet(0x17, b"", "", b""), noop()]), ["0a"]);
    assert!(peer.closed);
}

#[test]
fn a_cas_is_compared() {
    let mut peer = Peer::new();
    let first = cas_of(&peer.hear(&set("k", "1")));
    let second = cas_of(&peer.hear(&set("k", "2")));
    assert!(first != 0 && second != 0 && first != second);
    for opcode in [0x01, 0x02, 0x03, 0x0e, 0x04] {
        let request = |key| match opcode {
            0x0e => packet(opcode, b"", key, b"x"),
            0x04 => packet(opcode, b"", key, b""),
            _ => store(opcode, key, b"x", 0, 0),
        };
        let missing = if opcode == 0x0e { "!5 Not stored." } else { "!1 Not found" };
        assert_eq!(
            peer.ask(&[with_cas(request("k"), first), with_cas(request("none"), first)]),
            [format!("{opcode:02x} !2 Data exists for key."), format!("{opcode:02x} {missing}")]
        );
    }
    assert_eq!(
        peer.ask(&[with_cas(count(0x05, "k", 1, 0, 0), first), get("k")]),
        ["05 !2 Data exists for key.", "00 \\x00\\x00\\x00\\x05 2 cas"]
    );
    let third = cas_of(&peer.hear(&with_cas(store(0x02, "k", b"3", 0, 0), second)));
    let read = cas_of(&peer.hear(&get("k")));
    assert_eq!(third, read, "a store answers the CAS that a get finds");
    let fourth = cas_of(&peer.hear(&with_cas(count(0x05, "k", 4, 0, 0), third)));
    assert_eq!(
        peer.ask(&[with_cas(packet(0x04, b"", "k", b""), fourth), get("k")]),
        ["04", "00 !1 Not found"]
    );
}

#[test]
fn counters_count_without_sign() {
    let mut peer = Peer::new();
    let number = |n: u64| format!("05 {} cas", n.to_be_bytes().escape_ascii());
    let up = |delta, initial, expiry| count(0x05, "n", delta, initial, expiry);
    assert_eq!(peer.ask(&[up(1, 7, CREATE_NOTHING)]), ["05 !1 Not found"]);
    assert_eq!(peer.ask(&[up(1, 7, 0), up(3, 7, CREATE_NOTHING)]), [number(7), number(10)]);
    assert_eq!(peer.ask(&[get("n")]), ["00 \\x00\\x00\\x00\\x00 10 cas"]);
    assert_eq!(peer.ask(&[up(u64::MAX - 10, 0, 0), up(2, 0, 0)]), [number(u64::MAX), number(1)]);
    assert_eq!(peer.ask(&[count(0x06, "n", 5, 0, 0)]), ["06 \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00 cas"]);
    assert_eq!(
        peer.ask(&[set("n", "x"), up(1, 0, 0)]),
        ["01 cas", "05 !6 Non-numeric server-side value for incr or decr"]
    );
}

#[test]
fn expiries_count_from_now_up_to_thirty_days() {
    let mut peer = Peer::new();
    let now_s = (peer.client.now_ms / 1000) as u32;
    let touch = |opcode, key, seconds: u32| packet(opcode, &seconds.to_be_bytes(), key, b"");
    peer.ask(&[store(0x01, "a", b"1", 0, 10), store(0x11, "b", b"2", 0, now_s + 20), set("c", "3")]);
    peer.ask(&[store(0x01, "past", b"4", 0, now_s - 1)]);
    assert_eq!(peer.ask(&[get("past"), touch(0x1c, "none", 5)]), ["00 !1 Not found", "1c !1 Not found"]);
    assert_eq!(
        peer.ask(&[touch(0x1c, "c", 30), touch(0x1d, "a", 30), touch(0x1e, "none", 3), touch(0x23, "a", 30)]),
        ["1c \\x00\\x00\\x00\\x05 cas", "1d \\x00\\x00\\x00\\x00 1 cas", "23 \\x00\\x00\\x00\\x00 a 1 cas"]
    );
    peer.client.now_ms += 19_000;
    assert_eq!(peer.ask(&[packet(0x09, b"", "b", b""), noop()]), ["09 \\x00\\x00\\x00\\x00 2 cas", "0a"]);
    peer.client.now_ms += 2_000;
    assert_eq!(peer.ask(&[get("b"), get("a")]), ["00 !1 Not found", "00 \\x00\\x00\\x00\\x00 1 cas"]);
    peer.client.now_ms += 10_000;
    assert_eq!(peer.ask(&[get("a"), get("c")]), ["00 !1 Not found", "00 !1 Not found"]);
}

#[test]
fn what_is_too_large_is_answered_and_swallowed() {
    let mut peer = Peer::new();
    peer.ask(&[set("k", "old"), set("other", "old")]);
    let value = vec![0x80; (1 << 20) + 1];
    for (opcode, after) in [(0x02, "old"), (0x0e, "old"), (0x11, "")] {
        let request = match opcode {
            0x0e => packet(opcode, b"", "k", &value),
            _ => store(opcode, "k", &value, 0, 0),
        };
        let head_len = request.len() - value.len();
        assert_eq!(peer.ask(&[request[..head_len].to_vec()]), [format!("{opcode:02x} !3 Too large.")]);
        for part in request[head_len..].chunks(100_000) {
            assert_eq!(peer.ask(&[part.to_vec()]), [""; 0]);
            assert!(peer.inbox.is_empty(), "a refused body is not kept");
        }
        let expected = if after.is_empty() {
            "00 !1 Not found".into()
        } else {
            format!("00 \\x00\\x00\\x00\\x05 {after} cas")
        };
        assert_eq!(peer.ask(&[noop(), get("k")]), ["0a", &expected]);
    }
    // An opcode that nobody knows has a body that nobody wants.
    assert_eq!(
        peer.ask(&[packet(0x60, b"extras", "key", b"value"), noop()]),
        ["60 !81 Unknown command", "0a"]
    );
    assert!(!peer.closed);
}

#[test]
fn wrong_packets_end_the_connection() {
    for (request, expected) in [
        (packet(0x01, b"", "k", b"v"), "01 !4 Invalid arguments"),
        (packet(0x00, b"", "", b""), "00 !4 Invalid arguments"),
        (packet(0x0a, b"", "", b"x"), "0a !4 Invalid arguments"),
        (packet(0x00, b"", &"k".repeat(251), b""), "00 !4 Invalid arguments"),
    ] {
        let mut peer = Peer::new();
        assert_eq!(peer.ask(&[noop(), request, noop()]), ["0a", expected]);
        assert!(peer.closed);
    }
    let mut peer = Peer::new();
    assert_eq!(peer.ask(&[noop(), b"get k\r\n".to_vec(), noop()]), ["0a"]);
    assert!(peer.closed);
}

#[test]
fn plain_lets_in_who_has_the_password() {
    let auth = |message: &str| packet(0x21, b"", "PLAIN", message.as_bytes());
    let refused = "21 !20 Auth failure.";
    let mut peer = Peer::with_password();
    assert_eq!(peer.ask(&[packet(0x20, b"", "", b"")]), ["20 PLAIN"]);
    for message in ["\0default\0wrong", "\0nobody\0s3cret", "\0s3cret", "s3cret", "x\0default\0s3cret"] {
        assert_eq!(peer.ask(&[auth(message)]), [refused], "{message:?}");
    }
    assert_eq!(peer.ask(&[packet(0x21, b"", "CRAM-MD5", b"x")]), [refused]);
    assert_eq!(peer.ask(&[packet(0x22, b"", "PLAIN", b"\0\0s3cret")]), ["22 !20 Auth failure."]);
    assert!(!peer.closed);
    assert_eq!(peer.ask(&[auth("\0default\0s3cret"), get("k")]), ["21 Authenticated", "00 !1 Not found"]);
    for message in ["\0\0s3cret", "default\0default\0s3cret"] {
        assert_eq!(Peer::with_password().ask(&[auth(message), noop()]), ["21 Authenticated", "0a"]);
    }
    let mut asked = Peer::with_password();
    let step = packet(0x22, b"", "PLAIN", b"\0default\0s3cret");
    assert_eq!(asked.ask(&[auth(""), step, noop()]), ["21 !21", "22 Authenticated", "0a"]);
    // A wrong password closes what was open.
    assert_eq!(asked.ask(&[auth("\0\0x"), get("k")]), [refused, "00 !20 Auth failure."]);
    let mut early = Peer::with_password();
    assert_eq!(early.ask(&[set("k", "v"), auth("\0\0s3cret")]), ["01 !20 Auth failure."]);
    assert!(early.closed);
}

#[test]
fn without_a_password_there_is_no_sasl() {
    let mut peer = Peer::new();
    let unknown = |opcode| format!("{opcode:02x} !81 Unknown command");
    assert_eq!(
        peer.ask(&[
            packet(0x20, b"", "", b""),
            packet(0x21, b"", "PLAIN", b"\0\0x"),
            packet(0x22, b"", "PLAIN", b"\0\0x"),
            noop()
        ]),
        [unknown(0x20), unknown(0x21), unknown(0x22), "0a".into()]
    );
}

#[test]
fn a_pause_holds_what_it_is_for() {
    let mut peer = Peer::new();
    peer.ask(&[set("k", "v")]);
    peer.paused = Some(PauseMode::Write);
    assert_eq!(peer.ask(&[get("k"), set("k", "w"), get("k")]), ["00 \\x00\\x00\\x00\\x05 v cas"]);
    peer.paused = Some(PauseMode::All);
    assert_eq!(peer.ask(&[]), [""; 0]);
    peer.paused = None;
    assert_eq!(peer.ask(&[]), ["01 cas", "00 \\x00\\x00\\x00\\x05 w cas"]);
    peer.paused = Some(PauseMode::Write);
    let long = store(0x01, "k", &vec![0; (1 << 20) + 1], 0, 0);
    assert_eq!(
        peer.ask(&[long[..40].to_vec()]),
        [""; 0],
        "a refusal removes the old value: it waits as well"
    );
}

#[test]
fn a_conversation_may_be_cut_anywhere() {
    let conversation = [
        set("k", "value"),
        get("k"),
        packet(0x0d, b"", "none", b""),
        packet(0x60, b"e", "key", b"value"),
        count(0x05, "n", 1, 2, 0),
        packet(0x1d, &[0; 4], "k", b""),
        packet(0x08, b"", "", b""),
        get("k"),
        noop(),
    ]
    .concat();
    let whole = show(&Peer::new().hear(&conversation));
    assert_eq!(whole.len(), 8);
    for cut in 0..=conversation.len() {
        let mut peer = Peer::new();
        let parts = [peer.hear(&conversation[..cut]), peer.hear(&conversation[cut..])];
        assert_eq!(show(&parts.concat()), whole, "cut at {cut}");
    }
    let mut peer = Peer::new();
    let bytes: Vec<u8> = conversation.iter().flat_map(|byte| peer.hear(&[*byte])).collect();
    assert_eq!(show(&bytes), whole);
}

#[test]
fn plain_quiet_sets_take_the_short_way() {
    let mut peer = Peer::new();
    let before = peer.client.stats.calls[usize::from(const { row("set") })];
    peer.ask(&[
        store(0x11, "k", b"v", 0, 0),
        store(0x11, "k", b"v", 1, 0),
        set("k", "v"),
        get("k"),
        get("x"),
    ]);
    assert_eq!(peer.client.stats.calls[usize::from(const { row("set") })] - before, 3);
    assert_eq!((peer.client.stats.hits, peer.client.stats.misses), (1, 1));
}
