//! Iteration: SCAN's cursor and random keys.
//!
//! ```text
//!  bit-reversed hashes, a circle of 2^48 points
//!  0 ├── bucket 0 ──┼─ bucket 4 ─┼─ bucket 12 ─┼── bucket 2 ──┼ …        (an example with 13 buckets)
//!          cursor: everything left of it has been visited
//! ```
//!
//! A bucket of a linear-hashing index holds exactly the hashes of one interval of that circle. Dividing a bucket halves its
//! interval, joining two restores it, and neither moves a hash. So a cursor that counts intervals from left to right stays
//! good for ever: where a bucket has become wider than it was, some items are visited twice, none is missed.

use super::arena::Offset;
use super::item::{self, Header};
use super::partition::{Entry, Found, Partition};

const CIRCLE: u64 = 1 << 48;
/// Tries of [`Partition::random_key`] before it walks.
const TRIES: u64 = 128;
/// Slots that a try chooses from: more than almost every chain has entries, so that each item is equally likely.
const TRY_SLOTS: usize = 24;

impl Partition {
    /// Visits the live items of `db` in the buckets from `cursor` on, at least one bucket and until `want` items were visited
    /// or 4 × `want` buckets read. Returns the next cursor, 0 when this partition is done. Every item that is there from the
    /// first call to the last is visited at least once, however the index grows and shrinks in between. A cursor has 48 bits.
    pub fn scan(
        &mut self,
        cursor: u64,
        db: u8,
        want: usize,
        now_ms: u64,
        visit: &mut dyn FnMut(&[u8], &Entry<'_>),
    ) -> u64 {
        let mut point = cursor % CIRCLE;
        let mut chain = Vec::with_capacity(64);
        let (mut visited, mut buckets) = (0, 0);
        loop {
            let (bucket, end) = self.index.interval(point);
            chain.clear();
            self.index.visit(bucket, |offset| {
                self.arena.prefetch(offset.at());
                chain.push(offset);
            });
            for &offset in &chain {
                if let Some(header) = self.visible(offset, db, now_ms) {
                    visit(header.key(&self.arena, offset), &self.entry(offset, header, now_ms));
                    visited += 1;
                }
            }
            buckets += 1;
            point = end;
            if point >= CIRCLE {
                return 0;
            }
            if visited >= want || buckets >= want.saturating_mul(4) {
                return point;
            }
        }
    }

    /// The header of an item of the index, if it belongs to `db` and is neither expired nor flushed nor a placeholder.
    fn visible(&self, offset: Offset, db: u8, now_ms: u64) -> Option<Header> {
        let header = Header::read(&self.arena, offset);
        let there = header.db(&self.arena, offset) == self.physical(db)
            && header.expiry_ms(&self.arena, offset).is_none_or(|at| at > now_ms)
            && !self.is_flushed(offset, header)
            && !header.is_placeholder(&self.arena, offset);
        debug_assert!(!header.has(item::DEAD));
        there.then_some(header)
    }

    /// A live item of `db` chosen by `random`; `None` only if there is none. Tries random places first, in which every item is
    /// about equally likely; a database that is a small part of the partition is then walked through from a random place.
    pub fn random_key(&mut self, db: u8, random: u64, now_ms: u64) -> Option<Vec<u8>> {
        if self.counts[self.physical(db) as usize].items == 0 {
            return None;
        }
        let mut state = random;
        for _ in 0..TRIES {
            // SplitMix64's step and finish: a sequence of places from one random number.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut place = state;
            place = (place ^ place >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            place = (place ^ place >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bucket = (place >> 32) as usize % self.index.buckets();
            let wanted = (place & 0xffff_ffff) as usize % TRY_SLOTS;
            let (mut number, mut chosen) = (0, None);
            self.index.visit(bucket, |offset| {
                chosen = if number == wanted { Some(offset) } else { chosen };
                number += 1;
            });
            if let Some(offset) = chosen
                && let Some(header) = self.visible(offset, db, now_ms)
            {
                return Some(header.key(&self.arena, offset).to_vec());
            }
        }
        self.walk_for_key(db, random, now_ms)
    }

    /// Goes once through all buckets from a random one on, removing what has expired on the way, so that a database full of
    /// expired items costs this once.
    fn walk_for_key(&mut self, db: u8, random: u64, now_ms: u64) -> Option<Vec<u8>> {
        let buckets = self.index.buckets();
        let mut chain = Vec::new();
        for n in 0..buckets {
            let bucket = (n + random as usize % buckets) % buckets;
            chain.clear();
            self.index.visit(bucket, |offset| chain.push(offset));
            for &offset in &chain {
                if let Some(header) = self.visible(offset, db, now_ms) {
                    return Some(header.key(&self.arena, offset).to_vec());
                }
                let header = Header::read(&self.arena, offset);
                let expired = header.expiry_ms(&self.arena, offset).is_some_and(|at| at <= now_ms);
                let hash = Self::hash_of(&self.arena, &self.hasher, offset);
                if expired && let Some(slot) = self.index.slot_of(hash, offset) {
                    self.totals.expired += u64::from(!self.is_flushed(offset, header));
                    self.erase(Found { slot, offset, header }, hash);
                }
            }
        }
        None
    }

    pub(super) fn large_total(&self) -> usize {
        self.large.total()
    }
}
