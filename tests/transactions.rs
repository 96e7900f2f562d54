//! Transactions between clients: all of one or nothing, whatever the others do.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Conn, Setup, Value, bulk, encode};

on_every_engine!(
    transfers_keep_the_sum,
    optimistic_transfers_lose_nothing,
    a_pipeline_is_queued_and_run_as_one,
    what_is_queued_shows_in_the_client_list,
    a_pause_of_writes_holds_exec,
    a_connection_that_goes_takes_its_queue_along,
    a_transaction_may_kill_its_own_connection,
);

const TOTAL: i64 = 1_000;

fn number(conn: &mut Conn, key: &str) -> i64 {
    conn.run(&format!("GET {key}")).text().parse().expect("a number")
}

/// Two clients move amounts between two keys in transactions, a third looks at both in one.
fn transfers_keep_the_sum(setup: Setup) {
    const ROUNDS: usize = 800;
    let server = setup.start(&[]);
    server.connect().run(&format!("MSET left {TOTAL} right 0"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let movers: Vec<_> = [("left", "right"), ("right", "left")]
            .into_iter()
            .map(|(from, to)| {
                let mut conn = server.connect();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let amount = (round % 7).to_string();
                        let lines: Vec<u8> = [
                            encode(&["MULTI"]),
                            encode(&["DECRBY", from, &amount]),
                            encode(&["INCRBY", to, &amount]),
                            encode(&["EXEC"]),
                        ]
                        .concat();
                        conn.send(&lines);
                        for expected in ["OK", "QUEUED", "QUEUED"] {
                            assert_eq!(conn.read(), Value::Simple(expected.into()));
                        }
                        assert_eq!(conn.read().array().len(), 2);
                    }
                })
            })
            .collect();
        let mut conn = server.connect();
        let done = &done;
        scope.spawn(move || {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) || looks < 50 {
                conn.send(
                    &[
                        encode(&["MULTI"]),
                        encode(&["GET", "left"]),
                        encode(&["GET", "right"]),
                        encode(&["EXEC"]),
                    ]
                    .concat(),
                );
                (0..3).for_each(|_| assert!(!conn.read().is_error()));
                let seen = conn.read();
                let sum: i64 = seen.array().iter().map(|n| n.text().parse::<i64>().expect("a number")).sum();
                assert_eq!(sum, TOTAL, "{seen:?}");
                looks += 1;
            }
        });
        movers.into_iter().for_each(|mover| mover.join().expect("a mover"));
        done.store(true, Ordering::Relaxed);
    });
}

/// Clients that read, then write what they have computed, under WATCH: as if they had taken turns.
fn optimistic_transfers_lose_nothing(setup: Setup) {
    const EACH: i64 = 150;
    let server = setup.start(&[]);
    server.connect().run("SET counter 0");
    let tries: i64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut conn = server.connect();
                scope.spawn(move || {
                    let (mut done, mut tries) = (0, 0);
                    while done < EACH {
                        tries += 1;
                        conn.run("WATCH counter");
                        let next = number(&mut conn, "counter") + 1;
                        conn.run("MULTI");
                        conn.run(&format!("SET counter {next}"));
                        match conn.run("EXEC") {
                            Value::Nil => {}
                            reply => {
                                assert_eq!(reply, Value::Array(vec![Value::Simple("OK".into())]));
                                done += 1;
                            }
                        }
                    }
                    tries
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    assert_eq!(number(&mut server.connect(), "counter"), 4 * EACH);
    assert!(tries >= 4 * EACH);
}

/// GET and SET have a short way of their own, which must not lead around the queue.
fn a_pipeline_is_queued_and_run_as_one(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let mut lines = [encode(&["SET", "k", "0"]), encode(&["MULTI"])].concat();
    for n in 1..=50 {
        lines.extend(encode(&["GET", "k"]));
        lines.extend(encode(&["SET", "k", &n.to_string()]));
    }
    lines.extend([encode(&["EXEC"]), encode(&["GET", "k"])].concat());
    conn.send(&lines);
    assert_eq!([conn.read(), conn.read()], [Value::Simple("OK".into()), Value::Simple("OK".into())]);
    (0..100).for_each(|_| assert_eq!(conn.read(), Value::Simple("QUEUED".into())));
    let replies = conn.read();
    for n in 0..50 {
        assert_eq!(replies.array()[2 * n], bulk(n.to_string()));
    }
    assert_eq!(conn.read(), bulk("50"));
}

fn what_is_queued_shows_in_the_client_list(setup: Setup) {
    let server = setup.start(&[]);
    let (mut conn, mut other) = (server.connect(), server.connect());
    let id = conn.run("CLIENT ID").int();
    let mut shows = |expected: &[&str]| {
        let line = other.run(&format!("CLIENT LIST ID {id}")).text();
        for part in expected {
            assert!(line.contains(part), "no {part} in {line}");
        }
    };
    shows(&[" multi=-1 watch=0 ", " flags=N "]);
    conn.run("WATCH a b");
    shows(&[" multi=-1 watch=2 "]);
    conn.run("MULTI");
    shows(&[" multi=0 watch=2 ", " flags=x "]);
    conn.run("SET a 1");
    conn.run("SET a 1");
    shows(&[" multi=2 watch=2 "]);
    conn.run("EXEC");
    shows(&[" multi=-1 watch=0 ", " multi-mem=0 ", " flags=N "]);
}

fn a_pause_of_writes_holds_exec(setup: Setup) {
    let server = setup.start(&[]);
    let (mut reader, mut writer, mut other) = (server.connect(), server.connect(), server.connect());
    for (conn, line) in [(&mut reader, "GET k"), (&mut writer, "SET k 1")] {
        conn.run("MULTI");
        conn.run(line);
    }
    other.run("CLIENT PAUSE 60000 WRITE");
    assert_eq!(reader.run("EXEC"), Value::Array(vec![Value::Nil]));
    writer.send(&encode(&["EXEC"]));
    writer.expect_silence(Duration::from_millis(100));
    other.run("CLIENT UNPAUSE");
    assert_eq!(writer.read(), Value::Array(vec![Value::Simple("OK".into())]));
}

fn a_connection_that_goes_takes_its_queue_along(setup: Setup) {
    let server = setup.start(&[]);
    for _ in 0..50 {
        let mut conn = server.connect();
        conn.run("MULTI");
        conn.command(&["SET", "k", &"v".repeat(200_000)]);
    }
    let mut conn = server.connect();
    assert_eq!(conn.run("EXISTS k"), Value::Int(0));
    support::wait_until("the queues are gone", || {
        let info = conn.run("INFO clients").text();
        info.contains("connected_clients:1\r\n")
    });
}

/// All commands run and are answered, then the connection closes.
fn a_transaction_may_kill_its_own_connection(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let id = conn.run("CLIENT ID").int();
    conn.run("MULTI");
    conn.run(&format!("CLIENT KILL ID {id} SKIPME no"));
    conn.run("SET k v");
    assert_eq!(conn.run("EXEC"), Value::Array(vec![Value::Int(1), Value::Simple("OK".into())]));
    conn.expect_closed();
    assert_eq!(server.connect().run("GET k"), bulk("v"));
}
