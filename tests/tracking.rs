//! CLIENT TRACKING over TCP: what a client has cached it is told of when it changes, expires, is evicted or flushed; and MOVING.

mod support;

use nix::sys::signal::Signal;
use std::collections::HashMap;
use support::{Conn, Setup, Value, resp, wait_until};

on_every_engine!(
    a_change_by_anybody_is_told_once,
    expired_and_flushed_keys_are_told,
    evicted_keys_are_told,
    broadcasting_needs_no_read,
    another_connection_is_told_in_resp2,
    caching_is_chosen_by_command,
    a_cache_is_never_stale,
    caching_holds_for_a_whole_transaction,
    reads_of_a_transaction_are_remembered_when_it_runs,
    reads_of_scripts_are_remembered,
    what_it_wrote_itself_is_cached_too,
    the_table_is_bounded,
    other_protocols_change_keys_too,
    clients_are_told_where_to_go,
);

fn next(conn: &mut Conn) -> String {
    let (_, raw) = conn.try_read().expect("a reply or a push");
    String::from_utf8_lossy(&raw).replace("\r\n", " ").trim_end().to_owned()
}

fn ask(conn: &mut Conn, line: &str) -> String {
    conn.send(&resp(line));
    next(conn)
}

fn tracking(server: &support::Server, how: &str) -> Conn {
    let mut conn = server.connect();
    ask(&mut conn, "HELLO 3");
    assert_eq!(ask(&mut conn, &format!("CLIENT TRACKING ON{how}")), "+OK");
    conn
}

fn a_change_by_anybody_is_told_once(setup: Setup) {
    let server = setup.start(&[]);
    let mut readers: Vec<Conn> = (0..6).map(|_| tracking(&server, "")).collect();
    let mut writer = server.connect();
    for (read, write) in [
        ("GET k", "SET k 1"),
        ("GET k", "INCR k"),
        ("STRLEN k", "APPEND k 1"),
        ("MGET k other", "EXPIRE k 100"),
        ("TTL k", "SET k v EX 100"),
        ("EXISTS k k", "MSET k 1 j 2"),
        ("GETRANGE k 0 1", "RENAME j k"),
        ("TYPE k", "GETDEL k"),
    ] {
        for conn in &mut readers {
            assert!(!ask(conn, read).starts_with('-'), "{read}");
        }
        assert!(!writer.run(write).is_error(), "{write}");
        for conn in &mut readers {
            assert_eq!(next(conn), ">2 $10 invalidate *1 $1 k", "{read}, {write}");
        }
        writer.run("SET unread 1");
        writer.run("MSET k 1 j 2");
        for conn in &mut readers {
            assert_eq!(ask(conn, "ECHO x"), "$1 x", "nothing was told without a read: {read}, {write}");
        }
    }
    let info = writer.run("INFO").text();
    assert!(info.contains("tracking_clients:6"), "{info}");
}

fn expired_and_flushed_keys_are_told(setup: Setup) {
    let server = setup.start(&[]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.connect());
    writer.run("SET k v PX 50");
    assert_eq!(ask(&mut reader, "GET k"), "$1 v");
    assert_eq!(next(&mut reader), ">2 $10 invalidate *1 $1 k", "nobody asked for it");
    writer.run("SET k v");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        ask(&mut reader, "GET k");
        writer.run(flush);
        assert_eq!(next(&mut reader), ">2 $10 invalidate _");
    }
    assert_eq!(ask(&mut reader, "CLIENT TRACKING OFF"), "+OK");
    ask(&mut reader, "GET k");
    writer.run("SET k v");
    writer.run("FLUSHALL");
    assert_eq!(ask(&mut reader, "PING"), "+PONG");
}

fn evicted_keys_are_told(setup: Setup) {
    let server = setup.start(&["--max-memory", "24MB"]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.connect());
    let value = "v".repeat(4_000);
    for n in 0..100 {
        writer.command(&["SET", &format!("old{n}"), &value]);
    }
    for n in 0..100 {
        assert_eq!(reader.command(&["STRLEN", &format!("old{n}")]), Value::Int(4_000));
    }
    for n in 0..6_000 {
        writer.command(&["SET", &format!("new{n}"), &value]);
    }
    let mut gone = 0;
    for n in 0..100 {
        gone += i64::from(writer.run(&format!("EXISTS old{n}")) == Value::Int(0));
    }
    assert!(gone > 0, "memory was too large for this test");
    let mut told = 0;
    while told < gone {
        let push = next(&mut reader);
        assert!(push.contains("invalidate *1") && push.contains("old"), "{push}");
        told += 1;
    }
}

fn broadcasting_needs_no_read(setup: Setup) {
    let server = setup.start(&[]);
    let mut some = tracking(&server, " BCAST PREFIX user: PREFIX item:");
    let mut all = tracking(&server, " BCAST NOLOOP");
    let mut writer = server.connect();
    writer.run("SET user:1 x");
    assert_eq!(next(&mut some), ">2 $10 invalidate *1 $6 user:1");
    assert_eq!(next(&mut all), ">2 $10 invalidate *1 $6 user:1");
    writer.run("MSET item:1 a item:2 b other c item:1 d");
    assert_eq!(next(&mut some), ">2 $10 invalidate *2 $6 item:1 $6 item:2");
    assert_eq!(next(&mut all), ">2 $10 invalidate *3 $6 item:1 $6 item:2 $5 other");
    assert_eq!(ask(&mut all, "SET user:2 x"), "+OK");
    assert_eq!(ask(&mut all, "MSET user:2 x user:3 y"), "+OK");
    assert_eq!(ask(&mut all, "DEL user:2 user:3"), ":2", "it hears nothing of its own changes");
    for expected in ["*1 $6 user:2", "*2 $6 user:2 $6 user:3", "*2 $6 user:2 $6 user:3"] {
        assert_eq!(next(&mut some), format!(">2 $10 invalidate {expected}"));
    }
    let info = ask(&mut some, "CLIENT TRACKINGINFO");
    assert!(info.contains("$5 bcast") && info.contains("*2 $5 user: $5 item:"), "{info}");
    let error = "-ERR Prefix 'user:1' overlaps with an existing prefix 'user:'. Prefixes for a single client must not overlap.";
    assert_eq!(ask(&mut some, "CLIENT TRACKING ON BCAST PREFIX user:1"), error);
}

fn another_connection_is_told_in_resp2(setup: Setup) {
    let server = setup.start(&[]);
    let (mut told, mut reader, mut writer) = (server.connect(), server.connect(), server.connect());
    let id = told.run("CLIENT ID").int();
    ask(&mut told, "SUBSCRIBE __redis__:invalidate");
    assert_eq!(ask(&mut reader, &format!("CLIENT TRACKING ON REDIRECT {id}")), "+OK");
    assert_eq!(ask(&mut reader, "CLIENT GETREDIR"), format!(":{id}"));
    ask(&mut reader, "GET k");
    writer.run("SET k 1");
    assert_eq!(next(&mut told), "*3 $7 message $20 __redis__:invalidate *1 $1 k");
    writer.run("FLUSHALL");
    assert_eq!(next(&mut told), "*3 $7 message $20 __redis__:invalidate $-1");
    assert_eq!(ask(&mut reader, "HELLO 3").split(' ').next(), Some("%7"));
    drop(told);
    wait_until("it is gone", || writer.run("PUBSUB NUMSUB __redis__:invalidate").array()[1] == Value::Int(0));
    ask(&mut reader, "GET k");
    writer.run("SET k 2");
    assert_eq!(next(&mut reader), format!(">2 $21 tracking-redir-broken :{id}"));
    assert!(ask(&mut reader, "CLIENT TRACKINGINFO").contains("broken_redirect"));
    assert!(reader.run("CLIENT INFO").text().contains(" flags=tR "));
}

fn caching_is_chosen_by_command(setup: Setup) {
    let server = setup.start(&[]);
    let mut writer = server.connect();
    let mut optin = tracking(&server, " OPTIN");
    ask(&mut optin, "GET a");
    ask(&mut optin, "CLIENT CACHING YES");
    ask(&mut optin, "GET b");
    ask(&mut optin, "GET c");
    optin.send(&[resp("CLIENT CACHING YES"), resp("MGET d e"), resp("GET f")].concat());
    (0..3).for_each(|_| _ = next(&mut optin));
    writer.run("MSET a 1 b 1 c 1 d 1 e 1 f 1");
    for key in ["b", "d", "e"] {
        assert_eq!(next(&mut optin), format!(">2 $10 invalidate *1 $1 {key}"));
    }
    let mut optout = tracking(&server, " OPTOUT");
    ask(&mut optout, "CLIENT CACHING NO");
    ask(&mut optout, "GET a");
    ask(&mut optout, "GET b");
    writer.run("MSET a 1 b 1");
    assert_eq!(next(&mut optout), ">2 $10 invalidate *1 $1 b");
    for conn in [&mut optin, &mut optout] {
        assert_eq!(ask(conn, "PING"), "+PONG");
    }
}

fn caching_holds_for_a_whole_transaction(setup: Setup) {
    let server = setup.start(&[]);
    let (mut optin, mut writer) = (tracking(&server, " OPTIN"), server.connect());
    for (lines, told) in [
        (&["CLIENT CACHING YES", "MULTI", "GET a", "GET b", "EXEC", "GET c"][..], &["a", "b"][..]),
        (&["MULTI", "GET a", "CLIENT CACHING YES", "GET b", "GET c", "EXEC", "GET d"], &["b", "c"]),
        (&["CLIENT CACHING YES", "MULTI", "GET a", "DISCARD", "GET b"], &[]),
        (&["CLIENT CACHING YES", "CLIENT ID", "GET a", "GET b"], &["a"]),
    ] {
        for line in lines {
            let reply = ask(&mut optin, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        writer.run("MSET a 1 b 1 c 1 d 1");
        for key in told {
            assert_eq!(next(&mut optin), format!(">2 $10 invalidate *1 $1 {key}"), "{lines:?}");
        }
        assert_eq!(ask(&mut optin, "PING"), "+PONG", "{lines:?}");
    }
}

fn reads_of_scripts_are_remembered(setup: Setup) {
    const READ: &str = "redis.call('mget', 'a', KEYS[1]) redis.pcall('set', 'c', 1) return 1";
    let server = setup.start(&[]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.connect());
    for transaction in [false, true] {
        if transaction {
            ask(&mut reader, "MULTI");
        }
        reader.send(&support::encode(&["EVAL", READ, "1", "b"]));
        next(&mut reader);
        if transaction {
            assert_eq!(ask(&mut reader, "EXEC"), "*1 :1");
        }
        writer.run("MSET a 1 b 1 c 1");
        for key in ["a", "b"] {
            assert_eq!(next(&mut reader), format!(">2 $10 invalidate *1 $1 {key}"));
        }
        assert_eq!(ask(&mut reader, "PING"), "+PONG");
    }
    let mut optin = tracking(&server, " OPTIN");
    for (caching, told) in [(false, false), (true, true)] {
        if caching {
            ask(&mut optin, "CLIENT CACHING YES");
        }
        optin.send(&support::encode(&["EVAL", "return redis.call('strlen', 'a')", "0"]));
        assert_eq!(next(&mut optin), ":1");
        writer.run("SET a 1");
        if told {
            assert_eq!(next(&mut optin), ">2 $10 invalidate *1 $1 a");
        }
        assert_eq!(ask(&mut optin, "PING"), "+PONG");
    }
}

/// One that does not hear of its own changes writes, reads what it wrote, and hears of the next change by another.
fn what_it_wrote_itself_is_cached_too(setup: Setup) {
    let server = setup.start(&[]);
    let (mut conn, mut writer) = (tracking(&server, " NOLOOP"), server.connect());
    for round in 0..50 {
        conn.send(&[resp(&format!("SET k own{round}")), resp("GET k")].concat());
        assert_eq!((next(&mut conn), next(&mut conn).contains("own")), ("+OK".to_owned(), true));
        writer.run(&format!("SET k {round}"));
        assert_eq!(next(&mut conn), ">2 $10 invalidate *1 $1 k");
    }
}

fn reads_of_a_transaction_are_remembered_when_it_runs(setup: Setup) {
    let server = setup.start(&[]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.connect());
    ask(&mut reader, "MULTI");
    assert_eq!(ask(&mut reader, "GET k"), "+QUEUED");
    writer.run("SET k 1");
    assert_eq!(ask(&mut reader, "EXEC"), "*1 $1 1", "nothing was read before");
    writer.run("SET k 2");
    assert_eq!(next(&mut reader), ">2 $10 invalidate *1 $1 k");
    writer.send(&[resp("MULTI"), resp("SET k 3"), resp("PUBLISH none x"), resp("EXEC")].concat());
    (0..4).for_each(|_| _ = writer.read());
    assert_eq!(ask(&mut reader, "GET k"), "$1 3");
    writer.send(&[resp("MULTI"), resp("SET k 4"), resp("FLUSHALL"), resp("EXEC")].concat());
    assert_eq!(next(&mut reader), ">2 $10 invalidate _");
}

/// A client with a cache of its own reads while others write: when all is quiet, what it has is what there is.
fn a_cache_is_never_stale(setup: Setup) {
    let server = setup.start(&[]);
    let address = server.address();
    let writers: Vec<_> = (0..2)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut conn = Conn::connect(address);
                for n in 0..1_500 {
                    conn.run(&format!("SET k{} {seed}-{n}", (n * 7 + seed) % 20));
                }
            })
        })
        .collect();
    let mut conn = tracking(&server, "");
    let mut cache: HashMap<String, Value> = HashMap::new();
    // Read what comes: a push, or the reply to `asked`.
    let take = |conn: &mut Conn, cache: &mut HashMap<String, Value>, asked: &str| loop {
        match conn.read() {
            Value::Array(push) if push[0].text() == "invalidate" => {
                cache.remove(&push[1].array()[0].text());
            }
            value => {
                cache.insert(asked.to_owned(), value);
                return;
            }
        }
    };
    let mut n = 0;
    while n < 1_500 || writers.iter().any(|writer| !writer.is_finished()) {
        let key = format!("k{}", n % 20);
        n += 1;
        if !cache.contains_key(&key) {
            conn.send(&resp(&format!("GET {key}")));
            take(&mut conn, &mut cache, &key);
        } else {
            conn.send(&resp("PING"));
            take(&mut conn, &mut cache, "ping");
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    // Whatever is still on its way arrives before this.
    for _ in 0..50 {
        conn.send(&resp("PING"));
        take(&mut conn, &mut cache, "ping");
    }
    let mut other = server.connect();
    let mut kept = 0;
    for (key, value) in cache.iter().filter(|(key, _)| *key != "ping") {
        assert_eq!(other.run(&format!("GET {key}")), *value, "{key}");
        kept += 1;
    }
    assert!(kept > 0, "something is cached");
}

fn the_table_is_bounded(setup: Setup) {
    let server = setup.start(&["--tracking-table-max-keys", "10"]);
    let mut reader = tracking(&server, "");
    for n in 0..10 {
        ask(&mut reader, &format!("GET k{n}"));
    }
    reader.send(&resp("GET k10"));
    let both = [next(&mut reader), next(&mut reader)];
    assert!(both.contains(&">2 $10 invalidate *1 $2 k0".into()), "{both:?}");
    let mut other = server.connect();
    assert!(other.run("INFO stats").text().contains("tracking_total_keys:10"));
    assert_eq!(other.run("CONFIG SET tracking-table-max-keys 20"), Value::Simple("OK".into()));
    assert_eq!(other.run("CONFIG GET tracking-table-max-keys").array()[1].text(), "20");
}

fn other_protocols_change_keys_too(setup: Setup) {
    let server = setup.start(&[]);
    let mut reader = tracking(&server, "");
    ask(&mut reader, "GET k");
    let mut json = server.connect();
    json.send(b"{\"key\":\"k\",\"value\":\"v\"}\n");
    assert_eq!(next(&mut reader), ">2 $10 invalidate *1 $1 k");
    let mut memcached = server.connect();
    for (line, told) in [
        ("set k 0 0 1\r\nx\r\n", "*1 $1 k"),
        ("append k 0 0 1\r\n1\r\n", "*1 $1 k"),
        ("touch k 100\r\n", "*1 $1 k"),
        ("md k I T30\r\n", "*1 $1 k"),
        ("delete k\r\n", "*1 $1 k"),
        ("flush_all\r\n", "_"),
    ] {
        ask(&mut reader, "GET k");
        memcached.send(line.as_bytes());
        assert_eq!(next(&mut reader), format!(">2 $10 invalidate {told}"), "{line}");
    }
}

fn clients_are_told_where_to_go(setup: Setup) {
    let mut server = setup.start(&["--drain-timeout", "30", "--successor", "10.0.0.2:7171"]);
    let mut asking = server.connect();
    ask(&mut asking, "HELLO 3");
    assert_eq!(ask(&mut asking, "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip"), "+OK");
    let mut knowing = server.connect();
    ask(&mut knowing, "HELLO 3");
    assert_eq!(ask(&mut knowing, "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none"), "+OK");
    let mut quiet = server.connect();
    ask(&mut quiet, "PING");
    assert!(ask(&mut quiet, "CLIENT MAINT_NOTIFICATIONS ON x y").starts_with("-ERR"));
    assert_eq!(ask(&mut quiet, "CONFIG SET successor 10.0.0.3:7171"), "+OK");
    assert!(ask(&mut quiet, "CONFIG SET successor nothing").starts_with("-ERR"));
    server.signal(Signal::SIGTERM);
    assert_eq!(next(&mut asking), ">4 $6 MOVING :1 :30 $13 10.0.0.3:7171");
    assert_eq!(next(&mut knowing), ">4 $6 MOVING :1 :30 _");
    quiet.expect_closed();
    assert_eq!(ask(&mut asking, "PING"), "+PONG", "it is served until it goes");
    drop((asking, knowing));
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
