//! Command lines and their replies, family by family; then what lines cannot show: batches, refused writes, statistics.

mod bitfield;
mod bits;
mod counters;
mod expiry;
mod generic;
mod items;
mod items_model;
mod model;
mod strings;

use super::*;
use crate::command::testing::{Client, QuietHost, play, script};
use crate::command::{Plan, PlanContext, plan};
use crate::store::Eviction;
use bumpalo::Bump;

/// As `script`, in RESP3.
#[track_caller]
fn resp3(lines: &[(&str, &str)]) {
    let mut client = Client::new();
    client.session.resp3 = true;
    play(&mut client, lines);
}

#[test]
fn time_passes() {
    script(&[
        ("SET k v EX 10", "+OK"),
        ("@+9499", ""),
        ("TTL k", ":1"),
        ("@+2", ""),
        ("TTL k", ":0"),
        ("PTTL k", ":499"),
        ("@+498", ""),
        ("GET k", "$1 v"),
        ("@+1", ""),
        ("GET k", "$-1"),
        ("TTL k", ":-2"),
        ("SET k w NX PX 5", "+OK"),
        ("@+5", ""),
        ("SET k w XX", "$-1"),
        ("INCR k", ":1"),
        ("TTL k", ":-1"),
    ]);
}

/// Redis 8.4 has these, Valkey does not.
#[test]
fn conditions_by_difference_and_digest() {
    script(&[
        ("DIGEST k", "$-1"),
        ("SET k hello IFNE hello", "+OK"),
        ("SET k world IFNE hello", "$-1"),
        ("DIGEST k", "$16 9555e8555c62dcfd"),
        ("SET k world IFDEQ 9555E8555C62DCFD GET", "$5 hello"),
        ("SET k again IFDEQ 9555e8555c62dcfd", "$-1"),
        ("SET k again IFDNE 9555e8555c62dcfd", "+OK"),
        ("SET k x IFDEQ 12", "-ERR must be exactly 16 hexadecimal characters"),
        ("SET k x IFNE a IFNE b", "-ERR syntax error"),
        ("SET new x IFDEQ 9555e8555c62dcfd", "$-1"),
        ("SET new x IFDNE 9555e8555c62dcfd", "+OK"),
        ("DELEX k IFEQ x", ":0"),
        ("DELEX k IFNE again", ":0"),
        ("DELEX k IFNE x", ":1"),
        ("DELEX k IFNE x", ":0"),
        ("DELEX new", ":1"),
        ("DELEX new", ":0"),
        ("DELEX new IFEQ", "-ERR wrong number of arguments for 'delex' command"),
        ("DELEX new FOO x", "-ERR syntax error"),
        ("SET h hello", "+OK"),
        ("DELEX h IFDNE 9555e8555c62dcfd", ":0"),
        ("DELEX h IFDEQ 9555e8555c62dcfd", ":1"),
    ]);
}

#[test]
fn values_of_every_size_come_back() {
    let mut client = Client::new();
    for len in [0, 1, PIN_THRESHOLD - 1, PIN_THRESHOLD, 100_000, 131_072, 131_073, 1 << 20, 3 << 20] {
        let value: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        assert_eq!(client.run_args(&[b"SET", b"k", &value]), b"+OK\r\n");
        let bulk = |value: &[u8]| {
            let mut reply = format!("${}\r\n", value.len()).into_bytes();
            reply.extend_from_slice(value);
            reply.extend_from_slice(b"\r\n");
            reply
        };
        assert_eq!(client.run_args(&[b"GET", b"k"]), bulk(&value), "{len}");
        assert_eq!(client.run_args(&[b"MGET", b"k"]), [b"*1\r\n".to_vec(), bulk(&value)].concat(), "{len}");
        let part = value.get(1..).unwrap_or_default();
        assert_eq!(client.run_args(&[b"GETRANGE", b"k", b"1", b"-1"]), bulk(part), "{len}");
        assert_eq!(client.run_args(&[b"GETSET", b"k", b"other"]), bulk(&value), "{len}");
        assert_eq!(client.run_args(&[b"SET", b"k", &value, b"GET"]), bulk(b"other"), "{len}");
        assert_eq!(client.run_args(&[b"MOVE", b"k", b"1"]), b":1\r\n", "{len}");
        client.session.db = 1;
        assert_eq!(client.run_args(&[b"APPEND", b"k", b"!"]), format!(":{}\r\n", len + 1).into_bytes());
        assert_eq!(client.run_args(&[b"GETDEL", b"k"]), bulk(&[&value[..], b"!"].concat()), "{len}");
        client.session.db = 0;
    }
}

#[test]
fn a_batch_runs_in_order_and_counts() {
    let mut client = Client::new();
    client.run("SET n 5");
    let lines: &[&[&[u8]]] = &[
        &[b"GET", b"n"],
        &[b"INCR", b"n"],
        &[b"GET", b"n"],
        &[b"APPEND", b"n", b"0"],
        &[b"DEL", b"n"],
        &[b"GET", b"n"],
    ];
    let (bump, mut scratch) = (Bump::new(), Scratch::default());
    let ctx = PlanContext {
        store: &client.store,
        buffer: None,
        bump: &bump,
        session: &client.session,
        host: &QuietHost,
        paused: None,
        held: false,
        now_ms: client.now_ms,
    };
    let mut requests: Vec<Request<'_>> = lines
        .iter()
        .map(|args| match plan(args, &ctx, &mut client.stats) {
            Plan::Keyed(request) => request,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut partition = client.store.lock(client.store.partition_of(requests[0].key.hash));
    let order: Vec<u32> = (0..6).collect();
    let stats = &mut client.stats;
    assert_eq!(execute(&mut partition, &mut requests, &order, &mut scratch, stats, client.now_ms, true), 6);
    let value = |outcome: &Outcome| match outcome {
        Outcome::Value(span) => scratch.bytes[span.start as usize..][..span.len as usize].to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(&requests[0].outcome), b"5");
    assert_eq!(requests[1].outcome, Outcome::Int(6));
    assert_eq!(value(&requests[2].outcome), b"6");
    assert_eq!(requests[3].outcome, Outcome::Int(2));
    assert_eq!(requests[4].outcome, Outcome::Int(1));
    assert_eq!(requests[5].outcome, Outcome::Nil);
    assert_eq!((stats.hits, stats.misses, stats.errors), (2, 1, 0));
}

#[test]
fn hits_and_misses_are_counted_as_redis_counts_them() {
    // A command on a key that is there, and whether that is a hit. On a missing key it is a miss then.
    for (line, counts) in [
        ("GET k", true),
        ("MGET k", true),
        ("STRLEN k", true),
        ("GETRANGE k 0 1", true),
        ("EXISTS k", true),
        ("TOUCH k", true),
        ("TTL k", true),
        ("TYPE k", true),
        ("GETEX k", true),
        ("GETSET k 5", true),
        ("SET k 5 GET", true),
        ("BITCOUNT k", true),
        ("BITFIELD k GET u8 0", true),
        ("BITFIELD k SET u8 0 53", false),
        ("OBJECT ENCODING k", true),
        ("SET k 5", false),
        ("SETNX k 5", false),
        ("INCR k", false),
        ("APPEND k 1", false),
        ("EXPIRE k 100", false),
        ("PERSIST k", false),
        ("MEMORY USAGE k", false),
        ("DEL k", false),
    ] {
        let mut client = Client::new();
        client.run(line);
        assert_eq!((client.stats.hits, client.stats.misses), (0, counts.into()), "missing: {line}");
        client.run("SET k 5");
        client.run(line);
        assert_eq!((client.stats.hits, client.stats.misses), (counts.into(), counts.into()), "{line}");
    }
}

#[test]
fn values_over_the_limit_are_refused() {
    let mut client = Client::with(QuietHost, Eviction::Lru, 1000);
    let long = "x".repeat(1001);
    let too_large = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    for line in [
        format!("SET k {long}"),
        format!("SETEX k 100 {long}"),
        format!("APPEND k {long}"),
        "SETRANGE k 1000 x".to_owned(),
        "SETBIT k 8000 1".to_owned(),
        "BITFIELD k SET u8 7993 1".to_owned(),
    ] {
        assert_eq!(client.run(&line), too_large, "{line}");
        assert_eq!(client.run("EXISTS k"), ":0", "{line}");
    }
    assert_eq!(client.run("SETRANGE k 999 x"), ":1000");
    assert_eq!(client.run("APPEND k x"), too_large);
    assert_eq!(client.run("STRLEN k"), ":1000");
}
