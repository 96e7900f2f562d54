//! Signals as values: blocked in all threads, taken by one that waits for them, so that they interrupt no worker.

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::io;

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

/// Waits for the next of them and returns its name. They must be blocked.
pub fn wait() -> io::Result<&'static str> {
    Ok(ending().wait()?.as_str())
}

/// Sends SIGTERM to this process.
pub fn terminate() {
    // It fails for a process that is not there, or that one may not signal: neither is this one.
    let _ = kill(Pid::this(), Signal::SIGTERM);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_blocked_signal_is_a_value() {
        let name = std::thread::spawn(|| {
            block().unwrap();
            // Reaches this thread alone (raise(3)): the others of the test process do not block it.
            raise(Signal::SIGTERM).unwrap();
            wait().unwrap()
        });
        assert_eq!(name.join().unwrap(), "SIGTERM");
    }
}
