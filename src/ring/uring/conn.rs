//! One connection's state: what is armed, what is under way, how far closing has come.

use super::owned::Owned;
use std::os::fd::OwnedFd;

/// The receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recv {
    /// Nothing in the kernel.
    Off,
    /// A multishot receive is armed.
    Armed,
    /// A cancel of it was submitted; its terminal completion is still to come.
    Stopping,
    /// It found no free buffer and stands in the waiting list.
    Waiting,
}

/// `No → Requested → Submitted → Done`, or over `Linked`, and back from there when the send before the close was short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    No,
    Requested {
        after_sends: bool,
    },
    /// The close is with the kernel, linked to the last reply: it runs only if that went out whole.
    Linked,
    /// The close is with the kernel, and what was under way has been cancelled.
    Submitted,
    /// The descriptor is closed; terminal completions of what was cancelled may still come.
    Done,
}

#[derive(Debug)]
pub struct Conn {
    /// Ours until `Closing::Done`; then its number may already be another connection's.
    pub fd: OwnedFd,
    /// Operations whose terminal completion has not come. The slot is freed only at 0.
    pub in_kernel: u32,
    pub recv: Recv,
    pub wants_recv: bool,
    /// The peer has ended or an error has: nothing more to receive.
    pub ended: bool,
    /// The `send_owned` under way. Boxed: the kernel reads its headers, and a table of connections should stay small.
    pub owned: Option<Box<Owned>>,
    pub closing: Closing,
}

impl Conn {
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            in_kernel: 0,
            recv: Recv::Off,
            wants_recv: false,
            ended: false,
            owned: None,
            closing: Closing::No,
        }
    }

    pub fn is_open(&self) -> bool {
        self.closing == Closing::No
    }

    /// Whether a receive should be in the kernel and is not.
    pub fn should_arm(&self) -> bool {
        self.wants_recv && !self.ended && self.is_open() && self.recv == Recv::Off
    }
}
