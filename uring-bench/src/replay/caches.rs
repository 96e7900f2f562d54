//! The caches that a trace is played to, behind one interface: ours, and an exact LRU.
//!
//! Both get the same number of bytes. **Ours** has to fit everything into it: items with their headers, the index, the
//! ghost table, open and free segments, the part that stays in reserve. The **exact LRU** is charged for each item's key,
//! value and a fixed overhead, by default what an item of ours costs in header and index; it wastes nothing else. It
//! refuses the same values that are too large for ours.

use super::trace::{Op, Request};
use kv_server::store::{Budget, Eviction, Expiry, Store, StoreConfig, Value, WriteError};
use lru::LruCache;
use std::sync::Arc;

/// Per item of ours beyond key and value: a header of 6 bytes, and 9 of the index on average.
pub const OVERHEAD: usize = 15;
/// And the expiry, where there is one.
pub const EXPIRY_OVERHEAD: usize = 6;

/// Partitions of one worker.
pub const PARTITIONS: usize = kv_server::limits::PARTITIONS_PER_WORKER;

/// Requests between two steps of upkeep; a server under load makes one per turn, which brings more requests at once.
const UPKEEP_EVERY: u32 = 64;
/// What time 0 of a trace is, Unix milliseconds: any moment will do.
const EPOCH_MS: u64 = 1_700_000_000_000;

pub trait Cache {
    /// Plays one request; whether it was a hit. Sets and deletes count as hits.
    fn request(&mut self, name: &[u8], request: &Request) -> bool;
}

/// Our store, as the server drives it, without network and threads.
pub struct Ours {
    store: Store,
    /// What values are cut from.
    filler: Vec<u8>,
    since_upkeep: u32,
    next_upkeep: usize,
    /// Writes that were refused: values larger than a quarter of the memory.
    pub refused: u64,
}

/// Why something misses: what the store did besides answering.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Inner {
    pub items: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub free_bytes: u64,
    pub index_bytes: u64,
    pub large_values: u64,
    pub evicted: u64,
    pub expired: u64,
    pub reinserted: u64,
    pub compacted_bytes: u64,
    pub ghost_hits: u64,
    pub stalls: u64,
    pub refused: u64,
    /// Bytes in use, and the most there ever were.
    pub used: u64,
    pub peak: u64,
}

impl Ours {
    /// Errors: less memory than a store of four partitions takes.
    pub fn new(bytes: usize, eviction: Eviction, largest_value: u32) -> Result<Ours, String> {
        let config = StoreConfig {
            partitions: PARTITIONS,
            eviction,
            max_value_size: bytes / kv_server::limits::VALUE_SHARE,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        let store = Store::new(config, Arc::new(Budget::new(bytes))).map_err(|error| error.to_string())?;
        let filler = vec![0x5a; largest_value as usize];
        Ok(Ours { store, filler, since_upkeep: 0, next_upkeep: 0, refused: 0 })
    }

    fn write(&mut self, name: &[u8], request: &Request, now_ms: u64) {
        let bytes = &self.filler[..request.size as usize];
        let key = self.store.key(0, name);
        let partition = self.store.partition_of(key.hash);
        let expiry = match request.ttl_s {
            0 => Expiry::None,
            seconds => Expiry::At(now_ms + u64::from(seconds) * 1000),
        };
        let large = bytes.len() > self.store.large_threshold();
        let value = if large {
            match self.store.large_value(bytes) {
                Ok(bytes) => Value::Large(bytes),
                Err(_) => return self.refused += 1,
            }
        } else {
            Value::Inline(bytes)
        };
        loop {
            let mut locked = self.store.lock(partition);
            match locked.set(&key, value.clone(), expiry, now_ms) {
                Ok(()) => return,
                Err(WriteError::NeedsRoom) => {
                    let wanted = locked.room_wanted();
                    drop(locked);
                    if self.store.make_room(wanted).is_err() {
                        return self.refused += 1;
                    }
                }
                Err(_) => return self.refused += 1,
            }
        }
    }

    fn upkeep(&mut self, now_ms: u64) {
        self.since_upkeep += 1;
        if self.since_upkeep >= UPKEEP_EVERY {
            self.since_upkeep = 0;
            self.next_upkeep = (self.next_upkeep + 1) % PARTITIONS;
            self.store.lock(self.next_upkeep).maintain(now_ms);
            self.store.prefault_step();
        }
    }

    pub fn used(&self) -> u64 {
        self.store.budget().used() as u64
    }

    /// Counters over all partitions; `peak` is for the caller to fill in.
    pub fn inner(&self) -> Inner {
        let mut sum = Inner { refused: self.refused, used: self.used(), ..Inner::default() };
        for partition in 0..self.store.partitions() {
            let stats = self.store.lock(partition).stats();
            sum.items += stats.items[0];
            sum.live_bytes += stats.live_bytes;
            sum.dead_bytes += stats.dead_bytes;
            sum.index_bytes += stats.index_bytes;
            sum.large_values += stats.large_values;
            sum.evicted += stats.evicted;
            sum.expired += stats.expired;
            sum.reinserted += stats.reinserted;
            sum.compacted_bytes += stats.compacted_bytes;
            sum.ghost_hits += stats.ghost_hits;
            sum.stalls += stats.stalls;
            sum.free_bytes += stats.free_segments;
        }
        let segments = self.store.budget().segments.load(std::sync::atomic::Ordering::Relaxed) as u64;
        let held: u64 = (0..PARTITIONS).map(|p| self.store.lock(p).stats().segments).sum();
        sum.free_bytes *= segments.checked_div(held).unwrap_or(0);
        sum
    }
}

impl Cache for Ours {
    fn request(&mut self, name: &[u8], request: &Request) -> bool {
        let now_ms = EPOCH_MS + request.time_ms;
        self.upkeep(now_ms);
        let key = self.store.key(0, name);
        let partition = self.store.partition_of(key.hash);
        match request.op {
            Op::Get => {
                let hit = self.store.lock(partition).get(&key, now_ms).is_some();
                if !hit {
                    self.write(name, request, now_ms);
                }
                hit
            }
            Op::Set => {
                self.write(name, request, now_ms);
                true
            }
            Op::Delete => {
                self.store.lock(partition).remove(&key, now_ms);
                true
            }
        }
    }
}

/// An exact LRU by bytes. What has expired is a miss, but keeps its place until it is asked for or evicted.
pub struct ExactLru {
    items: LruCache<u32, Kept>,
    limit: usize,
    used: usize,
    overhead: usize,
}

#[derive(Clone, Copy)]
struct Kept {
    bytes: usize,
    /// Trace time; `u64::MAX`: never.
    expire_at_ms: u64,
}

impl ExactLru {
    pub fn new(limit: usize, overhead: usize) -> ExactLru {
        ExactLru { items: LruCache::unbounded(), limit, used: 0, overhead }
    }

    fn remove(&mut self, key: u32) {
        if let Some(gone) = self.items.pop(&key) {
            self.used -= gone.bytes;
        }
    }

    fn write(&mut self, name: &[u8], request: &Request) {
        if request.size as usize > self.limit / kv_server::limits::VALUE_SHARE {
            return;
        }
        let expiry = if request.ttl_s == 0 { 0 } else { EXPIRY_OVERHEAD };
        let bytes = name.len() + request.size as usize + self.overhead + expiry;
        let expire_at_ms = match request.ttl_s {
            0 => u64::MAX,
            seconds => request.time_ms + u64::from(seconds) * 1000,
        };
        if let Some(old) = self.items.put(request.key, Kept { bytes, expire_at_ms }) {
            self.used -= old.bytes;
        }
        self.used += bytes;
        while self.used > self.limit
            && let Some((_, gone)) = self.items.pop_lru()
        {
            self.used -= gone.bytes;
        }
    }
}

impl Cache for ExactLru {
    fn request(&mut self, name: &[u8], request: &Request) -> bool {
        match request.op {
            Op::Get => {
                let hit =
                    self.items.get(&request.key).is_some_and(|kept| kept.expire_at_ms > request.time_ms);
                if !hit {
                    self.write(name, request);
                }
                hit
            }
            Op::Set => {
                self.write(name, request);
                true
            }
            Op::Delete => {
                self.remove(request.key);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: u32, time_ms: u64, ttl_s: u32) -> Request {
        Request { time_ms, key, size: 85, ttl_s, op: Op::Get }
    }

    fn play(cache: &mut dyn Cache, requests: &[Request]) -> Vec<bool> {
        requests.iter().map(|request| cache.request(&[b'a' + request.key as u8], request)).collect()
    }

    #[test]
    fn the_exact_lru_evicts_who_was_not_used_longest() {
        // Values up to a quarter of the limit; an item of 1 + 85 + 15 bytes leaves room for four.
        let mut lru = ExactLru::new(4 * 101 + 20, OVERHEAD);
        let order = [0, 1, 2, 3, 0, 4, 0, 1].map(|key| get(key, 0, 0));
        let hits = play(&mut lru, &order);
        assert_eq!(hits, [false, false, false, false, true, false, true, false]);
        assert_eq!(lru.used, 4 * 101);
    }

    #[test]
    fn both_let_values_expire_and_forget_what_is_deleted() {
        let requests = [
            get(0, 0, 10),
            get(0, 9_999, 10),
            get(0, 10_000, 10),
            Request { op: Op::Delete, ..get(0, 10_001, 0) },
            get(0, 10_002, 0),
            Request { op: Op::Set, ..get(1, 10_003, 0) },
            get(1, 10_004, 0),
        ];
        let wanted = [false, true, false, true, false, true, true];
        assert_eq!(play(&mut ExactLru::new(1 << 20, OVERHEAD), &requests), wanted);
        for eviction in [Eviction::Lru, Eviction::S3Fifo] {
            let mut ours = Ours::new(16 << 20, eviction, 85).unwrap();
            assert_eq!(play(&mut ours, &requests), wanted);
            assert_eq!(ours.inner().items, 2);
        }
    }

    #[test]
    fn ours_evicts_within_its_budget_and_refuses_what_is_too_large() {
        let limit = 4 << 20;
        for eviction in [Eviction::Lru, Eviction::S3Fifo] {
            let mut ours = Ours::new(limit, eviction, 1 << 21).unwrap();
            for n in 0..20_000u32 {
                let request = Request { time_ms: 0, key: n, size: 100 + n % 900, ttl_s: 0, op: Op::Get };
                ours.request(&n.to_le_bytes(), &request);
                assert!(ours.used() <= limit as u64);
            }
            assert!(ours.inner().evicted > 10_000);
            ours.request(b"large", &Request { time_ms: 0, key: 0, size: 1 << 21, ttl_s: 0, op: Op::Get });
            ours.request(b"medium", &Request { time_ms: 0, key: 0, size: 1 << 19, ttl_s: 0, op: Op::Get });
            assert_eq!((ours.refused, ours.inner().large_values), (1, 1));
        }
    }
}
