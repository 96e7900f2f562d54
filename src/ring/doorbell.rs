//! How other threads wake a worker: an eventfd that its driver watches, rung at most once until the worker has seen it.
//!
//! A flag beside it makes repeated calls cheap: only the first wake after the worker's last look writes to the
//! eventfd. The worker clears the flag *before* it reports `Woken`, so a message that was queued before a wake which
//! found the flag set is seen: the swap of the waker happens before the swap of the worker.

use super::Waker;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The driver's end; clones of the `Arc` are the wakers.
#[derive(Debug)]
pub(super) struct Doorbell {
    rung: AtomicBool,
    /// Blocking mode: io_uring arms a poll only for a read that may block.
    eventfd: EventFd,
}

impl Doorbell {
    pub fn new() -> std::io::Result<Arc<Self>> {
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(Self { rung: AtomicBool::new(false), eventfd }))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Empties the eventfd. Only after it was seen readable, or this blocks.
    pub fn empty(&self) -> std::io::Result<()> {
        self.eventfd.read().map(drop).map_err(Into::into)
    }

    /// Allows the next ring. Call before looking at what the waker announced.
    pub fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Waker for Doorbell {
    fn wake(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when 2^64 - 1 rings are unanswered, and the flag allows one.
            let _ = self.eventfd.write(1);
        }
    }
}
