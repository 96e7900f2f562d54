//! The one memory number: what the whole process may use, and who uses it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts bytes by part against one live limit. Shared by all partitions and connections; every figure is in bytes.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicUsize,
    /// Arena segments in use or faulted in.
    pub segments: AtomicUsize,
    /// Committed index memory.
    pub index: AtomicUsize,
    /// Large values that live in mappings of their own.
    pub large: AtomicUsize,
    /// Connection state, inboxes, outboxes, receive buffers.
    pub connections: AtomicUsize,
    /// What the process needs before the first key: code, rings, threads (measured at start).
    pub fixed: AtomicUsize,
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
        }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

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
}
