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
//! * `counts` sums the items that are not dead and not flushed; placeholders (fields.rs) only with their bytes;
//! * `Segment::live` sums the items that are not dead, flushed or not.
//!
//! The rest of the implementation: writing.rs changes items, eviction.rs empties segments, maintenance.rs is the background work, scan.rs iterates.

use super::arena::{Arena, GivenUp, Offset, Table, TableShared};
use super::events::{Cause, Happening, Journal};
use super::eviction::{Policy, Victim};
use super::fields::{Extra, Meta, State, seconds};
use super::index::{Index, Slot};
use super::item::{self, Header};
use super::large::LargeTable;
use super::log::Log;
use super::maintenance::{Flushes, Sweep};
use super::*;

/// Memory of the index per item, on average: a 64-byte bucket for 7.5 items.
const INDEX_SHARE: usize = 9;

/// Bytes of a common item, of 64 bytes under a key of 16: one in three such items reaches into a third cache line.
const COMMON_ITEM: usize = 84;

/// An item found by [`Partition::get`], borrowed from the partition.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub value: &'a [u8],
    partition: &'a Partition,
    offset: Offset,
    /// As it was before this access.
    header: Header,
    now_ms: u64,
}

impl Entry<'_> {
    /// Unix milliseconds.
    #[inline]
    pub fn expire_at_ms(&self) -> Option<u64> {
        self.header.expiry_ms(&self.partition.arena, self.offset)
    }

    /// 0 to 3: how recently it was used, before this access.
    pub fn recency(&self) -> u8 {
        self.header.recency()
    }

    /// Client flags and META.
    #[inline]
    pub fn extra(&self) -> Extra {
        self.header.extra(&self.partition.arena, self.offset)
    }

    /// Whether it has META.
    #[inline]
    pub fn has_meta(&self) -> bool {
        self.header.has(item::META)
    }

    /// The account of its use with which an item begins that has kept none: as much as recency and age tell. Without a CAS.
    pub fn account(&self) -> Meta {
        let state = State { fetched: self.header.recency() > 0, ..State::default() };
        Meta { cas: 0, state, access_s: seconds(self.now_ms.saturating_sub(self.age_ms())) }
    }

    /// Bytes of memory it takes with header, padding and its share of the index.
    pub fn footprint(&self) -> usize {
        let own = if self.header.has(item::LARGE) { self.value.len().next_multiple_of(4096) } else { 0 };
        self.header.size() + INDEX_SHARE + own
    }

    /// The value without copying it: it stays readable and unchanged as long as the `Bytes` lives.
    pub fn pin(&self) -> Bytes {
        let header = self.header;
        if header.has(item::LARGE) {
            return self.partition.large.bytes(header.large_ref(&self.partition.arena, self.offset));
        }
        self.partition.arena.pin(self.offset.at() + header.value_at(), header.value_len())
    }

    /// Fetches a value that will be sent from where it lies, unless it is so long that a turn's values would push each other out of
    /// the cache. The kernel copies it only after the whole batch has run.
    pub fn prefetch_value(&self) {
        const LONGEST: usize = 32 << 10;
        if self.value.len() <= LONGEST {
            super::arena::prefetch_range(self.value);
        }
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
        let expire_at_ms = self.expire_at_ms();
        f.debug_struct("Entry").field("value", &self.value).field("expire_at_ms", &expire_at_ms).finish()
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
    pub(super) wakes: Arc<Wakes>,
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
    /// The CAS given out last.
    pub(super) last_cas: u64,
    /// Bytes that the last refused write asked for.
    pub(super) room_wanted: usize,
    pub(super) graveyard: Graveyard,
    pub(super) journal: Arc<Journal>,
    /// What the journal is told of the changes that a command makes.
    pub(super) cause: Cause,
}

impl Partition {
    pub(super) fn new(
        arena: Arena,
        tables: [Table; 2],
        eviction: Eviction,
        hasher: ahash::RandomState,
        budget: Arc<Budget>,
        wakes: Arc<Wakes>,
        limits: Limits,
    ) -> Option<Partition> {
        let log = Log::new(arena.segment_size(), arena.shared().segments());
        let [primary, overflow] = tables;
        let policy = Policy::new(eviction, budget.clone());
        // Another process begins elsewhere, so that a CAS that outlives this one means nothing. 28 bits: there are clients (meta-memcache)
        // that take 32 at most, and memcached's own tokens begin small.
        let last_cas = hasher.hash_one("cas") >> 36;
        Some(Partition {
            index: Index::new(primary, overflow)?,
            log,
            arena,
            large: LargeTable::default(),
            hasher,
            budget,
            wakes,
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
            last_cas,
            room_wanted: 0,
            graveyard: Graveyard::default(),
            journal: Arc::default(),
            cause: Cause::default(),
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
            self.arena.prefetch(offset.at() + COMMON_ITEM);
        }
    }

    /// Finds a live item and notes its use (recency). An expired one is removed and counted. A placeholder is no item here.
    pub fn get(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        self.read(key, now_ms, true)
    }

    /// Finds a live item without noting its use.
    pub fn peek(&mut self, key: &Key, now_ms: u64) -> Option<Entry<'_>> {
        self.read(key, now_ms, false)
    }

    /// [`Partition::get`], or [`Partition::peek`] if it is no `use_`.
    #[inline(always)]
    pub fn read(&mut self, key: &Key, now_ms: u64, use_: bool) -> Option<Entry<'_>> {
        let found = self.lookup(key, now_ms)?;
        let Found { offset, header, .. } = found;
        if header.has(item::META) && !self.note_read(found, now_ms, use_) {
            return None;
        }
        if use_ && header.recency() < 3 {
            header.set_recency(&mut self.arena, offset, header.recency() + 1);
        }
        Some(self.entry(offset, header, now_ms))
    }

    /// As [`Partition::read`], for those who know of leases: finds placeholders too. What META says of its use stays, so that the caller
    /// can see how it was before ([`Partition::refit_item`] notes it).
    #[inline]
    pub fn item(&mut self, key: &Key, now_ms: u64, use_: bool) -> Option<Entry<'_>> {
        let Found { offset, header, .. } = self.lookup(key, now_ms)?;
        if use_ && header.recency() < 3 {
            header.set_recency(&mut self.arena, offset, header.recency() + 1);
        }
        Some(self.entry(offset, header, now_ms))
    }

    #[inline(always)]
    pub(super) fn entry(&self, offset: Offset, header: Header, now_ms: u64) -> Entry<'_> {
        let value = if header.has(item::LARGE) {
            self.large.value(header.large_ref(&self.arena, offset))
        } else {
            header.value(&self.arena, offset)
        };
        Entry { value, partition: self, offset, header, now_ms }
    }

    /// Finds the live item of a key; one that turns out to be expired or flushed is removed.
    #[inline(always)]
    pub(super) fn lookup(&mut self, key: &Key, now_ms: u64) -> Option<Found> {
        let db = self.physical[key.db as usize];
        let arena = &self.arena;
        let (slot, (offset, header)) = self.index.find(key.hash, |offset| {
            let header = Header::read(arena, offset);
            header.is_of(arena, offset, key.bytes, db).then_some((offset, header))
        })?;
        let found = Found { slot, offset, header };
        if found.header.has(item::TTL) || self.flushes.pending() {
            return self.unless_gone(found, key.hash, now_ms);
        }
        Some(found)
    }

    #[inline(never)]
    fn unless_gone(&mut self, found: Found, hash: u64, now_ms: u64) -> Option<Found> {
        let flushed = self.is_flushed(found.offset, found.header);
        let expired = found.header.expiry_ms(&self.arena, found.offset).is_some_and(|at| at <= now_ms);
        if !flushed && !expired {
            return Some(found);
        }
        self.totals.expired += u64::from(expired && !flushed);
        if !flushed {
            self.note_item(Happening::Expired, found.offset, found.header);
        }
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

    /// Empties one database, or all, in constant time: what is there becomes unreachable at once, its memory comes back in
    /// `maintain`.
    pub fn flush(&mut self, db: Option<u8>) {
        self.wakes.note_all();
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

    /// Whether anybody wants to be told of changes.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.journal.is_on()
    }

    /// What the changes from here on are called, and whose they are; worth calling only while [`Partition::is_watched`].
    pub fn set_cause(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Tells of something that a command does under its own name.
    pub fn note(&self, what: Happening, key: &Key) {
        self.journal.note(what, key.db, self.cause.origin, key.bytes);
    }

    /// Whether a write of an item is to be told, and then whether it is a new one. A placeholder is no item to those who are told.
    #[inline(always)]
    pub(super) fn told_of(&self, found: Option<Found>, extra: Option<&Extra>) -> Option<bool> {
        if !self.journal.is_on() || extra.is_some_and(|extra| extra.meta.is_some_and(|m| m.state.placeholder))
        {
            return None;
        }
        Some(found.is_none_or(|found| found.header.is_placeholder(&self.arena, found.offset)))
    }

    /// Tells of a written item, and of its expiry if it was given one.
    #[inline(always)]
    pub(super) fn note_write(&self, key: &Key, told: Option<bool>, expiry: Expiry) {
        if let Some(is_new) = told {
            self.tell_write(key, is_new, expiry);
        }
    }

    #[cold]
    fn tell_write(&self, key: &Key, is_new: bool, expiry: Expiry) {
        if is_new {
            self.note(Happening::New, key);
        }
        self.note(self.cause.written, key);
        if matches!(expiry, Expiry::At(_)) && self.cause.written != Happening::Unnamed {
            self.note(Happening::Expire, key);
        }
    }

    /// Tells of something that happened to an item by itself. A placeholder is none.
    #[inline]
    pub(super) fn note_item(&self, what: Happening, offset: Offset, header: Header) {
        if self.journal.is_on() && !header.is_placeholder(&self.arena, offset) {
            let physical = header.db(&self.arena, offset);
            let logical = self.physical.iter().position(|db| *db == physical).unwrap_or_default();
            self.journal.note(what, logical as u8, 0, header.key(&self.arena, offset));
        }
    }

    /// After [`WriteError::NeedsRoom`]: the bytes to ask [`Store::make_room`] for.
    pub fn room_wanted(&self) -> usize {
        self.room_wanted
    }

    /// Exchanges two databases in constant time. The caller holds all partitions.
    pub fn swap_databases(&mut self, a: u8, b: u8) {
        // Who waits for a key of one database may find it in the other.
        self.wakes.note_all();
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
