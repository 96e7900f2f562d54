//! What the benches share: keys, a filled store, and a main that either measures time or only repeats.
//!
//! `cargo bench --bench store` measures with criterion. `… -- repeat NAME TIMES` runs one piece of work that often and nothing else:
//! under callgrind, two such runs of different length give the instructions of one operation exactly (ci/instructions.sh).

use criterion::{Criterion, Throughput};
use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bytes of all values.
pub const VALUE: usize = 64;

/// A name, how many operations one call makes, and how to set it up.
pub struct Work {
    pub name: String,
    pub operations: u64,
    pub prepare: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

/// Measures all works (or those that the command line chooses), or repeats one.
pub fn run(works: Vec<Work>) {
    let args: Vec<String> = std::env::args().collect();
    if let [_, first, name, times, ..] = &args[..]
        && first == "repeat"
    {
        let work = works.iter().find(|work| work.name == *name).expect("the name of a work");
        let mut call = (work.prepare)();
        let times: u64 = times.parse().expect("how often to call it");
        let started = Instant::now();
        (0..times).for_each(|_| call());
        let (operations, elapsed) = (times * work.operations, started.elapsed());
        println!("{operations} operations, {:.1} ns each", elapsed.as_nanos() as f64 / operations as f64);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for work in works {
        let mut group = criterion.benchmark_group(&work.name);
        group.throughput(Throughput::Elements(work.operations));
        // Filled only if it is chosen, and once: criterion calls this closure for warming up and for each sample.
        let mut call = None;
        group.bench_function("call", |bencher| bencher.iter(call.get_or_insert_with(&*work.prepare)));
        group.finish();
    }
    criterion.final_summary();
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

/// A key of 16 bytes.
pub fn name(number: u64) -> [u8; 16] {
    format!("key:{number:012}").into_bytes().try_into().expect("twelve digits at most")
}

/// An empty store.
pub fn store(limit: usize, partitions: usize, eviction: Eviction) -> Arc<Store> {
    let config =
        StoreConfig { partitions, eviction, max_value_size: limit / 4, prefault: false, seeds: [1, 2, 3, 4] };
    Arc::new(Store::new(config, Arc::new(Budget::new(limit))).expect("a store of this size"))
}

/// Items that fit into the memory that a partition faults in itself.
const LITTLE: u64 = 100_000;

/// Writes the keys 0 to `items`, while a thread prepares memory as the server's does. For little data there is none, so that
/// instructions can be counted.
pub fn fill(store: &Arc<Store>, items: u64) {
    let write = || (0..items).for_each(|number| set(store, &name(number), &[7; VALUE], Expiry::None, 0));
    if items <= LITTLE {
        return write();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (shared, stopped) = (store.clone(), stop.clone());
    let helper = std::thread::spawn(move || {
        while !stopped.load(Relaxed) {
            if !shared.prefault_step() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    write();
    stop.store(true, Relaxed);
    helper.join().expect("the helper ends when told");
}

/// As a worker writes one item.
pub fn set(store: &Store, name: &[u8], value: &[u8], expiry: Expiry, now_ms: u64) {
    let key = store.key(0, name);
    let partition = store.partition_of(key.hash);
    loop {
        let result = store.lock(partition).set(&key, Value::Inline(value), expiry, now_ms);
        match result {
            Err(WriteError::NeedsRoom) => store.make_room(value.len()).expect("something to evict"),
            result => return result.expect("a write that fits"),
        }
    }
}
