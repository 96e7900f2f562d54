//! One partition: an index over a log of segments, and what a command may ask of it.
//!
//! ```text
//!   key ─ hash ─► index ─ offset ─► arena: segment ┃ item ┃ item ┃ … ┃ ──► next segment
//!                                              │ LARGE
//!                                              └────► large: memory of its own
//! ```
//!
//! An item is never searched for in the log: whatever the index does not point to is dead. Every change keeps these true:
//! * the index points to an item exactly if its DEAD flag is clear;
//! * `counts` sums the items that are not dead and not flushed;
//! * `Segment::live` sums the items that are not dead, flushed or not.
//!
//! The rest of the implementation: eviction.rs empties segments, maintenance.rs is the background work, scan.rs iterates.

use super::arena::{Arena, GivenUp, Offset, Table, TableShared};
use super::eviction::{Policy, Victim};
use super::index::{Index, Slot};
use super::item::{self, Draft, Header};
use super::large::LargeTable;
use super::log::{Log, Queue, class_of};
use super::maintenance::{Flushes, Sweep};
use super::*;

/// Memory of the index per item, on average: a 64-byte bucket for 7.5 items.
const INDEX_SHARE: usize = 9;

/// An item found by [`Partition::get`], borrowed from the partition.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub value: &'a [u8],
    /// Unix milliseconds.
    pub expire_at_ms: Option<u64>,
    /// 0 to 3: how recently it was used, before this access.
    pub recency: u8,
    /// Bytes of memory it takes with header, padding and its share of the index.
    pub footprint: usize,
    partition: &'a Partition,
    offset: Offset,
    now_ms: u64,
}

impl Entry<'_> {
    /// The value without copying it: it stays readable and unchanged as long as the `Bytes` lives.
    pub fn pin(&self) -> Bytes {
        let header = Header::read(&self.partition.arena, self.offset);
        if header.has(item::LARGE) {
            return self.partition.large.bytes(header.large_ref(&self.partition.arena, self.offset));
        }
        self.partition.arena.pin(self.offset.at() + header.value_at(), header.value_len())
    }

    /// Milliseconds since it was written or last moved by second chance: the best bound on its idle time that two bits
    /// allow. Exact to the second while its segment fills quickly, to a sixteenth of the filling time otherwise.
    pub fn age_ms(&self) -> u64 {
        let (arena, log) = (&self.partition.arena, &self.partition.log);
        let segment = arena.segment_of(self.offset);
        // Segments are at most 2 MiB long.
        let at = (self.offset.at() - arena.segment_start(segment)) as u32;
        self.now_ms.saturating_sub(log.written_ms(segment, at))
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("value", &self.value).field("expire_at_ms", &self.expire_at_ms).finish()
    }
}

/// Plain counters; a snapshot is copied out under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionStats {
    pub items: [u64; DATABASES as usize],
    pub items_with_expiry: [u64; DATABASES as usize],
    pub evicted: u64,
    pub expired: u64,
    /// Bytes of live items, headers included, large values too.
    pub live_bytes: u64,
    /// Segments held, and those of them that are empty.
    pub segments: u64,
    pub free_segments: u64,
    /// Bytes of dead items that still take room in segments.
    pub dead_bytes: u64,
    pub index_bytes: u64,
    pub large_values: u64,
    pub large_bytes: u64,
    /// Items written again because they were used since they were written (second chance).
    pub reinserted: u64,
    /// Bytes copied to get at the free room between them.
    pub compacted_bytes: u64,
    /// New keys that S3-FIFO remembered.
    pub ghost_hits: u64,
    /// Writes that had to empty a segment themselves, because background work and debt had not kept up.
    pub stalls: u64,
}

/// Items of one physical database.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub items: u64,
    pub with_expiry: u64,
    pub live_bytes: u64,
}

/// Bounds that follow from the segment size and the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub partitions: usize,
    pub large_threshold: usize,
    pub max_key_len: usize,
    pub max_value_size: usize,
    pub keep_memory: bool,
}

/// A live item and its place in the index; good until the next change of either.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub slot: Slot,
    pub offset: Offset,
    pub header: Header,
}

/// What is to be freed after the lock has been released.
#[derive(Default)]
pub(super) struct Graveyard {
    pub large: Vec<Bytes>,
    pub segments: Vec<GivenUp>,
    pub tables: Vec<Trim>,
    pub ghosts: Vec<Box<[[u16; 16]]>>,
}

impl Graveyard {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.large.is_empty() && self.segments.is_empty() && self.tables.is_empty() && self.ghosts.is_empty()
    }
}

/// Returns unused index memory when dropped.
pub(super) struct Trim(pub Arc<TableShared>);

impl Drop for Trim {
    fn drop(&mut self) {
        self.0.trim();
    }
}

pub struct Partition {
    pub(super) arena: Arena,
    pub(super) index: Index,
    pub(super) log: Log,
    pub(super) large: LargeTable,
    pub(super) hasher: ahash::RandomState,
    pub(super) budget: Arc<Budget>,
    pub(super) limits: Limits,
    /// Counters that are not derived in [`Partition::stats`].
    pub(super) totals: PartitionStats,
    /// By physical database.
    pub(super) counts: [Counts; DATABASES as usize],
    /// The physical database behind each logical one.
    physical: [u8; DATABASES as usize],
    pub(super) flushes: Flushes,
    pub(super) sweep: Sweep,
    pub(super) policy: Policy,
    pub(super) victim: Option<Victim>,
    /// Bytes to scan for victims per byte written; 0 while there is room.
    pub(super) appetite: usize,
    /// The budget has little left for this partition.
    pub(super) scarce: bool,
    /// Counts changes of places, by which a holder of a [`Found`] notices that it is stale.
    pub(super) moves: u64,
    pub(super) clock_ms: u64,
    pub(super) graveyard: Graveyard,
}

impl Partition {
    pub(super) fn new(
        arena: Arena,
        tables: [Table; 2],
        eviction: Eviction,
        hasher: ahash::RandomState,
        budget: Arc<Budget>,
        limits: Limits,
    ) -> Option<Partition> {
        let log = Log::new(arena.segment_size(), arena.shared().segments());
        let [primary, overflow] = tables;
        let policy = Policy::new(eviction, budget.clone());
        Some(Partition {
            index: Index::new(primary, overflow)?,
            log,
            arena,
            large: LargeTable::default(),
            hasher,
            budget,
            limits,
            totals: PartitionStats::default(),
            counts: Default::default(),
            physical: std::array::from_fn(|db| db as u8),
            flushes: Flushes::default(),
            sweep: Sweep::default(),
            policy,
            victim: None,
            appetite: 0,
            scarce: false,
            moves: 0,
            clock_ms: 0,
            graveyard: Graveyard::default(),
        })
    }

    /// The memory that the control thread prepares ahead.
    pub(super) fn memory(&self) -> Memory {
        (self.arena.shared().clone(), self.index.tables().map(Arc::clone))
    }

    /// Step one of a batch: fetches the key's index bucket into the cache.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Step two: fetches the items that the bucket's tags point to.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        for offset in self.index.candidates(hash) {
            self.arena.prefetch(offset.at());
            self.arena.prefetch(offset.at() + 64);
        }
    }

    /// Finds a live item and notes its use (recency). An expired one is removed and counted.
    #[inline]
    pub fn get(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        let Found { offset, header, .. } = self.lookup(key, now_ms)?;
        if header.recency() < 3 {
            header.set_recency(&mut self.arena, offset, header.recency() + 1);
        }
        Some(self.entry(offset, header, now_ms))
    }

    /// Finds a live item without noting its use.
    #[inline]
    pub fn peek(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        let Found { offset, header, .. } = self.lookup(key, now_ms)?;
        Some(self.entry(offset, header, now_ms))
    }

    #[inline]
    pub(super) fn entry(&self, offset: Offset, header: Header, now_ms: u64) -> Entry<'_> {
        let mut value = header.value(&self.arena, offset);
        let mut footprint = header.size() + INDEX_SHARE;
        if header.has(item::LARGE) {
            value = self.large.value(header.large_ref(&self.arena, offset));
            footprint += value.len().next_multiple_of(4096);
        }
        Entry {
            value,
            expire_at_ms: header.expiry_ms(&self.arena, offset),
            recency: header.recency(),
            footprint,
            partition: self,
            offset,
            now_ms,
        }
    }

    /// Finds the live item of a key; one that turns out to be expired or flushed is removed.
    #[inline]
    pub(super) fn lookup(&mut self, key: &Key, now_ms: u64) -> Option<Found> {
        let db = self.physical[key.db as usize];
        let arena = &self.arena;
        let (slot, offset) = self.index.find(key.hash, |offset| {
            let header = Header::read(arena, offset);
            header.key_len() == key.bytes.len()
                && header.has(item::DB) == (db != 0)
                && header.key(arena, offset) == key.bytes
                && header.db(arena, offset) == db
        })?;
        let found = Found { slot, offset, header: Header::read(arena, offset) };
        if found.header.has(item::TTL) || self.flushes.pending() {
            return self.unless_gone(found, key.hash, now_ms);
        }
        Some(found)
    }

    fn unless_gone(&mut self, found: Found, hash: u64, now_ms: u64) -> Option<Found> {
        let flushed = self.is_flushed(found.offset, found.header);
        let expired = found.header.expiry_ms(&self.arena, found.offset).is_some_and(|at| at <= now_ms);
        if !flushed && !expired {
            return Some(found);
        }
        self.totals.expired += u64::from(expired && !flushed);
        self.index.remove(found.slot, hash);
        self.bury(found.offset, found.header);
        None
    }

    #[inline]
    pub(super) fn is_flushed(&self, offset: Offset, header: Header) -> bool {
        self.flushes.pending() && {
            let segment = self.arena.segment_of(offset);
            let db = header.db(&self.arena, offset);
            self.log.segments[segment as usize].sequence < self.flushes.since(db)
        }
    }

    #[inline]
    pub(super) fn hash_of(arena: &Arena, hasher: &ahash::RandomState, offset: Offset) -> u64 {
        hash_key(hasher, Header::read(arena, offset).key(arena, offset))
    }

    /// Writes an item, replacing what was there. On an error the old item is untouched (unless the attempt to make room
    /// evicted it). A time that has passed removes it.
    pub fn set(
        &mut self,
        key: &Key,
        value: Value<'_>,
        expiry: Expiry,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        let (inline, large) = match value {
            Value::Inline(bytes) if bytes.len() <= self.limits.large_threshold => (bytes, None),
            // A caller that did not ask for the threshold: correct, but it maps memory under the lock.
            Value::Inline(bytes) => (&[][..], Some(self.large_copy(bytes)?)),
            Value::Large(bytes) => (&[][..], Some(bytes)),
        };
        let len = large.as_ref().map_or(inline.len(), Bytes::len);
        if len > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let found = self.lookup(key, now_ms);
        let expire_at_ms = match expiry {
            Expiry::None => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => found.and_then(|f| f.header.expiry_ms(&self.arena, f.offset)),
        };
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            found.inspect(|found| self.erase(*found, key.hash));
            return Ok(());
        }
        let draft = Draft {
            key: key.bytes,
            db: self.physical[key.db as usize],
            expire_at_ms,
            recency: found.map_or(0, |f| f.header.recency()),
            large: large.is_some(),
            value_len: if large.is_some() { item::LARGE_REF } else { inline.len() },
        };
        if let Some(found) = found
            && self.overwrite(found, &draft, now_ms)
        {
            let at = found.offset.at() + found.header.value_at();
            self.arena.bytes_mut(at, inline.len()).copy_from_slice(inline);
            return Ok(());
        }
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        self.put_value(offset, header, inline, large);
        self.link(key.hash, offset, header, found);
        Ok(())
    }

    fn put_value(&mut self, offset: Offset, header: Header, inline: &[u8], large: Option<Bytes>) {
        let at = offset.at() + header.value_at();
        match large {
            Some(bytes) => {
                let slot = self.large.insert(bytes);
                self.arena.bytes_mut(at, item::LARGE_REF).copy_from_slice(&slot.to_le_bytes());
            }
            None => self.arena.bytes_mut(at, inline.len()).copy_from_slice(inline),
        }
    }

    /// Turns a found item into the draft where it lies, all but its value, if it has the same shape: then nothing dies,
    /// and overwriting a key with a value of like size costs no log space.
    #[inline]
    fn overwrite(&mut self, found: Found, draft: &Draft, now_ms: u64) -> bool {
        let (old, new) = (found.header, draft.header());
        let same_shape = old.size() == new.size()
            && !new.has(item::LARGE)
            && (old.flags() ^ new.flags()) & (item::TTL | item::LARGE) == 0;
        let segment = self.arena.segment_of(found.offset);
        let class = usize::from(self.log.segments[segment as usize].class);
        if !same_shape || class != class_of(draft.expire_at_ms, now_ms) || self.arena.is_pinned(segment) {
            return false;
        }
        if let Some(at) = draft.expire_at_ms {
            new.set_expiry_ms(&mut self.arena, found.offset, at);
            self.note_expiry(segment, at);
        }
        let header = old.set_value_len(&mut self.arena, found.offset, draft.value_len);
        header.set_recency(&mut self.arena, found.offset, header.recency() + 1);
        true
    }

    /// Allocates room for an item and writes all but its value. The item is not reachable until [`Partition::link`], which
    /// must follow. Returns the old item afresh, since making room may have moved or evicted it.
    pub(super) fn write(
        &mut self,
        key: &Key,
        found: Option<Found>,
        draft: &Draft,
        now_ms: u64,
    ) -> Result<(Offset, Header, Option<Found>), WriteError> {
        if key.bytes.len() > self.limits.max_key_len {
            return Err(WriteError::KeyTooLong);
        }
        if !self.index.reserve() {
            return Err(WriteError::OutOfMemory);
        }
        let queue = match found {
            Some(found) => self.log.segments[self.arena.segment_of(found.offset) as usize].queue,
            None => self.queue_of_new(key.hash),
        };
        let moves = self.moves;
        let class = class_of(draft.expire_at_ms, now_ms);
        let offset = self.allocate(queue, class, draft.header().size(), now_ms)?;
        let found = if moves == self.moves { found } else { self.lookup(key, now_ms) };
        let header = draft.write(&mut self.arena, offset);
        Ok((offset, header, found))
    }

    fn queue_of_new(&mut self, hash: u64) -> Queue {
        let remembered = self.policy.recall(hash);
        self.totals.ghost_hits += u64::from(remembered == Some(true));
        if remembered == Some(false) { Queue::Small } else { Queue::Main }
    }

    /// Makes a written item the one of its key.
    pub(super) fn link(&mut self, hash: u64, offset: Offset, header: Header, found: Option<Found>) {
        self.count_in(offset, header);
        if let Some(at) = header.expiry_ms(&self.arena, offset) {
            self.note_expiry(self.arena.segment_of(offset), at);
        }
        match found {
            Some(old) => {
                self.index.redirect(old.slot, offset);
                self.bury(old.offset, old.header);
            }
            None => {
                let (arena, hasher) = (&self.arena, &self.hasher);
                self.index.insert(hash, offset, |offset| Self::hash_of(arena, hasher, offset));
            }
        }
    }

    fn count_in(&mut self, offset: Offset, header: Header) {
        let bytes = self.bytes_of(offset, header);
        let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
        counts.items += 1;
        counts.with_expiry += u64::from(header.has(item::TTL));
        counts.live_bytes += bytes;
    }

    fn bytes_of(&self, offset: Offset, header: Header) -> u64 {
        let mut bytes = header.size();
        if header.has(item::LARGE) {
            bytes += self.large.value(header.large_ref(&self.arena, offset)).len();
        }
        bytes as u64
    }

    /// Removes an item from the index and the log.
    pub(super) fn erase(&mut self, found: Found, hash: u64) {
        self.index.remove(found.slot, hash);
        self.bury(found.offset, found.header);
    }

    /// Marks an item dead that the index no longer points to.
    pub(super) fn bury(&mut self, offset: Offset, header: Header) {
        let bytes = self.bytes_of(offset, header);
        if !self.is_flushed(offset, header) {
            let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
            counts.items -= 1;
            counts.with_expiry -= u64::from(header.has(item::TTL));
            counts.live_bytes -= bytes;
        }
        if header.has(item::LARGE) {
            let slot = header.large_ref(&self.arena, offset);
            self.graveyard.large.push(self.large.remove(slot));
        }
        // The recency bits may have changed since the header was read; in a dead item they mean nothing.
        header.set_dead(&mut self.arena, offset);
        self.moves += 1;
        let segment = self.arena.segment_of(offset);
        if self.log.bury(segment, header.size()) {
            self.release(segment);
        }
    }

    /// Edits a value in place or by rewriting it: resizes it to `new_len` (zero-extended or cut; a missing item starts
    /// empty), then calls `edit` on its bytes. The expiry stays. On an error nothing has changed and `edit` was not called.
    pub fn modify(
        &mut self,
        key: &Key,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        if new_len > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let found = self.lookup(key, now_ms);
        let large = new_len > self.limits.large_threshold;
        let draft = Draft {
            key: key.bytes,
            db: self.physical[key.db as usize],
            expire_at_ms: found.and_then(|f| f.header.expiry_ms(&self.arena, f.offset)),
            recency: found.map_or(0, |f| f.header.recency()),
            large,
            value_len: if large { item::LARGE_REF } else { new_len },
        };
        if let Some(found) = found {
            if large && found.header.has(item::LARGE) {
                return self.modify_large(found, new_len, edit);
            }
            if self.overwrite(found, &draft, now_ms) {
                let old_len = found.header.value_len().min(new_len);
                let at = found.offset.at() + found.header.value_at();
                let value = self.arena.bytes_mut(at, new_len);
                value[old_len..].fill(0);
                edit(value);
                return Ok(());
            }
        }
        if large {
            return self.become_large(key, found, &draft, new_len, now_ms, edit);
        }
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        self.copy_old_value(offset, header, found);
        edit(self.arena.bytes_mut(offset.at() + header.value_at(), new_len));
        self.link(key.hash, offset, header, found);
        Ok(())
    }

    /// Fills a new inline value with the old one, cut or extended with zeroes.
    fn copy_old_value(&mut self, offset: Offset, header: Header, old: Option<Found>) {
        let at = offset.at() + header.value_at();
        let mut copied = 0;
        if let Some(old) = old {
            if old.header.has(item::LARGE) {
                let value = self.large.value(old.header.large_ref(&self.arena, old.offset));
                copied = value.len().min(header.value_len());
                self.arena.bytes_mut(at, copied).copy_from_slice(&value[..copied]);
            } else {
                copied = old.header.value_len().min(header.value_len());
                self.arena.copy(old.offset.at() + old.header.value_at(), at, copied);
            }
        }
        self.arena.bytes_mut(at + copied, header.value_len() - copied).fill(0);
    }

    /// Sets (`Some`, Unix milliseconds) or removes (`None`) the expiry of a live item. `Ok(false)` if there is no such item.
    /// A time that has passed removes the item.
    pub fn set_expiry(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        let Some(found) = self.lookup(key, now_ms) else { return Ok(false) };
        let Found { offset, header, .. } = found;
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            self.erase(found, key.hash);
            return Ok(true);
        }
        if expire_at_ms == header.expiry_ms(&self.arena, offset) {
            return Ok(true);
        }
        let segment = self.arena.segment_of(offset);
        let class = usize::from(self.log.segments[segment as usize].class);
        if let Some(at) = expire_at_ms
            && header.has(item::TTL)
            && class == class_of(expire_at_ms, now_ms)
            && !self.arena.is_pinned(segment)
        {
            header.set_expiry_ms(&mut self.arena, offset, at);
            self.note_expiry(segment, at);
            return Ok(true);
        }
        let draft = Draft {
            key: key.bytes,
            db: self.physical[key.db as usize],
            expire_at_ms,
            recency: header.recency(),
            large: header.has(item::LARGE),
            value_len: header.value_len(),
        };
        let (offset, header, found) = self.write(key, Some(found), &draft, now_ms)?;
        // Making room may have evicted it: then the new place stays dead, and there is no such item.
        let Some(old) = found else {
            self.abandon(offset, header);
            return Ok(false);
        };
        let from = old.offset.at() + old.header.value_at();
        self.arena.copy(from, offset.at() + header.value_at(), header.value_len());
        if header.has(item::LARGE) {
            // The new item takes the value over; the old one must not free it.
            let slot = old.header.large_ref(&self.arena, old.offset);
            let bytes = self.large.bytes(slot);
            let copy = self.large.insert(bytes);
            self.arena
                .bytes_mut(offset.at() + header.value_at(), item::LARGE_REF)
                .copy_from_slice(&copy.to_le_bytes());
        }
        self.link(key.hash, offset, header, Some(old));
        Ok(true)
    }

    /// Kills a written item that was never linked.
    fn abandon(&mut self, offset: Offset, header: Header) {
        header.set_dead(&mut self.arena, offset);
        let segment = self.arena.segment_of(offset);
        if self.log.bury(segment, header.size()) {
            self.release(segment);
        }
    }

    /// Removes a live item; false if there was none.
    pub fn remove(&mut self, key: &Key, now_ms: u64) -> bool {
        let found = self.lookup(key, now_ms);
        found.inspect(|found| self.erase(*found, key.hash)).is_some()
    }

    /// Empties one database, or all, in constant time: what is there becomes unreachable at once, its memory comes back in
    /// `maintain`.
    pub fn flush(&mut self, db: Option<u8>) {
        self.close_all();
        let sequence = self.log.divide();
        for logical in 0..DATABASES {
            if db.is_none_or(|db| db == logical) {
                let physical = self.physical[logical as usize];
                self.flushes.note(physical, sequence);
                self.counts[physical as usize] = Counts::default();
            }
        }
    }

    /// Exchanges two databases in constant time. The caller holds all partitions.
    pub fn swap_databases(&mut self, a: u8, b: u8) {
        self.physical.swap(a as usize, b as usize);
    }

    #[inline]
    pub(super) fn physical(&self, db: u8) -> u8 {
        self.physical[db as usize]
    }

    pub fn stats(&self) -> PartitionStats {
        let mut stats = self.totals;
        for (logical, physical) in self.physical.iter().enumerate() {
            let counts = &self.counts[*physical as usize];
            stats.items[logical] = counts.items;
            stats.items_with_expiry[logical] = counts.with_expiry;
            stats.live_bytes += counts.live_bytes;
        }
        stats.segments = (self.arena.shared().held_bytes() / self.arena.segment_size()) as u64;
        stats.free_segments = self.log.free.len() as u64;
        stats.dead_bytes = (self.log.used - self.log.live) as u64;
        stats.index_bytes = self.index.tables().iter().map(|t| t.committed() as u64).sum();
        stats.large_values = self.large.len() as u64;
        stats.large_bytes = self.large.total() as u64;
        stats
    }
}
