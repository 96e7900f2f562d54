//! The store by itself, in one thread: what a read and a write cost, one by one and in batches, with little and with much data.
//!
//!     cargo bench --bench store            all of it: the largest store takes 1.3 GiB
//!     cargo bench --bench store -- get/16  what matches
//!
//! Figures on a shared machine drift by a third from minute to minute: compare runs of the same minute.

mod support;

use kv_server::store::{Eviction, Expiry, Key, Partition, PartitionGuard, Store, Value};
use std::hint::black_box;
use std::sync::Arc;
use support::{Random, VALUE, Work, fill, name, set, store};

/// Names in random order. Ready beforehand, as keys are in a receive buffer: a key assembled just before it is hashed makes the
/// processor wait until those stores have retired, behind all earlier cache misses, which then no longer overlap.
const NAMES: usize = 1 << 20;
/// Operations under one hold of the lock.
const HOLD: usize = 32;

fn main() {
    let mut works = Vec::new();
    for (label, items) in [("100k", 100_000), ("4M", 4_000_000), ("10M", 10_000_000)] {
        works.push(work(&format!("get/1/{label}"), items, get_singly));
        works.push(work(&format!("set/1/{label}"), items, set_singly));
        works.push(work(&format!("get/16/{label}"), items, get_batch::<16>));
        works.push(work(&format!("get/32/{label}"), items, get_batch::<32>));
        works.push(work(&format!("set/16/{label}"), items, set_batch::<16>));
        works.push(work(&format!("set/32/{label}"), items, set_batch::<32>));
        works.push(work(&format!("resize/32/{label}"), items, resize_batch));
    }
    works.push(Work { name: "evict/1/512MiB".into(), operations: HOLD as u64, prepare: Box::new(evicting) });
    works.push(Work { name: "expire/128".into(), operations: 128, prepare: Box::new(expiring) });
    support::run(works);
}

type Call = fn(&Store, &[[u8; 16]]);

/// One call makes [`HOLD`] operations.
fn work(label: &str, items: u64, call: Call) -> Work {
    let prepare = move || -> Box<dyn FnMut()> {
        let store = filled(items);
        let mut random = Random(1);
        let names: Vec<[u8; 16]> = (0..NAMES).map(|_| name(random.below(items))).collect();
        let mut at = 0;
        Box::new(move || {
            call(&store, &names[at..at + HOLD]);
            at = (at + HOLD) % NAMES;
        })
    };
    Work { name: label.into(), operations: HOLD as u64, prepare: Box::new(prepare) }
}

fn filled(items: u64) -> Arc<Store> {
    let store = store(4 << 30, 1, Eviction::Lru);
    fill(&store, items);
    store
}

fn get_singly(store: &Store, names: &[[u8; 16]]) {
    let mut partition = store.lock(0);
    for name in names {
        read(&mut partition, &store.key(0, name));
    }
}

fn read(partition: &mut Partition, key: &Key<'_>) {
    let entry = partition.get(key, 0).expect("present");
    black_box(entry.value[0]);
}

fn set_singly(store: &Store, names: &[[u8; 16]]) {
    let mut partition = store.lock(0);
    for name in names {
        write(&mut partition, &store.key(0, name), VALUE);
    }
}

fn write(partition: &mut Partition, key: &Key<'_>, len: usize) {
    partition.set(key, Value::Inline(&[8; VALUE * 2][..len]), Expiry::None, 0).expect("room");
}

fn get_batch<const N: usize>(store: &Store, names: &[[u8; 16]]) {
    for names in names.chunks_exact(N) {
        let (keys, mut partition) = fetched::<N>(store, names);
        keys.iter().for_each(|key| read(&mut partition, key));
    }
}

fn set_batch<const N: usize>(store: &Store, names: &[[u8; 16]]) {
    for names in names.chunks_exact(N) {
        let (keys, mut partition) = fetched::<N>(store, names);
        keys.iter().for_each(|key| write(&mut partition, key, VALUE));
    }
}

/// Values of another size each time: no item can be overwritten where it lies.
fn resize_batch(store: &Store, names: &[[u8; 16]]) {
    let (keys, mut partition) = fetched::<HOLD>(store, names);
    for (n, key) in keys.iter().enumerate() {
        write(&mut partition, key, VALUE - 4 + (usize::from(names[n][15]) + n) % 3 * 4);
    }
}

/// The keys of a batch, their buckets and items on their way into the cache.
fn fetched<'a, const N: usize>(
    store: &'a Store,
    names: &'a [[u8; 16]],
) -> ([Key<'a>; N], PartitionGuard<'a>) {
    let keys: [_; N] = std::array::from_fn(|n| store.key(0, &names[n]));
    let partition = store.lock(0);
    keys.iter().for_each(|key| partition.prefetch_bucket(key.hash));
    keys.iter().for_each(|key| partition.prefetch_item(key.hash));
    (keys, partition)
}

/// New keys into a full store of 512 MiB.
fn evicting() -> Box<dyn FnMut()> {
    let store = store(512 << 20, 4, Eviction::Lru);
    let mut next = 0;
    let mut write = move || {
        for _ in 0..HOLD {
            set(&store, &name(next), &[7; VALUE], Expiry::None, 0);
            next += 1;
        }
        (0..4).for_each(|partition| _ = store.lock(partition).maintain(0));
    };
    (0..200_000).for_each(|_| write());
    Box::new(write)
}

/// 128 items are written and, when their time has come, swept.
fn expiring() -> Box<dyn FnMut()> {
    let store = store(512 << 20, 1, Eviction::Lru);
    let mut now_ms = 0;
    Box::new(move || {
        now_ms += 2_000;
        (0..128).for_each(|n| set(&store, &name(n), &[7; VALUE], Expiry::At(now_ms + 500), now_ms));
        now_ms += 2_000;
        while store.lock(0).maintain(now_ms) {}
        assert_eq!(store.lock(0).stats().items[0], 0);
    })
}
