//! The index: from a key's hash to where its item lies, one cache line per look-up in the common case.
//!
//! ```text
//!  bucket (64 bytes)
//!  ├── 12 tags of 8 bit ──┼── link 32 bit ──┼── 12 offsets of 32 bit ──┤      tag 0: empty slot
//!                             └► overflow bucket number + 1, 0 for none
//!
//!  hash   63 …… 48 │ 47 … 40 │ 39 …… 32 │ 31 ………… 0
//!         partition│  tag    │          │ bucket: the lowest `level` bits, or one more below `split`
//! ```
//!
//! **Linear hashing.** With `2^level + split` buckets, a hash addresses by its lowest `level` bits, except that buckets
//! below `split` have already been divided by one bit more. Growing divides the bucket at `split` and moves on; shrinking
//! undoes the last division. One insertion divides one bucket at most, so no operation ever pays for the whole table.
//! A partition's hashes share their top bits, which is why neither the tag nor the bucket uses those.

use super::arena::{Bucket, Offset, Table, TableShared, bucket_of, equal_bytes};
use std::sync::Arc;

const SLOTS: usize = 12;
const SLOTS_MASK: u32 = (1 << SLOTS) - 1;
const FIRST_LEVEL: u32 = 6;
/// Items per bucket, times two, above which a bucket is divided. More saves memory, fewer saves overflow chains.
const GROW_ABOVE_HALVES: usize = 15;
/// Items per bucket below which buckets are joined.
const SHRINK_BELOW: usize = 3;

#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 40) as u8).max(1)
}

impl Bucket {
    #[inline]
    fn tag(&self, slot: usize) -> u8 {
        (self.head[slot / 8] >> (slot % 8 * 8)) as u8
    }

    #[inline]
    fn put(&mut self, slot: usize, tag: u8, offset: Offset) {
        let shift = slot % 8 * 8;
        let head = &mut self.head[slot / 8];
        *head = *head & !(0xff << shift) | u64::from(tag) << shift;
        self.offsets[slot] = offset.0;
    }

    #[inline]
    fn link(&self) -> Option<usize> {
        ((self.head[1] >> 32) as usize).checked_sub(1)
    }

    fn set_link(&mut self, bucket: Option<usize>) {
        let number = bucket.map_or(0, |b| b as u64 + 1);
        self.head[1] = self.head[1] & 0xffff_ffff | number << 32;
    }

    /// A bit for each slot with this tag.
    #[inline]
    fn matches(&self, tag: u8) -> u32 {
        equal_bytes(self.head, tag) & SLOTS_MASK
    }

    #[inline]
    fn occupied(&self) -> u32 {
        !self.matches(0) & SLOTS_MASK
    }
}

/// The set bits of a mask, lowest first.
#[inline]
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < 32).then_some(bit as usize)
    })
}

/// A bucket of either table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Primary(usize),
    Overflow(usize),
}

/// Where an entry of the index is; good until the next insertion or removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    place: Place,
    slot: usize,
}

pub(super) struct Index {
    primary: Table,
    overflow: Table,
    level: u32,
    split: usize,
    /// Head of the free overflow buckets, chained by their links.
    free: Option<usize>,
    /// Overflow buckets ever used.
    overflow_end: usize,
    overflow_in_use: usize,
    items: usize,
    scratch: Vec<(u8, Offset)>,
}

impl Index {
    pub fn new(primary: Table, overflow: Table) -> Option<Index> {
        let mut index = Index {
            primary,
            overflow,
            level: FIRST_LEVEL,
            split: 0,
            free: None,
            overflow_end: 0,
            overflow_in_use: 0,
            items: 0,
            scratch: Vec::with_capacity(64),
        };
        index.primary.grow(1 << FIRST_LEVEL).then_some(index)
    }

    pub fn tables(&self) -> [&Arc<TableShared>; 2] {
        [self.primary.shared(), self.overflow.shared()]
    }

    pub fn buckets(&self) -> usize {
        (1 << self.level) + self.split
    }

    #[inline]
    fn address(&self, hash: u64) -> usize {
        let mask = (1u64 << self.level) - 1;
        let bucket = (hash & mask) as usize;
        let bucket = if bucket < self.split { (hash & (mask << 1 | 1)) as usize } else { bucket };
        debug_assert_eq!(bucket, bucket_of(hash, self.buckets()), "else the wrong one is fetched ahead");
        bucket
    }

    #[inline]
    fn at(&self, place: Place) -> &Bucket {
        match place {
            Place::Primary(bucket) => self.primary.get(bucket),
            Place::Overflow(bucket) => self.overflow.get(bucket),
        }
    }

    fn at_mut(&mut self, place: Place) -> &mut Bucket {
        match place {
            Place::Primary(bucket) => self.primary.get_mut(bucket),
            Place::Overflow(bucket) => self.overflow.get_mut(bucket),
        }
    }

    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.primary.prefetch(self.address(hash));
    }

    /// The items that may belong to a hash, as far as its first bucket knows.
    #[inline]
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = Offset> + '_ {
        let bucket = self.primary.get(self.address(hash));
        bits(bucket.matches(tag_of(hash))).map(|slot| Offset(bucket.offsets[slot]))
    }

    /// The first entry under this hash that `is` makes something of. Nearly all are in the hash's own bucket.
    ///
    /// Always inlined: a result that comes back through memory is copied in words wider than those it was written in, and waits.
    #[inline(always)]
    pub fn find<T>(&self, hash: u64, mut is: impl FnMut(Offset) -> Option<T>) -> Option<(Slot, T)> {
        let number = self.address(hash);
        let bucket = self.primary.get(number);
        let mut matches = bucket.matches(tag_of(hash));
        while matches != 0 {
            let slot = matches.trailing_zeros() as usize;
            if let Some(found) = is(Offset(bucket.offsets[slot])) {
                return Some((Slot { place: Place::Primary(number), slot }, found));
            }
            matches &= matches - 1;
        }
        self.find_in_overflow(bucket.link()?, tag_of(hash), is)
    }

    /// The entry that points to an item.
    pub fn slot_of(&self, hash: u64, offset: Offset) -> Option<Slot> {
        self.find(hash, |other| (other == offset).then_some(())).map(|(slot, ())| slot)
    }

    #[cold]
    #[inline(never)]
    fn find_in_overflow<T>(
        &self,
        mut number: usize,
        tag: u8,
        mut is: impl FnMut(Offset) -> Option<T>,
    ) -> Option<(Slot, T)> {
        loop {
            let bucket = self.overflow.get(number);
            for slot in bits(bucket.matches(tag)) {
                if let Some(found) = is(Offset(bucket.offsets[slot])) {
                    return Some((Slot { place: Place::Overflow(number), slot }, found));
                }
            }
            number = bucket.link()?;
        }
    }

    /// Points an entry to where its item has moved.
    pub fn redirect(&mut self, slot: Slot, offset: Offset) {
        self.at_mut(slot.place).offsets[slot.slot] = offset.0;
    }

    /// Makes sure that the next insertion succeeds. False when there is no memory for it.
    pub fn reserve(&mut self) -> bool {
        self.free.is_some() || self.overflow.grow(self.overflow_end + 1)
    }

    /// Adds an entry after a successful [`Index::reserve`], and divides a bucket if there are now too many items.
    /// `prefetch` and `hash_of` look at items: all of a divided bucket are fetched before the first is hashed.
    pub fn insert(
        &mut self,
        hash: u64,
        offset: Offset,
        prefetch: impl Fn(Offset),
        hash_of: impl Fn(Offset) -> u64,
    ) {
        self.append(self.address(hash), tag_of(hash), offset);
        self.items += 1;
        if self.items * 2 > self.buckets() * GROW_ABOVE_HALVES {
            self.divide(prefetch, hash_of);
        }
    }

    fn append(&mut self, home: usize, tag: u8, offset: Offset) {
        let mut place = Place::Primary(home);
        loop {
            let bucket = self.at_mut(place);
            if let Some(slot) = bits(bucket.matches(0)).next() {
                return bucket.put(slot, tag, offset);
            }
            match bucket.link() {
                Some(next) => place = Place::Overflow(next),
                None => break,
            }
        }
        let fresh = self.take_overflow();
        self.at_mut(place).set_link(Some(fresh));
        self.overflow.get_mut(fresh).put(0, tag, offset);
    }

    fn take_overflow(&mut self) -> usize {
        self.overflow_in_use += 1;
        let bucket = match self.free {
            Some(bucket) => {
                self.free = self.overflow.get(bucket).link();
                bucket
            }
            None => {
                // Whoever gets here has reserved, or has just freed at least as many as it takes.
                assert!(self.overflow.grow(self.overflow_end + 1), "overflow buckets were not reserved");
                self.overflow_end += 1;
                self.overflow.note_used(self.overflow_end);
                self.overflow_end - 1
            }
        };
        *self.overflow.get_mut(bucket) = Bucket::default();
        bucket
    }

    fn free_overflow(&mut self, bucket: usize) {
        let next = self.free;
        self.overflow.get_mut(bucket).set_link(next);
        self.free = Some(bucket);
        self.overflow_in_use -= 1;
    }

    /// Removes an entry of this hash. The last entry of the chain takes its place, so that chains stay dense.
    pub fn remove(&mut self, slot: Slot, hash: u64) {
        self.items -= 1;
        let (mut before, mut last) = (None, Place::Primary(self.address(hash)));
        while let Some(next) = self.at(last).link() {
            before = Some(last);
            last = Place::Overflow(next);
        }
        let filler = if last == slot.place { None } else { bits(self.at(last).occupied()).next() };
        match filler {
            Some(from) => {
                let (tag, offset) = (self.at(last).tag(from), self.at(last).offsets[from]);
                self.at_mut(slot.place).put(slot.slot, tag, Offset(offset));
                self.at_mut(last).put(from, 0, Offset(0));
            }
            None => self.at_mut(slot.place).put(slot.slot, 0, Offset(0)),
        }
        if let (Some(before), Place::Overflow(bucket)) = (before, last)
            && self.at(last).occupied() == 0
        {
            self.at_mut(before).set_link(None);
            self.free_overflow(bucket);
        }
    }

    /// Visits the chain of a bucket.
    pub fn visit(&self, bucket: usize, mut visit: impl FnMut(Offset)) {
        let mut place = Place::Primary(bucket);
        loop {
            let bucket = self.at(place);
            bits(bucket.occupied()).for_each(|slot| visit(Offset(bucket.offsets[slot])));
            match bucket.link() {
                Some(next) => place = Place::Overflow(next),
                None => return,
            }
        }
    }

    /// Moves the chain of a bucket into `scratch` and leaves the bucket empty.
    fn empty_chain(&mut self, home: usize) {
        self.scratch.clear();
        let mut place = Place::Primary(home);
        loop {
            let bucket = *self.at(place);
            self.scratch.extend(bits(bucket.occupied()).map(|s| (bucket.tag(s), Offset(bucket.offsets[s]))));
            match place {
                Place::Primary(_) => *self.at_mut(place) = Bucket::default(),
                Place::Overflow(number) => self.free_overflow(number),
            }
            match bucket.link() {
                Some(next) => place = Place::Overflow(next),
                None => return,
            }
        }
    }

    /// Divides the bucket at `split` in two. Skipped when there is no memory: chains then grow a little longer.
    fn divide(&mut self, prefetch: impl Fn(Offset), hash_of: impl Fn(Offset) -> u64) {
        let (low, high) = (self.split, self.buckets());
        // Two chains need at most one overflow bucket more than one chain of the same entries.
        if self.level >= 31 || !self.primary.grow(high + 1) || !self.reserve() {
            return;
        }
        self.primary.note_used(high + 1);
        *self.primary.get_mut(high) = Bucket::default();
        self.empty_chain(low);
        self.scratch.iter().for_each(|(_, offset)| prefetch(*offset));
        let bit = 1u64 << self.level;
        let entries = std::mem::take(&mut self.scratch);
        for &(tag, offset) in &entries {
            let home = if hash_of(offset) & bit == 0 { low } else { high };
            self.append(home, tag, offset);
        }
        self.scratch = entries;
        self.split += 1;
        if self.split == 1 << self.level {
            self.level += 1;
            self.split = 0;
        }
    }

    /// Undoes the last division if there are too few items. Returns whether it did.
    pub fn join(&mut self) -> bool {
        if self.items >= self.buckets() * SHRINK_BELOW
            || self.buckets() <= 1 << FIRST_LEVEL
            || !self.reserve()
        {
            return false;
        }
        if self.split == 0 {
            self.level -= 1;
            self.split = 1 << self.level;
        }
        self.split -= 1;
        self.empty_chain(self.buckets());
        let entries = std::mem::take(&mut self.scratch);
        for &(tag, offset) in &entries {
            self.append(self.split, tag, offset);
        }
        self.scratch = entries;
        self.primary.note_used(self.buckets());
        true
    }

    /// Gives up committed memory that is no longer used; true if [`TableShared::trim`] has something to return.
    pub fn give_up_surplus(&mut self) -> bool {
        if self.overflow_in_use == 0 && self.overflow_end > 0 {
            (self.free, self.overflow_end) = (None, 0);
            self.overflow.note_used(0);
        }
        let keep = self.buckets() + self.buckets() / 8;
        let primary = self.primary.len() > keep && self.primary.shrink(keep);
        let overflow = self.overflow.shrink(self.overflow_end);
        primary || overflow
    }

    // Scanning: see scan.rs. A bucket covers an interval of bit-reversed hashes, whatever the number of buckets.

    /// The bucket that covers a point of the 48-bit circle of reversed hashes, and where its interval ends.
    pub fn interval(&self, point: u64) -> (usize, u64) {
        let hash = point.reverse_bits() >> 16;
        let bucket = self.address(hash);
        let bits = if bucket < self.split || bucket >= 1 << self.level { self.level + 1 } else { self.level };
        let shift = 48 - bits;
        (bucket, ((point >> shift) + 1) << shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Budget;

    fn index() -> Index {
        let budget = Arc::new(Budget::new(1 << 30));
        let table = || Table::new(64 << 20, false, budget.clone()).unwrap();
        Index::new(table(), table()).unwrap()
    }

    /// A hash that is a function of the offset, so that division can recompute it.
    fn hash_of(offset: Offset) -> u64 {
        let x = u64::from(offset.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn slot_of(index: &Index, offset: Offset) -> Option<Slot> {
        index.slot_of(hash_of(offset), offset)
    }

    #[test]
    fn finds_what_was_inserted_while_growing_and_shrinking() {
        let mut index = index();
        let count = 200_000;
        for n in 1..=count {
            assert!(index.reserve());
            index.insert(hash_of(Offset(n)), Offset(n), |_| (), hash_of);
        }
        assert!(index.buckets() * GROW_ABOVE_HALVES >= 2 * count as usize);
        assert!((1..=count).all(|n| slot_of(&index, Offset(n)).is_some()));
        for n in (1..=count).filter(|n| n % 50 != 0) {
            let slot = slot_of(&index, Offset(n)).unwrap();
            index.remove(slot, hash_of(Offset(n)));
            if n % 3 == 0 {
                index.join();
            }
        }
        while index.join() {}
        assert!(index.buckets() * SHRINK_BELOW <= index.items + SHRINK_BELOW);
        for n in 1..=count {
            assert_eq!(slot_of(&index, Offset(n)).is_some(), n % 50 == 0, "{n}");
        }
    }

    #[test]
    fn intervals_tile_the_circle() {
        let mut index = index();
        for n in 1..5000 {
            assert!(index.reserve());
            index.insert(hash_of(Offset(n)), Offset(n), |_| (), hash_of);
        }
        assert_ne!(index.split, 0);
        let (mut point, mut seen) = (0, Vec::new());
        while point < 1 << 48 {
            let (bucket, end) = index.interval(point);
            seen.push(bucket);
            point = end;
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..index.buckets()));
    }

    #[test]
    fn surplus_memory_is_returned() {
        let mut index = index();
        for n in 1..200_000 {
            assert!(index.reserve());
            index.insert(hash_of(Offset(n)), Offset(n), |_| (), hash_of);
        }
        let grown = index.tables()[0].committed();
        for n in 1..200_000 {
            let slot = slot_of(&index, Offset(n)).unwrap();
            index.remove(slot, hash_of(Offset(n)));
        }
        while index.join() {}
        assert!(index.give_up_surplus());
        index.tables().into_iter().for_each(|table| table.trim());
        assert!(index.tables()[0].committed() * 10 < grown);
        assert_eq!(index.tables()[1].committed(), 0);
    }
}
