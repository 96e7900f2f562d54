//! The memory of an index: an array of buckets that grows and shrinks in place.
//!
//! ```text
//!  ┌──────────────┬───────────────────┬──────────────────────────────┐
//!  │ granted      │ committed ahead   │  reserved addresses          │
//!  └──────────────┴───────────────────┴──────────────────────────────┘
//!    the index may  by the control      in chunks of 64 KiB, later
//!    touch it       thread              of a huge page
//! ```
//!
//! [`Table`] is the one handle that lends buckets, and it is not `Clone`: its borrows exclude each other as usual. The
//! control thread commits and trims beyond what is granted, under a lock of its own, and never touches contents.

#![allow(unsafe_code, reason = "views mapped memory as an array of buckets")]

use super::mapping::{HUGE_PAGE, Mapping, prefetch, reserve_up_to};
use crate::store::Budget;
use parking_lot::Mutex;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One cache line of an index; index.rs gives the words their meaning.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(in crate::store) struct Bucket {
    pub head: [u64; 2],
    pub offsets: [u32; 12],
}

/// A growing array of buckets that never moves: reserved addresses, committed in chunks.
pub(in crate::store) struct Table {
    shared: Arc<TableShared>,
    /// The mapping's, kept here to spare every access a step through the Arc.
    base: NonNull<Bucket>,
    len: usize,
}

// SAFETY: the pointer is that of the mapping which `shared` owns and which is itself Send and Sync.
unsafe impl Send for Table {}
// SAFETY: as above; through `&Table` buckets are only read, and written through `&mut Table`.
unsafe impl Sync for Table {}

/// What the control thread needs of a table to commit ahead of its growth.
pub(in crate::store) struct TableShared {
    mapping: Mapping,
    huge: bool,
    budget: Arc<Budget>,
    /// Buckets in use: how far ahead memory should be ready, and which bucket a hash will ask for.
    used: AtomicUsize,
    /// Bytes at the start that have been made huge pages. Held while pages change as a whole, by collapsing or by trimming, so that
    /// the one does not bring back what the other has returned; taken before `state`, for which a partition may have to wait.
    collapsed: Mutex<usize>,
    state: Mutex<TableState>,
}

struct TableState {
    /// Bytes that the index may touch.
    granted: usize,
    /// Bytes that are writable and counted: never below `granted`.
    committed: usize,
}

/// Below this a table grows in small chunks of small pages.
const SMALL_TABLE: usize = 4 * HUGE_PAGE;
const SMALL_CHUNK: usize = 64 << 10;

impl Table {
    /// `huge`: huge pages, for partitions with memory to match.
    pub fn new(reserve: usize, huge: bool, budget: Arc<Budget>) -> io::Result<Table> {
        let mapping = reserve_up_to(reserve.next_multiple_of(HUGE_PAGE), HUGE_PAGE)?;
        if huge {
            let small = SMALL_TABLE.min(mapping.len);
            mapping.advise(small, mapping.len - small, libc::MADV_HUGEPAGE);
        } else {
            mapping.advise(0, mapping.len, libc::MADV_NOHUGEPAGE);
        }
        let base = mapping.base.cast();
        let state = Mutex::new(TableState { granted: 0, committed: 0 });
        let (used, collapsed) = (AtomicUsize::new(0), Mutex::new(0));
        let shared = TableShared { mapping, huge, budget, used, collapsed, state };
        Ok(Table { shared: Arc::new(shared), base, len: 0 })
    }

    pub fn shared(&self) -> &Arc<TableShared> {
        &self.shared
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `buckets`. What was not there before holds old contents or zeroes.
    pub fn grow(&mut self, buckets: usize) -> bool {
        if buckets <= self.len {
            return true;
        }
        let mut state = self.shared.state.lock();
        while state.granted < buckets * size_of::<Bucket>() {
            let next = self.shared.next_chunk(state.granted);
            if state.committed < next && !self.shared.commit(&mut state) {
                return false;
            }
            state.granted = next;
            self.len = next / size_of::<Bucket>();
        }
        true
    }

    /// Notes how many buckets are in use, for whoever commits ahead.
    pub fn note_used(&self, buckets: usize) {
        self.shared.used.store(buckets, Ordering::Relaxed);
    }

    /// Gives up what lies beyond `buckets`; [`TableShared::trim`] returns the memory. False if no whole chunk is free.
    pub fn shrink(&mut self, buckets: usize) -> bool {
        let mut granted = 0;
        while granted < buckets * size_of::<Bucket>() {
            granted = self.shared.next_chunk(granted);
        }
        if granted >= self.len * size_of::<Bucket>() {
            return false;
        }
        self.len = granted / size_of::<Bucket>();
        self.shared.state.lock().granted = granted;
        true
    }

    #[inline]
    pub fn get(&self, bucket: usize) -> &Bucket {
        assert!(bucket < self.len, "bucket outside of the table");
        // SAFETY: below `len`, so committed; any bits are a Bucket; the borrow of self excludes the one writer.
        unsafe { self.base.add(bucket).as_ref() }
    }

    #[inline]
    pub fn get_mut(&mut self, bucket: usize) -> &mut Bucket {
        assert!(bucket < self.len, "bucket outside of the table");
        // SAFETY: as in `get`; `&mut self` excludes every other view, since Table is the one handle that lends buckets.
        unsafe { self.base.add(bucket).as_mut() }
    }

    #[inline]
    pub fn prefetch(&self, bucket: usize) {
        prefetch(self.base.as_ptr().wrapping_add(bucket).cast());
    }
}

/// The bucket of a hash among `buckets`, of which there is at least one.
#[inline]
pub(in crate::store) fn bucket_of(hash: u64, buckets: usize) -> usize {
    let mask = usize::MAX >> (buckets | 1).leading_zeros();
    let bucket = hash as usize & mask;
    if bucket < buckets { bucket } else { bucket & (mask >> 1) }
}

impl TableShared {
    /// The end of the chunk that begins at `at`.
    fn next_chunk(&self, at: usize) -> usize {
        at + if self.huge && at >= SMALL_TABLE { HUGE_PAGE } else { SMALL_CHUNK }
    }

    fn commit(&self, state: &mut TableState) -> bool {
        let next = self.next_chunk(state.committed);
        let len = next - state.committed;
        if next > self.mapping.len || self.mapping.make_writable(state.committed, len).is_err() {
            return false;
        }
        // Not refused by the budget: an index that cannot grow would slow every key down. Partitions give segments back.
        self.budget.index.fetch_add(len, Ordering::Relaxed);
        state.committed = next;
        true
    }

    /// Fetches the bucket of a hash into the cache, by linear hashing over the buckets in use. For whoever holds no lock: a table that
    /// grows meanwhile makes it a useless fetch, no worse.
    #[inline]
    pub fn prefetch_hash(&self, hash: u64) {
        let used = self.used.load(Ordering::Relaxed);
        let bucket = bucket_of(hash, used);
        prefetch(self.mapping.base.as_ptr().wrapping_add(bucket * size_of::<Bucket>()));
    }

    /// Faults the next chunk in when the current one is three quarters full. Takes no partition's lock.
    pub fn prefault_step(&self) -> bool {
        let mut state = self.state.lock();
        let used = self.used.load(Ordering::Relaxed) * size_of::<Bucket>();
        let (from, chunk) = (state.committed, self.next_chunk(state.committed) - state.committed);
        if state.granted == 0 || state.committed > state.granted || used + chunk / 4 < state.granted {
            return false;
        }
        let done = self.commit(&mut state);
        // The partition may wait for this lock only to be granted what is being faulted in here, so it loses nothing.
        if done {
            self.mapping.advise(from, chunk, libc::MADV_POPULATE_WRITE);
        }
        done
    }

    /// Makes a huge page of the first small pages that fill one (see collapse.rs). Returns whether it did.
    pub fn collapse_step(&self) -> bool {
        let mut collapsed = self.collapsed.lock();
        let end = *collapsed + HUGE_PAGE;
        if !self.huge || end > SMALL_TABLE || self.state.lock().granted < end {
            return false;
        }
        self.mapping.advise(*collapsed, HUGE_PAGE, libc::MADV_COLLAPSE);
        *collapsed = end;
        true
    }

    /// Returns the memory beyond what is granted.
    pub fn trim(&self) {
        let mut collapsed = self.collapsed.lock();
        let mut state = self.state.lock();
        let surplus = state.committed - state.granted;
        if surplus > 0 {
            *collapsed = (*collapsed).min(state.granted / HUGE_PAGE * HUGE_PAGE);
            self.mapping.discard(state.granted, surplus);
            state.committed = state.granted;
            self.budget.index.fetch_sub(surplus, Ordering::Relaxed);
        }
    }

    pub fn committed(&self) -> usize {
        self.state.lock().committed
    }
}

impl Drop for TableShared {
    fn drop(&mut self) {
        self.budget.index.fetch_sub(self.state.get_mut().committed, Ordering::Relaxed);
    }
}

/// A bit for each of the sixteen bytes of `head` (lowest first) that equals `byte`.
#[inline]
pub(in crate::store) fn equal_bytes(head: [u64; 2], byte: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: these instructions belong to SSE2, which every x86-64 has, and work on registers only.
    return unsafe {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
        let bytes = _mm_set_epi64x(head[1].cast_signed(), head[0].cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))).cast_unsigned()
    };
    #[cfg(not(target_arch = "x86_64"))]
    (0..16).fold(0, |mask, n| mask | u32::from((head[n / 8] >> (n % 8 * 8)) as u8 == byte) << n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_HUGE_PAGE: usize = HUGE_PAGE / size_of::<Bucket>();

    #[test]
    fn what_fills_a_huge_page_becomes_one_once_and_again_after_it_was_trimmed() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut table = Table::new(64 << 20, true, budget.clone()).unwrap();
        let shared = table.shared().clone();
        assert!(!shared.collapse_step());
        let number = |bucket: usize| [bucket as u64, !bucket as u64];
        for _ in 0..2 {
            assert!(table.grow(2 * PER_HUGE_PAGE - 1));
            (0..table.len()).for_each(|bucket| table.get_mut(bucket).head = number(bucket));
            assert_eq!([(); 3].map(|()| shared.collapse_step()), [true, true, false]);
            assert!((0..table.len()).all(|bucket| table.get(bucket).head == number(bucket)));
            assert!(table.shrink(10));
            shared.trim();
            assert!(!shared.collapse_step());
            assert_eq!(budget.index.load(Ordering::Relaxed), SMALL_CHUNK);
            assert_eq!(table.get(9).head, number(9));
        }
    }
}
