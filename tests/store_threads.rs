//! Threads on one store: writers, readers that pin, a control thread that prepares memory, and a limit that moves.

use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// A value says whose it is, all along.
fn value(key: u32, version: u8, len: usize) -> Vec<u8> {
    let mut value = vec![key as u8 ^ version; len.max(8)];
    value[..4].copy_from_slice(&key.to_le_bytes());
    value[4] = version;
    value
}

fn is_value_of(key: u32, bytes: &[u8]) -> bool {
    bytes[..4] == key.to_le_bytes() && bytes[5..].iter().all(|b| *b == key as u8 ^ bytes[4])
}

fn write(store: &Store, key: u32, version: u8, len: usize) -> Result<(), WriteError> {
    let (name, value) = (key.to_be_bytes(), value(key, version, len));
    let name = store.key(0, &name);
    let partition = store.partition_of(name.hash);
    let large = if len > store.large_threshold() { Some(store.large_value(&value)?) } else { None };
    loop {
        let value = large.clone().map_or(Value::Inline(&value), Value::Large);
        let result = store.lock(partition).set(&name, value, Expiry::None, 0);
        match result {
            Err(WriteError::NeedsRoom) => store.make_room(len)?,
            result => return result,
        }
    }
}

fn stress(eviction: Eviction) {
    let config = StoreConfig {
        partitions: 4,
        eviction,
        max_value_size: 4 * MIB,
        prefault: false,
        seeds: [3, 1, 4, 1],
    };
    let store = Arc::new(Store::new(config, Arc::new(Budget::new(48 * MIB))).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, writes) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            let (store, stop, writes) = (&store, &stop, &writes);
            scope.spawn(move || {
                let mut n = thread;
                while !stop.load(Relaxed) {
                    n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let len = match n >> 24 {
                        0 => 500_000,
                        1..=8 => 20_000,
                        _ => (n >> 16 & 0x3ff) as usize,
                    };
                    if write(store, n >> 8 & 0x1_ffff, n as u8, len).is_ok() {
                        writes.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut pins = Vec::new();
            let mut n = 9u32;
            while !stop.load(Relaxed) {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let key = n >> 8 & 0x1_ffff;
                let name = key.to_be_bytes();
                let name = store.key(0, &name);
                let pin = store.lock(store.partition_of(name.hash)).get(&name, 0).map(|entry| entry.pin());
                if let Some(pin) = pin {
                    assert!(is_value_of(key, &pin));
                    reads.fetch_add(1, Relaxed);
                    pins.push((key, pin));
                }
                if pins.len() > 20 {
                    assert!(pins.iter().all(|(key, pin)| is_value_of(*key, pin)), "a pin changed");
                    pins.drain(..15);
                }
            }
        });
        scope.spawn(|| {
            let mut turn = 0;
            while !stop.load(Relaxed) {
                store.prefault_step();
                store.lock(turn % 4).maintain(0);
                turn += 1;
                if turn % 500 == 0 {
                    store.budget().set_limit([48, 24, 40][turn / 500 % 3] * MIB);
                }
            }
        });
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1500) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Relaxed);
    });
    assert!(reads.load(Relaxed) > 1000 && writes.load(Relaxed) > 1000, "{reads:?} {writes:?}");
    store.budget().set_limit(24 * MIB);
    for turn in 0..100_000 {
        store.lock(turn % 4).maintain(0);
        store.prefault_step();
    }
    if eviction != Eviction::None {
        assert!(store.budget().used() <= 24 * MIB, "{:?}", store.budget());
    }
    let budget = store.budget().clone();
    drop(store);
    assert_eq!(budget.used(), 0);
}

#[test]
fn values_stay_whole_under_lru() {
    stress(Eviction::Lru);
}

#[test]
fn values_stay_whole_under_s3_fifo() {
    stress(Eviction::S3Fifo);
}

#[test]
fn values_stay_whole_without_eviction() {
    stress(Eviction::None);
}
