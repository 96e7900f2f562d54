//! Measures the store by itself, in one thread: memory per item, and the worst single operations (speed: benches/store.rs).
//!
//!     cargo run --profile fast --example store_bench -- [memory|growth|churn|expiry|all]
//!
//! Keys are 16 bytes. A control thread prepares memory ahead, as the server's does. Figures on a shared machine drift by a
//! third from minute to minute: compare runs of the same minute.

use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn main() {
    let what = std::env::args().nth(1).unwrap_or_else(|| "all".into());
    let chosen = |name: &str| what == name || what == "all";
    if chosen("memory") {
        memory();
    }
    if chosen("growth") {
        growth();
    }
    if chosen("churn") {
        churn();
    }
    if chosen("expiry") {
        expiry();
    }
}

/// A store with a thread that prepares its memory.
struct Bench {
    store: Arc<Store>,
    stop: Arc<AtomicBool>,
    helper: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    fn new(limit: usize, partitions: usize, eviction: Eviction) -> Bench {
        let config = StoreConfig {
            partitions,
            eviction,
            max_value_size: limit / 4,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        let store = Arc::new(Store::new(config, Arc::new(Budget::new(limit))).expect("a store of this size"));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (store.clone(), stop.clone());
        let helper = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                if !shared.prefault_step() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Bench { store, stop, helper: Some(helper) }
    }

    fn set(&self, number: u64, value: &[u8], expiry: Expiry, now_ms: u64) {
        let name = name(number);
        let key = self.store.key(0, &name);
        let partition = self.store.partition_of(key.hash);
        loop {
            let result = self.store.lock(partition).set(&key, Value::Inline(value), expiry, now_ms);
            match result {
                Err(WriteError::NeedsRoom) => self.store.make_room(value.len()).expect("something to evict"),
                result => return result.expect("a write that fits"),
            }
        }
    }

    fn maintain(&self, now_ms: u64) {
        for partition in 0..self.store.partitions() {
            self.store.lock(partition).maintain(now_ms);
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.helper.take().map(std::thread::JoinHandle::join);
    }
}

fn name(number: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    name[4..12].copy_from_slice(&number.to_be_bytes());
    name
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn rss() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Bytes per item beyond key and value, by the budget and by RSS.
fn memory() {
    println!("memory: bytes per item beyond key and value, 2 million items (budget, RSS)");
    for ttl in [false, true] {
        for len in [32, 64, 200] {
            let before = rss();
            let bench = Bench::new(2048 * MIB, 8, Eviction::Lru);
            let expiry = if ttl { Expiry::At(1 << 40) } else { Expiry::None };
            (0..2_000_000).for_each(|n| bench.set(n, &vec![1; len], expiry, 0));
            let pure = (16 + len) as f64;
            let each = |bytes: usize| bytes as f64 / 2e6 - pure;
            let (used, resident) = (bench.store.budget().used(), rss() - before);
            println!("  {len:4} B values, TTL {ttl:5}: {:5.1} {:5.1}", each(used), each(resident));
        }
    }
}

/// Times of single operations, in classes an eighth of a power of two wide, so that measuring takes no memory of note.
struct Latencies {
    classes: Vec<u64>,
    worst: Vec<u64>,
    /// The same in CPU time of this thread: what it would be on a machine of our own.
    worst_busy: Vec<u64>,
}

/// CPU time of this thread in nanoseconds.
fn busy_ns() -> u64 {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    let time = nix::time::clock_gettime(clock).expect("every Linux has this clock");
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unwrap_or(0)
}

impl Latencies {
    fn new() -> Latencies {
        Latencies { classes: vec![0; 64 * 8], worst: vec![0; 5], worst_busy: vec![0; 5] }
    }

    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let busy = busy_ns();
        let started = Instant::now();
        let result = call();
        let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX).max(8);
        let power = ns.ilog2();
        self.classes[power as usize * 8 + (ns >> (power - 3)) as usize % 8] += 1;
        for (worst, ns) in [(&mut self.worst, ns), (&mut self.worst_busy, busy_ns() - busy)] {
            if ns > worst[0] {
                worst[0] = ns;
                worst.sort_unstable();
            }
        }
        result
    }

    /// The upper end of the class that holds this share, in microseconds.
    fn at(&self, share: f64) -> f64 {
        let wanted = (self.classes.iter().sum::<u64>() as f64 * share) as u64;
        let mut below = 0;
        let class = self.classes.iter().position(|count| {
            below += count;
            below > wanted
        });
        class.map_or(0.0, |class| (9 + class % 8) as f64 / 8.0 * 2f64.powi((class / 8) as i32) / 1000.0)
    }

    fn print(self, label: &str) {
        let [p50, p999, p9999] = [0.5, 0.999, 0.9999].map(|share| self.at(share));
        let [worst, busy] = [self.worst, self.worst_busy]
            .map(|all| all.iter().rev().map(|ns| ns / 1000).collect::<Vec<u64>>());
        println!(
            "  {label}: p50 {p50:.2} p99.9 {p999:.1} p99.99 {p9999:.1} µs, worst {worst:?}, in CPU time {busy:?} µs"
        );
    }
}

/// The worst single operation while growing, beside the worst of doing nothing at all (the machine's own stalls).
fn growth() {
    println!("growth to 4 million items");
    let mut idle = Latencies::new();
    (0..4_000_000).for_each(|n| _ = idle.measure(|| std::hint::black_box(n)));
    idle.print("nothing at all");
    let bench = Bench::new(2048 * MIB, 1, Eviction::Lru);
    let mut sets = Latencies::new();
    for n in 0..4_000_000 {
        sets.measure(|| bench.set(n, &[1; 64], Expiry::None, 0));
    }
    sets.print("set");
    let stats = bench.store.lock(0).stats();
    println!("  segments {} index {} MiB stalls {}", stats.segments, stats.index_bytes >> 20, stats.stalls);
}

/// Memory and stalls while values change size under a full budget.
fn churn() {
    for eviction in [Eviction::Lru, Eviction::S3Fifo] {
        let limit = 512 * MIB;
        let before = rss();
        let bench = Bench::new(limit, 4, eviction);
        println!("churn, {eviction:?}, budget 512 MiB: values 64 B, then 600 B, then 2 KB");
        let mut peak = 0;
        for (len, keys) in [(64, 6_000_000), (600, 1_000_000), (2000, 400_000)] {
            let mut sets = Latencies::new();
            let mut state = len as u64;
            for n in 0..keys * 2 {
                let number = random(&mut state) % keys;
                sets.measure(|| bench.set(number, &vec![1; len], Expiry::None, 0));
                if n % 256 == 0 {
                    bench.maintain(0);
                    if n % 65536 == 0 {
                        peak = peak.max(rss() - before);
                    }
                }
            }
            let stats: Vec<_> = (0..4).map(|p| bench.store.lock(p).stats()).collect();
            let total = |of: fn(&kv_server::store::PartitionStats) -> u64| stats.iter().map(of).sum::<u64>();
            // Headers and padding are about eight bytes an item.
            let pure = total(|s| s.live_bytes - 8 * s.items[0]) as f64;
            let resident = rss() - before;
            println!(
                "  {len:5} B: live/RSS {:.3}  RSS {:.1} MiB  free {} dead {} MiB  evicted {} moved {} compacted {} MiB stalls {}",
                pure / resident as f64,
                resident as f64 / MIB as f64,
                total(|s| s.free_segments),
                total(|s| s.dead_bytes) >> 20,
                total(|s| s.evicted),
                total(|s| s.reinserted),
                total(|s| s.compacted_bytes) >> 20,
                total(|s| s.stalls),
            );
            sets.print("set");
        }
        println!("  peak RSS {:.3} of the budget", peak as f64 / limit as f64);
    }
}

/// 500,000 items that expire within one second, among as many that do not.
fn expiry() {
    println!("500,000 of 1,000,000 items expire in one second");
    let bench = Bench::new(1024 * MIB, 4, Eviction::Lru);
    for n in 0..1_000_000u64 {
        let expiry = if n % 2 == 0 { Expiry::At(10_000 + n / 1000) } else { Expiry::None };
        bench.set(n, &[1; 64], expiry, 0);
    }
    let (mut gets, mut steps, mut state) = (Latencies::new(), Latencies::new(), 1);
    let started = Instant::now();
    let mut turns = 0u64;
    while started.elapsed() < Duration::from_millis(2500) {
        let now_ms = 10_000 + u64::try_from(started.elapsed().as_millis()).unwrap_or(0);
        for partition in 0..4 {
            steps.measure(|| bench.store.lock(partition).maintain(now_ms));
        }
        for _ in 0..64 {
            let name = name(random(&mut state) % 1_000_000);
            let key = bench.store.key(0, &name);
            let partition = bench.store.partition_of(key.hash);
            gets.measure(|| bench.store.lock(partition).get(&key, now_ms).is_some());
        }
        turns += 1;
    }
    let expired: u64 = (0..4).map(|p| bench.store.lock(p).stats().expired).sum();
    println!("  {expired} expired, {turns} turns, {} MiB used", bench.store.budget().used() / MIB);
    gets.print("get");
    steps.print("maintain");
}
