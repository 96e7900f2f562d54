//! One partition. (First slice: a hash map behind the final interface; the segments replace it.)

use super::*;
use std::collections::HashMap;

/// An item found by [`Partition::get`], borrowed from the partition.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub value: &'a [u8],
    /// Unix milliseconds.
    pub expire_at_ms: Option<u64>,
    /// 0 to 3: how recently it was used, before this access.
    pub recency: u8,
    /// Milliseconds since it was written or last moved by second chance: the best bound on its idle time that two bits allow.
    pub age_ms: u64,
    /// Bytes of memory it takes with header, padding and its share of the index.
    pub footprint: usize,
}

impl Entry<'_> {
    /// The value without copying it: it stays readable and unchanged as long as the `Bytes` lives.
    pub fn pin(&self) -> Bytes {
        Bytes::copy_from_slice(self.value)
    }
}

/// Plain counters; a snapshot is copied out under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionStats {
    pub items: [u64; DATABASES as usize],
    pub items_with_expiry: [u64; DATABASES as usize],
    pub evicted: u64,
    pub expired: u64,
    /// Bytes of live items, headers included.
    pub live_bytes: u64,
}

#[derive(Debug)]
struct Stored {
    value: Vec<u8>,
    expire_at_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Partition {
    map: HashMap<(u8, Vec<u8>), Stored>,
    stats: PartitionStats,
}

impl Partition {
    pub(super) fn new() -> Partition {
        Partition::default()
    }

    /// Step one of a batch: fetches the key's index bucket into the cache.
    #[inline]
    pub fn prefetch_bucket(&self, _hash: u64) {}

    /// Step two: fetches the items that the bucket's tags point to.
    #[inline]
    pub fn prefetch_item(&self, _hash: u64) {}

    /// Finds a live item and notes its use (recency). An expired one is removed and counted.
    pub fn get(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        self.peek(key, now_ms)
    }

    /// Finds a live item without noting its use.
    pub fn peek(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        let full = (key.db, key.bytes.to_vec());
        let expired = self.map.get(&full)?.expire_at_ms.is_some_and(|at| at <= now_ms);
        if expired {
            self.map.remove(&full);
            self.stats.expired += 1;
            return None;
        }
        self.map.get(&full).map(|s| Entry {
            value: &s.value,
            expire_at_ms: s.expire_at_ms,
            recency: 0,
            age_ms: 0,
            footprint: s.value.len() + full.1.len(),
        })
    }

    /// Writes an item, replacing what was there. On an error the old item is untouched.
    pub fn set(
        &mut self,
        key: &Key,
        value: Value<'_>,
        expiry: Expiry,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        let expire_at_ms = match expiry {
            Expiry::None => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.peek(key, now_ms).and_then(|e| e.expire_at_ms),
        };
        let value = match value {
            Value::Inline(v) => v.to_vec(),
            Value::Large(v) => v.to_vec(),
        };
        self.map.insert((key.db, key.bytes.to_vec()), Stored { value, expire_at_ms });
        Ok(())
    }

    /// Edits a value in place or by rewriting it: resizes it to `new_len` (zero-extended or cut; a missing item starts empty),
    /// then calls `edit` on its bytes. The expiry stays. On an error nothing has changed and `edit` was not called.
    pub fn modify(
        &mut self,
        key: &Key,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let _ = self.peek(key, now_ms);
        let stored = self
            .map
            .entry((key.db, key.bytes.to_vec()))
            .or_insert(Stored { value: Vec::new(), expire_at_ms: None });
        stored.value.resize(new_len, 0);
        edit(&mut stored.value);
        Ok(())
    }

    /// Sets (`Some`, Unix milliseconds) or removes (`None`) the expiry of a live item. `Ok(false)` if there is no such item.
    pub fn set_expiry(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        if self.peek(key, now_ms).is_none() {
            return Ok(false);
        }
        if let Some(stored) = self.map.get_mut(&(key.db, key.bytes.to_vec())) {
            stored.expire_at_ms = expire_at_ms;
        }
        Ok(true)
    }

    /// Removes a live item; false if there was none.
    pub fn remove(&mut self, key: &Key, now_ms: u64) -> bool {
        self.peek(key, now_ms).is_some() && self.map.remove(&(key.db, key.bytes.to_vec())).is_some()
    }

    /// Visits the live items of `db` in the buckets from `cursor` on, at least one bucket and until `want` items were visited or
    /// 4 × `want` buckets read. Returns the next cursor, 0 when this partition is done. Every item that is there from the first
    /// call to the last is visited at least once, however the index grows and shrinks in between. A cursor has 48 bits.
    pub fn scan(
        &mut self,
        cursor: u64,
        db: u8,
        want: usize,
        now_ms: u64,
        visit: &mut dyn FnMut(&[u8], &Entry<'_>),
    ) -> u64 {
        let _ = (cursor, want);
        for ((d, k), s) in &self.map {
            if *d == db && s.expire_at_ms.is_none_or(|at| at > now_ms) {
                visit(
                    k,
                    &Entry {
                        value: &s.value,
                        expire_at_ms: s.expire_at_ms,
                        recency: 0,
                        age_ms: 0,
                        footprint: s.value.len(),
                    },
                );
            }
        }
        0
    }

    /// A live item of `db` chosen by `random`; `None` only if there is none.
    pub fn random_key(&mut self, db: u8, random: u64, now_ms: u64) -> Option<Vec<u8>> {
        let _ = random;
        self.map
            .iter()
            .find(|((d, _), s)| *d == db && s.expire_at_ms.is_none_or(|at| at > now_ms))
            .map(|((_, k), _)| k.clone())
    }

    /// Empties one database, or all, in constant time: what is there becomes unreachable at once, its memory comes back in
    /// `maintain`.
    pub fn flush(&mut self, db: Option<u8>) {
        self.map.retain(|(d, _), _| db.is_some_and(|db| db != *d));
    }

    /// Exchanges two databases in constant time. The caller holds all partitions.
    pub fn swap_databases(&mut self, _a: u8, _b: u8) {}

    /// One bounded step (tens of microseconds) of expiry, eviction, compaction, index shrinking and giving memory back.
    /// Returns whether more is due now.
    pub fn maintain(&mut self, now_ms: u64) -> bool {
        let _ = now_ms;
        false
    }

    pub fn stats(&self) -> PartitionStats {
        let mut stats = self.stats;
        for (db, _) in self.map.keys() {
            stats.items[*db as usize] += 1;
        }
        stats
    }
}
