//! Signals, taken as events by the control thread instead of interrupting workers.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

fn ending() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set
}

/// Blocks SIGTERM and SIGINT in this thread and in all that it starts: call first, from the main thread. A write to a closed
/// connection is an error return, not SIGPIPE: the Rust runtime ignores that signal before `main`.
pub fn block() -> io::Result<()> {
    ending().thread_block()?;
    Ok(())
}

/// The blocked signals as a descriptor that becomes readable.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    pub fn new() -> io::Result<Signals> {
        Ok(Signals(SignalFd::with_flags(&ending(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next one that arrived, by name; `None` if none did.
    pub fn next(&self) -> io::Result<Option<&'static str>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        let number = i32::try_from(info.ssi_signo).unwrap_or(0);
        Ok(Some(Signal::try_from(number).map_or("a signal", Signal::as_str)))
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
