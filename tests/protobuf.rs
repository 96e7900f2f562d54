//! Protobuf frames over TCP, spoken by another implementation of protobuf (prost) against the real binary.

mod support;

#[path = "support/kv_messages.rs"]
mod messages;

use messages::{Call as Ask, Message, Request, Response, Status, get, set};
use std::time::Duration;
use support::{Conn, Server, Setup, Value, bulk};

const MAGIC: &[u8] = b"\xfaKV\x01";

on_every_engine!(
    keys_and_values_are_binary,
    requests_may_be_cut_anywhere,
    a_pipeline_keeps_its_order,
    conditions_cas_and_flags_hold,
    counters_count,
    large_values_pass,
    several_keys_and_batches,
    what_is_malformed_is_answered,
    what_is_too_long_ends_the_connection,
    a_password_is_asked_for,
    client_pause_holds_writes_back,
    other_protocols_see_the_same_store,
    it_has_a_port_of_its_own,
);

/// A connection that has sent the magic.
struct Client(Conn);

impl Client {
    fn to(server: &Server) -> Client {
        let mut conn = server.connect();
        conn.send(MAGIC);
        Client(conn)
    }

    fn read(&mut self) -> Response {
        let mut head = Vec::new();
        loop {
            head.extend(self.0.read_exact(1));
            if head.last().is_some_and(|byte| byte & 0x80 == 0) {
                break;
            }
        }
        let len = prost::decode_length_delimiter(&head[..]).expect("a length");
        Response::decode(&self.0.read_exact(len)[..]).expect("a response")
    }

    fn ask(&mut self, op: Ask) -> Response {
        self.0.send(&Request::new(9, op).encode_length_delimited_to_vec());
        let response = self.read();
        assert_eq!(response.id, 9);
        response
    }

    fn status(&mut self, op: Ask) -> Status {
        self.ask(op).status()
    }

    fn get(&mut self, key: &str) -> Response {
        self.ask(Ask::Get(get(key)))
    }
}

fn delete(key: &str) -> messages::Delete {
    messages::Delete { key: key.into(), cas: 0 }
}

fn incr(key: &str, delta: i64) -> messages::Incr {
    messages::Incr { key: key.into(), delta, ..Default::default() }
}

fn keys_and_values_are_binary(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    let all: Vec<u8> = (0..=255).collect();
    for byte in 0..=255_u8 {
        let key = [byte, b'k', byte];
        assert_eq!(client.status(Ask::Set(set(key, &all))), Status::Ok);
        assert_eq!(client.ask(Ask::Get(get(key))).value, all);
    }
    assert_eq!(client.status(Ask::Set(set("empty", ""))), Status::Ok);
    let empty = client.get("empty");
    assert_eq!((empty.status(), empty.value.len()), (Status::Ok, 0));
    assert_eq!(client.get("none").status(), Status::NotFound);
    assert_eq!(client.status(Ask::Delete(delete("empty"))), Status::Ok);
    assert_eq!(client.status(Ask::Delete(delete("empty"))), Status::NotFound);
}

fn requests_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let mut script = MAGIC.to_vec();
    Request::new(1, Ask::Set(set("k", [b'v'; 130]))).encode_length_delimited(&mut script).unwrap();
    Request::new(2, Ask::Get(get("k"))).encode_length_delimited(&mut script).unwrap();
    for cut in 0..=script.len() {
        let mut client = Client(server.connect());
        client.0.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(Duration::from_millis(1));
        client.0.send(&script[cut..]);
        assert_eq!(client.read().id, 1, "cut at {cut}");
        let got = client.read();
        assert_eq!((got.id, got.value), (2, vec![b'v'; 130]), "cut at {cut}");
    }
}

fn a_pipeline_keeps_its_order(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    const ROUNDS: u64 = 3_000;
    let mut script = Vec::new();
    for i in 0..ROUNDS {
        let (key, value) = (format!("k{}", i % 7), i.to_string());
        let keys = vec![key.clone().into(), b"none".to_vec()];
        for (place, ask) in [
            Ask::Set(set(&key, &value)),
            Ask::Get(get(&key)),
            Ask::MultiGet(messages::MultiGet { keys, want_cas: false }),
            Ask::Ping(messages::Ping {}),
        ]
        .into_iter()
        .enumerate()
        {
            Request::new(4 * i + place as u64, ask).encode_length_delimited(&mut script).unwrap();
        }
    }
    let mut stream = client.0.stream.try_clone().expect("a second handle of the socket");
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stream, &script));
    for i in 0..ROUNDS {
        let value = i.to_string().into_bytes();
        let responses: Vec<Response> = (0..4).map(|_| client.read()).collect();
        assert!(responses.iter().zip(4 * i..).all(|(response, id)| response.id == id));
        assert_eq!(responses[1].value, value);
        assert_eq!(responses[2].results[0].value, value);
        assert_eq!(responses[2].results[1].status(), Status::NotFound);
    }
    sender.join().expect("no panic").expect("the server takes it all");
}

fn conditions_cas_and_flags_hold(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    let conditional = |value: &str, condition| Ask::Set(messages::Set { condition, ..set("k", value) });
    assert_eq!(client.status(conditional("0", 2)), Status::NotStored);
    assert_eq!(client.status(conditional("1", 1)), Status::Ok);
    assert_eq!(client.status(conditional("2", 1)), Status::NotStored);
    assert_eq!(client.get("k").value, b"1");
    assert_eq!(client.status(conditional("3", 2)), Status::Ok);

    let flagged = messages::Set { flags: 0xdead_beef, want_cas: true, ttl_ms: 60_000, ..set("k", "4") };
    let first = client.ask(Ask::Set(flagged));
    assert!(first.status() == Status::Ok && first.cas != 0, "{first:?}");
    let got = client.ask(Ask::Get(messages::Get { want_cas: true, ..get("k") }));
    assert_eq!((got.value, got.flags, got.cas), (b"4".to_vec(), 0xdead_beef, first.cas));
    assert!((1..=60_000).contains(&got.ttl_ms), "{}", got.ttl_ms);
    assert_eq!(client.get("k").cas, 0, "it was not asked for");

    let compared = |cas, value: &str| Ask::Set(messages::Set { cas, want_cas: true, ..set("k", value) });
    assert_eq!(client.status(compared(first.cas + 1, "5")), Status::Exists);
    let second = client.ask(compared(first.cas, "6"));
    assert_eq!(second.status(), Status::Ok);
    assert_eq!(client.status(compared(first.cas, "7")), Status::Exists);
    assert_eq!(client.get("k").value, b"6");
    let removed = |cas| Ask::Delete(messages::Delete { cas, ..delete("k") });
    assert_eq!(client.status(removed(first.cas)), Status::Exists);
    assert_eq!(client.status(removed(second.cas)), Status::Ok);
    assert_eq!(client.status(compared(second.cas, "8")), Status::NotFound);
    assert_eq!(client.get("k").status(), Status::NotFound);
}

fn counters_count(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    assert_eq!(client.status(Ask::Incr(incr("n", 1))), Status::NotFound);
    let made = messages::Incr { initial: Some(10), ttl_ms: 60_000, ..incr("n", 5) };
    assert_eq!(client.ask(Ask::Incr(made.clone())).number, 10);
    assert_eq!(client.ask(Ask::Incr(made)).number, 15);
    assert!(client.get("n").ttl_ms > 0);
    assert_eq!(client.ask(Ask::Incr(incr("n", -6))).number, 9);
    assert_eq!(client.ask(Ask::Incr(incr("n", -100))).number, 0);
    assert_eq!(client.ask(Ask::Incr(incr("n", 0))).number, 0);
    client.status(Ask::Set(set("n", u64::MAX.to_string())));
    assert_eq!(client.ask(Ask::Incr(incr("n", 2))).number, 1);
    let with_cas = client.ask(Ask::Incr(messages::Incr { want_cas: true, ..incr("n", 1) }));
    assert!(with_cas.number == 2 && with_cas.cas != 0, "{with_cas:?}");
    let compared = messages::Incr { cas: with_cas.cas + 1, ..incr("n", 1) };
    assert_eq!(client.status(Ask::Incr(compared)), Status::Exists);
    client.status(Ask::Set(set("text", "abc")));
    assert_eq!(client.status(Ask::Incr(incr("text", 1))), Status::NotANumber);
}

/// Bytes that differ at every offset, so that a misplaced piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 16) as u8).collect()
}

fn large_values_pass(setup: Setup) {
    let server = setup.start(&["--max-memory", "256MB"]);
    let mut client = Client::to(&server);
    let lengths = [(16 << 10) - 1, 16 << 10, 100_000, 1 << 20, 20 << 20];
    for (i, length) in lengths.into_iter().enumerate() {
        let value = pattern(length);
        assert_eq!(client.status(Ask::Set(set(format!("k{i}"), &value))), Status::Ok, "{length} bytes");
        assert!(client.get(&format!("k{i}")).value == value, "{length} bytes come back changed");
    }
    let keys = (0..lengths.len()).map(|i| format!("k{i}").into()).collect();
    let response = client.ask(Ask::MultiGet(messages::MultiGet { keys, want_cas: false }));
    for (result, length) in response.results.iter().zip(lengths) {
        assert!(result.value == pattern(length), "{length} bytes come back changed");
    }
    assert_eq!(response.results.len(), lengths.len());
}

fn several_keys_and_batches(setup: Setup) {
    use messages::One;
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    let ops = (0..100).flat_map(|i| {
        let key = format!("k{}", i % 10);
        [One::Get(get(&key)), One::Set(set(&key, i.to_string())), One::Get(get(&key))]
    });
    let ops = ops.map(|one| messages::Op { op: Some(one) }).collect();
    let response = client.ask(Ask::Batch(messages::Batch { ops }));
    assert_eq!(response.results.len(), 300);
    for (i, results) in response.results.chunks(3).enumerate() {
        let before = if i < 10 { String::new() } else { (i - 10).to_string() };
        assert_eq!(results[0].value, before.into_bytes());
        assert_eq!(results[2].value, i.to_string().into_bytes());
    }
    let keys = vec![b"k1".to_vec(), b"none".to_vec()];
    let response = client.ask(Ask::MultiGet(messages::MultiGet { keys, want_cas: true }));
    assert!(response.results[0].cas != 0);
    assert_eq!(response.results[1].status(), Status::NotFound);
    // More than one client may hold unread: said, and the connection goes on.
    client.status(Ask::Set(set("large", pattern(10_000))));
    let keys = vec![b"large".to_vec(); 5_000];
    let response = client.ask(Ask::MultiGet(messages::MultiGet { keys, want_cas: false }));
    assert_eq!(response.status(), Status::TooLarge);
    assert_eq!(client.get("k1").value, b"91");
}

fn what_is_malformed_is_answered(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::to(&server);
    for (frame, id) in [
        (&b"\x00"[..], 0),
        (b"\x02\x08\x07", 7),
        (b"\x04\x08\x07\x12\x00", 7),
        (b"\x04\x12\x00\x08\x07", 7),
        (b"\x03\x08\x07\xff", 7),
        (b"\x01\x0f", 0),
    ] {
        client.0.send(frame);
        let response = client.read();
        assert_eq!((response.id, response.status()), (id, Status::Invalid), "{}", frame.escape_ascii());
        assert!(!response.message.is_empty());
    }
    assert_eq!(client.status(Ask::Ping(messages::Ping {})), Status::Ok);
}

fn what_is_too_long_ends_the_connection(setup: Setup) {
    let server = setup.start(&["--max-value-size", "1MB"]);
    let mut client = Client::to(&server);
    // Longer than a value may be, but not than a request may.
    assert_eq!(client.status(Ask::Set(set("k", pattern(1_500_000)))), Status::TooLarge);
    assert_eq!(client.get("k").status(), Status::NotFound);
    for (frame, status) in [
        (&b"\xff\xff\xff\xff\x0f"[..], Status::TooLarge),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Status::Invalid),
    ] {
        let mut client = Client::to(&server);
        client.0.send(frame);
        assert_eq!(client.read().status(), status);
        client.0.expect_closed();
    }
}

fn a_password_is_asked_for(setup: Setup) {
    let server = setup.start(&["--requirepass", "secret"]);
    let mut client = Client::to(&server);
    let auth = |user: &str, password: &str| {
        Ask::Auth(messages::Auth { user: user.into(), password: password.into() })
    };
    assert_eq!(client.status(Ask::Ping(messages::Ping {})), Status::Ok);
    assert_eq!(client.status(Ask::Get(get("k"))), Status::Unauthenticated);
    assert_eq!(client.status(auth("", "wrong")), Status::Unauthenticated);
    assert_eq!(client.status(auth("nobody", "secret")), Status::Unauthenticated);
    assert_eq!(client.status(Ask::Set(set("k", "v"))), Status::Unauthenticated);
    // In one piece: what follows the password is executed with it.
    let mut script = Request::new(1, auth("default", "secret")).encode_length_delimited_to_vec();
    Request::new(2, Ask::Set(set("k", "v"))).encode_length_delimited(&mut script).unwrap();
    client.0.send(&script);
    assert_eq!([client.read().status(), client.read().status()], [Status::Ok; 2]);
    assert_eq!(client.status(auth("", "wrong")), Status::Unauthenticated);
    assert_eq!(client.get("k").value, b"v");
    // Nobody may make the server hold much before.
    let mut stranger = Client::to(&server);
    stranger.0.send(b"\xff\xff\x3f");
    assert_eq!(stranger.read().status(), Status::TooLarge);
    stranger.0.expect_closed();
}

fn client_pause_holds_writes_back(setup: Setup) {
    let server = setup.start(&[]);
    let (mut client, mut redis) = (Client::to(&server), server.connect());
    assert_eq!(client.status(Ask::Set(set("k", "1"))), Status::Ok);
    assert_eq!(redis.run("CLIENT PAUSE 20000 WRITE"), Value::Simple("OK".into()));
    assert_eq!(client.get("k").value, b"1");
    client.0.send(&Request::new(1, Ask::Set(set("k", "2"))).encode_length_delimited_to_vec());
    client.0.expect_silence(Duration::from_millis(50));
    assert_eq!(redis.run("GET k"), bulk("1"));
    assert_eq!(redis.run("CLIENT UNPAUSE"), Value::Simple("OK".into()));
    assert_eq!(client.read().status(), Status::Ok);
    assert_eq!(client.get("k").value, b"2");
}

fn other_protocols_see_the_same_store(setup: Setup) {
    let server = setup.start(&[]);
    let (mut client, mut redis) = (Client::to(&server), server.connect());
    assert_eq!(redis.run("SET k from-redis PX 60000"), Value::Simple("OK".into()));
    let got = client.get("k");
    assert_eq!((got.value, got.flags), (b"from-redis".to_vec(), 0));
    assert!((1..=60_000).contains(&got.ttl_ms), "{}", got.ttl_ms);
    client.status(Ask::Set(messages::Set { ttl_ms: 60_000, flags: 3, ..set("n", "41") }));
    assert_eq!(redis.run("INCR n"), Value::Int(42));
    assert!(redis.run("PTTL n").int() > 0);
    assert_eq!(client.get("n").value, b"42");
}

fn it_has_a_port_of_its_own(setup: Setup) {
    let port = support::Ports::reserve();
    let number = port.port.to_string();
    let server = setup.start(&["--protobuf-port", &number]);
    let mut conn = Conn::connect(([127, 0, 0, 1], port.port).into());
    conn.send(MAGIC);
    let mut client = Client(conn);
    assert_eq!(client.status(Ask::Set(set("k", "v"))), Status::Ok);
    assert_eq!(Client::to(&server).get("k").value, b"v");
    // Without the magic, what comes is no frame.
    let mut stray = Client(Conn::connect(([127, 0, 0, 1], port.port).into()));
    stray.0.send(b"PING\r\n");
    assert_eq!(stray.read().status(), Status::Invalid);
    stray.0.expect_closed();
}
