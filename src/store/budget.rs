//! The one memory number: what the whole process may use, and who uses it.
//!
//! Every figure is in bytes of resident memory, counted where memory is committed (whole segments, whole chunks of an
//! index, whole pages of a large value) and not where it is asked for, so that the sum is what the kernel will report.
//!
//! ```text
//!  0                                        ceiling   limit  1.05 × limit
//!  ├── fixed ── connections ── segments ── index ── large ──┤·····│········│
//!                       writers stop taking memory here ────┘     │
//!                          partitions give segments back beyond ──┘
//! ```

use super::spares::Spares;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts bytes by part against one live limit. Shared by all partitions and connections; every figure is in bytes.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicUsize,
    /// Arena segments in use or faulted in.
    pub segments: AtomicUsize,
    /// Committed index memory.
    pub index: AtomicUsize,
    /// Large values that live in mappings of their own, and such mappings kept for the next ones.
    pub large: AtomicUsize,
    /// Connection state, inboxes, outboxes, receive buffers.
    pub connections: AtomicUsize,
    /// What the process needs before the first key: code, rings, threads (measured at start).
    pub fixed: AtomicUsize,
    pub(super) spares: Spares,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget {
            limit: AtomicUsize::new(limit),
            segments: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            fixed: AtomicUsize::new(0),
            spares: Spares::default(),
        }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Takes effect at once for new memory; what is above a lower limit comes back in bounded steps of
    /// [`Partition::maintain`](super::Partition::maintain).
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Relaxed);
    }

    pub fn used(&self) -> usize {
        self.segments.load(Relaxed)
            + self.index.load(Relaxed)
            + self.large.load(Relaxed)
            + self.connections.load(Relaxed)
            + self.fixed.load(Relaxed)
    }

    /// What writers may still take. One part in 64 below the limit stays free for what cannot wait: an index that must
    /// grow, connections.
    pub fn room(&self) -> usize {
        let limit = self.limit();
        (limit - limit / 64).saturating_sub(self.used())
    }

    /// Bytes above the limit.
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.limit())
    }

    /// Takes `bytes` for `part` (one of this budget's counters) if there is room. Threads that race may both be refused,
    /// never both served beyond the limit.
    pub(super) fn try_take(&self, part: &AtomicUsize, bytes: usize) -> bool {
        if self.room() < bytes {
            return false;
        }
        part.fetch_add(bytes, Relaxed);
        let limit = self.limit();
        if self.used() > limit - limit / 64 {
            part.fetch_sub(bytes, Relaxed);
            return false;
        }
        true
    }
}
