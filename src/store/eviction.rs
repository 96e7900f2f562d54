//! Eviction and compaction: emptying one segment, the victim, a little at a time.
//!
//! ```text
//!  oldest                                   newest
//!   ┃ victim ░░░░▒▒▒▒ ┃ ▒▒▒▒ ┃ ▒▒▒▒ ┃ ▒▒▒▒ ┃ open ▒▒ │
//!            ▲ cursor                              ▲
//!            └─ used since it was written? ── yes ─┘ copied behind the newest (second chance)
//!                                          └─ no ──► evicted
//! ```
//!
//! * **lru** keeps one queue. An item that was used moves on with half its recency; the bar that it must reach rises when
//!   nearly all of a segment survives, so that some of each is freed, whatever the traffic.
//! * **s3-fifo** lets new keys enter a small queue (a tenth of the segments). There an item that was not used is evicted and
//!   remembered in a ghost table; a used or a remembered one belongs to the main queue, which works as above.
//! * **none** evicts nothing; it only compacts.
//!
//! Compaction empties a mostly dead segment by moving all that is alive; where there is one, it goes before eviction.
//!
//! Work is bounded: each write scans `appetite` bytes per byte written, background work some more, and a few segments are
//! kept free ahead of the writers, so that no single write waits for a whole segment.

use super::arena::Offset;
use super::events::Happening;
use super::item::{self, Header};
use super::log::{Queue, State};
use super::partition::{Found, Partition};
use super::{Budget, Eviction, WriteError};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Items whose index buckets are fetched together while a victim is scanned.
const BATCH: usize = 16;
/// Segments that are looked at to find a sparse one.
const CANDIDATES: usize = 512;
/// A victim whose survivors exceed this many sixteenths is evicted to its end: progress is certain.
const MOST_KEPT_SIXTEENTHS: usize = 13;
/// The bar rises when more than this of a victim survived, and falls when less than the next did. Throwing used items away
/// costs more misses than copying costs time, so it rises late.
const RAISE_SIXTEENTHS: usize = 12;
const LOWER_SIXTEENTHS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Evict,
    Compact,
}

/// The segment being emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    segment: u32,
    /// Bytes of it that have been scanned.
    at: usize,
    kept: usize,
    mode: Mode,
}

/// What becomes of an item of the victim.
enum Fate {
    Evict,
    Move { queue: Queue, recency: u8 },
}

pub(super) struct Policy {
    pub eviction: Eviction,
    /// Recency that an item must have to survive eviction from the main queue.
    bar: u8,
    ghosts: Ghosts,
    /// Where the search for sparse segments goes on.
    searched: usize,
}

impl Policy {
    pub fn new(eviction: Eviction, budget: Arc<Budget>) -> Policy {
        Policy { eviction, bar: 1, ghosts: Ghosts { rows: Box::default(), budget }, searched: 0 }
    }

    /// Whether a new key is remembered as evicted a short time ago; `None` where the policy does not ask.
    pub fn recall(&mut self, hash: u64) -> Option<bool> {
        (self.eviction == Eviction::S3Fifo).then(|| self.ghosts.take(hash))
    }
}

/// Fingerprints of keys that left the small queue unused: rows of 16, newest first, each row a little FIFO.
struct Ghosts {
    rows: Box<[[u16; 16]]>,
    budget: Arc<Budget>,
}

impl Ghosts {
    fn place(&self, hash: u64) -> (usize, u16) {
        // The index uses the lowest bits, partitions the highest; the middle is as good here. Zero means empty.
        let row = (hash >> 16) as usize & (self.rows.len() - 1);
        (row, ((hash >> 44) as u16).max(1))
    }

    fn take(&mut self, hash: u64) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let (row, print) = self.place(hash);
        let row = &mut self.rows[row];
        let found = row.iter().position(|p| *p == print);
        if let Some(at) = found {
            row.copy_within(at + 1.., at);
            row[15] = 0;
        }
        found.is_some()
    }

    fn put(&mut self, hash: u64) {
        let (row, print) = self.place(hash);
        let row = &mut self.rows[row];
        row.copy_within(..15, 1);
        row[0] = print;
    }

    /// Makes room for about as many ghosts as there are items. Returns a table that no longer fits, to be freed outside the
    /// lock. Fresh zeroes of this size come from the kernel untouched, so this costs microseconds.
    fn fit(&mut self, items: usize) -> Option<Box<[[u16; 16]]>> {
        let rows = (items / 16).next_power_of_two().max(64);
        if rows <= self.rows.len() && rows * 8 > self.rows.len() {
            return None;
        }
        self.budget.index.fetch_sub(size_of_val(&*self.rows), Relaxed);
        let old = std::mem::replace(&mut self.rows, vec![[0; 16]; rows].into_boxed_slice());
        self.budget.index.fetch_add(size_of_val(&*self.rows), Relaxed);
        Some(old)
    }
}

impl Drop for Ghosts {
    fn drop(&mut self) {
        self.budget.index.fetch_sub(size_of_val(&*self.rows), Relaxed);
    }
}

impl Partition {
    /// Room for an item of `size` bytes, paid for with a bounded piece of eviction work.
    pub(super) fn allocate(
        &mut self,
        queue: Queue,
        class: usize,
        size: usize,
        now_ms: u64,
    ) -> Result<Offset, WriteError> {
        if self.appetite != 0 {
            self.empty_some(size * self.appetite, now_ms);
        }
        loop {
            if let Some((segment, at)) = self.log.append(queue, class, size, now_ms) {
                let late = self.arena.segment_size() / 8 * 7;
                if (at as usize) < late && at as usize + size >= late && !self.scarce {
                    self.arena.want_ready();
                }
                return Ok(Offset::from_at(self.arena.segment_start(segment) + at as usize));
            }
            match self.hold_segment(1) {
                Some(segment) => self.open_segment(segment, queue, class),
                None => self.empty_until_free(now_ms)?,
            }
        }
    }

    fn open_segment(&mut self, segment: u32, queue: Queue, class: usize) {
        if let Some(full) = self.log.current(queue, class) {
            self.arena.note_full(full);
        }
        if let Some(empty) = self.log.open(segment, queue, class) {
            self.release(empty);
        }
        self.update_appetite();
    }

    /// An empty segment to write to: a free one, but never the last `keep` of them (they are for survivors of eviction), or
    /// one more from the budget.
    fn hold_segment(&mut self, keep: usize) -> Option<u32> {
        let segment = match self.log.free.len() {
            free if free > keep => self.log.free.pop(),
            _ => self.arena.take(),
        };
        self.update_scarcity();
        segment
    }

    fn held(&self) -> usize {
        self.arena.shared().held_bytes() / self.arena.segment_size()
    }

    /// Free segments to keep ahead of the writers, one of them for survivors.
    fn free_target(&self) -> usize {
        1 + (self.held() / 48).clamp(1, 3)
    }

    /// Looks at the budget; done at segment boundaries and in the background, not with every write. Before the last room is
    /// gone, the free reserve is filled from it, and from then on eviction keeps it full.
    pub(super) fn update_scarcity(&mut self) {
        let target = self.free_target();
        let size = self.arena.segment_size();
        let share = self.budget.room() / self.limits.partitions / size + self.arena.shared().ready();
        self.scarce = share <= target;
        if self.scarce {
            while self.log.free.len() < target && self.budget.excess() == 0 {
                match self.arena.take() {
                    Some(segment) => self.log.free.push(segment),
                    None => break,
                }
            }
        }
        self.update_appetite();
    }

    pub(super) fn update_appetite(&mut self) {
        let (free, target) = (self.log.free.len(), self.free_target());
        self.appetite = if !self.scarce {
            if self.is_wasteful() { 2 } else { 0 }
        } else if free > target {
            0
        } else if free == target {
            // The next one will be under way when it is needed; more ahead would lie idle.
            1
        } else if free > 1 {
            4
        } else {
            8
        };
    }

    /// There is work for the background: fewer free segments than there should be, or waste to compact.
    pub(super) fn is_behind(&self) -> bool {
        self.appetite > 1
    }

    /// A quarter of the log is dead.
    pub(super) fn is_wasteful(&self) -> bool {
        self.log.used - self.log.live > self.log.used / 4 + 4 * self.arena.segment_size()
    }

    /// The write found no room at all: empties segments until there is some.
    #[cold]
    fn empty_until_free(&mut self, now_ms: u64) -> Result<(), WriteError> {
        self.totals.stalls += 1;
        self.scarce = true;
        loop {
            self.reclaim_pinned();
            if self.log.free.len() > 1 {
                return Ok(());
            }
            if self.empty_some(self.arena.segment_size() / 8, now_ms) == 0 {
                // Nothing to evict here: memory may come from elsewhere.
                if let Some(segment) = self.arena.take() {
                    self.log.free.push(segment);
                    continue;
                }
                self.room_wanted = self.arena.segment_size();
                return Err(match self.policy.eviction {
                    Eviction::None => WriteError::OutOfMemory,
                    Eviction::Lru | Eviction::S3Fifo => WriteError::NeedsRoom,
                });
            }
        }
    }

    /// Scans up to about `bytes` of victims, where evicting a large value counts with all its bytes: an item of few bytes in
    /// the log may hold most of the memory. Returns how many were scanned: 0 when there is no victim to be had.
    pub(super) fn empty_some(&mut self, bytes: usize, now_ms: u64) -> usize {
        let mut scanned = 0;
        while scanned < bytes {
            if self.victim.is_none() && !self.choose_victim() {
                break;
            }
            let large = self.large.total();
            match self.scan_victim(bytes - scanned, now_ms) {
                Some(more) => scanned += more + (large - self.large.total()),
                None => break,
            }
        }
        scanned
    }

    fn choose_victim(&mut self) -> bool {
        let sparse = self.sparsest();
        let (segment, mode) = match sparse {
            // Under half alive: each copied byte frees at least one.
            Some((segment, eighths)) if eighths < 4 => (segment, Mode::Compact),
            _ if self.scarce && self.policy.eviction != Eviction::None => match self.oldest() {
                Some(segment) => (segment, Mode::Evict),
                None => return false,
            },
            Some((segment, eighths)) if eighths < 7 && (self.is_wasteful() || self.scarce) => {
                (segment, Mode::Compact)
            }
            _ => return false,
        };
        if self.policy.eviction == Eviction::S3Fifo
            && mode == Mode::Evict
            && let Some(old) = self.policy.ghosts.fit(self.counts.iter().map(|c| c.items as usize).sum())
        {
            self.graveyard.ghosts.push(old);
        }
        self.log.make_victim(segment);
        self.victim = Some(Victim { segment, at: 0, kept: 0, mode });
        true
    }

    /// The segment from which to evict.
    fn oldest(&mut self) -> Option<u32> {
        let (small, main) = (self.log.len(Queue::Small), self.log.len(Queue::Main));
        let first = if small * 10 > small + main { Queue::Small } else { Queue::Main };
        let second = if first == Queue::Small { Queue::Main } else { Queue::Small };
        self.log.oldest(first).or_else(|| self.log.oldest(second))
    }

    /// The sealed segment with the least alive among some hundred, and how many eighths of it are.
    fn sparsest(&mut self) -> Option<(u32, usize)> {
        let count = self.log.segments.len();
        let mut best: Option<(u32, usize)> = None;
        for _ in 0..count.min(CANDIDATES) {
            self.policy.searched = (self.policy.searched + 1) % count;
            let segment = &self.log.segments[self.policy.searched];
            if segment.state != State::Sealed {
                continue;
            }
            let live = if segment.sequence < self.flushes.all_before() { 0 } else { segment.live as usize };
            let eighths = live * 8 / (segment.used as usize).max(1);
            if best.is_none_or(|(_, least)| eighths < least) {
                // At most 16,384 segments.
                best = Some((self.policy.searched as u32, eighths));
            }
        }
        best
    }

    /// Scans up to [`BATCH`] items of the victim, but no further than one large value. `None` when it had to be put back.
    fn scan_victim(&mut self, bytes: usize, now_ms: u64) -> Option<usize> {
        let Victim { segment, at, .. } = self.victim?;
        let used = self.log.segments[segment as usize].used as usize;
        let start = self.arena.segment_start(segment);
        let mut batch = [(Offset(0), 0u64); BATCH];
        let (mut count, mut end) = (0, at);
        while count < BATCH && end < used && end - at < bytes {
            let offset = Offset::from_at(start + end);
            let header = Header::read(&self.arena, offset);
            end += header.size();
            if !header.has(item::DEAD) {
                let hash = Self::hash_of(&self.arena, &self.hasher, offset);
                self.index.prefetch(hash);
                batch[count] = (offset, hash);
                count += 1;
                if header.has(item::LARGE) {
                    break;
                }
            }
        }
        for &(offset, hash) in &batch[..count] {
            if !self.decide(offset, hash, now_ms) {
                self.victim = None;
                self.log.restore_victim(segment);
                return None;
            }
        }
        if let Some(victim) = &mut self.victim {
            victim.at = end;
        }
        if end >= used {
            self.finish_victim(used);
        }
        Some((end - at).max(1))
    }

    /// Evicts or moves one item of the victim. False if it may not be evicted and there is no room to move it to.
    fn decide(&mut self, offset: Offset, hash: u64, now_ms: u64) -> bool {
        let header = Header::read(&self.arena, offset);
        let Some(slot) = self.index.slot_of(hash, offset) else {
            unreachable!("an item that is not dead is in the index");
        };
        let found = Found { slot, offset, header };
        let expired = header.expiry_ms(&self.arena, offset).is_some_and(|at| at <= now_ms);
        if expired || self.is_flushed(offset, header) {
            if !self.is_flushed(offset, header) {
                self.totals.expired += 1;
                self.note_item(Happening::Expired, offset, header);
            }
            self.erase(found, hash);
            return true;
        }
        if let Fate::Move { queue, recency } = self.fate(header) {
            if self.relocate(found, queue, recency, now_ms) {
                return true;
            }
            if self.policy.eviction == Eviction::None {
                return false;
            }
        }
        let segment = self.arena.segment_of(offset);
        if self.policy.eviction == Eviction::S3Fifo
            && self.log.segments[segment as usize].queue == Queue::Small
            && !self.policy.ghosts.rows.is_empty()
        {
            self.policy.ghosts.put(hash);
        }
        self.totals.evicted += 1;
        self.note_item(Happening::Evicted, offset, header);
        self.erase(found, hash);
        true
    }

    fn fate(&self, header: Header) -> Fate {
        let Some(victim) = self.victim else { return Fate::Evict };
        let meta = &self.log.segments[victim.segment as usize];
        let recency = header.recency();
        if victim.mode == Mode::Compact {
            return Fate::Move { queue: meta.queue, recency };
        }
        if meta.queue == Queue::Small {
            return if recency > 0 { Fate::Move { queue: Queue::Main, recency: 0 } } else { Fate::Evict };
        }
        if recency < self.policy.bar || victim.kept * 16 > meta.used as usize * MOST_KEPT_SIXTEENTHS {
            return Fate::Evict;
        }
        Fate::Move { queue: Queue::Main, recency: recency / 2 }
    }

    /// Copies an item of the victim behind the newest of a queue.
    fn relocate(&mut self, found: Found, queue: Queue, recency: u8, now_ms: u64) -> bool {
        let Found { slot, offset, header } = found;
        let Some(victim) = self.victim else { return false };
        let class = usize::from(self.log.segments[victim.segment as usize].class);
        let size = header.size();
        let (segment, at) = match self.log.append(queue, class, size, now_ms) {
            Some(place) => place,
            None => {
                let Some(segment) = self.hold_segment(0) else { return false };
                self.open_segment(segment, queue, class);
                match self.log.append(queue, class, size, now_ms) {
                    Some(place) => place,
                    None => return false,
                }
            }
        };
        let to = Offset::from_at(self.arena.segment_start(segment) + at as usize);
        self.arena.copy(offset.at(), to.at(), size);
        header.set_recency(&mut self.arena, to, recency);
        if let Some(expiry) = header.expiry_ms(&self.arena, offset) {
            self.note_expiry(segment, expiry);
        }
        self.index.redirect(slot, to);
        header.set_dead(&mut self.arena, offset);
        self.log.bury(victim.segment, size);
        self.moves += 1;
        match victim.mode {
            Mode::Evict => self.totals.reinserted += 1,
            Mode::Compact => self.totals.compacted_bytes += size as u64,
        }
        self.victim = Some(Victim { kept: victim.kept + size, ..victim });
        true
    }

    fn finish_victim(&mut self, used: usize) {
        let Some(victim) = self.victim.take() else { return };
        let main = self.log.segments[victim.segment as usize].queue == Queue::Main;
        if victim.mode == Mode::Evict && main {
            if victim.kept * 16 > used * RAISE_SIXTEENTHS {
                self.policy.bar = (self.policy.bar + 1).min(3);
            } else if victim.kept * 16 < used * LOWER_SIXTEENTHS {
                self.policy.bar = (self.policy.bar - 1).max(1);
            }
        }
        self.release(victim.segment);
    }

    /// Puts an emptied segment where it belongs: aside while it is pinned, back to the kernel while the budget is exceeded,
    /// else among the free ones.
    pub(super) fn release(&mut self, segment: u32) {
        self.log.retire(segment);
        if self.arena.is_pinned(segment) {
            self.log.pinned.push(segment);
        } else {
            self.settle(segment);
        }
    }

    fn settle(&mut self, segment: u32) {
        if self.budget.excess() > 0 && self.has_fair_share() && self.log.free.len() > 1 {
            let given_up = self.arena.give_up(segment);
            self.graveyard.segments.push(given_up);
        } else {
            self.arena.reuse(segment);
            self.log.free.push(segment);
        }
        self.update_appetite();
    }

    /// Takes segments back whose last pin has gone.
    pub(super) fn reclaim_pinned(&mut self) {
        for n in (0..self.log.pinned.len()).rev() {
            if !self.arena.is_pinned(self.log.pinned[n]) {
                let segment = self.log.pinned.swap_remove(n);
                self.settle(segment);
            }
        }
    }

    /// Holds about as much as the average partition or more. An eighth less will do: else a partition that has just given a
    /// segment up would have to wait for all others to follow, which other workers' do at their next tick only.
    pub(super) fn has_fair_share(&self) -> bool {
        let average = self.budget.segments.load(Relaxed) / self.limits.partitions;
        self.arena.shared().held_bytes() >= average - average / 8
    }

    pub(super) fn close_all(&mut self) {
        for queue in [Queue::Main, Queue::Small] {
            for class in 0..super::log::CLASSES {
                if let Some(empty) = self.log.seal(queue, class) {
                    self.release(empty);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ghosts_remember_the_last_sixteen_of_a_row() {
        let mut ghosts = Ghosts { rows: Box::default(), budget: Arc::new(Budget::new(1 << 20)) };
        assert!(!ghosts.take(1));
        assert!(ghosts.fit(1000).is_some_and(|old| old.is_empty()));
        assert!(ghosts.fit(1000).is_none());
        let hash = |n: u64| n << 44;
        (1..=20).for_each(|n| ghosts.put(hash(n)));
        assert!(!ghosts.take(hash(4)) && ghosts.take(hash(5)) && ghosts.take(hash(20)));
        assert!(!ghosts.take(hash(20)), "a ghost is taken once");
        assert_eq!(ghosts.budget.used(), 64 * 32);
    }
}
