//! The ring itself: set up as chosen, filled, entered, emptied. Says which kernel brings what is missing.

#![allow(unsafe_code, reason = "submission queue entries carry addresses")]

use super::choices::{Choices, Receive, SendBy, Setup};
use super::error::Error;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::io;
use std::time::{Duration, Instant};

/// Submission entries: a chain of linked sends must fit in.
pub const ENTRIES: u32 = 4096;
/// Completions of one turn: far more than connections times what one of them can cause.
const COMPLETIONS: u32 = 16_384;

/// A ring, used by the thread that made it.
pub struct Ring {
    pub ring: IoUring<squeue::Entry, cqueue::Entry>,
    /// Completions that `enter` has taken out.
    pub reaped: Vec<cqueue::Entry>,
    /// System calls so far.
    pub calls: u64,
    spin: Duration,
    /// The last turn was that of a nearly idle server: the next wait may be short.
    spin_pays: bool,
}

/// A turn that brought more completions than this is no idle server's.
const FEW_COMPLETIONS: usize = 8;

impl Ring {
    pub fn new(choices: &Choices) -> Result<Ring, Error> {
        let build = |no_sqarray: bool| {
            let mut builder = IoUring::builder();
            builder.setup_submit_all().setup_clamp().setup_cqsize(COMPLETIONS).dontfork();
            match choices.setup {
                Setup::Plain => &mut builder,
                Setup::Coop => builder.setup_coop_taskrun().setup_taskrun_flag(),
                Setup::Defer => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
            };
            if no_sqarray {
                builder.setup_no_sqarray();
            }
            builder.build(ENTRIES)
        };
        let is_einval = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
        let ring = match build(choices.setup == Setup::Defer) {
            Err(error) if is_einval(&error) => build(false), // NO_SQARRAY came with 6.6.
            result => result,
        };
        let ring = ring.map_err(|error| match choices.setup {
            Setup::Defer if is_einval(&error) => Error::lacks("setup=defer (DEFER_TASKRUN)", "6.1"),
            Setup::Coop if is_einval(&error) => Error::lacks("setup=coop (COOP_TASKRUN)", "5.19"),
            _ => Error::setup(error),
        })?;
        check(&ring, choices)?;
        let reaped = Vec::with_capacity(COMPLETIONS as usize);
        let spin = Duration::from_micros(choices.spin_us.into());
        Ok(Ring { ring, reaped, calls: 0, spin, spin_pays: false })
    }

    /// Room for `count` entries at once: a chain of links must not be split by a full queue.
    #[inline]
    pub fn reserve(&mut self, count: usize) -> io::Result<()> {
        let queue = self.ring.submission();
        let room = queue.capacity() - queue.len();
        drop(queue);
        if room < count { self.enter(0, None) } else { Ok(()) }
    }

    /// Queues one entry; enters first when the queue is full.
    ///
    /// # Safety
    ///
    /// Memory that the entry names must stay valid, and unaliased if the kernel writes to it, until the entry's last
    /// completion; for sends with `MSG_DONTWAIT`, and for headers and vectors of messages, until `enter` returns.
    #[inline]
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        self.reserve(1)?;
        // SAFETY: the caller's promise is the queue's.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "there is room: reserved above");
        Ok(())
    }

    /// Submits, waits until there is a completion, and reaps. A nearly idle server looks for completions for a while before it blocks,
    /// as chosen: waking up costs more than that.
    pub fn wait(&mut self) -> io::Result<()> {
        if self.spin.is_zero() || !self.reaped.is_empty() {
            // A full queue has been submitted before: what that brought must not wait for more.
            return self.enter(u32::from(self.reaped.is_empty()), None);
        }
        let started = Instant::now();
        if self.spin_pays {
            self.enter(0, None)?;
            while self.reaped.is_empty() && started.elapsed() < self.spin {
                if (0..8).any(|_| self.ready()) {
                    self.enter(0, None)?;
                }
            }
        }
        if self.reaped.is_empty() {
            self.enter(1, None)?;
        }
        // Twice: a wait that blocked includes the wake-up, which a spin would have saved.
        self.spin_pays = self.reaped.len() <= FEW_COMPLETIONS && started.elapsed() < 2 * self.spin;
        Ok(())
    }

    /// Whether an `enter` would find completions, without a system call.
    fn ready(&mut self) -> bool {
        std::hint::spin_loop();
        let (_, submission, completion) = self.ring.split();
        submission.taskrun() || !completion.is_empty() || submission.cq_overflow()
    }

    /// Submits everything, waits for `want` completions for at most `timeout` (`None`: for ever), and reaps.
    pub fn enter(&mut self, mut want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let time = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(time) = &time {
            args = args.timespec(time);
        }
        loop {
            let queued = self.ring.submission().len() as u32; // At most ENTRIES.
            self.calls += 1;
            let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
            // SAFETY: `args` and `time` live on this stack frame over the call; the entries' memory is `push`'s promise.
            let result = unsafe { self.ring.submitter().enter(queued, want, flags.bits(), Some(&args)) };
            self.reaped.extend(self.ring.completion());
            if let Err(error) = result {
                match error.raw_os_error() {
                    Some(libc::ETIME | libc::EINTR) => {}
                    Some(libc::EBUSY | libc::EAGAIN) => std::thread::yield_now(),
                    _ => return Err(error),
                }
            }
            let submission = self.ring.submission();
            if submission.is_empty() && !submission.cq_overflow() {
                return Ok(());
            }
            want = 0;
        }
    }
}

/// What set-up flags do not show: opcodes, and the flags of opcodes by what came with them.
fn check(ring: &IoUring<squeue::Entry, cqueue::Entry>, choices: &Choices) -> Result<(), Error> {
    let params = ring.params();
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(Error::setup)?;
    // Multishot receives have no flag of their own; SEND_ZC came in the same release.
    let six_zero = probe.is_supported(opcode::SendZc::CODE);
    if !params.is_feature_ext_arg() || !probe.is_supported(opcode::Socket::CODE) {
        return Err(Error::lacks("multishot accepts and buffer rings", "5.19"));
    }
    if choices.receive != Receive::Single && !six_zero {
        return Err(Error::lacks("receive=multishot", "6.0"));
    }
    if choices.receive == Receive::Bundle && !params.is_feature_recvsend_bundle() {
        return Err(Error::lacks("receive=bundle", "6.10"));
    }
    if choices.send == SendBy::ZeroCopy && !six_zero {
        return Err(Error::lacks("send=zerocopy (SEND_ZC)", "6.0"));
    }
    Ok(())
}
