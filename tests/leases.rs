//! Leases over the wire: a stampede of clients computes a value once, and those who wait get it as soon as it is there.

mod support;

use std::time::{Duration, Instant};
use support::{Conn, Setup, Value, bulk, resp};

on_every_engine!(
    a_stampede_computes_once,
    who_waits_wins_when_the_lease_is_over,
    who_waits_is_answered_in_time,
    what_comes_behind_a_wait_keeps_its_order,
    a_waiting_client_may_leave_and_the_server_end,
    a_value_that_is_awaited_is_no_key_to_others,
);

fn field<'v>(reply: &'v Value, name: &str) -> &'v Value {
    let fields = reply.array();
    let at = fields.iter().step_by(2).position(|field| *field == bulk(name)).expect(name);
    &fields[2 * at + 1]
}

fn a_stampede_computes_once(setup: Setup) {
    let server = setup.start(&[]);
    let mut clients: Vec<Conn> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&resp("KV.GET page LEASE 30000 WAIT 20000"));
    }
    // One of them answers at once: it has won. The others wait.
    let mut watcher = server.connect();
    support::wait_until("49 wait", || watcher.run("INFO clients").text().contains("blocked_clients:49"));
    let begun = Instant::now();
    let winner = clients.iter_mut().position(|client| client.has_bytes_within(Duration::from_millis(20)));
    let mut winner = clients.swap_remove(winner.expect("one has won"));
    let reply = winner.read();
    assert_eq!((field(&reply, "lease"), field(&reply, "value")), (&bulk("won"), &Value::Nil));
    let cas = field(&reply, "cas").text();
    assert_eq!(winner.run(&format!("KV.SET page html CAS {cas} EX 60")), Value::Simple("OK".into()));
    for client in &mut clients {
        let reply = client.read();
        assert_eq!((field(&reply, "value"), field(&reply, "lease")), (&bulk("html"), &bulk("none")));
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "woken, not timed out");
    assert!(watcher.run("INFO clients").text().contains("blocked_clients:0"));
}

fn who_waits_wins_when_the_lease_is_over(setup: Setup) {
    let server = setup.start(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!(field(&first.run("KV.GET k LEASE 300"), "lease"), &bulk("won"));
    let begun = Instant::now();
    let reply = second.run("KV.GET k LEASE 300 WAIT 20000");
    assert_eq!(field(&reply, "lease"), &bulk("won"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Given back, the next one has it.
    let cas = field(&reply, "cas").text();
    first.send(&resp("KV.GET k LEASE 60000 WAIT 20000"));
    assert_eq!(second.run(&format!("KV.RELEASE k {cas}")), Value::Simple("OK".into()));
    assert_eq!(field(&first.read(), "lease"), &bulk("won"));
}

fn who_waits_is_answered_in_time(setup: Setup) {
    let server = setup.start(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.run("KV.GET k LEASE 60000");
    let begun = Instant::now();
    let reply = second.run("KV.GET k LEASE 60000 WAIT 150");
    assert_eq!((field(&reply, "lease"), field(&reply, "value")), (&bulk("taken"), &Value::Nil));
    // The server's clock shows whole milliseconds: the one in which it began may have been nearly over.
    assert!(begun.elapsed() >= Duration::from_millis(149));
    let reply = second.run("KV.GET k LEASE 60000 WAIT 0");
    assert_eq!(field(&reply, "lease"), &bulk("taken"));
    assert!(first.run("INFO clients").text().contains("blocked_clients:0"), "it waits no more");
}

fn what_comes_behind_a_wait_keeps_its_order(setup: Setup) {
    let server = setup.start(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.run("KV.GET k LEASE 60000");
    second.send(
        &[resp("SET before 1"), resp("KV.GET k LEASE 1 WAIT 20000"), resp("GET k"), resp("PING")].concat(),
    );
    assert_eq!(second.read(), Value::Simple("OK".into()));
    // More of it arrives while it waits.
    second.send(&resp("GET before"));
    assert_eq!(first.run("SET k v"), Value::Simple("OK".into()));
    assert_eq!(field(&second.read(), "value"), &bulk("v"));
    assert_eq!(second.read(), bulk("v"));
    assert_eq!(second.read(), Value::Simple("PONG".into()));
    assert_eq!(second.read(), bulk("1"));
}

fn a_waiting_client_may_leave_and_the_server_end(setup: Setup) {
    let mut server = setup.start(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.run("KV.GET k LEASE 60000");
    second.send(&resp("KV.GET k WAIT 500000"));
    drop(second);
    let mut third = server.connect();
    third.send(&resp("KV.GET k WAIT 500000"));
    support::wait_until("both wait", || first.run("INFO clients").text().contains("blocked_clients:2"));
    let mut fourth = server.connect();
    let id = fourth.run("CLIENT ID").int();
    fourth.send(&resp("KV.GET k WAIT 500000"));
    support::wait_until("three wait", || first.run("INFO clients").text().contains("blocked_clients:3"));
    first.run(&format!("CLIENT KILL ID {id}"));
    support::wait_until("the killed is gone", || {
        first.run("INFO clients").text().contains("blocked_clients:2")
    });
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(field(&third.read(), "lease"), &bulk("taken"), "answered before the end");
    assert!(server.wait().success());
}

fn a_value_that_is_awaited_is_no_key_to_others(setup: Setup) {
    let server = setup.start(&[]);
    let mut redis = server.connect();
    let reply = redis.run("KV.GET page LEASE 60000");
    assert_eq!(redis.run("GET page"), Value::Nil);
    let http = |request: &str| {
        let mut conn = server.connect();
        conn.send(request.as_bytes());
        String::from_utf8(conn.read_to_close().expect("an answer, then the end")).expect("text")
    };
    let (get, head) = ("GET /v1/keys/page", "HEAD /v1/keys/page");
    let batch = r#"{"ops":[{"op":"get","key":"page","etag":true}]}"#;
    let post = format!("POST /v1/batch HTTP/1.0\r\nContent-Length: {}\r\n\r\n{batch}", batch.len());
    for line in [get, head] {
        assert!(http(&format!("{line} HTTP/1.0\r\n\r\n")).starts_with("HTTP/1.1 404"), "{line}");
    }
    assert!(http(&post).contains(r#""status":404"#));
    // Those who asked have not spoilt it for the winner.
    let cas = field(&reply, "cas").text();
    assert_eq!(redis.run(&format!("KV.SET page html CAS {cas}")), Value::Simple("OK".into()));
    assert!(http(&format!("{get} HTTP/1.0\r\n\r\n")).ends_with("html"));
    assert!(http(&post).contains(r#""value":"html""#));
}
