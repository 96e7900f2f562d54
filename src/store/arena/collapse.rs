//! Huge pages for a partition's first segments, once they are full.
//!
//! The first segments consist of small pages, so that little data takes little memory. Every look-up in them costs a walk through
//! page tables more: 2 to 11 % of a server's speed at 100,000 keys, up to 19 % at four million. So a full one is copied into a huge
//! page by the kernel (`MADV_COLLAPSE`, Linux 6.1; where it is refused, pages stay small). For 0.6 ms (5 ms where the
//! host of a virtual machine must find the memory first) whoever touches memory then stands still, which is why it is done by the
//! clock, one segment at a time with long rests (control/jobs.rs), and never in a request's way.

use super::mapping::{HUGE_PAGE, Mapping};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// So many segments of a partition begin with small pages: one bit each.
pub(super) const FIRST_SMALL: usize = u32::BITS as usize;

/// Which of a partition's first segments are full, and which have been made huge pages (a refusal is final until they are discarded).
#[derive(Default)]
pub(super) struct Collapse {
    full: AtomicU32,
    huge: AtomicU32,
    /// Held while a segment's pages change as a whole, by collapsing or by discarding: the one must not bring back memory that the
    /// other has just returned.
    pages: Mutex<()>,
}

impl Collapse {
    /// Notes that a segment of huge-page size has no more room.
    pub fn note_full(&self, segment: u32) {
        let bit = bit_of(segment);
        if self.huge.load(Relaxed) & bit == 0 {
            self.full.fetch_or(bit, Relaxed);
        }
    }

    /// Makes a huge page of one full segment. Returns whether there was one.
    pub fn step(&self, mapping: &Mapping) -> bool {
        let _pages = self.pages.lock();
        let full = self.full.load(Relaxed);
        if full == 0 {
            return false;
        }
        let segment = full.trailing_zeros();
        self.full.fetch_and(!bit_of(segment), Relaxed);
        self.huge.fetch_or(bit_of(segment), Relaxed);
        mapping.advise(segment as usize * HUGE_PAGE, HUGE_PAGE, libc::MADV_COLLAPSE);
        true
    }

    /// Runs `discard`, which gives a segment's memory back, and forgets what was known of its pages.
    pub fn discarding(&self, segment: u32, discard: impl FnOnce()) {
        let bit = bit_of(segment);
        if bit == 0 {
            return discard();
        }
        let _pages = self.pages.lock();
        self.full.fetch_and(!bit, Relaxed);
        self.huge.fetch_and(!bit, Relaxed);
        discard();
    }
}

/// The bit of a segment, 0 for one that is not among the first.
fn bit_of(segment: u32) -> u32 {
    1u32.checked_shl(segment).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::Arena;
    use super::*;
    use crate::store::Budget;
    use std::sync::Arc;

    /// Takes all segments of a new arena.
    fn arena(segments: usize) -> Arena {
        let mut arena = Arena::new(HUGE_PAGE, segments, Arc::new(Budget::new(1 << 30))).unwrap();
        (0..segments).for_each(|n| assert_eq!(arena.take(), Some(n as u32)));
        arena
    }

    #[test]
    fn a_full_segment_is_collapsed_once_and_keeps_its_contents() {
        let mut arena = arena(4);
        let pattern: Vec<u8> = (0..HUGE_PAGE).map(|n| (n % 251) as u8).collect();
        let start = arena.segment_start(2);
        arena.bytes_mut(start, HUGE_PAGE).copy_from_slice(&pattern);
        assert!(!arena.shared().collapse_step(), "none is full");
        arena.note_full(2);
        let pin = arena.pin(start, HUGE_PAGE);
        assert_eq!([(); 2].map(|()| arena.shared().collapse_step()), [true, false]);
        assert!(arena.bytes(start, HUGE_PAGE) == pattern && pin == pattern);
        arena.note_full(2);
        assert!(!arena.shared().collapse_step(), "it is a huge page already");
    }

    #[test]
    fn a_segment_that_was_given_up_is_left_alone_until_it_is_full_again() {
        let mut arena = arena(4);
        for collapsed_before in [false, true] {
            arena.note_full(3);
            assert!(!collapsed_before || arena.shared().collapse_step());
            drop(arena.give_up(3));
            assert!(!arena.shared().collapse_step(), "its memory would come back uncounted");
            assert_eq!(arena.take(), Some(3));
        }
        arena.note_full(3);
        assert!(arena.shared().collapse_step());
    }

    #[test]
    fn only_the_first_segments_begin_with_small_pages() {
        let arena = arena(FIRST_SMALL + 1);
        arena.note_full(FIRST_SMALL as u32);
        assert!(!arena.shared().collapse_step());
        arena.note_full(FIRST_SMALL as u32 - 1);
        assert!(arena.shared().collapse_step());
    }
}
