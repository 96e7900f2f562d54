//! Whom eviction keeps: misses on skewed traces against an exact LRU that may use the same number of bytes.
//!
//! The exact LRU is given the whole limit for its items' bytes as we store them, without any overhead of its own for the list
//! and the table; our store has to fit its index, its open and its free segments into the same limit.

use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value, WriteError};
use lru::LruCache;
use std::sync::Arc;

const LIMIT: usize = 16 << 20;

/// SplitMix64: the same trace on every machine.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Draws key numbers whose popularity falls with their rank to the power `-skew`, by inverting the integral of it.
struct Zipf {
    keys: f64,
    skew: f64,
    state: u64,
}

impl Zipf {
    fn next(&mut self) -> u32 {
        let uniform = (random(&mut self.state) >> 11) as f64 / (1u64 << 53) as f64;
        let power = 1.0 - self.skew;
        let rank = (uniform * (self.keys.powf(power) - 1.0) + 1.0).powf(1.0 / power);
        // Popular keys are scattered over the key space.
        (rank as u32).wrapping_mul(0x9e37_79b1)
    }
}

/// The length of a key's value.
type Lengths = fn(u32) -> usize;

fn short(key: u32) -> usize {
    40 + key as usize % 7 * 60
}

/// All of them in memory of their own, not in segments.
fn long(key: u32) -> usize {
    70_000 + key as usize % 7 * 20_000
}

/// Misses in the second half of a trace: get, and set what was missing.
fn misses_of_store(eviction: Eviction, trace: &[u32], lengths: Lengths) -> usize {
    let config = StoreConfig {
        partitions: 2,
        eviction,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    let store = Store::new(config, Arc::new(Budget::new(LIMIT))).unwrap();
    let mut misses = 0;
    for (n, key) in trace.iter().enumerate() {
        let name = key.to_be_bytes();
        let name = store.key(0, &name);
        let partition = store.partition_of(name.hash);
        if store.lock(partition).get(&name, 0).is_none() {
            misses += usize::from(n >= trace.len() / 2);
            let bytes = vec![1; lengths(*key)];
            let value = match bytes.len() > store.large_threshold() {
                true => Value::Large(store.large_value(&bytes).unwrap()),
                false => Value::Inline(&bytes),
            };
            loop {
                let result = store.lock(partition).set(&name, value.clone(), Expiry::None, 0);
                match result {
                    Err(WriteError::NeedsRoom) => store.make_room(bytes.len()).unwrap(),
                    result => break result.unwrap(),
                }
            }
        }
    }
    assert!(store.budget().used() <= LIMIT);
    misses
}

fn misses_of_lru(trace: &[u32], lengths: Lengths) -> usize {
    // Key, value and header.
    let item_bytes = |key: u32| 4 + lengths(key) + 6;
    let mut cache = LruCache::unbounded();
    let (mut bytes, mut misses) = (0, 0);
    for (n, key) in trace.iter().enumerate() {
        if cache.get(key).is_none() {
            misses += usize::from(n >= trace.len() / 2);
            cache.put(*key, ());
            bytes += item_bytes(*key);
            while bytes > LIMIT {
                let (gone, ()) = cache.pop_lru().unwrap();
                bytes -= item_bytes(gone);
            }
        }
    }
    misses
}

/// Prints the ratio and holds it under a bound.
fn compare(label: &str, trace: &[u32], lengths: Lengths, bounds: [f64; 2]) {
    let lru = misses_of_lru(trace, lengths) as f64;
    for (eviction, bound) in [Eviction::Lru, Eviction::S3Fifo].into_iter().zip(bounds) {
        let ratio = misses_of_store(eviction, trace, lengths) as f64 / lru;
        println!(
            "{label}: {eviction:?} misses {ratio:.4} of exact LRU's ({:.3})",
            lru * 2.0 / trace.len() as f64
        );
        assert!(ratio <= bound, "{label}, {eviction:?}: {ratio:.4} of exact LRU's misses, at most {bound}");
    }
}

#[test]
fn skewed_traces() {
    for (skew, bounds) in [(0.7, [1.01, 0.97]), (0.9, [1.01, 0.97]), (1.1, [1.03, 1.0])] {
        let mut zipf = Zipf { keys: 5e5, skew, state: 7 };
        let trace: Vec<u32> = (0..1_500_000).map(|_| zipf.next()).collect();
        compare(&format!("zipf {skew}"), &trace, short, bounds);
    }
}

/// A few bytes in the log stand for most of the memory; eviction must not take more of them than it needs.
#[test]
fn long_values() {
    let mut zipf = Zipf { keys: 5e3, skew: 0.9, state: 9 };
    let trace: Vec<u32> = (0..60_000).map(|_| zipf.next()).collect();
    compare("zipf 0.9 of long values", &trace, long, [1.03, 1.0]);
}

/// A scan of keys that never come back runs through a skewed trace.
#[test]
fn a_scan_through_a_skewed_trace() {
    let mut zipf = Zipf { keys: 5e5, skew: 0.9, state: 8 };
    let mut trace: Vec<u32> = (0..1_000_000).map(|_| zipf.next()).collect();
    for once in 0..500_000 {
        trace.insert_or_push(once);
    }
    compare("zipf 0.9 with a third of one-time keys", &trace, short, [1.01, 0.96]);
}

trait Mix {
    fn insert_or_push(&mut self, once: u32);
}

impl Mix for Vec<u32> {
    /// Puts a key that occurs once in place of an entry, which moves to the end.
    fn insert_or_push(&mut self, once: u32) {
        let at = once as usize * 2;
        let moved = std::mem::replace(&mut self[at], once | 1 << 31);
        self.push(moved);
    }
}
