//! Freed memory of large values, kept for the next one: memory that is resident already costs a copy, fresh memory costs twice as much
//! again in page faults.
//!
//! ```text
//!   a large value's last pin is dropped ──► spares ──► a value, or a request on its way, of about that size
//!                                             └──────► the kernel: no room, memory scarce, or unused for a second
//! ```
//!
//! A spare stays counted in `Budget::large`. It still holds the bytes of its last user: whoever takes it shows nobody more than they have
//! written.

use super::Budget;
use super::arena::OwnMemory;
use crate::limits;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A spare is at most this fraction of what is asked for larger than that.
const WASTE: usize = 8;

/// Memory that was a large value's, the latest last.
#[derive(Default)]
pub(super) struct Spares {
    kept: Mutex<Kept>,
    /// Their sum, so that who finds none need not lock.
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    memory: Vec<OwnMemory>,
    /// So many of the first were here already when [`Budget::age_spares`] came last.
    old: usize,
}

impl std::fmt::Debug for Spares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spares").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Kept {
    /// The latest that has `len` bytes and not many more: it is the likeliest to be in the CPU's cache.
    fn fitting(&self, len: usize) -> Option<usize> {
        let fits = |memory: &OwnMemory| (len..=len + (len / WASTE).max(4096)).contains(&memory.resident());
        self.memory.iter().rposition(fits)
    }

    fn take(&mut self, at: usize) -> OwnMemory {
        self.old -= usize::from(at < self.old);
        self.memory.remove(at)
    }
}

impl Budget {
    /// Keeps freed memory, which is counted in `large`, or gives it back to the kernel. Older spares make room for it: their size may be
    /// one that nobody uses any more.
    pub(super) fn retire(&self, memory: OwnMemory) {
        let bytes = memory.resident();
        let most = (self.limit() / limits::SPARE_SHARE).min(limits::SPARE_BYTES);
        if bytes > most || self.excess() > 0 {
            return self.unmap(memory);
        }
        while self.spares.bytes.load(Relaxed) + bytes > most && self.release_spare() {}
        let mut kept = self.spares.kept.lock();
        if self.spares.bytes.load(Relaxed) + bytes <= most {
            self.spares.bytes.fetch_add(bytes, Relaxed);
            kept.memory.push(memory);
            return;
        }
        // Another thread was faster.
        drop(kept);
        self.unmap(memory);
    }

    /// Memory of at least `len` bytes that somebody has freed; it is counted in `large` already.
    pub(super) fn take_spare(&self, len: usize) -> Option<OwnMemory> {
        if self.spares.bytes.load(Relaxed) < len {
            return None;
        }
        let mut kept = self.spares.kept.lock();
        let at = kept.fitting(len)?;
        let memory = kept.take(at);
        self.spares.bytes.fetch_sub(memory.resident(), Relaxed);
        Some(memory)
    }

    pub(super) fn has_spare(&self, len: usize) -> bool {
        self.spares.bytes.load(Relaxed) >= len && self.spares.kept.lock().fitting(len).is_some()
    }

    /// Gives the oldest spare back to the kernel. False if there is none.
    pub(super) fn release_spare(&self) -> bool {
        if self.spares.bytes.load(Relaxed) == 0 {
            return false;
        }
        let mut kept = self.spares.kept.lock();
        if kept.memory.is_empty() {
            return false;
        }
        let memory = kept.take(0);
        self.spares.bytes.fetch_sub(memory.resident(), Relaxed);
        drop(kept);
        self.unmap(memory);
        true
    }

    /// Gives back the spares that nobody wanted since the last call. For the control thread, about once a second.
    pub fn age_spares(&self) {
        let unwanted = {
            let mut kept = self.spares.kept.lock();
            let old = kept.old;
            let unwanted: Vec<OwnMemory> = kept.memory.drain(..old).collect();
            kept.old = kept.memory.len();
            let bytes = unwanted.iter().map(OwnMemory::resident).sum();
            self.spares.bytes.fetch_sub(bytes, Relaxed);
            unwanted
        };
        unwanted.into_iter().for_each(|memory| self.unmap(memory));
    }

    fn unmap(&self, memory: OwnMemory) {
        let bytes = memory.resident();
        drop(memory);
        self.large.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retired(budget: &Budget, len: usize) {
        budget.large.fetch_add(len, Relaxed);
        budget.retire(OwnMemory::new(len).unwrap());
    }

    #[test]
    fn what_is_freed_serves_what_is_about_as_large() {
        let budget = Budget::new(64 << 20);
        retired(&budget, 256 << 10);
        assert!(budget.take_spare((256 << 10) + 1).is_none(), "too small");
        assert!(budget.take_spare(200 << 10).is_none(), "too much waste");
        let memory = budget.take_spare(250 << 10).unwrap();
        assert_eq!((memory.resident(), budget.large.load(Relaxed)), (256 << 10, 256 << 10));
        assert!(!budget.has_spare(250 << 10));
    }

    #[test]
    fn spares_are_bounded_and_give_way() {
        let budget = Budget::new(64 << 20);
        for _ in 0..10 {
            retired(&budget, 256 << 10);
        }
        // One part in 64 of the limit.
        assert_eq!(budget.large.load(Relaxed), 1 << 20);
        retired(&budget, 2 << 20);
        assert_eq!(budget.large.load(Relaxed), 1 << 20, "one larger than all is not kept");
        assert!(budget.release_spare());
        assert_eq!(budget.large.load(Relaxed), 768 << 10);
        budget.set_limit(700 << 10);
        retired(&budget, 8192);
        assert_eq!(budget.large.load(Relaxed), 768 << 10, "nothing is kept beyond the limit");
        while budget.release_spare() {}
        assert_eq!(budget.large.load(Relaxed), 0);
    }

    #[test]
    fn a_spare_that_nobody_wants_goes() {
        let budget = Budget::new(256 << 20);
        retired(&budget, 256 << 10);
        budget.age_spares();
        retired(&budget, 512 << 10);
        assert!(budget.has_spare(256 << 10));
        budget.age_spares();
        assert!(!budget.has_spare(256 << 10) && budget.has_spare(512 << 10));
        budget.age_spares();
        assert_eq!(budget.large.load(Relaxed), 0);
    }
}
