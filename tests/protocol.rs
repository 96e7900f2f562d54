//! RESP over TCP: binary safety, framing at every cut, deep pipelines, large values, the order of replies.

mod support;

use support::{Conn, Setup, Value, bulk, encode, resp};

on_every_engine!(
    keys_and_values_are_binary,
    frames_may_be_cut_anywhere,
    byte_by_byte,
    a_pipeline_of_100_000_commands,
    replies_keep_the_order_of_their_requests,
    large_values_are_stored_and_returned_whole,
    a_pipeline_of_large_values,
    a_value_beyond_the_limit_is_refused,
    resp3_has_its_own_types,
    half_closed_clients_get_their_replies,
);

fn keys_and_values_are_binary(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    for byte in 0..=255_u8 {
        let key = [byte, b'k', byte];
        assert_eq!(conn.command(&[b"SET", &key[..], &all]), Value::Simple("OK".into()));
        assert_eq!(conn.command(&[b"GET", &key[..]]), bulk(&all));
    }
    assert_eq!(conn.run("DBSIZE"), Value::Int(256));
    assert_eq!(conn.command(&[b"ECHO", &all[..]]), bulk(&all));
    assert_eq!(conn.command(&["SET", "", ""]), Value::Simple("OK".into()));
    assert_eq!(conn.command(&["GET", ""]), bulk(""));
}

fn frames_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let script = [&encode(&["SET", "key", "a\r\nb"])[..], b"GET key\r\n", &resp("STRLEN key")].concat();
    for cut in 0..=script.len() {
        conn.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(std::time::Duration::from_millis(2));
        conn.send(&script[cut..]);
        assert_eq!(conn.read(), Value::Simple("OK".into()), "cut at {cut}");
        assert_eq!(conn.read(), bulk("a\r\nb"), "cut at {cut}");
        assert_eq!(conn.read(), Value::Int(4), "cut at {cut}");
    }
}

fn byte_by_byte(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let script: Vec<u8> =
        (0..40).flat_map(|i| encode(&["APPEND".into(), "k".into(), format!("{i},")])).collect();
    for byte in &script {
        conn.send(std::slice::from_ref(byte));
    }
    (0..40).for_each(|_| assert!(conn.read().int() > 0));
    let expected: String = (0..40).map(|i| format!("{i},")).collect();
    assert_eq!(conn.run("GET k"), bulk(expected));
}

/// Sends from a second thread, as a client must when it does not know how much the other side takes in.
fn send_all(conn: &Conn, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut stream = conn.stream.try_clone().expect("a second handle of the socket");
    std::thread::spawn(move || {
        std::io::Write::write_all(&mut stream, &bytes).expect("the server takes it all")
    })
}

fn a_pipeline_of_100_000_commands(setup: Setup) {
    const COMMANDS: usize = 100_000;
    let server = setup.start(&["--max-memory", "128MB"]);
    let mut conn = server.connect();
    let script = (0..COMMANDS / 2)
        .flat_map(|i| {
            [encode(&["SET".into(), format!("key:{}", i % 5_000), i.to_string()]), resp("INCR n")].concat()
        })
        .collect();
    let sender = send_all(&conn, script);
    for i in 0..COMMANDS / 2 {
        assert_eq!(conn.read(), Value::Simple("OK".into()));
        assert_eq!(conn.read(), Value::Int(i as i64 + 1));
    }
    sender.join().expect("the sender is done");
    assert_eq!(conn.run("GET key:4999"), bulk((COMMANDS / 2 - 1).to_string()));
}

/// Requests on one key, on several keys, on all keys and on none, mixed: each reply is the one of its request.
fn replies_keep_the_order_of_their_requests(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let mut script = Vec::new();
    for i in 0..2_000 {
        for line in [
            format!("SET a{i} {i}"),
            format!("ECHO e{i}"),
            format!("GET a{i}"),
            format!("MSET x {i} y {i}"),
            "MGET x y".into(),
            format!("RENAME a{i} b"),
            format!("EXISTS a{i} b x"),
            "NOSUCH".into(),
            "DEL b".into(),
            "DBSIZE".into(),
        ] {
            script.extend(resp(&line));
        }
    }
    let sender = send_all(&conn, script);
    let ok = || Value::Simple("OK".into());
    for i in 0..2_000 {
        let text = || bulk(i.to_string());
        assert_eq!(conn.read(), ok());
        assert_eq!(conn.read(), bulk(format!("e{i}")));
        assert_eq!(conn.read(), text());
        assert_eq!(conn.read(), ok());
        assert_eq!(conn.read(), Value::Array(vec![text(), text()]));
        assert_eq!(conn.read(), ok());
        assert_eq!(conn.read(), Value::Int(2));
        assert!(conn.read().is_error());
        assert_eq!(conn.read(), Value::Int(1));
        assert_eq!(conn.read(), Value::Int(2));
    }
    sender.join().expect("the sender is done");
}

/// Bytes that differ at every offset, so that a misplaced piece shows.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 16) as u8 ^ seed).collect()
}

fn large_values_are_stored_and_returned_whole(setup: Setup) {
    let server = setup.start(&["--max-memory", "512MB"]);
    let mut conn = server.connect();
    for length in [16 << 10, (16 << 10) + 1, 1 << 20, (16 << 20) - 1, 64 << 20] {
        let value = pattern(length, 7);
        assert_eq!(
            conn.command(&[b"SET", &b"large"[..], &value]),
            Value::Simple("OK".into()),
            "{length} bytes"
        );
        assert_eq!(conn.run("STRLEN large"), Value::Int(length as i64));
        let returned = conn.run("GET large");
        assert!(returned.bytes() == value, "a value of {length} bytes comes back changed");
        let middle = length / 2;
        let range = conn.run(&format!("GETRANGE large {middle} {}", middle + 99));
        assert_eq!(range, bulk(&value[middle..(middle + 100).min(length)]));
    }
    assert_eq!(conn.run("DEL large"), Value::Int(1));
    assert_eq!(conn.run("GET large"), Value::Nil);
}

fn a_pipeline_of_large_values(setup: Setup) {
    let server = setup.start(&["--max-memory", "256MB"]);
    let mut conn = server.connect();
    let values: Vec<Vec<u8>> = (0..8).map(|seed| pattern((1 << 20) + usize::from(seed), seed)).collect();
    let mut script = Vec::new();
    for round in 0..5 {
        for (i, value) in values.iter().enumerate() {
            script.extend(encode(&[b"SET", format!("k{i}").as_bytes(), value]));
            script.extend(resp(&format!("GET k{i}")));
            script.extend(resp(&format!("ECHO {round}:{i}")));
        }
    }
    let sender = send_all(&conn, script);
    for round in 0..5 {
        for (i, value) in values.iter().enumerate() {
            assert_eq!(conn.read(), Value::Simple("OK".into()));
            assert!(conn.read().bytes() == value, "value {i} of round {round} comes back changed");
            assert_eq!(conn.read(), bulk(format!("{round}:{i}")));
        }
    }
    sender.join().expect("the sender is done");
}

fn a_value_beyond_the_limit_is_refused(setup: Setup) {
    let server = setup.start(&["--max-value-size", "1MB"]);
    let mut conn = server.connect();
    assert_eq!(conn.command(&[b"SET", &b"k"[..], &pattern(1_000_000, 1)]), Value::Simple("OK".into()));
    // By growing: an error, and the value stays.
    let grown = conn.command(&[b"APPEND", &b"k"[..], &pattern(100_000, 1)]);
    assert!(grown.is_error(), "{grown:?}");
    assert_eq!(conn.run("STRLEN k"), Value::Int(1_000_000));
    assert!(conn.run("SETRANGE k 2000000 x").is_error());
    // In one frame: an error that may end the connection, as the frame's length is known before its bytes.
    let mut other = server.connect();
    let frame = encode(&[b"SET", &b"k"[..], &pattern(3_000_000, 1)]);
    // The server may close before it has taken everything.
    let _ = other.try_send(&frame);
    assert!(other.read().is_error());
    assert_eq!(conn.run("STRLEN k"), Value::Int(1_000_000));
}

fn resp3_has_its_own_types(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    conn.send(&resp("GET none"));
    assert_eq!(conn.read_exact(5), b"$-1\r\n");
    let greeting = conn.run("HELLO 3");
    let Value::Map(fields) = &greeting else { panic!("HELLO 3 answers a map: {greeting:?}") };
    assert!(fields.contains(&(bulk("proto"), Value::Int(3))), "{fields:?}");
    conn.send(&resp("GET none"));
    assert_eq!(conn.read_exact(3), b"_\r\n");
    conn.send(&resp("CONFIG GET maxmemory"));
    assert_eq!(conn.read_exact(2), b"%1");
    let mut old = server.connect();
    old.send(&resp("HELLO 2"));
    assert_eq!(old.read_exact(1), b"*");
}

/// `printf … | nc`: the client says that it is done before it has read anything.
fn half_closed_clients_get_their_replies(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let script: Vec<u8> = (0..1_000).flat_map(|_| resp("INCR n")).collect();
    conn.send(&script);
    conn.stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    for i in 1..=1_000 {
        assert_eq!(conn.read(), Value::Int(i));
    }
    conn.expect_closed();
}

on_every_engine!(commands_beyond_valkey);

/// What the differential test cannot compare: Valkey does not have these.
fn commands_beyond_valkey(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let ok = || Value::Simple("OK".into());
    assert_eq!(conn.run("SET k old"), ok());
    assert_eq!(conn.run("SET k new IFNE old"), Value::Nil);
    assert_eq!(conn.run("SET k new IFNE other"), ok());
    assert_eq!(conn.run("GET k"), bulk("new"));
    // XXH3 with 64 bits, as sixteen hexadecimal digits; the value of the empty input is in its specification's test vectors.
    assert_eq!(conn.command(&["SET", "empty", ""]), ok());
    assert_eq!(conn.run("DIGEST empty"), bulk("2d06800538d394c2"));
    assert_eq!(conn.run("DIGEST none"), Value::Nil);
    let digest = conn.run("DIGEST k").text();
    assert_eq!(conn.run("DELEX k IFEQ old"), Value::Int(0));
    assert_eq!(conn.run("DELEX k IFNE new"), Value::Int(0));
    assert_eq!(conn.run(&format!("DELEX k IFDNE {digest}")), Value::Int(0));
    assert_eq!(conn.run("DELEX k IFDEQ 0123456789abcdef"), Value::Int(0));
    assert_eq!(conn.run("EXISTS k"), Value::Int(1));
    assert_eq!(conn.run(&format!("DELEX k IFDEQ {digest}")), Value::Int(1));
    assert_eq!(conn.run("EXISTS k"), Value::Int(0));
    assert_eq!(conn.run("DELEX none IFEQ x"), Value::Int(0));
    assert_eq!(conn.run("DELEX empty"), Value::Int(1));
    assert!(conn.run("DELEX k NOSUCH x").is_error());
    // Unknown versions would make clients withhold what they can do.
    let info = conn.run("INFO server").text();
    let version = info.lines().find_map(|l| l.strip_prefix("redis_version:")).expect("INFO names a version");
    let parts: Vec<u32> = version.split('.').map(|n| n.parse().expect("a number")).collect();
    assert!(parts >= vec![7, 4, 0], "redis-py asks for at least 7.4.0, here is {version}");
    assert!(info.lines().any(|l| l.starts_with("kv_cache_version:")), "{info}");
}
