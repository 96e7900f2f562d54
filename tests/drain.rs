//! SIGTERM and SIGINT: stop accepting, finish what has arrived, flush, exit 0.

mod support;

use nix::sys::signal::Signal;
use std::net::TcpStream;
use std::time::Duration;
use support::{Conn, Setup, Value, encode, resp, wait_until};

on_every_engine!(
    a_pipeline_in_flight_is_finished,
    idle_clients_do_not_delay_it,
    it_works_without_any_client,
    a_client_that_does_not_read_delays_it_only_so_long,
    half_a_request_delays_it_only_so_long,
);

fn a_pipeline_in_flight_is_finished(setup: Setup) {
    const COMMANDS: i64 = 20_000;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = setup.start(&["--drain-timeout", "30"]);
        let mut conns: Vec<Conn> = (0..4).map(|_| server.connect()).collect();
        let script = resp("INCR n").repeat(COMMANDS as usize);
        for conn in &mut conns {
            conn.send(&script);
        }
        // The signal comes when the server is in the middle of it: something is answered, much is not.
        let first = conns[0].read();
        assert!(first.int() > 0);
        server.signal(signal);
        let mut last = 0;
        for (i, conn) in conns.iter_mut().enumerate() {
            for j in i64::from(i == 0)..COMMANDS {
                let reply = conn.try_read().unwrap_or_else(|e| panic!("reply {j} of connection {i}: {e:?}"));
                last = last.max(reply.0.int());
            }
            conn.expect_closed();
        }
        assert_eq!(last, 4 * COMMANDS, "every request was executed");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        TcpStream::connect(server.address()).expect_err("nobody listens any more");
    }
}

fn idle_clients_do_not_delay_it(setup: Setup) {
    // The drain timeout is longer than the test's patience: if idle clients were waited for, this test would fail.
    let mut server = setup.start(&["--drain-timeout", "600"]);
    let mut conns: Vec<Conn> = (0..100).map(|_| server.connect()).collect();
    for conn in &mut conns {
        assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    conns.iter_mut().for_each(Conn::expect_closed);
}

fn it_works_without_any_client(setup: Setup) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = setup.start(&["--drain-timeout", "600"]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

fn a_client_that_does_not_read_delays_it_only_so_long(setup: Setup) {
    let mut server = setup.start(&["--drain-timeout", "1"]);
    let mut deaf = server.connect();
    assert_eq!(deaf.command(&[b"SET", &b"k"[..], &vec![b'v'; 100_000]]), Value::Simple("OK".into()));
    // 100 MB of replies: more than sockets and outbox hold, so the server cannot get rid of them.
    deaf.send(&resp("GET k").repeat(1_000));
    let mut other = server.connect();
    assert_eq!(other.run("PING"), Value::Simple("PONG".into()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

fn half_a_request_delays_it_only_so_long(setup: Setup) {
    let mut server = setup.start(&["--drain-timeout", "1"]);
    let mut half = server.connect();
    let request = encode(&["SET", "k", "value"]);
    half.send(&request[..request.len() - 4]);
    assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    wait_until("the half-sent request's connection to be closed", || {
        half.set_patience(Duration::from_millis(100));
        half.read_to_close().is_ok()
    });
}
