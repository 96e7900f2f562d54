//! The ring as the rest of the driver sees it: push, enter, and a list of completions.
//!
//! - `enter` submits everything and waits in one system call, the timeout passed along (`EXT_ARG`). It always asks for
//!   events: with `DEFER_TASKRUN` completions are produced by nothing else.
//! - When it returns, the kernel has consumed every submission. A full queue, EINTR, EBUSY and EAGAIN end here.
//! - Completions are copied out at once, into `reaped`: the queue is empty whenever the kernel could overflow it, and an
//!   overflow is noticed by the submission queue's flag (the kernel's counter stays 0), counted, and flushed.
//!
//! The ring's descriptor is not registered (`register_ring_fd`): it measured as no gain, its slot is not freed by closing
//! the ring, and after a few rings in one thread registration fails with EBUSY.

#![allow(unsafe_code, reason = "submission queue entries carry addresses")]

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};
use std::io;
use std::time::Duration;

/// Attempts of one `enter` against EBUSY and EAGAIN before the ring counts as lost. After the first few each waits a
/// millisecond, so this is several seconds of a kernel without memory.
const MAX_ATTEMPTS: u32 = 5_000;

/// Counters that only this layer can count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub enters: u64,
    pub submissions: u64,
    pub completions: u64,
    pub overflows: u64,
}

/// An io_uring and the completions taken from it.
pub struct Kernel {
    pub ring: IoUring<squeue::Entry, cqueue::Entry>,
    pub reaped: Vec<cqueue::Entry>,
    pub counters: Counters,
    /// Set by the first failure, and then the kernel is never entered again: what is still queued may name memory whose
    /// owners have been told, by that failure, that they may have it back.
    lost: bool,
}

impl Kernel {
    pub fn new(ring: IoUring<squeue::Entry, cqueue::Entry>) -> Self {
        let reaped = Vec::with_capacity(ring.params().cq_entries() as usize);
        Self { ring, reaped, counters: Counters::default(), lost: false }
    }

    /// Entries that the submission queue can hold.
    pub fn capacity(&self) -> usize {
        self.ring.params().sq_entries() as usize
    }

    /// Makes room for `count` entries: a chain of links must not be split by a full queue, or its head runs alone.
    pub fn reserve(&mut self, count: usize) -> io::Result<()> {
        assert!(count <= self.capacity(), "a chain is bounded by the submission queue");
        let queue = self.ring.submission();
        if queue.capacity() - queue.len() >= count {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    /// Queues one entry; enters first when the queue is full.
    ///
    /// # Safety
    ///
    /// Memory that the entry names must stay valid, and unaliased if the kernel writes to it, until the entry's terminal
    /// completion; for sends with `MSG_DONTWAIT`, and for message headers and iovecs, until `enter` returns. (When it returns
    /// an error, entries may be left in the queue: no later call submits them.)
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        self.reserve(1)?;
        // SAFETY: the caller's promise is the queue's.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "there is room: reserved above");
        Ok(())
    }

    /// Whether an `enter` would find completions, without a system call.
    pub fn ready(&mut self) -> bool {
        let (_, submission, completion) = self.ring.split();
        submission.taskrun() || !completion.is_empty() || submission.cq_overflow()
    }

    /// Submits and reaps without waiting; no system call when there is nothing to submit and nothing to reap.
    pub fn enter_if_useful(&mut self) -> io::Result<()> {
        if self.ring.submission().is_empty() && !self.ready() {
            return Ok(());
        }
        self.enter(0, None)
    }

    /// Submits all, waits for `want` completions for at most `timeout` (`None`: for ever), reaps.
    ///
    /// Returns early after a signal: the caller's loop comes again. An error means that the ring is lost.
    pub fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("the ring was lost earlier"));
        }
        let result = self.try_enter(want, timeout);
        self.lost = result.is_err();
        result
    }

    /// Whether an error of `enter` has ended this ring.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    fn try_enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let time = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(time) = &time {
            args = args.timespec(time);
        }
        let mut want = want;
        for attempt in 0..MAX_ATTEMPTS {
            let queued = self.ring.submission().len() as u32; // At most the queue's u32 capacity.
            let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
            self.counters.enters += 1;
            // SAFETY: `args` and `time` live on this stack frame over the call; the entries' memory is `push`'s promise.
            let result = unsafe { self.ring.submitter().enter(queued, want, flags.bits(), Some(&args)) };
            self.reap();
            match result.map_err(|error| error.raw_os_error()) {
                Ok(taken) => self.counters.submissions += taken as u64,
                Err(Some(libc::ETIME | libc::EINTR)) => {}
                // The kernel wants its completions taken first, or lacks memory for a moment.
                Err(Some(libc::EBUSY | libc::EAGAIN)) => match attempt {
                    0..4 => std::thread::yield_now(),
                    _ => std::thread::sleep(Duration::from_millis(1)),
                },
                Err(Some(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                Err(None) => return Err(io::Error::other("io_uring_enter failed without an errno")),
            }
            if self.ring.submission().is_empty() {
                return self.flush_overflow();
            }
            want = 0; // What is left to submit must not wait for completions that it may itself bring.
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Takes what the kernel kept aside because the queue was full. Ends: an overflow has ended the multishots, and
    /// nothing is armed here.
    fn flush_overflow(&mut self) -> io::Result<()> {
        if self.ring.submission().cq_overflow() {
            self.counters.overflows += 1;
        }
        while self.ring.submission().cq_overflow() {
            self.counters.enters += 1;
            match self.ring.submitter().submit_and_wait(0).map_err(|error| error.raw_os_error()) {
                Ok(_) | Err(Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(errno) => return Err(io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO))),
            }
            self.reap();
        }
        Ok(())
    }

    fn reap(&mut self) {
        let before = self.reaped.len();
        self.reaped.extend(self.ring.completion());
        self.counters.completions += (self.reaped.len() - before) as u64;
    }
}
