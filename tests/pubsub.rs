//! Publish/subscribe and MONITOR over TCP: who gets what and in which form, across workers, and what becomes of those that do not read.

mod support;

use std::time::Duration;
use support::{Conn, Metrics, Setup, Value, WireError, raise_file_limit, resp, wait_until};

on_every_engine!(
    messages_reach_channels_and_patterns,
    resp2_subscribers_only_subscribe,
    resp3_subscribers_do_anything,
    shard_channels_are_apart,
    what_is_published_after_an_unsubscription_does_not_come,
    a_subscriber_that_never_reads_is_closed_and_others_go_on,
    a_thousand_subscribers_get_every_message_in_order,
    large_messages_are_whole,
    a_burst_to_many_subscribers_stays_in_bounds,
    monitors_see_commands_without_secrets,
    monitors_see_transactions_once_and_other_protocols,
    a_monitor_that_never_reads_is_closed,
    subscriptions_are_bounded_and_shown,
    messages_and_replies_keep_apart_under_load,
);

/// The next reply or push as it came, a space for each line break.
fn next(conn: &mut Conn) -> String {
    let (_, raw) = conn.try_read().expect("a reply or a push");
    String::from_utf8_lossy(&raw).replace("\r\n", " ").trim_end().to_owned()
}

fn ask(conn: &mut Conn, line: &str) -> String {
    conn.send(&resp(line));
    next(conn)
}

/// Enough connections to meet every worker.
fn several(server: &support::Server) -> Vec<Conn> {
    (0..8).map(|_| server.connect()).collect()
}

fn messages_reach_channels_and_patterns(setup: Setup) {
    let server = setup.start(&[]);
    let mut publisher = server.connect();
    assert_eq!(ask(&mut publisher, "PUBLISH news x"), ":0");
    let mut subscribers = several(&server);
    for (i, conn) in subscribers.iter_mut().enumerate() {
        if i % 2 == 0 {
            assert_eq!(ask(conn, "SUBSCRIBE news"), "*3 $9 subscribe $4 news :1");
        } else {
            ask(conn, "HELLO 3");
            assert_eq!(ask(conn, "PSUBSCRIBE n?ws"), ">3 $10 psubscribe $4 n?ws :1");
        }
    }
    assert_eq!(ask(&mut publisher, "PUBLISH news hello"), ":8");
    for (i, conn) in subscribers.iter_mut().enumerate() {
        let expected = match i % 2 {
            0 => "*3 $7 message $4 news $5 hello",
            _ => ">4 $8 pmessage $4 n?ws $4 news $5 hello",
        };
        assert_eq!(next(conn), expected);
    }
    assert_eq!(ask(&mut publisher, "PUBSUB CHANNELS"), "*1 $4 news");
    assert_eq!(ask(&mut publisher, "PUBSUB CHANNELS x*"), "*0");
    assert_eq!(ask(&mut publisher, "PUBSUB NUMSUB news other"), "*4 $4 news :4 $5 other :0");
    assert_eq!(ask(&mut publisher, "PUBSUB NUMPAT"), ":1");
    let info = publisher.run("INFO").text();
    for line in ["pubsub_channels:1", "pubsub_patterns:1", "pubsub_clients:8"] {
        assert!(info.contains(line), "{line}");
    }
    drop(subscribers);
    wait_until("all have left", || ask(&mut publisher, "PUBLISH news x") == ":0");
    assert_eq!(ask(&mut publisher, "PUBSUB NUMPAT"), ":0");
}

fn resp2_subscribers_only_subscribe(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    conn.send(&resp("SUBSCRIBE a b"));
    assert_eq!(
        (next(&mut conn), next(&mut conn)),
        ("*3 $9 subscribe $1 a :1".into(), "*3 $9 subscribe $1 b :2".into())
    );
    assert_eq!(
        ask(&mut conn, "GET k"),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    assert!(ask(&mut conn, "CLIENT ID").starts_with("-ERR Can't execute 'client|id'"));
    assert_eq!(ask(&mut conn, "PING"), "*2 $4 pong $0");
    assert_eq!(ask(&mut conn, "PING hi"), "*2 $4 pong $2 hi");
    conn.send(b"*1\r\n$11\r\nUNSUBSCRIBE\r\n");
    let left = [next(&mut conn), next(&mut conn)];
    assert!(left[0].ends_with(":1") && left[1].ends_with(":0"), "{left:?}");
    assert_eq!(ask(&mut conn, "PING"), "+PONG");
    assert_eq!(ask(&mut conn, "UNSUBSCRIBE"), "*3 $11 unsubscribe $-1 :0");
    ask(&mut conn, "SUBSCRIBE a");
    assert_eq!(ask(&mut conn, "RESET"), "+RESET");
    assert_eq!(ask(&mut conn, "PUBLISH a x"), ":0", "RESET ends subscriptions");
    ask(&mut conn, "SUBSCRIBE a");
    assert_eq!(ask(&mut conn, "QUIT"), "+OK");
    conn.expect_closed();
}

fn resp3_subscribers_do_anything(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    ask(&mut conn, "HELLO 3");
    ask(&mut conn, "SUBSCRIBE me");
    assert_eq!(ask(&mut conn, "SET k v"), "+OK");
    assert_eq!(ask(&mut conn, "GET k"), "$1 v");
    assert_eq!(ask(&mut conn, "PING"), "+PONG");
    assert_eq!(ask(&mut conn, "PUBLISH me hello"), ":1");
    assert_eq!(next(&mut conn), ">3 $7 message $2 me $5 hello");
    conn.send(&[resp("CLIENT REPLY OFF"), resp("PUBLISH me quiet"), resp("CLIENT REPLY ON")].concat());
    let both = [next(&mut conn), next(&mut conn)];
    assert!(
        both.contains(&"+OK".into()) && both.contains(&">3 $7 message $2 me $5 quiet".into()),
        "{both:?}"
    );
}

fn shard_channels_are_apart(setup: Setup) {
    let server = setup.start(&[]);
    let (mut sub, mut publisher) = (server.connect(), server.connect());
    assert_eq!(ask(&mut sub, "SSUBSCRIBE s"), "*3 $10 ssubscribe $1 s :1");
    assert_eq!(ask(&mut sub, "PSUBSCRIBE *"), "*3 $10 psubscribe $1 * :1");
    assert_eq!(ask(&mut publisher, "SPUBLISH s x"), ":1");
    assert_eq!(next(&mut sub), "*3 $8 smessage $1 s $1 x");
    assert_eq!(ask(&mut publisher, "PUBLISH s y"), ":1");
    assert_eq!(next(&mut sub), "*4 $8 pmessage $1 * $1 s $1 y");
    assert_eq!(ask(&mut publisher, "PUBSUB SHARDCHANNELS"), "*1 $1 s");
    assert_eq!(ask(&mut publisher, "PUBSUB SHARDNUMSUB s"), "*2 $1 s :1");
    assert_eq!(ask(&mut sub, "SUNSUBSCRIBE"), "*3 $12 sunsubscribe $1 s :0");
}

fn what_is_published_after_an_unsubscription_does_not_come(setup: Setup) {
    let server = setup.start(&[]);
    let mut publisher = server.connect();
    let mut subscribers = several(&server);
    for round in 0..50 {
        for conn in &mut subscribers {
            ask(conn, "SUBSCRIBE c");
        }
        assert_eq!(ask(&mut publisher, &format!("PUBLISH c {round}")), ":8");
        for conn in &mut subscribers {
            conn.send(&resp("UNSUBSCRIBE c"));
            let mut got = next(conn);
            if got.starts_with("*3 $7 message") {
                got = next(conn);
            }
            assert_eq!(got, "*3 $11 unsubscribe $1 c :0");
            assert_eq!(ask(conn, "PING"), "+PONG", "nothing comes behind the confirmation");
        }
    }
}

fn a_subscriber_that_never_reads_is_closed_and_others_go_on(setup: Setup) {
    let server = setup.start(&["--output-cap", "3MB", "--max-value-size", "1MB"]);
    let (mut slow, mut publisher) = (server.connect(), server.connect());
    ask(&mut slow, "SUBSCRIBE flood");
    let mut readers = several(&server);
    for conn in &mut readers {
        ask(conn, "SUBSCRIBE flood");
    }
    let message = "m".repeat(20_000);
    let mut closed = false;
    for n in 0..2_000 {
        let receivers = publisher.command(&["PUBLISH", "flood", &message]).int();
        for conn in &mut readers {
            assert_eq!(conn.read().array()[2].bytes().len(), 20_000, "message {n}");
        }
        if receivers == 8 {
            closed = true;
            break;
        }
    }
    assert!(closed, "40 MB and it is still there");
    assert_eq!(
        Metrics::read(server.admin_address())
            .samples("kv_connections_closed_total")
            .find(|(l, _)| l.contains("slow_reader"))
            .unwrap()
            .1,
        1.0
    );
    assert!(matches!(drain(&mut slow), WireError::Closed | WireError::Garbage(_)));
    wait_until("memory comes back", || {
        Metrics::read(server.admin_address()).sum("kv_buffered_bytes").unwrap() < 1e6
    });
}

/// Reads until there is nothing more.
fn drain(conn: &mut Conn) -> WireError {
    loop {
        if let Err(error) = conn.try_read() {
            return error;
        }
    }
}

fn a_thousand_subscribers_get_every_message_in_order(setup: Setup) {
    const SUBSCRIBERS: usize = 1_000;
    const MESSAGES: usize = 20;
    if raise_file_limit() < 3_000 {
        return support::skip("KV_REQUIRE_FILES", "too few open files are allowed");
    }
    let server = setup.start(&[]);
    let mut publisher = server.connect();
    let mut subscribers: Vec<Conn> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for conn in &mut subscribers {
        conn.send(&resp("SUBSCRIBE all"));
    }
    for conn in &mut subscribers {
        assert_eq!(next(conn), "*3 $9 subscribe $3 all :1");
    }
    for n in 0..MESSAGES {
        assert_eq!(publisher.run(&format!("PUBLISH all {n}")), Value::Int(SUBSCRIBERS as i64));
    }
    for conn in &mut subscribers {
        for n in 0..MESSAGES {
            assert_eq!(conn.read().array()[2].text(), n.to_string());
        }
    }
}

fn large_messages_are_whole(setup: Setup) {
    let server = setup.start(&[]);
    let (mut two, mut three, mut publisher) = (server.connect(), server.connect(), server.connect());
    ask(&mut three, "HELLO 3");
    ask(&mut two, "SUBSCRIBE c");
    ask(&mut three, "SUBSCRIBE c");
    for len in [0, 1, 1_000, 1_024, 70_000, 3_000_000] {
        let message: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        assert_eq!(publisher.command(&[b"PUBLISH", &b"c"[..], &message]), Value::Int(2));
        assert_eq!(two.read().array()[2].bytes(), message, "{len}");
        assert_eq!(three.read().array()[2].bytes(), message, "{len}");
    }
}

/// Messages that come at once would take many times the memory limit in the outboxes of subscribers who never read: those are closed.
fn a_burst_to_many_subscribers_stays_in_bounds(setup: Setup) {
    let server = setup.start(&["--max-value-size", "512KB"]);
    let subscribers: Vec<Conn> = (0..400)
        .map(|_| {
            let mut conn = server.connect();
            ask(&mut conn, "SUBSCRIBE c");
            conn
        })
        .collect();
    let mut publisher = server.connect();
    // 2 MB of messages, which is what a box holds: 800 MB for all.
    let message = "m".repeat(900);
    let burst = support::encode(&["PUBLISH", "c", &message]).repeat(2_400);
    let before = server.peak_rss_bytes();
    publisher.send(&burst);
    (0..2_400).for_each(|_| _ = publisher.read());
    wait_until("all is delivered, or those who hold too much are closed", || {
        let metrics = Metrics::read(server.admin_address());
        metrics.sum("kv_pushes_total") == Some(400.0 * 2_400.0)
            || metrics
                .samples("kv_connections_closed_total")
                .any(|(l, n)| l.contains("slow_reader") && n > 0.0)
    });
    let grown = server.peak_rss_bytes() - before;
    assert!(grown < 96 << 20, "{grown} bytes at a limit of 64 MB");
    drop(subscribers);
    assert_eq!(ask(&mut publisher, "PING"), "+PONG");
}

fn monitors_see_commands_without_secrets(setup: Setup) {
    let server = setup.start(&[]);
    let (mut monitor, mut conn) = (server.connect(), server.connect());
    assert_eq!(ask(&mut monitor, "MONITOR"), "+OK");
    conn.send(
        &[
            resp("SET k v"),
            resp("GET k"),
            resp("MGET k k2"),
            resp("AUTH secret"),
            resp("CONFIG GET save"),
            resp("NOSUCH x"),
            resp("HELLO 2 AUTH user secret SETNAME n"),
            support::encode(&["ECHO", "a \"b\"\n"]),
        ]
        .concat(),
    );
    (0..8).for_each(|_| _ = conn.read());
    let mut lines = Vec::new();
    while lines.len() < 6 {
        lines.push(next(&mut monitor));
    }
    let shown: Vec<&str> = lines.iter().map(|line| line.split_once("] ").unwrap().1).collect();
    assert_eq!(
        shown,
        [
            "\"SET\" \"k\" \"v\"",
            "\"GET\" \"k\"",
            "\"MGET\" \"k\" \"k2\"",
            "\"AUTH\" \"(redacted)\"",
            "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"",
            "\"ECHO\" \"a \\\"b\\\"\\n\"",
        ]
    );
    assert!(lines[0].starts_with('+') && lines[0].contains(" [0 127.0.0.1:"), "{}", lines[0]);
    assert!(monitor.run("CLIENT LIST").text().contains("flags=O"));
    // Its own commands come too; the line of CLIENT LIST is an administrator's.
    conn.run("SELECT 3");
    conn.run("SET k v");
    assert!(next(&mut monitor).ends_with("\"SELECT\" \"3\""));
    assert!(next(&mut monitor).contains("[3 127.0.0.1:"));
    assert_eq!(ask(&mut monitor, "RESET"), "+RESET");
    conn.run("SET k v");
    loop {
        match ask(&mut monitor, "ECHO end").as_str() {
            "$3 end" => break,
            line => assert!(line.contains("RESET"), "{line}"),
        }
    }
}

fn monitors_see_transactions_once_and_other_protocols(setup: Setup) {
    let server = setup.start(&[]);
    let (mut monitor, mut conn) = (server.connect(), server.connect());
    assert_eq!(ask(&mut monitor, "MONITOR"), "+OK");
    conn.send(&[resp("MULTI"), resp("SET k v"), resp("MGET k"), resp("EXEC")].concat());
    (0..4).for_each(|_| _ = conn.read());
    let mut shown = |count: usize| -> Vec<String> {
        (0..count).map(|_| next(&mut monitor).split_once(" [0 127.0.0.1:").unwrap().1.to_owned()).collect()
    };
    let without_port = |line: &String| line.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
    let lines: Vec<String> = shown(4).iter().map(without_port).collect();
    assert_eq!(lines, ["] \"MULTI\"", "] \"SET\" \"k\" \"v\"", "] \"MGET\" \"k\"", "] \"EXEC\""]);
    for (request, expected) in [
        (
            "set m 0 0 1\r\nx\r\nget m n\r\n",
            &["memcached] \"set\" \"m\"", "memcached] \"get\" \"m\"", "memcached] \"get\" \"n\""][..],
        ),
        ("mg m v\r\nnonsense\r\n", &["memcached] \"mg\" \"m\""]),
        ("PUT /v1/keys/h HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", &["http] \"SET\" \"h\""]),
        ("GET /v1/keys/h HTTP/1.1\r\nHost: x\r\n\r\n", &["http] \"GET\" \"h\""]),
        ("DELETE /v1/keys/h HTTP/1.1\r\nHost: x\r\n\r\n", &["http] \"DEL\" \"h\""]),
    ] {
        let mut other = server.connect();
        other.send(request.as_bytes());
        let lines: Vec<String> =
            shown(expected.len()).iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(lines, expected, "{request}");
    }
}

fn a_monitor_that_never_reads_is_closed(setup: Setup) {
    let server = setup.start(&["--output-cap", "2MB", "--max-value-size", "512KB"]);
    let (mut monitor, mut conn) = (server.connect(), server.connect());
    ask(&mut monitor, "MONITOR");
    let value = "v".repeat(50_000);
    wait_until("the monitor is closed", || {
        (0..20).for_each(|_| _ = conn.command(&["SET", "k", &value]));
        let closed = Metrics::read(server.admin_address());
        closed.samples("kv_connections_closed_total").any(|(l, n)| l.contains("slow_reader") && n == 1.0)
    });
    assert_eq!(ask(&mut conn, "PING"), "+PONG");
}

fn subscriptions_are_bounded_and_shown(setup: Setup) {
    let server = setup.start(&[]);
    let (mut conn, mut other) = (server.connect(), server.connect());
    let names: Vec<String> =
        std::iter::once("SUBSCRIBE".into()).chain((0..100_001).map(|n| n.to_string())).collect();
    assert_eq!(
        conn.command(&names),
        Value::Error("ERR a client may have 100000 subscriptions at most".into())
    );
    let long = "x".repeat(9 << 20);
    assert!(conn.command(&["SUBSCRIBE", &long]).is_error());
    conn.send(&[resp("SUBSCRIBE a"), resp("PSUBSCRIBE b c"), resp("SSUBSCRIBE d")].concat());
    (0..4).for_each(|_| _ = conn.read());
    let list = other.run("CLIENT LIST TYPE pubsub").text();
    assert!(list.contains(" flags=P ") && list.contains(" sub=1 psub=2 ssub=1 "), "{list}");
    assert_eq!(list.lines().count(), 1);
    assert_eq!(other.run("CLIENT KILL TYPE pubsub"), Value::Int(1));
    conn.expect_closed();
}

fn messages_and_replies_keep_apart_under_load(setup: Setup) {
    const ROUNDS: usize = 300;
    let server = setup.start(&[]);
    let (mut conn, address) = (server.connect(), server.address());
    ask(&mut conn, "HELLO 3");
    ask(&mut conn, "SUBSCRIBE c");
    let publisher = std::thread::spawn(move || {
        let mut publisher = Conn::connect(address);
        for n in 0..ROUNDS {
            assert_eq!(publisher.run(&format!("PUBLISH c {n}")), Value::Int(1));
        }
    });
    let value = "v".repeat(3_000);
    let (mut replies, mut messages) = (0, 0);
    let mut asked = 0;
    while replies < ROUNDS || messages < ROUNDS {
        if asked == replies && asked < ROUNDS {
            conn.send(&support::encode(&["ECHO", &value]));
            asked += 1;
        }
        match conn.read() {
            Value::Bulk(bytes) => {
                assert_eq!(bytes, value.as_bytes());
                replies += 1;
            }
            Value::Array(parts) => {
                assert_eq!(parts[2].text(), messages.to_string());
                messages += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    publisher.join().expect("all were published");
    conn.expect_silence(Duration::from_millis(20));
}
