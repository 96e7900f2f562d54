//! The memory of a partition. Here, in mapping.rs and in table.rs is the store's only unsafe code.
//!
//! ```text
//!  Arena: one reserved stretch of addresses, cut into segments of equal size (a power of two)
//!  ┌─────────┬─────────┬─────────┬─────────┬──────────────────────────────────────────┐
//!  │ held    │ held    │ ready   │ returned│  never touched: PROT_NONE, no memory      │
//!  └─────────┴─────────┴─────────┴─────────┴──────────────────────────────────────────┘
//!                                          ▲ fresh
//! ```
//!
//! A segment is *held* by the partition, *ready* (committed and faulted in ahead by [`Shared::prefault_step`], waiting to
//! be held) or *returned* (its memory is back with the kernel). Held and ready segments are counted in the budget.
//! Reserving with PROT_NONE costs nothing even where the kernel refuses to overcommit; segments become writable one by one.
//!
//! Invariants, on which the safety of this file rests:
//! * [`Arena`] is the one handle that writes, it is not `Clone`, and writing takes `&mut`: readers that borrow from it are
//!   excluded by the borrow checker.
//! * A [`Pin`] reads without that borrow. It counts itself at its segment and notes how far its range reaches; below that
//!   mark nothing is lent for writing while the count is above zero ([`Arena::bytes_mut`] asserts it). Item headers, which lie
//!   outside every pinned range (only values are pinned), go through [`Arena::set_byte`].
//! * The mapping lives in an `Arc` that every pin owns too.

#![allow(unsafe_code, reason = "maps memory from the kernel and hands out ranges of it")]

mod collapse;
mod mapping;
mod table;

pub(super) use mapping::prefetch_range;
pub use mapping::return_large_frees;
pub(super) use mapping::{HUGE_PAGE, OwnMemory};
pub(super) use table::{Bucket, Table, TableShared, bucket_of, equal_bytes};

use super::Budget;
use bytes::Bytes;
use collapse::{Collapse, FIRST_SMALL};
use mapping::{Mapping, PAGE, prefetch, reserve_up_to};
use parking_lot::Mutex;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Items begin at multiples of this many bytes. Four saves two bytes an item against eight, and reaches half as far.
pub(super) const GRAIN: usize = 4;
/// The most bytes of an arena that 32-bit offsets reach: 16 GiB.
pub(super) const REACH: usize = GRAIN << 32;

/// Where an item begins, in grains from the start of its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset(pub u32);

impl Offset {
    /// In bytes.
    #[inline]
    pub fn at(self) -> usize {
        self.0 as usize * GRAIN
    }

    #[inline]
    pub fn from_at(at: usize) -> Offset {
        debug_assert!(at.is_multiple_of(GRAIN));
        Offset(u32::try_from(at / GRAIN).expect("an arena is no longer than REACH"))
    }
}

/// What pins, the control thread and the partition share.
pub(super) struct Shared {
    mapping: Mapping,
    segment_shift: u32,
    pins: Box<[PinCount]>,
    backing: Mutex<Backing>,
    collapse: Collapse,
    budget: Arc<Budget>,
    /// How many ready segments the partition would like to have ahead of it: 0 or 1.
    ready_wanted: AtomicUsize,
    /// Segments held by the partition.
    held: AtomicUsize,
}

#[derive(Default)]
struct PinCount {
    count: AtomicU32,
    /// End of the furthest pinned range, from the start of the segment. Changed only by the partition.
    frozen: AtomicU32,
}

struct Backing {
    ready: Vec<u32>,
    returned: Vec<u32>,
    /// Segments from here on were never touched.
    fresh: u32,
    /// Segments from here on are not yet writable.
    writable: u32,
}

const WRITABLE_AHEAD: usize = 16;

/// The partition's own handle: reads and writes bytes, takes and returns segments.
pub(super) struct Arena {
    shared: Arc<Shared>,
    /// The mapping's, kept here to spare every access a step through the Arc.
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the pointer is that of the mapping which `shared` owns and which is itself Send and Sync.
unsafe impl Send for Arena {}
// SAFETY: as above; through `&Arena` bytes are only read, and written through `&mut Arena`.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves addresses for `segments` segments of `segment_size` bytes (fewer, if addresses are limited, but not under 1/16).
    pub fn new(segment_size: usize, segments: usize, budget: Arc<Budget>) -> io::Result<Arena> {
        assert!(segment_size.is_power_of_two() && segment_size >= PAGE);
        let bytes = (segment_size * segments).min(REACH);
        let mapping = reserve_up_to(bytes, bytes / 16)?;
        let segments = mapping.len / segment_size;
        // With smaller segments a huge page would make more resident than is counted.
        let huge = segment_size >= HUGE_PAGE;
        if huge {
            let small = (FIRST_SMALL * segment_size).min(mapping.len);
            mapping.advise(small, mapping.len - small, libc::MADV_HUGEPAGE);
        } else {
            mapping.advise(0, mapping.len, libc::MADV_NOHUGEPAGE);
        }
        let (base, len) = (mapping.base, mapping.len);
        let shared = Shared {
            mapping,
            segment_shift: segment_size.trailing_zeros(),
            pins: (0..segments).map(|_| PinCount::default()).collect(),
            backing: Mutex::new(Backing { ready: Vec::new(), returned: Vec::new(), fresh: 0, writable: 0 }),
            collapse: Collapse::default(),
            budget,
            ready_wanted: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
        };
        Ok(Arena { shared: Arc::new(shared), base, len })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub fn segment_of(&self, offset: Offset) -> u32 {
        offset.0 >> (self.shared.segment_shift - GRAIN.trailing_zeros())
    }

    pub fn segment_start(&self, segment: u32) -> usize {
        (segment as usize) << self.shared.segment_shift
    }

    pub fn segment_size(&self) -> usize {
        1 << self.shared.segment_shift
    }

    #[inline]
    fn pointer(&self, at: usize, len: usize) -> NonNull<u8> {
        assert!(len <= self.len && at <= self.len - len, "range outside of the arena");
        // SAFETY: the assertion keeps the range inside the mapping, which the Arc in self keeps.
        unsafe { self.base.add(at) }
    }

    /// The eight bytes at `offset`, as a little-endian number. No item is shorter.
    #[inline]
    pub fn word(&self, offset: Offset) -> u64 {
        let at = self.pointer(offset.at(), 8);
        // SAFETY: inside the mapping (asserted); `&self` excludes the one writer.
        u64::from_le(unsafe { at.cast::<u64>().read_unaligned() })
    }

    #[inline]
    pub fn bytes(&self, at: usize, len: usize) -> &[u8] {
        let start = self.pointer(at, len);
        // SAFETY: inside the mapping, which self's Arc keeps; the borrow of self excludes the one writer.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Panics if a pin may be reading the range.
    #[inline]
    pub fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        if len == 0 {
            // Nothing at the very end of a segment would be looked up in the next one.
            return &mut [];
        }
        let start = self.pointer(at, len);
        debug_assert_eq!(
            at >> self.shared.segment_shift,
            (at + len - 1) >> self.shared.segment_shift,
            "one segment, whose pins are asked"
        );
        let pins = &self.shared.pins[at >> self.shared.segment_shift];
        let frozen = pins.frozen.load(Ordering::Relaxed) as usize;
        assert!(
            frozen == 0
                || at & (self.segment_size() - 1) >= frozen
                || pins.count.load(Ordering::Acquire) == 0,
            "a pinned range would be overwritten"
        );
        // SAFETY: inside the mapping; `&mut self` excludes readers that borrow, the assertion those that pin.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Writes one byte of an item's header: headers lie outside all pinned ranges, so this may go beside a pin.
    #[inline]
    pub fn set_byte(&mut self, at: usize, byte: u8) {
        let at = self.pointer(at, 1);
        // SAFETY: inside the mapping; `&mut self` excludes readers that borrow, and pins cover values only.
        unsafe { at.write(byte) }
    }

    /// Copies between two places that do not overlap.
    pub fn copy(&mut self, from: usize, to: usize, len: usize) {
        assert!(from + len <= to || to + len <= from, "source and destination overlap");
        let source = self.pointer(from, len);
        let target = self.bytes_mut(to, len).as_mut_ptr();
        // SAFETY: both ranges are inside the mapping and apart; the target was lent for writing one line above.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), target, len) }
    }

    #[inline]
    pub fn prefetch(&self, at: usize) {
        prefetch(self.base.as_ptr().wrapping_add(at));
    }

    /// The range as `Bytes` that stay readable and unchanged as long as they live: the segment is not reused before.
    pub fn pin(&self, at: usize, len: usize) -> Bytes {
        if len == 0 {
            return Bytes::new();
        }
        let segment = at >> self.shared.segment_shift;
        let pins = &self.shared.pins[segment];
        let end = at + len - (segment << self.shared.segment_shift);
        // Segments are at most HUGE_PAGE long, so the end fits. No other thread changes the mark.
        let end = u32::try_from(end).expect("a range inside one segment");
        pins.frozen.fetch_max(end, Ordering::Relaxed);
        pins.count.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Pin { shared: self.shared.clone(), at, len })
    }

    pub fn is_pinned(&self, segment: u32) -> bool {
        self.shared.pins[segment as usize].count.load(Ordering::Acquire) != 0
    }

    /// Prepares an unpinned segment for being written from its start.
    pub fn reuse(&mut self, segment: u32) {
        assert!(!self.is_pinned(segment), "a pinned segment would be reused");
        self.shared.pins[segment as usize].frozen.store(0, Ordering::Relaxed);
    }

    /// Holds one more segment: a ready one, else one that is made writable now and faults at first touch.
    /// `None` when the budget, the reserved addresses or the kernel's patience are exhausted.
    pub fn take(&mut self) -> Option<u32> {
        self.shared.ready_wanted.store(0, Ordering::Relaxed);
        let ready = self.shared.backing.lock().ready.pop();
        let segment = ready.or_else(|| self.shared.commit())?;
        self.shared.held.fetch_add(1, Ordering::Relaxed);
        Some(segment)
    }

    /// Asks for a segment to be ready soon.
    pub fn want_ready(&self) {
        self.shared.ready_wanted.store(1, Ordering::Relaxed);
    }

    /// Notes that a segment has been written to its end.
    pub fn note_full(&self, segment: u32) {
        if self.shared.is_huge() {
            self.shared.collapse.note_full(segment);
        }
    }

    /// Holds a segment only if one is ready.
    pub fn take_ready(&mut self) -> Option<u32> {
        let segment = self.shared.backing.lock().ready.pop()?;
        self.shared.held.fetch_add(1, Ordering::Relaxed);
        Some(segment)
    }

    /// Gives a held, unpinned segment up; its memory goes back when the result is dropped (a system call).
    pub fn give_up(&mut self, segment: u32) -> GivenUp {
        self.reuse(segment);
        self.shared.held.fetch_sub(1, Ordering::Relaxed);
        GivenUp { shared: self.shared.clone(), segment }
    }
}

/// A segment on its way back to the kernel.
pub(super) struct GivenUp {
    shared: Arc<Shared>,
    segment: u32,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.shared.discard(self.segment);
    }
}

impl Shared {
    /// Bytes of the segments that the partition holds.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed) << self.segment_shift
    }

    pub fn segment_size(&self) -> usize {
        1 << self.segment_shift
    }

    pub fn segments(&self) -> usize {
        self.pins.len()
    }

    /// Segments faulted in and not yet held.
    pub fn ready(&self) -> usize {
        self.backing.lock().ready.len()
    }

    fn commit(&self) -> Option<u32> {
        let size = 1 << self.segment_shift;
        if !self.budget.try_take(&self.budget.segments, size) {
            return None;
        }
        let mut backing = self.backing.lock();
        if let Some(segment) = backing.returned.pop() {
            return Some(segment);
        }
        if backing.fresh < backing.writable || self.make_more_writable(&mut backing) {
            backing.fresh += 1;
            return Some(backing.fresh - 1);
        }
        self.budget.segments.fetch_sub(size, Ordering::Relaxed);
        None
    }

    /// Some segments at a time, since each such call stops all page faults of the process; one, if the kernel is strict about
    /// overcommitting.
    fn make_more_writable(&self, backing: &mut Backing) -> bool {
        let left = self.pins.len() - backing.writable as usize;
        [left.min(WRITABLE_AHEAD), left.min(1)].into_iter().filter(|count| *count > 0).any(|count| {
            let start = (backing.writable as usize) << self.segment_shift;
            let done = self.mapping.make_writable(start, count << self.segment_shift).is_ok();
            // At most WRITABLE_AHEAD.
            backing.writable += if done { count as u32 } else { 0 };
            done
        })
    }

    fn discard(&self, segment: u32) {
        let size = 1 << self.segment_shift;
        let start = (segment as usize) << self.segment_shift;
        self.collapse.discarding(segment, || self.mapping.discard(start, size));
        self.backing.lock().returned.push(segment);
        self.budget.segments.fetch_sub(size, Ordering::Relaxed);
    }

    /// Faults one segment in if one is wanted and none ready. Returns whether it did. Takes no partition's lock.
    pub fn prefault_step(&self) -> bool {
        let backing = self.backing.lock();
        let missing = backing.ready.len() < self.ready_wanted.load(Ordering::Relaxed);
        let first_small =
            self.is_huge() && backing.returned.is_empty() && (backing.fresh as usize) < FIRST_SMALL;
        drop(backing);
        missing && !first_small && self.prefault()
    }

    /// Makes a huge page of one full segment of small ones. Returns whether it did. Takes no partition's lock.
    pub fn collapse_step(&self) -> bool {
        self.collapse.step(&self.mapping)
    }

    fn is_huge(&self) -> bool {
        self.segment_size() >= HUGE_PAGE
    }

    pub fn prefault(&self) -> bool {
        let Some(segment) = self.commit() else { return false };
        let start = (segment as usize) << self.segment_shift;
        self.mapping.advise(start, 1 << self.segment_shift, libc::MADV_POPULATE_WRITE);
        self.backing.lock().ready.push(segment);
        true
    }

    /// Gives back ready segments that nobody took, when memory has become scarce. Returns whether there was one.
    pub fn return_ready(&self) -> bool {
        let ready = self.backing.lock().ready.pop();
        ready.map(|segment| self.discard(segment)).is_some()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let ready = self.backing.get_mut().ready.len();
        let segments = ready + self.held.load(Ordering::Relaxed);
        self.budget.segments.fetch_sub(segments << self.segment_shift, Ordering::Relaxed);
    }
}

struct Pin {
    shared: Arc<Shared>,
    at: usize,
    len: usize,
}

impl AsRef<[u8]> for Pin {
    fn as_ref(&self) -> &[u8] {
        let start = self.shared.mapping.pointer(self.at, self.len);
        // SAFETY: the Arc keeps the mapping, and the pin count keeps writers off this range until drop.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let segment = self.at >> self.shared.segment_shift;
        self.shared.pins[segment].count.fetch_sub(1, Ordering::Release);
    }
}
