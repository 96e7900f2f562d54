//! memcached's binary protocol over TCP: every opcode, quiet batches, errors, large values, the password, and what real clients send.

mod differential;
mod packets;
#[path = "../differential/random.rs"]
#[allow(dead_code, reason = "the other differential test uses more of it")]
mod random;
mod recorded;
#[path = "../support/mod.rs"]
mod support;

use packets::*;
use std::time::Duration;
use support::{Setup, Value, bulk, wait_until};

on_every_engine!(
    each_opcode_answers,
    a_batch_ends_with_its_noop,
    packets_may_be_cut_anywhere,
    large_values_come_back_whole,
    what_is_too_large_is_swallowed,
    what_is_wrong_ends_the_connection,
    the_password_comes_by_sasl,
    items_are_shared_with_other_protocols,
    figures_and_flushes,
);

const NOT_FOUND: &str = "Not found";
const EXISTS: &str = "Data exists for key.";

fn each_opcode_answers(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::connect(server.address());
    let flags = 0xdead_beef_u32;
    let stored = client.ask(Packet { opaque: 77, ..Packet::store(SET, "k", "v", flags, 0) });
    assert_eq!((stored.opcode, stored.status, stored.opaque), (SET, 0, 77));
    assert!(stored.cas != 0 && stored.value.is_empty());
    let found = client.ask(Packet::on(GET, "k"));
    assert_eq!((found.extras, found.value, found.cas), (flags.to_be_bytes().into(), b"v".into(), stored.cas));
    let found = client.ask(Packet::on(GETK, "k"));
    assert_eq!((found.key, found.value, found.cas), (b"k".into(), b"v".into(), stored.cas));
    assert_eq!(client.ask(Packet::on(GET, "none")).brief(), (GET, 1, NOT_FOUND.into()));
    let missed = client.ask(Packet::on(GETK, "none"));
    assert_eq!((missed.status, &missed.key[..], missed.text()), (1, &b"none"[..], String::new()));
    assert_eq!(client.ask(Packet::store(ADD, "k", "x", 0, 0)).brief(), (ADD, 2, EXISTS.into()));
    assert_eq!(client.ask(Packet::store(REPLACE, "none", "x", 0, 0)).brief(), (REPLACE, 1, NOT_FOUND.into()));
    assert_eq!(
        client.ask(Packet::on(APPEND, "none").with_value("x")).brief(),
        (APPEND, 5, "Not stored.".into())
    );
    assert_eq!(client.ask(Packet::on(APPEND, "k").with_value("w")).status, 0);
    assert_eq!(client.ask(Packet::on(PREPEND, "k").with_value("u")).status, 0);
    let gat = client.ask(Packet::on(GAT, "k").with_seconds(100));
    assert_eq!((gat.text(), gat.extras), ("uvw".into(), flags.to_be_bytes().into()));
    let touched = client.ask(Packet::on(TOUCH, "k").with_seconds(100));
    assert_eq!((touched.status, touched.extras, touched.value), (0, flags.to_be_bytes().into(), vec![]));
    assert_eq!(client.ask(Packet::on(GATK, "k").with_seconds(0)).key, b"k");
    let mine = client.ask(Packet::on(GET, "k")).cas;
    assert_eq!(
        client.ask(Packet::store(SET, "k", "x", 0, 0).with_cas(mine - 1)).brief(),
        (SET, 2, EXISTS.into())
    );
    assert_eq!(client.ask(Packet::store(SET, "k", "x", 0, 0).with_cas(mine)).status, 0);
    assert_eq!(client.ask(Packet::on(DELETE, "k").with_cas(mine)).brief(), (DELETE, 2, EXISTS.into()));
    assert_eq!(client.ask(Packet::on(DELETE, "k")).status, 0);
    assert_eq!(client.ask(Packet::on(DELETE, "k")).brief(), (DELETE, 1, NOT_FOUND.into()));
    let counted = client.ask(Packet::count(INCREMENT, "n", 5, 40, 0));
    assert_eq!((counted.value, counted.cas != 0), (40_u64.to_be_bytes().into(), true));
    assert_eq!(client.ask(Packet::count(INCREMENT, "n", 5, 40, 0)).value, 45_u64.to_be_bytes());
    assert_eq!(client.ask(Packet::count(DECREMENT, "n", 50, 0, 0)).value, 0_u64.to_be_bytes());
    assert_eq!(client.ask(Packet::count(DECREMENT, "m", 1, 0, u32::MAX)).status, 1);
    client.ask(Packet::store(SET, "n", "word", 0, 0));
    let text = "Non-numeric server-side value for incr or decr";
    assert_eq!(client.ask(Packet::count(INCREMENT, "n", 1, 0, 0)).brief(), (INCREMENT, 6, text.into()));
    assert!(client.ask(Packet::new(VERSION)).text().starts_with(|first: char| first.is_ascii_digit()));
    assert_eq!(client.ask(Packet::new(VERBOSITY).with_seconds(1)).status, 0);
    let unknown = Packet { extras: vec![1; 9], ..Packet::on(0x70, "k").with_value("body") };
    assert_eq!(client.ask(unknown).brief(), (0x70, 0x81, "Unknown command".into()));
    let quit = Packet { opaque: 3, ..Packet::new(QUIT) };
    client.send(&[Packet::new(NOOP), quit, Packet::new(NOOP)]);
    let last: Vec<u8> = client.read_to_close().iter().map(|reply| reply.opcode).collect();
    assert_eq!(last, [NOOP, QUIT]);
    let mut quiet = Client::connect(server.address());
    quiet.send(&[Packet::new(NOOP), Packet::new(QUITQ)]);
    assert_eq!(quiet.read_to_close().len(), 1);
}

/// Thousands of quiet commands: what is answered keeps its order and its opaque, and the NOOP comes last.
fn a_batch_ends_with_its_noop(setup: Setup) {
    const KEYS: u32 = 3_000;
    let server = setup.start(&[]);
    let mut client = Client::connect(server.address());
    let even = |key: &u32| key.is_multiple_of(2);
    let name = |key: u32| format!("key:{key}");
    let sets: Vec<Packet> = (0..KEYS)
        .filter(even)
        .map(|key| Packet { opaque: key, ..Packet::store(SETQ, &name(key), key.to_string(), key % 3, 0) })
        .collect();
    assert_eq!(client.batch(&sets), []);
    let gets: Vec<Packet> =
        (0..KEYS).map(|key| Packet { opaque: key, ..Packet::on(GETKQ, name(key)) }).collect();
    let replies = client.batch(&gets);
    assert_eq!(replies.len(), KEYS as usize / 2);
    for (reply, key) in replies.iter().zip((0..KEYS).filter(even)) {
        assert_eq!((reply.opaque, reply.text()), (key, key.to_string()));
        assert_eq!((&reply.key, &reply.extras[..]), (&name(key).into_bytes(), &(key % 3).to_be_bytes()[..]));
    }
    // Each fails for every other key, and only then says so.
    for (opcode, failing, status) in
        [(ADDQ, 0, 2), (REPLACEQ, 0, 0), (APPENDQ, 0, 0), (DELETEQ, 0, 0), (DELETEQ, 1, 1)]
    {
        let packets: Vec<Packet> = (0..KEYS)
            .map(|key| match opcode {
                APPENDQ => Packet { opaque: key, ..Packet::on(opcode, name(key)).with_value("x") },
                DELETEQ => Packet { opaque: key, ..Packet::on(opcode, name(key)) },
                _ => Packet { opaque: key, ..Packet::store(opcode, &name(key), "v", 0, 0) },
            })
            .collect();
        let replies = client.batch(&packets);
        match (opcode, failing) {
            (ADDQ, _) => {
                assert_eq!(replies.len(), KEYS as usize / 2);
                assert!(replies.iter().all(|reply| reply.status == status && reply.opaque.is_multiple_of(2)));
            }
            (DELETEQ, 1) => assert_eq!(replies.len(), KEYS as usize, "all are gone"),
            _ => assert_eq!(replies, [], "{opcode:#x}: all are there"),
        }
    }
}

fn packets_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::connect(server.address());
    let script: Vec<u8> = [
        Packet::store(SET, "k", "value", 1, 0),
        Packet::on(GETK, "k"),
        Packet::on(0x61, "key").with_value("body"),
        Packet::count(INCREMENT, "n", 1, 1, 0),
    ]
    .iter()
    .flat_map(Packet::bytes)
    .collect();
    let check = |client: &mut Client, how: &str| {
        assert_eq!(client.read().status, 0, "{how}");
        assert_eq!(client.read().text(), "value", "{how}");
        assert_eq!(client.read().status, 0x81, "{how}");
        assert_eq!(client.read().value.len(), 8, "{how}");
    };
    for cut in 0..=script.len() {
        client.conn.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(Duration::from_millis(2));
        client.conn.send(&script[cut..]);
        check(&mut client, &format!("cut at {cut}"));
    }
    for byte in &script {
        client.conn.send(std::slice::from_ref(byte));
    }
    check(&mut client, "byte by byte");
}

/// Bytes that differ at every offset, so that a misplaced piece shows.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 16) as u8 ^ seed as u8).collect()
}

fn large_values_come_back_whole(setup: Setup) {
    let server = setup.start(&["--max-memory", "256MB"]);
    let mut client = Client::connect(server.address());
    let lengths = [16 << 10, (16 << 10) + 1, 130 << 10, 1 << 20, (8 << 20) + 7];
    for (seed, length) in lengths.into_iter().enumerate() {
        let value = pattern(length, seed);
        assert_eq!(client.ask(Packet::store(SET, &format!("k{seed}"), &value, 9, 0)).status, 0, "{length}");
        let found = client.ask(Packet::on(GETK, format!("k{seed}")));
        assert!(found.value == value, "a value of {length} bytes comes back changed");
        assert_eq!((&found.extras[..], found.cas != 0), (&[0, 0, 0, 9][..], true));
    }
    let gets: Vec<Packet> = (0..lengths.len()).map(|seed| Packet::on(GETQ, format!("k{seed}"))).collect();
    for (seed, reply) in client.batch(&gets).into_iter().enumerate() {
        assert!(reply.value == pattern(lengths[seed], seed));
    }
    assert_eq!(client.ask(Packet::on(APPEND, "k4").with_value("tail")).status, 0);
    assert!(client.ask(Packet::on(GET, "k4")).value.ends_with(b"tail"));
}

fn what_is_too_large_is_swallowed(setup: Setup) {
    let server = setup.start(&["--max-value-size", "1MB"]);
    let mut client = Client::connect(server.address());
    client.ask(Packet::store(SET, "k", "old", 0, 0));
    let value = vec![0x80; 3_000_000];
    let packets = [
        Packet::store(ADD, "k", &value, 0, 0),
        Packet::on(GET, "k"),
        Packet::store(SETQ, "k", &value, 0, 0),
        Packet::on(GET, "k"),
    ];
    let replies: Vec<(u8, u16, String)> = client.batch(&packets).iter().map(Reply::brief).collect();
    assert_eq!(
        replies,
        [
            (ADD, 3, "Too large.".into()),
            (GET, 0, "old".into()),
            (SETQ, 3, "Too large.".into()),
            (GET, 1, NOT_FOUND.into())
        ]
    );
}

fn what_is_wrong_ends_the_connection(setup: Setup) {
    let server = setup.start(&[]);
    let contradiction = {
        let mut bytes = Packet::on(GET, "key").bytes();
        bytes[11] = 1;
        bytes
    };
    for (bytes, status) in [
        (Packet::new(GET).bytes(), Some(4)),
        (Packet::on(SET, "k").bytes(), Some(4)),
        (Packet::on(NOOP, "k").bytes(), Some(4)),
        (Packet::on(GETKQ, "k".repeat(251)).bytes(), Some(4)),
        (contradiction, Some(0x81)),
        (b"get k\r\nget k\r\nget k\r\nget k\r\n".to_vec(), None),
        (vec![0; 100], None),
    ] {
        let mut client = Client::connect(server.address());
        client.send(&[Packet::new(NOOP)]);
        client.conn.send(&bytes);
        let statuses: Vec<u16> = client.read_to_close().iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [Some(0), status].into_iter().flatten().collect::<Vec<_>>(), "{bytes:?}");
    }
    assert_eq!(Client::connect(server.address()).ask(Packet::on(GET, "k".repeat(250))).status, 1);
}

fn the_password_comes_by_sasl(setup: Setup) {
    let server = setup.start(&["--requirepass", "s3cret"]);
    let failure = "Auth failure.";
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask(Packet::new(VERSION)).status, 0);
    assert_eq!(client.ask(Packet::new(SASL_LIST_MECHS)).text(), "PLAIN");
    let auth = |message: &str| Packet::on(SASL_AUTH, "PLAIN").with_value(message);
    assert_eq!(client.ask(auth("\0default\0wrong")).brief(), (SASL_AUTH, 0x20, failure.into()));
    assert_eq!(client.ask(auth("\0default\0s3cret")).brief(), (SASL_AUTH, 0, "Authenticated".into()));
    assert_eq!(client.ask(Packet::store(SET, "k", "v", 0, 0)).status, 0);
    let mut two_steps = Client::connect(server.address());
    assert_eq!(two_steps.ask(auth("")).status, 0x21);
    assert_eq!(two_steps.ask(Packet::on(SASL_STEP, "PLAIN").with_value("\0\0s3cret")).status, 0);
    assert_eq!(two_steps.ask(Packet::on(GET, "k")).text(), "v");
    for packet in [
        Packet::on(GET, "k"),
        Packet::new(NOOP),
        Packet::on(DELETEQ, "k"),
        Packet::new(FLUSH),
        Packet::new(0x55),
    ] {
        let mut stranger = Client::connect(server.address());
        stranger.send(std::slice::from_ref(&packet));
        let said: Vec<_> = stranger.read_to_close().iter().map(Reply::brief).collect();
        assert_eq!(said, [(packet.opcode, 0x20, failure.into())]);
    }
    assert_eq!(client.ask(Packet::on(GET, "k")).text(), "v");
    let open = setup.start(&[]);
    let unknown = Client::connect(open.address()).ask(Packet::new(SASL_LIST_MECHS));
    assert_eq!(unknown.brief(), (SASL_LIST_MECHS, 0x81, "Unknown command".into()));
}

fn items_are_shared_with_other_protocols(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::connect(server.address());
    let mut redis = server.connect();
    client.ask(Packet::store(SET, "k", "from packets", 7, 100));
    assert_eq!(redis.run("GET k"), bulk("from packets"));
    assert!((95..=100).contains(&redis.run("TTL k").int()));
    assert_eq!(redis.run("SET k fromredis"), Value::Simple("OK".into()));
    let found = client.ask(Packet::on(GET, "k"));
    assert_eq!((found.text(), &found.extras[..], found.cas != 0), ("fromredis".into(), &[0; 4][..], true));
    client.ask(Packet::on(TOUCH, "k").with_seconds(50));
    assert!((45..=50).contains(&redis.run("TTL k").int()));
    assert_eq!(redis.run("INCR n"), Value::Int(1));
    assert_eq!(client.ask(Packet::count(INCREMENT, "n", 1, 0, 0)).value, 2_u64.to_be_bytes());
    // A CAS does not outlive a write by another protocol.
    let cas = client.ask(Packet::on(GET, "k")).cas;
    redis.run("SET k other");
    assert_eq!(client.ask(Packet::store(SET, "k", "mine", 0, 0).with_cas(cas)).status, 2);
}

/// The figures of one STAT.
fn figures(client: &mut Client, of: &str) -> Vec<(String, String)> {
    client.send(&[Packet { opaque: 5, ..Packet::on(STAT, of) }]);
    let mut figures = Vec::new();
    loop {
        let reply = client.read();
        assert_eq!((reply.opcode, reply.status, reply.opaque), (STAT, 0, 5));
        if reply.key.is_empty() {
            return figures;
        }
        figures.push((String::from_utf8_lossy(&reply.key).into_owned(), reply.text()));
    }
}

fn figures_and_flushes(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Client::connect(server.address());
    client.ask(Packet::store(SET, "k", "v", 0, 0));
    let general = figures(&mut client, "");
    for name in [
        "pid",
        "uptime",
        "version",
        "curr_connections",
        "cmd_get",
        "get_hits",
        "curr_items",
        "limit_maxbytes",
    ] {
        assert!(general.iter().any(|(known, _)| known == name), "{name} is not among {general:?}");
    }
    let version = general.iter().find(|(name, _)| name == "version").map(|(_, value)| value.clone());
    assert_eq!(version, Some(client.ask(Packet::new(VERSION)).text()));
    assert!(!figures(&mut client, "settings").is_empty());
    assert_eq!(figures(&mut client, "reset"), []);
    assert_eq!(client.ask(Packet::on(STAT, "nonsense")).brief(), (STAT, 1, NOT_FOUND.into()));
    assert_eq!(client.batch(&[Packet::new(FLUSHQ), Packet::on(GETQ, "k")]), []);
    client.ask(Packet::store(SET, "k", "v", 0, 0));
    assert_eq!(client.ask(Packet::new(FLUSH).with_seconds(1)).status, 0);
    assert_eq!(client.ask(Packet::on(GET, "k")).text(), "v", "not yet");
    wait_until("the flush that was asked for", || client.ask(Packet::on(GET, "k")).status == 1);
    client.ask(Packet::store(SET, "k", "v", 0, 0));
    assert_eq!(client.ask(Packet::new(FLUSH).with_seconds(0)).status, 0);
    assert_eq!(client.ask(Packet::on(GET, "k")).status, 1);
}
