//! The item operations, scene by scene, and what other protocols see of the items that they leave.

use super::*;
use crate::command::ops::{Count, Fetch, RemoveItem, StoreItem, StoreMode};
use crate::proto::{Form, Item, ItemValue};
use crate::store::{Budget, StoreConfig};
use std::sync::Arc;

/// Runs one operation as a worker would; with its item and the item's value, if it answers one.
pub fn ask(client: &mut Client, db: u8, key: &[u8], op: Op<'_>) -> (Outcome, Item, Vec<u8>) {
    let key = client.store.key(db, key);
    let form = Form::Resp { resp3: false, no_touch: false, origin: 0 };
    let mut requests = [Request { key, op, form, outcome: Outcome::Pending }];
    let mut scratch = Scratch::default();
    execute_now(&client.store, &mut requests, &mut scratch, &mut client.stats, client.now_ms);
    let [request] = requests;
    let outcome = request.outcome;
    let item =
        if let Outcome::Item(index) = outcome { scratch.items[index as usize] } else { Item::default() };
    assert_eq!(scratch.items.len(), usize::from(matches!(outcome, Outcome::Item(_))));
    let value = match (item.value, &outcome) {
        (ItemValue::Copied(span), _) | (_, &Outcome::Value(span)) => {
            scratch.bytes[span.start as usize..][..span.len as usize].to_vec()
        }
        (ItemValue::Pinned(index), _) | (_, &Outcome::Pinned(index)) => scratch.pins[index as usize].to_vec(),
        (ItemValue::None, _) => Vec::new(),
    };
    (outcome, item, value)
}

const BEGIN: u64 = crate::command::testing::BEGIN_MS;
const KEY: &[u8] = b"k";
const ALL: Fetch = Fetch {
    waits: false,
    value: true,
    cas: true,
    access: true,
    no_bump: false,
    bystander: false,
    filled: false,
    touch: None,
    vivify: None,
    recache_below_ms: None,
    new_cas: None,
};
/// Changes nothing and asks for no account.
const LOOK: Fetch = Fetch { cas: false, access: false, no_bump: true, bystander: true, ..ALL };

fn fetch(client: &mut Client, how: Fetch) -> Option<Item> {
    let (outcome, item, _) = ask(client, 0, KEY, Op::Fetch(&how));
    if outcome == Outcome::Nil {
        return None;
    }
    assert!(matches!(outcome, Outcome::Item(_)), "{outcome:?}");
    Some(Item { value: ItemValue::None, ..item })
}

/// The flags of a lease: X, W, Z.
fn marks(item: Item) -> (bool, bool, bool) {
    (item.stale, item.won, item.taken)
}

const SET: StoreItem = StoreItem {
    flags: 0,
    expiry: Expiry::None,
    mode: StoreMode::Set,
    compare: None,
    invalidate: false,
    new_cas: None,
    cas: false,
    vivify: None,
};

fn put(client: &mut Client, value: &[u8], how: StoreItem) -> (Outcome, Item) {
    let (outcome, item, _) = ask(client, 0, KEY, Op::Store { value: Payload::Inline(value), how: &how });
    (outcome, item)
}

fn store(client: &mut Client, value: &[u8], how: StoreItem) -> Outcome {
    put(client, value, how).0
}

fn remove(client: &mut Client, how: RemoveItem) -> Outcome {
    ask(client, 0, KEY, Op::Remove(&how)).0
}

#[test]
fn a_miss_is_leased_to_one() {
    let mut client = Client::new();
    let lease = Fetch { vivify: Some(Expiry::At(BEGIN + 30_000)), ..ALL };
    let first = fetch(&mut client, lease).unwrap();
    assert_eq!((marks(first), first.value_len), ((false, true, false), 0));
    assert_eq!(first.expire_at_ms, Some(BEGIN + 30_000));
    let second = fetch(&mut client, lease).unwrap();
    assert_eq!((marks(second), second.cas), ((false, false, true), first.cas));
    assert_eq!((client.stats.hits, client.stats.misses), (1, 1));
    // RESP knows of no leases: to it there is nothing.
    for (line, reply) in [
        ("GET k", "$-1"),
        ("EXISTS k", ":0"),
        ("EXISTS k k", ":0"),
        ("MGET k k", "*2 $-1 $-1"),
        ("STRLEN k", ":0"),
        ("TTL k", ":-2"),
        ("EXPIRE k 100", ":0"),
        ("PERSIST k", ":0"),
        ("TYPE k", "+none"),
        ("SET k v XX", "$-1"),
        ("RENAME k l", "-ERR no such key"),
        ("SCAN 0", "*2 $1 0 *0"),
        ("RANDOMKEY", "$-1"),
        ("GETDEL k", "$-1"),
    ] {
        assert_eq!(client.run(line), reply, "{line}");
    }
    let add = StoreItem { mode: StoreMode::Add, ..SET };
    assert_eq!(store(&mut client, b"v", add), Outcome::NotStored);
    // Filled under the lease's CAS; then it is an item as any.
    let fill = StoreItem { compare: Some(first.cas), ..SET };
    assert_eq!(store(&mut client, b"v", fill), Outcome::Ok);
    assert_eq!(store(&mut client, b"v", fill), Outcome::Exists);
    let read = fetch(&mut client, lease).unwrap();
    assert_eq!((marks(read), read.value_len, read.expire_at_ms), ((false, false, false), 1, None));
    assert_eq!(client.run("GET k"), "$1 v");
}

#[test]
fn a_lease_ends_by_its_expiry_or_by_any_write() {
    let lease = Fetch { vivify: Some(Expiry::At(BEGIN + 1000)), ..LOOK };
    for (line, left) in [
        ("SET k w KEEPTTL", Some("$1 w")),
        ("SETNX k w", Some("$1 w")),
        ("APPEND k w", Some("$1 w")),
        ("INCR k", Some("$1 1")),
        ("SETRANGE k 1 w", Some("$2 \0w")),
        ("MSETNX k w", Some("$1 w")),
        ("@+1000", None),
        ("DEL k", None),
        ("FLUSHDB", None),
    ] {
        let mut client = Client::new();
        assert!(fetch(&mut client, lease).unwrap().won);
        let reply = client.run(line);
        assert_eq!(reply == ":0", line == "DEL k", "{line}");
        assert_eq!(client.run("GET k"), left.unwrap_or("$-1"), "{line}");
        assert_eq!(client.run("TTL k"), if left.is_some() { ":-1" } else { ":-2" }, "{line}");
        let next = fetch(&mut client, Fetch { vivify: Some(Expiry::None), ..LOOK }).unwrap();
        assert_eq!(next.won, left.is_none(), "{line}");
    }
}

#[test]
fn what_is_invalidated_is_served_and_written_anew_by_one() {
    let mut client = Client::new();
    client.run("SET k old EX 100");
    let before = fetch(&mut client, ALL).unwrap();
    let stale =
        RemoveItem { invalidate: true, touch: Some(Expiry::At(BEGIN + 30_000)), ..RemoveItem::default() };
    assert_eq!(remove(&mut client, RemoveItem { compare: Some(before.cas + 1), ..stale }), Outcome::Exists);
    assert_eq!(remove(&mut client, stale), Outcome::Ok);
    // RESP reads on; memcached's plain get too, and it wins nothing.
    assert_eq!(client.run("GET k"), "$3 old");
    let get = fetch(&mut client, Fetch { bystander: true, ..ALL }).unwrap();
    assert_eq!((marks(get), get.expire_at_ms), ((true, false, false), Some(BEGIN + 30_000)));
    assert!(get.cas > before.cas);
    assert_eq!(marks(fetch(&mut client, ALL).unwrap()), (true, true, false));
    assert_eq!(marks(fetch(&mut client, ALL).unwrap()), (true, false, true));
    // Invalidated again: another may win.
    assert_eq!(remove(&mut client, stale), Outcome::Ok);
    assert_eq!(marks(fetch(&mut client, ALL).unwrap()), (true, true, false));
    // Written by somebody who read before it was invalidated: it comes too late to be fresh, and whose turn it is stays.
    let late = StoreItem { compare: Some(before.cas), invalidate: true, ..SET };
    assert_eq!(store(&mut client, b"late", late), Outcome::Ok);
    let read = fetch(&mut client, ALL).unwrap();
    assert_eq!((marks(read), read.value_len), ((true, false, true), 4));
    assert_eq!(read.expire_at_ms, Some(BEGIN + 30_000));
    let future = StoreItem { compare: Some(read.cas + 1), ..late };
    assert_eq!(store(&mut client, b"late", future), Outcome::Exists);
    assert_eq!(store(&mut client, b"new", StoreItem { compare: Some(read.cas), ..SET }), Outcome::Ok);
    assert_eq!(marks(fetch(&mut client, ALL).unwrap()), (false, false, false));
    // A CAS from before an item that keeps none is older than it.
    client.run("SET k plain");
    let late = StoreItem { compare: Some(read.cas), invalidate: true, ..SET };
    assert_eq!(store(&mut client, b"late", StoreItem { invalidate: false, ..late }), Outcome::Exists);
    assert_eq!(store(&mut client, b"late", late), Outcome::Ok);
    assert_eq!(marks(fetch(&mut client, LOOK).unwrap()), (true, false, false));
}

#[test]
fn an_item_that_nears_its_end_is_recached_by_one() {
    let mut client = Client::new();
    client.run("SET k v EX 100");
    let how = Fetch { recache_below_ms: Some(30_000), ..LOOK };
    let how = Fetch { bystander: false, ..how };
    assert_eq!(marks(fetch(&mut client, how).unwrap()), (false, false, false));
    client.run("@+70001");
    assert_eq!(marks(fetch(&mut client, how).unwrap()), (false, true, false));
    assert_eq!(marks(fetch(&mut client, how).unwrap()), (false, false, true));
    client.run("SET k v");
    assert_eq!(marks(fetch(&mut client, how).unwrap()), (false, false, false), "it never expires");
}

#[test]
fn a_cas_changes_with_every_change_but_a_touch() {
    let mut client = Client::new();
    client.run("SET k 5 EX 100");
    let mut seen = vec![fetch(&mut client, ALL).unwrap().cas];
    assert_ne!(seen[0], 0);
    assert_eq!(fetch(&mut client, ALL).unwrap().cas, seen[0]);
    for line in [
        "SET k 5",
        "INCR k",
        "APPEND k 1",
        "SETRANGE k 0 7",
        "SETBIT k 7 1",
        "EXPIRE k 100",
        "EXPIRE k 100",
        "PERSIST k",
        "GETEX k EX 50",
        "INCRBYFLOAT k 0.5",
        "SET k 6 KEEPTTL",
    ] {
        client.run(line);
        let cas = fetch(&mut client, ALL).unwrap().cas;
        assert!(!seen.contains(&cas), "{line}");
        seen.push(cas);
    }
    let last = seen[seen.len() - 1];
    for touch in [Expiry::At(BEGIN + 7000), Expiry::At(BEGIN + 9_000_000), Expiry::None] {
        let touched = fetch(&mut client, Fetch { touch: Some(touch), ..ALL }).unwrap();
        assert_eq!(touched.cas, last);
        assert_eq!(touched.expire_at_ms, if let Expiry::At(at) = touch { Some(at) } else { None });
        let before = touched.expire_at_ms;
        let then = Item { hit_before: true, expire_at_ms_before: before, ..touched };
        assert_eq!(fetch(&mut client, ALL), Some(then));
    }
    // One that ends it is still answered.
    let end = Fetch { touch: Some(Expiry::At(BEGIN)), ..ALL };
    assert_eq!(fetch(&mut client, end).map(|item| item.value_len), Some(1));
    assert_eq!(fetch(&mut client, ALL), None);
}

#[test]
fn versions_for_optimistic_locking() {
    let mut client = Client::new();
    client.run("SET k v");
    let version = |client: &Client| {
        let key = client.store.key(0, KEY);
        let mut partition = client.store.lock(client.store.partition_of(key.hash));
        let known = partition.known_version(&key, client.now_ms);
        (known, partition.version(&key, client.now_ms).unwrap())
    };
    let (known, first) = version(&client);
    assert_eq!(known, Some(0), "never asked for");
    assert_eq!(version(&client), (first, first));
    client.run("GET k");
    assert_eq!(version(&client), (first, first));
    client.run("SET k v");
    let (known, second) = version(&client);
    assert_eq!(known, Some(0));
    assert!(second > first);
    client.run("DEL k");
    assert_eq!(version(&client), (None, None));
    fetch(&mut client, Fetch { vivify: Some(Expiry::None), ..ALL });
    assert_eq!(version(&client), (None, None), "a placeholder is nothing to RESP");
}

#[test]
fn modes_of_writing() {
    let mut client = Client::new();
    let how = |mode| StoreItem { mode, flags: 9, ..SET };
    assert_eq!(store(&mut client, b"a", how(StoreMode::Replace)), Outcome::NotStored);
    assert_eq!(store(&mut client, b"a", how(StoreMode::Append)), Outcome::NotStored);
    let compared = StoreItem { compare: Some(1), ..how(StoreMode::Set) };
    assert_eq!(store(&mut client, b"a", compared), Outcome::Nil);
    assert_eq!(store(&mut client, b"a", StoreItem { mode: StoreMode::Replace, ..compared }), Outcome::Nil);
    let expiry = Some(Expiry::At(BEGIN + 5000));
    let vivified = StoreItem { vivify: expiry, ..how(StoreMode::Prepend) };
    assert_eq!(store(&mut client, b"mid", vivified), Outcome::Ok);
    assert_eq!(store(&mut client, b"a", how(StoreMode::Add)), Outcome::NotStored);
    assert_eq!(store(&mut client, b"-end", StoreItem { flags: 1, ..how(StoreMode::Append) }), Outcome::Ok);
    assert_eq!(store(&mut client, b"begin-", StoreItem { flags: 1, ..how(StoreMode::Prepend) }), Outcome::Ok);
    assert_eq!(client.run("GET k"), "$13 begin-mid-end");
    let read = fetch(&mut client, LOOK).unwrap();
    assert_eq!((read.flags, read.expire_at_ms), (9, Some(BEGIN + 5000)));
    assert_eq!(store(&mut client, b"a", compared), Outcome::Exists);
    let cas = fetch(&mut client, ALL).unwrap().cas;
    let append = StoreItem { compare: Some(cas), cas: true, ..how(StoreMode::Append) };
    let (outcome, appended) = put(&mut client, b"!", append);
    assert!(matches!(outcome, Outcome::Item(_)));
    assert!(appended.cas > cas && appended.value_len == 14 && appended.flags == 9);
    assert_eq!(store(&mut client, b"!", append), Outcome::Exists);
    // Its own CAS, and an end to flags and expiry.
    let own = StoreItem { new_cas: Some(77), cas: true, flags: 0, ..how(StoreMode::Replace) };
    assert_eq!(put(&mut client, b"z", own).1.cas, 77);
    let read = fetch(&mut client, ALL).unwrap();
    assert_eq!((read.cas, read.flags, read.expire_at_ms, read.value_len), (77, 0, None, 1));
    // A time that is over.
    assert_eq!(store(&mut client, b"z", StoreItem { expiry: Expiry::At(BEGIN), ..SET }), Outcome::Ok);
    assert_eq!(fetch(&mut client, ALL), None);
}

#[test]
fn removing() {
    let mut client = Client::new();
    assert_eq!(remove(&mut client, RemoveItem::default()), Outcome::Nil);
    let how = StoreItem { flags: 3, cas: true, expiry: Expiry::At(BEGIN + 1000), ..SET };
    let cas = put(&mut client, b"value", how).1.cas;
    let wrong = RemoveItem { compare: Some(cas - 1), ..RemoveItem::default() };
    assert_eq!(remove(&mut client, wrong), Outcome::Exists);
    assert_eq!(remove(&mut client, RemoveItem { drop_value: true, ..RemoveItem::default() }), Outcome::Ok);
    let read = fetch(&mut client, ALL).unwrap();
    assert_eq!((read.value_len, read.flags, read.expire_at_ms), (0, 0, Some(BEGIN + 1000)));
    assert_eq!(client.run("GET k"), "$0 ", "empty, but there");
    let both = RemoveItem { drop_value: true, invalidate: true, new_cas: Some(5), ..RemoveItem::default() };
    assert_eq!(remove(&mut client, both), Outcome::Ok);
    let read = fetch(&mut client, ALL).unwrap();
    assert_eq!((marks(read), read.cas), ((true, true, false), 5));
    assert_eq!(remove(&mut client, RemoveItem { compare: Some(5), ..RemoveItem::default() }), Outcome::Ok);
    assert_eq!(fetch(&mut client, ALL), None);
    // A plain item has no CAS to compare with.
    client.run("SET k v");
    assert_eq!(
        remove(&mut client, RemoveItem { compare: Some(5), ..RemoveItem::default() }),
        Outcome::Exists
    );
    assert_eq!(remove(&mut client, RemoveItem::default()), Outcome::Ok);
}

#[test]
fn counting() {
    let mut client = Client::new();
    let up =
        Count { delta: 1, down: false, create: None, touch: None, compare: None, new_cas: None, cas: false };
    let count = |client: &mut Client, how: Count| {
        let (outcome, item, value) = ask(client, 0, KEY, Op::Count(&how));
        (outcome, item, String::from_utf8(value).unwrap())
    };
    assert_eq!(count(&mut client, up).0, Outcome::Nil);
    let create = Count { create: Some((7, Expiry::At(BEGIN + 1000))), compare: Some(1), ..up };
    assert_eq!(count(&mut client, create).2, "7");
    assert_eq!(client.run("PTTL k"), ":1000");
    assert_eq!(count(&mut client, up).2, "8");
    assert_eq!(count(&mut client, Count { down: true, delta: 9, ..up }).2, "0");
    store(&mut client, b"18446744073709551615", StoreItem { flags: 6, ..SET });
    let (_, item, digits) = count(&mut client, Count { delta: 3, cas: true, ..up });
    assert_eq!((digits.as_str(), item.flags, item.value_len), ("2", 6, 1));
    assert_eq!(count(&mut client, Count { compare: Some(item.cas + 1), ..up }).0, Outcome::Exists);
    let touched = Count { compare: Some(item.cas), touch: Some(Expiry::At(BEGIN + 9000)), ..up };
    let (_, item, digits) = count(&mut client, touched);
    assert_eq!((digits.as_str(), item.expire_at_ms, item.cas), ("3", Some(BEGIN + 9000), 0));
    assert_eq!(client.run("PTTL k"), ":9000");
    assert_eq!(count(&mut client, Count { new_cas: Some(4), cas: true, ..up }).1.cas, 4);
    let end = Count { touch: Some(Expiry::At(BEGIN)), ..up };
    assert_eq!(count(&mut client, end).2, "5");
    assert_eq!(count(&mut client, up).0, Outcome::Nil);
    for value in
        ["", " ", "-1", "+1", " 1", "1 1", "1\n", "1.0", "184467440737095516150", "18446744073709551616", "x"]
    {
        store(&mut client, value.as_bytes(), SET);
        assert_eq!(count(&mut client, up).0, Outcome::NotANumber, "{value:?}");
    }
    store(&mut client, b"99  ", SET);
    assert_eq!(count(&mut client, up).2, "100");
    assert_eq!(client.run("GET k"), "$3 100");
}

#[test]
fn an_account_of_use_begins_when_it_is_asked_for() {
    let mut client = Client::new();
    client.run("SET k v");
    client.run("@+5000");
    let first = fetch(&mut client, ALL).unwrap();
    assert!(!first.hit_before);
    client.run("@+3000");
    let second = fetch(&mut client, Fetch { no_bump: true, ..ALL }).unwrap();
    assert_eq!((second.hit_before, second.idle_s), (true, 3));
    client.run("@+2000");
    assert_eq!(client.run("GET k"), "$1 v");
    client.run("@+1000");
    assert_eq!(fetch(&mut client, ALL).unwrap().idle_s, 1, "other protocols' reads count");
    store(&mut client, b"w", SET);
    client.run("@+4000");
    let read = fetch(&mut client, ALL).unwrap();
    assert_eq!((read.hit_before, read.idle_s), (false, 4), "a new value has not been read");
}

#[test]
fn memory_is_taken_for_what_is_used() {
    let mut client = Client::new();
    let key = [b'k'; 16];
    let usage = |client: &mut Client| {
        let reply = client.run(&format!("MEMORY USAGE {}", "k".repeat(16)));
        reply[1..].parse::<usize>().unwrap()
    };
    let value = [b'v'; 64];
    client.run_args(&[b"SET", &key, &value]);
    let plain = usage(&mut client);
    assert_eq!(plain, 6 + 16 + 64 + 2 + 9, "header, key, value, padding, share of the index");
    let how = &StoreItem { flags: 1, ..SET };
    ask(&mut client, 0, &key, Op::Store { value: Payload::Inline(&value), how });
    assert_eq!(usage(&mut client), plain + 4);
    ask(&mut client, 0, &key, Op::Fetch(&ALL));
    assert_eq!(usage(&mut client), plain + 16, "17 bytes, one of them in what was padding");
    client.run_args(&[b"SET", &key, &value]);
    assert_eq!(usage(&mut client), plain);
    let live: u64 = (0..4).map(|p| client.store.lock(p).stats().live_bytes).sum();
    assert_eq!(live as usize, plain - 9);
}

#[test]
fn other_databases_and_large_values_have_it_all() {
    let mut client = Client::new();
    for (db, len) in [(0, 10), (3, 10), (0, 300_000), (3, 300_000)] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let value = match client.store.large_value(&bytes) {
            Ok(large) if len > client.store.large_threshold() => Payload::Large(Box::new(large)),
            _ => Payload::Inline(&bytes),
        };
        let how = StoreItem { flags: u32::MAX, expiry: Expiry::At(BEGIN + 100), ..SET };
        assert_eq!(ask(&mut client, db, KEY, Op::Store { value, how: &how }).0, Outcome::Ok);
        let (_, read, got) = ask(&mut client, db, KEY, Op::Fetch(&ALL));
        assert_eq!((read.flags, read.expire_at_ms, &got), (u32::MAX, Some(BEGIN + 100), &bytes));
        let append = StoreItem { compare: Some(read.cas), cas: true, mode: StoreMode::Append, ..SET };
        let appended = ask(&mut client, db, KEY, Op::Store { value: Payload::Inline(b"!"), how: &append }).1;
        let (_, read, got) = ask(&mut client, db, KEY, Op::Fetch(&ALL));
        assert_eq!((read.cas, read.flags, got), (appended.cas, u32::MAX, [&bytes[..], b"!"].concat()));
        let gone = RemoveItem { compare: Some(read.cas), ..RemoveItem::default() };
        assert_eq!(ask(&mut client, db, KEY, Op::Remove(&gone)).0, Outcome::Ok);
    }
}

#[test]
fn flags_go_with_a_value_to_another_key() {
    let mut client = Client::new();
    store(&mut client, b"v", StoreItem { flags: 12, ..SET });
    for (line, db, key) in [("RENAME k l", 0, "l"), ("COPY l m", 0, "m"), ("MOVE m 5", 5, "m")] {
        client.run(line);
        let (_, item, value) = ask(&mut client, db, key.as_bytes(), Op::Fetch(&LOOK));
        assert_eq!((item.flags, &value[..]), (12, &b"v"[..]), "{line}");
    }
    // RESP's own writes: changes keep them, a new value has none.
    client.run("APPEND l x");
    assert_eq!(ask(&mut client, 0, b"l", Op::Fetch(&LOOK)).1.flags, 12);
    client.run("SET l x KEEPTTL");
    assert_eq!(ask(&mut client, 0, b"l", Op::Fetch(&LOOK)).1.flags, 0);
}

/// With eviction off and no memory left a reader is still served; its CAS is one that nothing equals.
#[test]
fn without_memory_for_an_account_an_item_is_read_all_the_same() {
    let mut client = Client::new();
    let config = StoreConfig {
        partitions: 1,
        eviction: Eviction::None,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    client.store = crate::store::Store::new(config, Arc::new(Budget::new(512 << 10))).unwrap();
    client.run("SET k v");
    for len in [4000, 400, 40, 4, 0] {
        for n in 0.. {
            let key = format!("{len}-{n}");
            if client.run_args(&[b"SET", key.as_bytes(), &vec![b'x'; len]]) != b"+OK\r\n" {
                break;
            }
        }
    }
    let read = fetch(&mut client, ALL).unwrap();
    assert_ne!(read.cas, 0);
    let compared = StoreItem { compare: Some(read.cas), ..SET };
    assert_eq!(store(&mut client, b"w", compared), Outcome::Exists);
    let lease = Fetch { vivify: Some(Expiry::None), ..ALL };
    let (outcome, ..) = ask(&mut client, 0, b"another", Op::Fetch(&lease));
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

/// The short way and the long one see the same, whatever the item keeps.
#[test]
fn get_item_is_a_short_fetch() {
    let mut client = Client::new();
    client.run("SET plain value");
    let scene = |op: Op<'static>| {
        let mut scratch = Scratch::default();
        let key = client.store.key(0, b"plain");
        let form = Form::Json;
        let mut requests = [Request { key, op, form, outcome: Outcome::Pending }];
        let mut stats = client.stats.clone();
        execute_now(&client.store, &mut requests, &mut scratch, &mut stats, client.now_ms);
        let [request] = requests;
        let read = match request.outcome {
            Outcome::Value(span) => (0, span),
            Outcome::Item(index) => match scratch.items[index as usize] {
                Item { flags, value: ItemValue::Copied(span), .. } => (flags, span),
                item => panic!("{item:?}"),
            },
            other => return format!("{other:?}"),
        };
        let value = &scratch.bytes[read.1.start as usize..][..read.1.len as usize];
        format!("{} {} {}", read.0, value.escape_ascii(), stats.hits)
    };
    assert_eq!(scene(Op::GetItem), "0 value 1");
    static FLAGGED: StoreItem = StoreItem {
        flags: 7,
        expiry: Expiry::None,
        mode: StoreMode::Set,
        compare: None,
        invalidate: false,
        new_cas: None,
        cas: false,
        vivify: None,
    };
    let value = Payload::Inline(b"other");
    assert_eq!(scene(Op::Store { value, how: &FLAGGED }), "Ok");
    assert_eq!(scene(Op::GetItem), "7 other 1");
    // From here on it keeps an account.
    static ACCOUNT: Fetch = Fetch {
        waits: false,
        value: true,
        cas: true,
        access: true,
        no_bump: false,
        bystander: true,
        filled: false,
        touch: None,
        vivify: None,
        recache_below_ms: None,
        new_cas: None,
    };
    assert_eq!(scene(Op::Fetch(&ACCOUNT)), "7 other 1");
    assert_eq!(scene(Op::GetItem), "7 other 1");
    assert_eq!(scene(Op::Del), "Int(1)");
    assert_eq!(scene(Op::GetItem), "Nil");
}
