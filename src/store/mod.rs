//! The store: partitions of the keyspace, each a log of segments with an index over it.
//!
//! ```text
//!  Store ── hash's top bits ──► partition 0 … n-1, each behind its lock
//!                                 Partition   what commands ask for          partition.rs  writing.rs  scan.rs
//!                                   index     hash → offset                  index.rs
//!                                   log       order and life of segments     log.rs
//!                                   arena     the bytes (unsafe lives here)  arena.rs  item.rs  fields.rs
//!                                   policy    who has to go                  eviction.rs
//!                                   sweep     who has expired                maintenance.rs
//!                                   journal   who is to be told              events.rs
//!                                   wakes     whose wait is over             wakes.rs
//!  Budget ◄── all of them count what they hold ──┘    large values: large.rs  buffer.rs  spares.rs
//! ```
//!
//! Nothing here knows of sockets, protocols or clocks: `now_ms` (Unix milliseconds) is always a parameter. A partition is
//! reached through [`Store::lock`]; nothing slow happens while it is held: memory goes back to the kernel when the guard has
//! let go, and is faulted in ahead by [`Store::prefault_step`], which takes no partition's lock.

mod arena;
pub mod budget;
mod buffer;
pub mod events;
mod eviction;
mod fields;
mod index;
mod item;
mod large;
mod log;
mod maintenance;
mod partition;
mod scan;
mod spares;
mod wakes;
mod writing;

pub use arena::return_large_frees;
pub use budget::Budget;
pub use buffer::Buffer;
pub use events::{Cause, Changes, Happening, Journal};
pub use fields::{Extra, Meta, State};
pub use partition::{Entry, Partition, PartitionStats};
pub use wakes::{Notes, Wakes};

use arena::{Arena, HUGE_PAGE, REACH, Shared, Table, TableShared};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use partition::{Graveyard, Limits};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Numbered databases (Redis's SELECT). A key in database 0 costs nothing for it, in another at most one byte.
pub const DATABASES: u8 = 16;

/// Segments that a partition's share of the limit is cut into, at least.
const SEGMENTS_PER_SHARE: usize = 64;
const MIN_SEGMENT: usize = 32 << 10;
/// How far the limit may be raised at run time, as a multiple of the one at start (addresses are reserved for it).
const GROWTH: usize = 64;
/// The most that a 16-bit key length holds.
const MAX_KEY_LEN: usize = 0xffff;

/// No value longer than this lies in a segment, however large segments are; see [`Store::large_threshold`].
pub const LONGEST_INLINE: usize = 128 << 10;

/// A key with its hash, computed once per request by [`Store::key`].
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub hash: u64,
    pub db: u8,
    pub bytes: &'a [u8],
}

/// When a written item expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    None,
    /// As the item it replaces; a placeholder is none.
    Keep,
    /// At this Unix time in milliseconds.
    At(u64),
}

/// A value to write. Large ones are prepared outside the lock by [`Store::large_value`] and moved in.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Inline(&'a [u8]),
    Large(Bytes),
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Eviction is off, or nothing is left to evict: Redis's OOM error.
    #[error("out of memory")]
    OutOfMemory,
    /// This partition has nothing left to evict, others do: unlock, [`Store::make_room`] for [`Partition::room_wanted`], try
    /// again.
    #[error("the partition needs room from the others")]
    NeedsRoom,
    /// Larger than `max_value_size`.
    #[error("value too large")]
    TooLarge,
    /// Longer than [`Store::max_key_len`].
    #[error("key too long")]
    KeyTooLong,
}

/// `--eviction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    Lru,
    S3Fifo,
    None,
}

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Four per worker.
    pub partitions: usize,
    pub eviction: Eviction,
    pub max_value_size: usize,
    /// Touch all memory at start.
    pub prefault: bool,
    /// Four random words; one process keeps them for life.
    pub seeds: [u64; 4],
}

/// The memory of a partition, as far as it can be prepared without its lock.
type Memory = (Arc<Shared>, [Arc<TableShared>; 2]);

/// All partitions of one server.
pub struct Store {
    partitions: Box<[Mutex<Partition>]>,
    /// What [`Store::prefault_step`] works on.
    memory: Box<[Memory]>,
    hasher: ahash::RandomState,
    budget: Arc<Budget>,
    journal: Arc<Journal>,
    wakes: Arc<Wakes>,
    config: StoreConfig,
    limits: Limits,
}

/// A locked partition. What was removed under the lock is freed after it.
pub struct PartitionGuard<'a> {
    // In this order: unlocked first, then freed.
    partition: MutexGuard<'a, Partition>,
    graveyard: Graveyard,
}

/// What a partition has to free: freed when this is dropped.
pub struct Remains {
    _graveyard: Graveyard,
}

impl PartitionGuard<'_> {
    /// Unlocks and returns what is to be freed, if anything is: for those who hold further partitions, under whose locks nothing slow
    /// may happen either.
    #[inline]
    pub fn unlock(mut self) -> Option<Remains> {
        if self.partition.graveyard.is_empty() {
            return None;
        }
        Some(Remains { _graveyard: self.partition.take_graveyard() })
    }

    /// Bytes that it holds of what can be shed.
    pub fn held_bytes(&self) -> usize {
        self.partition.large_total() + self.partition.arena.shared().held_bytes()
    }

    /// One step towards `wanted` bytes of room in the budget, as of [`Store::make_room`], but what is given up is freed at once: for who
    /// holds all that could be evicted from and cannot let go. False when there is nothing left to give.
    pub fn shed_now(&mut self, wanted: usize) -> bool {
        let shed = self.partition.shed(wanted);
        drop(self.partition.take_graveyard());
        shed
    }
}

impl Deref for PartitionGuard<'_> {
    type Target = Partition;
    #[inline]
    fn deref(&self) -> &Partition {
        &self.partition
    }
}

impl DerefMut for PartitionGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Partition {
        &mut self.partition
    }
}

impl Drop for PartitionGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.partition.graveyard.is_empty() {
            self.graveyard = self.partition.take_graveyard();
        }
    }
}

impl Store {
    /// Errors: a limit too small for so many partitions, or a kernel that grants no addresses.
    pub fn new(config: StoreConfig, budget: Arc<Budget>) -> io::Result<Store> {
        assert!(config.partitions > 0);
        let share = budget.limit() / config.partitions;
        if share < 8 * MIN_SEGMENT {
            let least = config.partitions * 8 * MIN_SEGMENT;
            let text =
                format!("{} partitions need a memory limit of {least} bytes at least", config.partitions);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // The largest power of two that cuts the share finely enough; a huge page where there is memory for it.
        let wanted = share / SEGMENTS_PER_SHARE;
        let segment_size = (1 << wanted.max(1).ilog2()).clamp(MIN_SEGMENT, HUGE_PAGE);
        let limits = Limits {
            partitions: config.partitions,
            // A quarter of a segment at most, so that a segment's tail is never much of it.
            large_threshold: (segment_size / 4).min(LONGEST_INLINE),
            max_key_len: (segment_size / 4).min(MAX_KEY_LEN),
            max_value_size: config.max_value_size,
            keep_memory: config.prefault,
        };
        let [a, b, c, d] = config.seeds;
        let hasher = ahash::RandomState::with_seeds(a, b, c, d);
        let journal = Arc::new(Journal::default());
        let wakes = Arc::new(Wakes::default());
        let mut partitions = Vec::with_capacity(config.partitions);
        for _ in 0..config.partitions {
            let mut partition =
                new_partition(share, segment_size, &config, &hasher, &budget, &wakes, limits)?;
            partition.journal = Arc::clone(&journal);
            partitions.push(partition);
        }
        let memory = partitions.iter().map(Partition::memory).collect();
        let partitions = partitions.into_iter().map(Mutex::new).collect();
        let store = Store { partitions, memory, hasher, budget, journal, wakes, config, limits };
        if store.config.prefault {
            store.prefault_all();
        }
        Ok(store)
    }

    /// Hashes a key. The hash does not depend on the database: a key's partition is the same in all of them.
    #[inline]
    pub fn key<'a>(&self, db: u8, bytes: &'a [u8]) -> Key<'a> {
        Key { hash: hash_key(&self.hasher, bytes), db, bytes }
    }

    /// The partition of a hash: its top bits (the index uses the others).
    #[inline]
    pub fn partition_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.partitions.len() as u128) >> 64) as usize
    }

    /// Fetches the index bucket of a hash into the cache, without its partition's lock. A good time is as soon as the hash is known.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let (_, [index, _]) = &self.memory[self.partition_of(hash)];
        index.prefetch_hash(hash);
    }

    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Locks a partition: spins briefly, then parks. To hold several, lock them in index order.
    #[inline]
    pub fn lock(&self, partition: usize) -> PartitionGuard<'_> {
        let partition = self.partitions[partition].lock();
        PartitionGuard { partition, graveyard: Graveyard::default() }
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Where changes are noted for those who want to be told.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Keys that somebody waits for and that have changed.
    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Values longer than this are written as [`Value::Large`].
    pub fn large_threshold(&self) -> usize {
        self.limits.large_threshold
    }

    /// The longest key in bytes: 65,535, or a quarter of a segment where memory is very small.
    pub fn max_key_len(&self) -> usize {
        self.limits.max_key_len
    }

    /// A large value in memory of its own: that of the buffer it arrived in, if it is most of it; else a copy, for which room is made
    /// first. Call without holding any partition.
    pub fn large_value_in(&self, bytes: &[u8], buffer: Option<&Buffer>) -> Result<Bytes, WriteError> {
        if bytes.len() > self.config.max_value_size {
            return Err(WriteError::TooLarge);
        }
        match buffer.and_then(|buffer| buffer.take_value(bytes)) {
            Some(value) => Ok(value),
            None => self.large_value(bytes),
        }
    }

    /// Copies a large value into memory of its own, making room for it first. Call without holding any partition.
    pub fn large_value(&self, bytes: &[u8]) -> Result<Bytes, WriteError> {
        self.large_value_by(bytes, &mut |len| self.make_room_or_spare(len, len))
    }

    /// As `large_value`, for who holds partitions and makes room in its own way.
    pub fn large_value_by(
        &self,
        bytes: &[u8],
        make_room: &mut dyn FnMut(usize) -> Result<(), WriteError>,
    ) -> Result<Bytes, WriteError> {
        if bytes.len() > self.config.max_value_size {
            return Err(WriteError::TooLarge);
        }
        loop {
            match large::LargeMemory::copy_of(bytes, &self.budget) {
                Err(WriteError::NeedsRoom) => make_room(bytes.len())?,
                result => return result,
            }
        }
    }

    /// Evicts from whichever partitions hold most until `bytes` fit into the budget, locking one at a time. Call without
    /// holding any partition.
    pub fn make_room(&self, bytes: usize) -> Result<(), WriteError> {
        self.make_room_or_spare(bytes, usize::MAX)
    }

    /// As `make_room`, but content with a spare for `len` bytes: what is evicted on the way may be just that.
    fn make_room_or_spare(&self, bytes: usize, len: usize) -> Result<(), WriteError> {
        self.make_room_by(bytes, len, &mut |missing| {
            // The fullest first; one that has nothing to give hands over to the next.
            let mut order: Vec<usize> = (0..self.partitions.len()).collect();
            order.sort_by_key(|p| std::cmp::Reverse(self.held_by(*p)));
            order.into_iter().any(|p| self.lock(p).shed(missing))
        })
    }

    /// Calls `shed` with what is missing until `bytes` fit into the budget or it returns false: there is nothing left to give. For who
    /// holds partitions and sheds from them.
    pub fn make_room_by(
        &self,
        bytes: usize,
        len: usize,
        shed: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), WriteError> {
        // The index may be about to grow, and writers take whole segments: ask for a little more than was asked for.
        let segment = self.memory[0].0.segment_size();
        let wanted = bytes.next_multiple_of(4096).max(segment) + (64 << 10);
        if wanted > self.budget.limit() / 2 {
            return Err(WriteError::OutOfMemory);
        }
        loop {
            let missing = wanted.saturating_sub(self.budget.room());
            if missing == 0 || self.budget.has_spare(len) {
                return Ok(());
            }
            if self.budget.release_spare() || self.memory.iter().any(|(arena, _)| arena.return_ready()) {
                continue;
            }
            if !shed(missing) {
                return Err(WriteError::OutOfMemory);
            }
        }
    }

    fn held_by(&self, partition: usize) -> usize {
        let large = self.partitions[partition].lock().large_total();
        large + self.memory[partition].0.held_bytes()
    }

    /// One step of preparing memory ahead of its use: faults in a segment or a chunk of an index where a partition is about to
    /// need one, at most 2 MiB. For the control thread, every few milliseconds, again at once while it returns true.
    pub fn prefault_step(&self) -> bool {
        if self.budget.excess() > 0 {
            return self.budget.release_spare() || self.memory.iter().any(|(arena, _)| arena.return_ready());
        }
        let mut done = false;
        for (arena, tables) in &self.memory {
            done |= arena.prefault_step();
            done |= tables.iter().filter(|table| table.prefault_step()).count() > 0;
        }
        done
    }

    /// Makes a huge page of small ones that have filled up, one at most. Whoever touches memory meanwhile waits, for 0.6 ms or more, so this
    /// is for the control thread, now and then.
    pub fn collapse_step(&self) -> bool {
        self.memory
            .iter()
            .any(|(arena, tables)| arena.collapse_step() || tables.iter().any(|table| table.collapse_step()))
    }

    /// Touches the memory of the segments to come; an eighth is left for indexes and large values.
    fn prefault_all(&self) {
        let leave = self.budget.limit() / 8;
        while self.budget.room() > leave && self.memory.iter().all(|(arena, _)| arena.prefault()) {}
    }
}

#[inline]
fn hash_key(hasher: &ahash::RandomState, bytes: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(bytes);
    state.finish()
}

fn new_partition(
    share: usize,
    segment_size: usize,
    config: &StoreConfig,
    hasher: &ahash::RandomState,
    budget: &Arc<Budget>,
    wakes: &Arc<Wakes>,
    limits: Limits,
) -> io::Result<Partition> {
    let segments = (share / segment_size * GROWTH).min(REACH / segment_size).min(1 << 14);
    let arena = Arena::new(segment_size, segments, budget.clone())?;
    let huge = segment_size >= HUGE_PAGE;
    // The smallest items take 16 bytes, and their index entries nine.
    let index = segments * segment_size * 2 / 3;
    let primary = Table::new(index, huge, budget.clone())?;
    let overflow = Table::new(index / 2, huge, budget.clone())?;
    Partition::new(
        arena,
        [primary, overflow],
        config.eviction,
        hasher.clone(),
        budget.clone(),
        wakes.clone(),
        limits,
    )
    .ok_or_else(|| io::Error::other("no memory for an empty index"))
}
