//! Keyspace notifications over TCP: the events of each command under Redis's names, and those of keys that go by themselves.

mod support;

use support::{Conn, Setup, Value, resp};

on_every_engine!(
    commands_have_their_events,
    both_kinds_of_channels,
    expired_keys_are_told_without_being_asked_for,
    evicted_keys_are_told,
    flags_choose_and_flushes_say_nothing,
);

/// Subscribes to all events by name and asks for these classes.
fn listener(server: &support::Server, flags: &str) -> (Conn, Conn) {
    let (mut listener, mut conn) = (server.connect(), server.connect());
    assert_eq!(conn.command(&["CONFIG", "SET", "notify-keyspace-events", flags]), Value::Simple("OK".into()));
    listener.run("PSUBSCRIBE __key*__:*");
    (listener, conn)
}

/// What has come before a mark: "event key" each, without database 0.
fn events(listener: &mut Conn, conn: &mut Conn) -> String {
    conn.run("PUBLISH __keymark__:end x");
    let mut events = Vec::new();
    loop {
        let message = listener.read();
        let (channel, subject) = (message.array()[2].text(), message.array()[3].text());
        if channel == "__keymark__:end" {
            return events.join(", ");
        }
        let event = channel.strip_prefix("__keyevent@0__:").unwrap_or(&channel);
        events.push(format!("{event} {subject}"));
    }
}

fn commands_have_their_events(setup: Setup) {
    let server = setup.start(&[]);
    let (mut listener, mut conn) = listener(&server, "EAn");
    for (line, expected) in [
        ("SET k v", "new k, set k"),
        ("SET k v EX 100", "set k, expire k"),
        ("SET k v NX", ""),
        ("SET k v KEEPTTL", "set k"),
        ("SETEX k 10 v", "set k, expire k"),
        ("GETSET k v", "set k"),
        ("APPEND k x", "append k"),
        ("SETRANGE k 0 abc", "setrange k"),
        ("INCR n", "new n, incrby n"),
        ("DECRBY n 5", "incrby n"),
        ("INCRBYFLOAT n 1.5", "incrbyfloat n"),
        ("SETBIT b 1 1", "new b, setbit b"),
        ("BITFIELD b SET u8 0 3", "setbit b"),
        ("BITOP NOT c b", "new c, set c"),
        ("BITOP AND c none none", "del c"),
        ("MSET m1 a m2 b m1 c", "new m1, set m1, new m2, set m2, set m1"),
        ("MSETNX m1 a m3 b", ""),
        ("EXPIRE k 100", "expire k"),
        ("EXPIRE k 100 NX", ""),
        ("PERSIST k", "persist k"),
        ("PERSIST k", ""),
        ("GETEX k EX 100", "expire k"),
        ("GETEX k PERSIST", "persist k"),
        ("GETEX k PERSIST", ""),
        ("GETEX k EXAT 1", "expired k"),
        ("SET k v", "new k, set k"),
        ("SET k v EXAT 1", "expired k"),
        ("SET k v", "new k, set k"),
        ("EXPIRE k -1", "expired k"),
        ("SET k v", "new k, set k"),
        ("RENAME k kk", "new kk, rename_from k, rename_to kk"),
        ("COPY kk k", "new k, copy_to k"),
        ("MOVE kk 3", "__keyevent@3__:new kk, move_from kk, __keyevent@3__:move_to kk"),
        ("DEL m1 m2 none", "del m1, del m2"),
        ("GETDEL k", "del k"),
        ("SET k v", "new k, set k"),
        ("DELIFEQ k v", "del k"),
        ("GET none", ""),
    ] {
        let reply = conn.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(events(&mut listener, &mut conn), expected, "{line}");
    }
    conn.command(&["CONFIG", "SET", "notify-keyspace-events", "Em"]);
    conn.run("MGET none other");
    conn.run("GET none");
    assert_eq!(events(&mut listener, &mut conn), "keymiss none, keymiss other, keymiss none");
}

fn both_kinds_of_channels(setup: Setup) {
    let server = setup.start(&["--notify-keyspace-events", "KEA"]);
    let (mut listener, mut conn) = (server.connect(), server.connect());
    listener.send(&resp("SUBSCRIBE __keyspace@2__:k __keyevent@2__:set"));
    (0..2).for_each(|_| _ = listener.read());
    conn.run("SELECT 2");
    conn.run("SET k v");
    assert_eq!(listener.read().array()[1..], [support::bulk("__keyspace@2__:k"), support::bulk("set")]);
    assert_eq!(listener.read().array()[1..], [support::bulk("__keyevent@2__:set"), support::bulk("k")]);
    assert_eq!(conn.run("CONFIG GET notify-keyspace-events").array()[1].text(), "AKE");
}

fn expired_keys_are_told_without_being_asked_for(setup: Setup) {
    let server = setup.start(&[]);
    let (mut listener, mut conn) = listener(&server, "Ex");
    conn.run("SELECT 1");
    for n in 0..50 {
        conn.run(&format!("SET k{n} v PX 20"));
    }
    let mut keys: Vec<String> = (0..50)
        .map(|_| {
            let message = listener.read();
            assert_eq!(message.array()[2].text(), "__keyevent@1__:expired");
            message.array()[3].text()
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 50, "each once");
}

fn evicted_keys_are_told(setup: Setup) {
    let server = setup.start(&["--max-memory", "20MB"]);
    let (mut listener, mut conn) = listener(&server, "Ee");
    let value = "v".repeat(8_000);
    // A build without optimisation leaves so little memory that some are refused.
    let set = |n: &i32| !conn.command(&["SET", &format!("k{n}"), &value]).is_error();
    let stored = (0..4_000).filter(set).count() as i64;
    let left_before = conn.run("DBSIZE").int();
    // What one worker has evicted may be told behind what another says later.
    let mut told = 0;
    for _ in 0..20 {
        let text = events(&mut listener, &mut conn);
        let told_now = text.split(", ").filter(|event| event.starts_with("evicted k")).count();
        assert_eq!(
            text.split(", ").filter(|event| !event.is_empty()).count(),
            told_now,
            "nothing else was asked for"
        );
        told += told_now as i64;
        if told + left_before > stored - 100 {
            break;
        }
    }
    // Upkeep evicts on, also between these questions.
    let left = conn.run("DBSIZE").int();
    assert!(told > 0 && told + left <= stored, "{told} told, {left} left of {stored}");
    assert!(told + left_before > stored - 100, "{told} told, {left_before} left before of {stored}");
}

fn flags_choose_and_flushes_say_nothing(setup: Setup) {
    let server = setup.start(&[]);
    let (mut listener, mut conn) = listener(&server, "Eg");
    conn.run("SET k v");
    conn.run("DEL k");
    conn.run("SET k v");
    conn.run("FLUSHALL");
    conn.run("SET k v");
    conn.run("FLUSHDB");
    assert_eq!(events(&mut listener, &mut conn), "del k");
    let failed = "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    assert_eq!(conn.command(&["CONFIG", "SET", "notify-keyspace-events", "Q"]), Value::Error(failed.into()));
    conn.command(&["CONFIG", "SET", "notify-keyspace-events", ""]);
    conn.run("SET k v");
    conn.run("DEL k");
    assert_eq!(events(&mut listener, &mut conn), "");
}
