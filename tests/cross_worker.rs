//! What holds between clients of different workers: one keyspace, whole multi-key writes, SCAN's guarantee, CLIENT's reach.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Conn, Server, Setup, Value, bulk, encode, wait_until};

on_every_engine!(
    one_keyspace_for_all_connections,
    increments_of_many_clients_add_up,
    multi_key_writes_are_seen_whole,
    scan_returns_all_that_stays,
    clients_are_listed_and_killed_across_workers,
    a_pause_holds_writes_until_it_ends,
);

/// The kernel spreads connections over the workers' listeners by itself; with this many, every worker has some.
const CONNECTIONS: usize = 16;

fn connections(server: &Server) -> Vec<Conn> {
    (0..CONNECTIONS).map(|_| server.connect()).collect()
}

fn one_keyspace_for_all_connections(setup: Setup) {
    let server = setup.start(&[]);
    let mut conns = connections(&server);
    for i in 0..400 {
        let (writer, reader) = (i % CONNECTIONS, (i * 7 + 3) % CONNECTIONS);
        assert_eq!(conns[writer].run(&format!("SET key:{i} {i}")), Value::Simple("OK".into()));
        assert_eq!(conns[reader].run(&format!("GET key:{i}")), bulk(i.to_string()));
    }
    for conn in &mut conns {
        assert_eq!(conn.run("DBSIZE"), Value::Int(400));
    }
    assert_eq!(conns[0].run("FLUSHALL"), Value::Simple("OK".into()));
    for conn in &mut conns {
        assert_eq!(conn.run("DBSIZE"), Value::Int(0));
        assert_eq!(conn.run("GET key:1"), Value::Nil);
    }
}

fn increments_of_many_clients_add_up(setup: Setup) {
    const EACH: usize = 5_000;
    let server = setup.start(&[]);
    std::thread::scope(|scope| {
        for mut conn in connections(&server).into_iter().take(4) {
            scope.spawn(move || {
                let script: Vec<u8> =
                    (0..EACH).flat_map(|i| encode(&["INCR", ["hot", "warm", "cold"][i % 3]])).collect();
                conn.send(&script);
                (0..EACH).for_each(|_| assert!(conn.read().int() > 0));
            });
        }
    });
    let mut conn = server.connect();
    let total: i64 = ["hot", "warm", "cold"]
        .iter()
        .map(|key| conn.run(&format!("GET {key}")).text().parse::<i64>().expect("a number"))
        .sum();
    assert_eq!(total, 4 * EACH as i64);
}

/// A reader never sees half of an MSET, nor two names of what RENAME moves.
fn multi_key_writes_are_seen_whole(setup: Setup) {
    const ROUNDS: usize = 1_500;
    const KEYS: usize = 12;
    let server = setup.start(&[]);
    let keys: Vec<String> = (0..KEYS).map(|i| format!("part:{i}")).collect();
    let mset = |value: usize| {
        let mut args = vec!["MSET".to_owned()];
        keys.iter().for_each(|key| args.extend([key.clone(), value.to_string()]));
        args
    };
    let mget: Vec<String> = std::iter::once("MGET".to_owned()).chain(keys.iter().cloned()).collect();
    server.connect().command(&mset(0));
    server.connect().run("SET here token");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (mut conn, mget, done) = (server.connect(), &mget, &done);
                scope.spawn(move || {
                    let mut seen = HashSet::new();
                    while !done.load(Ordering::Relaxed) {
                        let reply = conn.command(mget);
                        let first = &reply.array()[0];
                        assert!(reply.array().iter().all(|v| v == first), "half of an MSET: {reply:?}");
                        seen.insert(first.text());
                        // RENAME goes both ways: the token always has exactly one name.
                        assert_eq!(conn.run("EXISTS here there"), Value::Int(1));
                    }
                    seen.len()
                })
            })
            .collect();
        let mut writer = server.connect();
        let mut mover = server.connect();
        for round in 0..ROUNDS {
            assert_eq!(writer.command(&mset(round)), Value::Simple("OK".into()));
            let names = if round % 2 == 0 { "RENAME here there" } else { "RENAME there here" };
            assert_eq!(mover.run(names), Value::Simple("OK".into()));
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(
                reader.join().expect("a reader that saw only whole writes") > 1,
                "readers ran beside the writer"
            );
        }
    });
}

/// Every key that is there from the start of a SCAN to its end is returned, whatever others write meanwhile.
fn scan_returns_all_that_stays(setup: Setup) {
    const STAYING: usize = 3_000;
    let server = setup.start(&["--max-memory", "256MB"]);
    let mut conn = server.connect();
    let staying: Vec<u8> =
        (0..STAYING).flat_map(|i| encode(&["SET".to_owned(), format!("stays:{i}"), "v".into()])).collect();
    conn.send(&staying);
    (0..STAYING).for_each(|_| assert_eq!(conn.read(), Value::Simple("OK".into())));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Makes the index grow to tens of thousands of keys and shrink again, over and over.
        scope.spawn(|| {
            let mut writer = server.connect();
            let mut wave = 0;
            while !done.load(Ordering::Relaxed) {
                for verb in ["SET", "DEL"] {
                    let script: Vec<u8> = (0..20_000)
                        .flat_map(|i| {
                            let mut args = vec![verb.to_owned(), format!("comes-and-goes:{wave}:{i}")];
                            args.extend((verb == "SET").then(|| "v".to_owned()));
                            encode(&args)
                        })
                        .collect();
                    let sender = {
                        let mut stream = writer.stream.try_clone().expect("a second handle");
                        std::thread::spawn(move || std::io::Write::write_all(&mut stream, &script))
                    };
                    (0..20_000).for_each(|_| assert!(!writer.read().is_error()));
                    sender.join().expect("no panic").expect("the server takes it");
                }
                wave += 1;
            }
        });
        let _done = SetOnDrop(&done);
        for (match_pattern, count) in [("stays:*", 10), ("*", 100), ("*", 1_000)] {
            let mut found = HashSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = conn.run(&format!("SCAN {cursor} MATCH {match_pattern} COUNT {count}"));
                found.extend(reply.array()[1].array().iter().map(Value::text));
                cursor = reply.array()[0].text();
                if cursor == "0" {
                    break;
                }
            }
            let missing = (0..STAYING).filter(|i| !found.contains(&format!("stays:{i}"))).count();
            assert_eq!(
                missing, 0,
                "SCAN MATCH {match_pattern} COUNT {count} lost keys that were there throughout"
            );
        }
    });
}

/// Ends the writer even when the test fails in between: a scope waits for its threads.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn clients_are_listed_and_killed_across_workers(setup: Setup) {
    let server = setup.start(&[]);
    let mut conns = connections(&server);
    let ids: Vec<i64> = conns.iter_mut().map(|c| c.run("CLIENT ID").int()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), CONNECTIONS, "ids are unique over workers: {ids:?}");
    for (i, conn) in conns.iter_mut().enumerate() {
        assert_eq!(conn.run(&format!("CLIENT SETNAME conn-{i}")), Value::Simple("OK".into()));
    }
    let list = conns[0].run("CLIENT LIST").text();
    for (i, id) in ids.iter().enumerate() {
        let line = list
            .lines()
            .find(|l| l.starts_with(&format!("id={id} ")))
            .unwrap_or_else(|| panic!("{id} in {list}"));
        assert!(line.contains(&format!(" name=conn-{i} ")), "{line}");
    }
    let (killer, victims) = conns.split_first_mut().expect("there are sixteen");
    for (victim, id) in victims.iter_mut().zip(&ids[1..]) {
        assert_eq!(killer.run(&format!("CLIENT KILL ID {id}")), Value::Int(1));
        victim.expect_closed();
    }
    wait_until("the killed clients to leave the list", || {
        killer.run("CLIENT LIST").text().lines().count() == 1
    });
    assert_eq!(killer.run("CLIENT KILL ID 999999"), Value::Int(0));
}

fn a_pause_holds_writes_until_it_ends(setup: Setup) {
    let server = setup.start(&[]);
    let mut conns = connections(&server);
    let (pauser, others) = conns.split_first_mut().expect("there are sixteen");
    assert_eq!(pauser.run("SET k before"), Value::Simple("OK".into()));
    // Far longer than the test: only UNPAUSE ends it.
    assert_eq!(pauser.run("CLIENT PAUSE 10000000 WRITE"), Value::Simple("OK".into()));
    for conn in others.iter_mut() {
        assert_eq!(conn.run("GET k"), bulk("before"), "reads go on");
        conn.send(&encode(&["INCR", "n"]));
    }
    others[0].expect_silence(Duration::from_millis(300));
    assert_eq!(pauser.run("GET n"), Value::Nil);
    assert_eq!(pauser.run("CLIENT UNPAUSE"), Value::Simple("OK".into()));
    let mut counts: Vec<i64> = others.iter_mut().map(|conn| conn.read().int()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..CONNECTIONS as i64).collect::<Vec<_>>());
}
