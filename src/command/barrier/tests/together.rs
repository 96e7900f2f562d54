//! What others see of a command on several keys: all of it or nothing, whoever else is at work and however full the store is.

use super::fake_host::FakeHost;
use crate::command::testing::{BEGIN_MS, Client, play};
use crate::command::{CommandStats, Context, Flow, barrier};
use crate::conn::Session;
use crate::proto::ReplyBuf;
use crate::proto::resp::Writer;
use crate::store::{Budget, Eviction, Store, StoreConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A store of a few megabytes.
fn small_store(eviction: Eviction, max_memory: usize) -> Store {
    let config = StoreConfig {
        partitions: 4,
        eviction,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [5, 6, 7, 8],
    };
    Store::new(config, Arc::new(Budget::new(max_memory))).unwrap()
}

type Run = fn(&[&[u8]], &mut Context<'_>, &mut Writer<'_>) -> Flow;

/// Runs one command on a store that others use too.
fn run(store: &Store, command: Run, args: &[&[u8]]) -> Vec<u8> {
    let (host, mut session) = (FakeHost::default(), Session::new(1, true));
    let mut stats = CommandStats::default();
    let mut ctx = Context {
        store,
        session: &mut session,
        host: &host,
        stats: &mut stats,
        scripts: None,
        held: None,
        now_ms: BEGIN_MS,
    };
    let mut out = ReplyBuf::default();
    command(args, &mut ctx, &mut Writer::new(&mut out, false));
    out.bytes
}

const KEYS: usize = 12;

fn names() -> Vec<String> {
    (0..KEYS).map(|n| format!("key:{n}")).collect()
}

/// `command`, then each key, followed by `value` if there is one.
fn line<'a>(command: &'a [u8], names: &'a [String], value: Option<&'a [u8]>) -> Vec<&'a [u8]> {
    let mut args = vec![command];
    for name in names {
        args.push(name.as_bytes());
        args.extend(value);
    }
    args
}

#[test]
fn several_keys_change_as_one() {
    let store = small_store(Eviction::Lru, 32 << 20);
    let names = names();
    run(&store, barrier::mset, &line(b"MSET", &names, Some(b"0")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (store, names, done) = (&store, &names, &done);
            scope.spawn(move || {
                // One writer goes through the keys backwards: the order of locking must not depend on it.
                let names: Vec<String> =
                    if writer == 0 { names.clone() } else { names.iter().rev().cloned().collect() };
                for round in 0..4000_u32 {
                    let value = format!("{writer}:{round}");
                    run(store, barrier::mset, &line(b"MSET", &names, Some(value.as_bytes())));
                }
                done.store(true, Relaxed);
            });
        }
        let mut looks = 0;
        while !done.load(Relaxed) || looks < 100 {
            let reply = run(&store, barrier::mget, &line(b"MGET", &names, None));
            let reply = String::from_utf8(reply).unwrap();
            let values: Vec<&str> = reply.split("\r\n").skip(2).step_by(2).collect();
            assert_eq!(values.len(), KEYS);
            assert!(values.iter().all(|value| *value == values[0]), "torn: {values:?}");
            looks += 1;
        }
    });
}

#[test]
fn a_renamed_key_is_never_away() {
    let store = small_store(Eviction::Lru, 32 << 20);
    run(&store, barrier::mset, &[b"MSET", b"here", b"1"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5000 {
                run(&store, barrier::rename, &[b"RENAME", b"here", b"there"]);
                run(&store, barrier::rename, &[b"RENAME", b"there", b"here"]);
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            assert_eq!(run(&store, barrier::exists, &[b"EXISTS", b"here", b"there"]), b":1\r\n");
        }
    });
}

#[test]
fn a_full_store_that_evicts_nothing_keeps_all_it_has() {
    let store = small_store(Eviction::None, 12 << 20);
    let names = names();
    run(&store, barrier::mset, &line(b"MSET", &names, Some(b"before")));
    let filler = vec![b'x'; 4000];
    let full = (0..10_000).any(|n| {
        let key = format!("filler:{n}");
        run(&store, barrier::mset, &[b"MSET", key.as_bytes(), &filler]).starts_with(b"-OOM")
    });
    assert!(full);
    // Too much for what is left: none of it may be written, and nothing be lost.
    let large = vec![b'y'; 16 << 10];
    let refused = (0..200).any(|_| {
        let reply = run(&store, barrier::mset, &line(b"MSET", &names, Some(&large)));
        let refused = reply == b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";
        assert!(refused || reply == b"+OK\r\n");
        if !refused {
            run(&store, barrier::mset, &line(b"MSET", &names, Some(b"before")));
        }
        refused
    });
    assert!(refused);
    let reply = String::from_utf8(run(&store, barrier::mget, &line(b"MGET", &names, None))).unwrap();
    assert_eq!(reply.matches("before").count(), KEYS);
}

#[test]
fn a_full_store_that_evicts_takes_whole_commands() {
    for eviction in [Eviction::Lru, Eviction::S3Fifo] {
        let store = small_store(eviction, 12 << 20);
        let names = names();
        let value = vec![b'x'; 8 << 10];
        for round in 0..500 {
            let names: Vec<String> = names.iter().map(|name| format!("{name}:{round}")).collect();
            let reply = run(&store, barrier::mset, &line(b"MSET", &names, Some(&value)));
            assert_eq!(reply, b"+OK\r\n", "round {round}");
            let reply = run(&store, barrier::exists, &line(b"EXISTS", &names, None));
            assert_eq!(reply, b":12\r\n", "round {round}");
        }
        assert!(store.budget().used() <= 12 << 20);
    }
}

#[test]
fn all_databases_are_emptied_at_once() {
    let mut client = Client::with(FakeHost::default(), Eviction::Lru, 1 << 20);
    client.store = small_store(Eviction::Lru, 12 << 20);
    play(
        &mut client,
        &[
            ("MSET a 1 b 2 c 3", "+OK"),
            ("SELECT 9", "+OK"),
            ("MSET a 1 b 2 c 3", "+OK"),
            ("FLUSHALL", "+OK"),
            ("MGET a b c", "*3 $-1 $-1 $-1"),
            ("MSET a 4 b 5", "+OK"),
            ("MGET a b c", "*3 $1 4 $1 5 $-1"),
            ("DBSIZE", ":2"),
        ],
    );
}
