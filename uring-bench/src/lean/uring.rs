//! The ring server: one thread, one ring, no store. One turn of its loop:
//!
//! 1. Queue one send per connection that has replies, and what must be armed again.
//! 2. Enter: submit all, wait for a completion.
//! 3. Settle the sends. From here on the arena is free.
//! 4. For each receive: find the requests where the kernel put the bytes, append the replies.
//! 5. Give the receive buffers back.
//!
//! | memory                         | the kernel's until                                             |
//! |--------------------------------|----------------------------------------------------------------|
//! | arena, own buffer with `skip`  | `enter` returns: `MSG_WAITALL | MSG_DONTWAIT`                  |
//! | a connection's `sending`       | the completion of its send (zero-copy: the notification)       |
//! | a connection's `input`         | the completion of its receive                                  |
//! | replies, registered buffer     | the ring is gone                                               |

#![allow(unsafe_code, reason = "submission queue entries carry addresses")]

use super::answers::Answers;
use super::buffers::{self, Buffers, Piece};
use super::choices::{Choices, Receive, SendBy};
use super::error::Error;
use super::registered::Registered;
use super::ring::Ring;
use super::sends::Vectors;
use io_uring::squeue::Flags;
use io_uring::types::{self, CancelBuilder};
use io_uring::{cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Size of the ring's own descriptor table.
const DIRECT_DESCRIPTORS: u32 = 16_384;

/// What a completion belongs to: the upper byte of its `user_data`; below it the slot.
pub mod token {
    pub const IGNORED: u8 = 0;
    pub const ACCEPT: u8 = 1;
    pub const WAKE: u8 = 2;
    pub const RECV: u8 = 3;
    pub const SEND: u8 = 4;
    pub const CLOSE: u8 = 5;

    pub const fn of(kind: u8, slot: u32) -> u64 {
        (kind as u64) << 56 | slot as u64
    }

    pub const fn parts(data: u64) -> (u8, u32) {
        ((data >> 56) as u8, data as u32) // As packed above.
    }
}

/// Whether an accept is in the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    No,
    Armed,
    /// Out of descriptors, it would fail again at once: the next close lets it go on.
    Paused,
}

pub struct Lean {
    // Dropped first: the ring, before all that it refers to.
    pub(super) ring: Ring,
    pub(super) answers: Answers,
    pub(super) vectors: Vectors,
    /// Absent with single receives.
    buffers: Option<Buffers>,
    pub(super) choices: Choices,
    /// Slots to receive from again.
    rearm: Vec<u32>,
    /// Those whose receive found no buffer, oldest first.
    starved: VecDeque<u32>,
    pieces: Vec<Piece>,
    listener: TcpListener,
    accepting: Accepting,
    wake: Arc<OwnedFd>,
    stopping: bool,
    /// Operations whose last completion has not come.
    pub(super) in_kernel: usize,
    calls: Arc<AtomicU64>,
}

impl Lean {
    /// Sets up the ring on the calling thread, which must be the one that runs it. `wake` ends `run` when it is readable;
    /// `calls` is kept at the number of system calls.
    pub fn new(
        listener: TcpListener,
        value_size: usize,
        choices: &Choices,
        wake: Arc<OwnedFd>,
        calls: Arc<AtomicU64>,
    ) -> Result<Lean, Error> {
        let ring = Ring::new(choices)?;
        if choices.direct {
            let table = ring.ring.submitter().register_files_sparse(DIRECT_DESCRIPTORS);
            table.map_err(Error::setup)?;
        }
        let buffers = match choices.receive {
            Receive::Single => None,
            _ => Some(Buffers::register(&ring.ring, choices)?),
        };
        let registered = match choices.send {
            SendBy::WriteFixed => Some(Registered::new(&ring.ring)?),
            _ => None,
        };
        Ok(Lean {
            ring,
            answers: Answers::new(value_size, choices, registered),
            vectors: Vectors::default(),
            buffers,
            choices: choices.clone(),
            rearm: Vec::new(),
            starved: VecDeque::new(),
            pieces: Vec::new(),
            listener,
            accepting: Accepting::No,
            wake,
            stopping: false,
            in_kernel: 0,
            calls,
        })
    }

    /// Serves until woken.
    pub fn run(self) -> Result<(), Error> {
        // After an error, a panic or an unfinished drain the kernel could still write to memory of ours: better lost than
        // freed.
        let mut lean = ManuallyDrop::new(self);
        let result = lean.serve().map_err(|error| Error::io("go on with the ring", error));
        if result.is_ok() && lean.drain().is_ok() && lean.in_kernel == 0 {
            drop(ManuallyDrop::into_inner(lean));
        }
        result
    }

    fn serve(&mut self) -> io::Result<()> {
        self.watch_wake()?;
        let flush = self.choices.flush as usize;
        while !self.stopping {
            self.queue_closes()?;
            self.queue_sends()?;
            self.queue_receives()?;
            match self.answers.closing.is_empty() {
                true => self.ring.wait()?,
                false => self.ring.enter(0, None)?,
            }
            self.settle_sends(0);
            let mut at = 0;
            while at < self.ring.reaped.len() {
                let entry = self.ring.reaped[at].clone();
                self.complete(&entry);
                at += 1;
                if self.answers.arena.len() > flush {
                    self.flush()?;
                }
            }
            self.ring.reaped.clear();
            if let Some(buffers) = &mut self.buffers {
                buffers.recycle();
            }
            self.answers.conns.end_turn();
            self.calls.store(self.ring.calls, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Submits the replies so far in the middle of a turn.
    fn flush(&mut self) -> io::Result<()> {
        let settled = self.ring.reaped.len();
        self.queue_sends()?;
        self.ring.enter(0, None)?;
        self.settle_sends(settled);
        Ok(())
    }

    /// What became of the sends; then the arena is free.
    fn settle_sends(&mut self, from: usize) {
        for at in from..self.ring.reaped.len() {
            let entry = &self.ring.reaped[at];
            if let (token::SEND, slot) = token::parts(entry.user_data()) {
                let (result, flags) = (entry.result(), entry.flags());
                self.on_send(slot, result, flags);
            }
        }
        self.answers.arena.clear();
    }

    #[inline]
    fn complete(&mut self, entry: &cqueue::Entry) {
        let (kind, slot) = token::parts(entry.user_data());
        match kind {
            token::RECV => self.on_recv(slot, entry),
            token::ACCEPT => self.on_accept(entry),
            token::CLOSE => {
                self.in_kernel -= 1;
                self.answers.conns.get(slot).in_kernel -= 1;
                self.answers.conns.free_if_done(slot);
                if self.accepting == Accepting::Paused {
                    self.accepting = Accepting::No;
                }
            }
            token::WAKE => {
                self.in_kernel -= 1;
                self.stopping = true;
            }
            _ => {} // Sends were settled before.
        }
    }

    /// An entry on a connection's socket, for `push`.
    #[inline]
    pub(super) fn on_socket(&self, entry: squeue::Entry, kind: u8, slot: u32) -> squeue::Entry {
        let entry = entry.user_data(token::of(kind, slot));
        if self.choices.direct { entry.flags(Flags::FIXED_FILE) } else { entry }
    }

    fn watch_wake(&mut self) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32).build(); // A positive flag.
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&poll.user_data(token::of(token::WAKE, 0)))? };
        self.in_kernel += 1;
        Ok(())
    }

    fn queue_receives(&mut self) -> io::Result<()> {
        if self.accepting == Accepting::No {
            let listener = types::Fd(self.listener.as_raw_fd());
            let flags = if self.choices.direct { 0 } else { libc::SOCK_CLOEXEC };
            let accept =
                opcode::AcceptMulti::new(listener).allocate_file_index(self.choices.direct).flags(flags);
            // SAFETY: the entry names no memory.
            unsafe { self.ring.push(&accept.build().user_data(token::of(token::ACCEPT, 0)))? };
            self.accepting = Accepting::Armed;
            self.in_kernel += 1;
        }
        // On an empty buffer ring a receive fails at once, even on a silent socket: as many as there are buffers.
        let lent = self.buffers.as_ref().map_or(0, Buffers::lent);
        for _ in 0..self.starved.len().min(lent) {
            let Some(slot) = self.starved.pop_front() else { break };
            if std::mem::take(&mut self.answers.conns.get(slot).starved) {
                self.rearm.push(slot);
            }
        }
        for at in 0..self.rearm.len() {
            self.queue_receive(self.rearm[at])?;
        }
        self.rearm.clear();
        Ok(())
    }

    fn queue_receive(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        if !conn.open || conn.ended {
            return Ok(());
        }
        conn.in_kernel += 1;
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        let entry = match self.choices.receive {
            Receive::Single => {
                let len = conn.input.len() as u32; // `Choices::check` bounds it to 1 MiB.
                opcode::Recv::new(fd, conn.input.as_mut_ptr(), len).build()
            }
            Receive::Multishot => opcode::RecvMulti::new(fd, buffers::GROUP).build(),
            Receive::Bundle => opcode::RecvMultiBundle::new(fd, buffers::GROUP).build(),
        };
        let entry = self.on_socket(entry, token::RECV, slot);
        self.in_kernel += 1;
        // SAFETY: `input` is boxed, belongs to the slot and is not looked at before this receive's completion; buffers of
        // the ring belong to `buffers`, dropped after the ring.
        unsafe { self.ring.push(&entry) }
    }

    fn on_accept(&mut self, entry: &cqueue::Entry) {
        if !cqueue::more(entry.flags()) {
            self.in_kernel -= 1;
            self.accepting = match -entry.result() {
                libc::EMFILE | libc::ENFILE | libc::ENOMEM => Accepting::Paused,
                _ => Accepting::No,
            };
        }
        let Ok(fd) = u32::try_from(entry.result()) else { return };
        let input = match self.choices.receive {
            Receive::Single => self.choices.buffer_size as usize,
            _ => 0,
        };
        let slot = self.answers.conns.insert(fd, input);
        match self.answers.registered.as_ref().is_none_or(|registered| registered.has(slot)) {
            true => self.rearm.push(slot),
            false => self.answers.closing.push(slot),
        }
    }

    #[inline]
    fn on_recv(&mut self, slot: u32, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let len = usize::try_from(result).unwrap_or(0);
        // Whether a buffer is ours is told by the flag, never by the result.
        if let (Some(buffers), Some(buffer)) = (&mut self.buffers, cqueue::buffer_select(flags)) {
            buffers.take(buffer, len, cqueue::buffer_more(flags), &mut self.pieces);
        }
        let is_open = self.answers.conns.get(slot).open;
        if is_open && let Some(buffers) = &self.buffers {
            for piece in &self.pieces {
                self.answers.answer(slot, buffers.bytes(*piece));
            }
        } else if is_open {
            let input = std::mem::take(&mut self.answers.conns.get(slot).input);
            self.answers.answer(slot, &input[..len]);
            self.answers.conns.get(slot).input = input;
        }
        self.pieces.clear();
        if !cqueue::more(flags) {
            self.in_kernel -= 1;
            self.answers.conns.get(slot).in_kernel -= 1;
            match is_open {
                true => self.receive_ended(slot, result),
                false => self.answers.conns.free_if_done(slot),
            }
        }
    }

    fn receive_ended(&mut self, slot: u32, result: i32) {
        match -result {
            0 => {
                self.answers.conns.get(slot).ended = true;
                self.answers.closing.push(slot);
            }
            libc::ENOBUFS => {
                self.answers.conns.get(slot).starved = true;
                self.starved.push_back(slot);
            }
            // A single receive that brought bytes, or a multishot that was cut short and lost nothing.
            ..0 | libc::EAGAIN | libc::EINTR => self.rearm.push(slot),
            _ => self.answers.abort(slot),
        }
    }

    /// Closes whom everything was sent to. `after_send` brings back whom it was not.
    fn queue_closes(&mut self) -> io::Result<()> {
        for slot in std::mem::take(&mut self.answers.closing) {
            let conn = self.answers.conns.get(slot);
            if conn.open && conn.is_flushed() {
                conn.open = false;
                self.queue_close(slot)?;
            } else if conn.open && conn.dirty {
                // This turn sends, and the next knows how that went.
                self.answers.closing.push(slot);
            }
        }
        Ok(())
    }

    /// Cancel, then close: an armed receive would keep the socket open.
    fn queue_close(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        conn.in_kernel += 1;
        self.in_kernel += 1;
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        let index = types::Fixed(conn.fd);
        let (cancel, close) = match self.choices.direct {
            true => (CancelBuilder::fd(index), opcode::Close::new(index).build()),
            false => (CancelBuilder::fd(fd), opcode::Close::new(fd).build()),
        };
        let cancel = opcode::AsyncCancel2::new(cancel.all()).build().flags(Flags::SKIP_SUCCESS);
        // SAFETY: neither entry names memory; the descriptor is this slot's and is not used after its close.
        unsafe {
            self.ring.push(&cancel.user_data(token::of(token::IGNORED, 0)))?;
            self.ring.push(&close.user_data(token::of(token::CLOSE, slot)))
        }
    }

    /// Ends everything that is in the kernel, so that its memory can go.
    fn drain(&mut self) -> io::Result<()> {
        for slot in self.answers.conns.slots() {
            let conn = self.answers.conns.get(slot);
            if conn.open {
                conn.open = false;
                conn.broken = true;
                self.queue_close(slot)?;
            }
        }
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&cancel.user_data(token::of(token::IGNORED, 0)))? };
        for _ in 0..100 {
            self.settle_sends(0);
            for at in 0..self.ring.reaped.len() {
                let entry = self.ring.reaped[at].clone();
                self.complete(&entry);
            }
            self.ring.reaped.clear();
            if self.in_kernel == 0 {
                break;
            }
            self.ring.enter(1, Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }
}
