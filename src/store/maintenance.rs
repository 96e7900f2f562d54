//! Background work of a partition: the expiry sweep, what a flush left behind, memory that goes back.
//!
//! Everything here is a bounded step, since it runs under the partition's lock. Freeing proper (system calls) happens when
//! the lock's holder lets go: see `Graveyard`.

use super::arena::Offset;
use super::events::Happening;
use super::item::{self, Header};
use super::log::State;
use super::partition::{Found, Graveyard, Partition, Trim};
use super::{DATABASES, Eviction};

/// Items that one step of a sweep looks at.
const SWEEP_ITEMS: usize = 128;
/// Segments that one step looks at to find one with something to sweep.
const SWEEP_SEGMENTS: usize = 512;
/// Bytes that one step of background eviction or compaction scans.
const SCAN_BYTES: usize = 16 << 10;
/// Index buckets joined in one step.
const JOINS: usize = 16;
/// Segments given back in one step (a system call each, after the lock).
const GIVE_BACK: usize = 2;

/// Which items a flush has hidden: those of a database in segments opened before a sequence number.
#[derive(Default)]
pub(super) struct Flushes {
    /// By physical database; 0 when nothing is hidden.
    since: [u64; DATABASES as usize],
    /// The latest flush of any database whose leavings are not yet swept.
    latest: u64,
}

impl Flushes {
    #[inline]
    pub fn pending(&self) -> bool {
        self.latest != 0
    }

    #[inline]
    pub fn since(&self, physical: u8) -> u64 {
        self.since[physical as usize]
    }

    /// Segments before this one hold nothing that is visible.
    pub fn all_before(&self) -> u64 {
        if self.pending() { self.since.into_iter().min().unwrap_or(0) } else { 0 }
    }

    pub fn note(&mut self, physical: u8, sequence: u64) {
        self.since[physical as usize] = sequence;
        self.latest = sequence;
    }
}

/// The walk through all segments that removes what expired or was flushed.
#[derive(Default)]
pub(super) struct Sweep {
    /// When the next pass should begin.
    next_due_ms: u64,
    /// The segment that the pass has reached, and when the first of those behind it is due again.
    position: usize,
    pass_min_ms: u64,
    /// The latest flush when the pass began: swept everywhere when it ends.
    pass_flush: u64,
    under_way: bool,
    current: Option<Walk>,
}

/// The walk through one segment.
struct Walk {
    segment: u32,
    sequence: u64,
    at: usize,
    min_expiry_ms: u64,
}

impl Partition {
    /// Notes that an item of this segment expires at this time.
    pub(super) fn note_expiry(&mut self, segment: u32, expire_at_ms: u64) {
        let meta = &mut self.log.segments[segment as usize];
        meta.min_expiry_ms = meta.min_expiry_ms.min(expire_at_ms);
        let sweep = &mut self.sweep;
        sweep.next_due_ms = sweep.next_due_ms.min(expire_at_ms);
        sweep.pass_min_ms = sweep.pass_min_ms.min(expire_at_ms);
        if let Some(walk) = &mut sweep.current
            && walk.segment == segment
        {
            walk.min_expiry_ms = walk.min_expiry_ms.min(expire_at_ms);
        }
    }

    /// One bounded step (tens of microseconds) of expiry, eviction, compaction, index shrinking and giving memory back.
    /// Returns whether more is due now.
    pub fn maintain(&mut self, now_ms: u64) -> bool {
        self.clock_ms = now_ms;
        self.reclaim_pinned();
        self.update_scarcity();
        let mut more = self.sweep_step(now_ms);
        more |= self.shrink_step(now_ms);
        if self.is_behind() {
            more |= self.empty_some(SCAN_BYTES, now_ms) > 0 && self.is_behind();
        }
        more |= (0..JOINS).filter(|_| self.index.join()).count() == JOINS;
        if self.index.give_up_surplus() {
            let tables = self.index.tables().map(|table| Trim(table.clone()));
            self.graveyard.tables.extend(tables);
        }
        more
    }

    fn sweep_step(&mut self, now_ms: u64) -> bool {
        if self.sweep.current.is_none() {
            if !self.sweep.under_way {
                if now_ms < self.sweep.next_due_ms && !self.flushes.pending() {
                    return false;
                }
                self.sweep.under_way = true;
                self.sweep.position = 0;
                self.sweep.pass_min_ms = u64::MAX;
                self.sweep.pass_flush = self.flushes.latest;
            }
            if !self.find_due(now_ms) {
                return self.sweep.under_way;
            }
        }
        self.walk_step(now_ms);
        true
    }

    /// Finds the next segment with something to remove, or ends the pass.
    fn find_due(&mut self, now_ms: u64) -> bool {
        for _ in 0..SWEEP_SEGMENTS {
            let segment = self.sweep.position;
            let Some(meta) = self.log.segments.get(segment) else {
                self.end_pass();
                return false;
            };
            self.sweep.position += 1;
            let flushed = meta.sequence < self.sweep.pass_flush && meta.swept_flush < self.sweep.pass_flush;
            if meta.state != State::Idle && (flushed || meta.sweep_due_ms() <= now_ms) {
                // At most 16,384 segments.
                let segment = segment as u32;
                let walk = Walk { segment, sequence: meta.sequence, at: 0, min_expiry_ms: u64::MAX };
                self.sweep.current = Some(walk);
                return true;
            }
            self.sweep.pass_min_ms = self.sweep.pass_min_ms.min(meta.sweep_due_ms());
        }
        false
    }

    fn end_pass(&mut self) {
        self.sweep.under_way = false;
        self.sweep.next_due_ms = self.sweep.pass_min_ms;
        if self.flushes.latest == self.sweep.pass_flush {
            self.flushes = Flushes::default();
        }
    }

    fn walk_step(&mut self, now_ms: u64) {
        let Some(mut walk) = self.sweep.current.take() else { return };
        let start = self.arena.segment_start(walk.segment);
        let mut batch = [(Offset(0), 0u64); 16];
        let mut looked_at = 0;
        while looked_at < SWEEP_ITEMS {
            let meta = self.log.segments[walk.segment as usize];
            if meta.sequence != walk.sequence || meta.state == State::Idle {
                // Emptied in the meantime; what moved from here was noted where it went.
                return;
            }
            let mut count = 0;
            while count < batch.len() && looked_at < SWEEP_ITEMS && walk.at < meta.used as usize {
                let offset = Offset::from_at(start + walk.at);
                let header = Header::read(&self.arena, offset);
                walk.at += header.size();
                looked_at += 1;
                if header.has(item::DEAD) {
                    continue;
                }
                let expiry = header.expiry_ms(&self.arena, offset);
                if expiry.is_some_and(|at| at <= now_ms) || self.is_flushed(offset, header) {
                    let hash = Self::hash_of(&self.arena, &self.hasher, offset);
                    self.index.prefetch(hash);
                    batch[count] = (offset, hash);
                    count += 1;
                } else {
                    walk.min_expiry_ms = walk.min_expiry_ms.min(expiry.unwrap_or(u64::MAX));
                }
            }
            for &(offset, hash) in &batch[..count] {
                self.remove_gone(offset, hash);
            }
            if walk.at >= meta.used as usize {
                let meta = &mut self.log.segments[walk.segment as usize];
                if meta.sequence == walk.sequence && meta.state != State::Idle {
                    meta.min_expiry_ms = walk.min_expiry_ms;
                    (meta.swept_ms, meta.swept_flush) = (now_ms, self.sweep.pass_flush);
                    self.sweep.pass_min_ms = self.sweep.pass_min_ms.min(meta.sweep_due_ms());
                }
                return;
            }
        }
        self.sweep.current = Some(walk);
    }

    fn remove_gone(&mut self, offset: Offset, hash: u64) {
        let header = Header::read(&self.arena, offset);
        if let Some(slot) = self.index.slot_of(hash, offset) {
            if !self.is_flushed(offset, header) {
                self.totals.expired += 1;
                self.note_item(Happening::Expired, offset, header);
            }
            self.erase(Found { slot, offset, header }, hash);
        }
    }

    /// Gives memory back: beyond the budget as far as it takes, otherwise what is free and unlikely to be needed soon.
    fn shrink_step(&mut self, now_ms: u64) -> bool {
        let over = self.budget.excess() > 0;
        let fair = self.has_fair_share();
        let held = self.arena.shared().held_bytes() / self.arena.segment_size();
        let keep = match (over && fair, self.limits.keep_memory) {
            (true, _) => 1,
            (false, true) => usize::MAX,
            (false, false) => 2 + (held - self.log.free.len()) / 8,
        };
        let given = (0..GIVE_BACK).take_while(|_| self.give_back_one(keep)).count();
        if !over || !fair {
            return given == GIVE_BACK;
        }
        if let Some(segment) = self.arena.take_ready() {
            self.graveyard.segments.push(self.arena.give_up(segment));
            return true;
        }
        // Nothing is free: empty some. Without eviction only compaction can help.
        self.scarce = true;
        let scanned = self.empty_some(4 * SCAN_BYTES, now_ms);
        given > 0 || scanned > 0
    }

    fn give_back_one(&mut self, keep: usize) -> bool {
        if self.log.free.len() <= keep {
            return false;
        }
        let Some(segment) = self.log.free.pop() else { return false };
        self.graveyard.segments.push(self.arena.give_up(segment));
        true
    }

    /// One bounded step towards `wanted` bytes of room in the budget for others: evicts, and gives free segments up. False when
    /// there is nothing left to give.
    pub(super) fn shed(&mut self, wanted: usize) -> bool {
        self.reclaim_pinned();
        if self.give_back_one(1) {
            return true;
        }
        if self.policy.eviction == Eviction::None && !self.is_wasteful() {
            return false;
        }
        self.scarce = true;
        let scanned = self.empty_some(wanted.clamp(SCAN_BYTES, 8 * SCAN_BYTES), self.clock_ms);
        let given = self.give_back_one(1);
        self.update_scarcity();
        scanned > 0 || given
    }

    /// Takes away what is to be freed after unlocking.
    pub(super) fn take_graveyard(&mut self) -> Graveyard {
        std::mem::take(&mut self.graveyard)
    }
}
