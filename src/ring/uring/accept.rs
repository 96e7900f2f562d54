//! Accepting: multishot, and paused where descriptors run out.
//!
//! At the descriptor limit an accept fails with EMFILE, and so does the next at once: a loop that arms again spins. The
//! listener pauses until a connection closes or 100 ms have passed; the clients wait in the backlog.

#![allow(unsafe_code, reason = "takes ownership of accepted descriptors")]

use super::conn::Conn;
use super::token::{MAX_SLOTS, Token};
use super::{Operation, Uring};
use crate::ring::pause::AcceptPause;
use crate::ring::{ConnId, Event};
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

/// A listening socket. Never removed: its index is in the tokens.
pub struct Listener {
    /// `None` once stopped.
    socket: Option<OwnedFd>,
    number: u8,
    /// One accept per submission.
    single: bool,
    armed: bool,
    pub pause: AcceptPause,
}

impl Uring {
    /// The wait for a connection is exclusive: one ring of those that share a socket is woken. A multishot accept keeps its place at the head of
    /// the queue, and its ring would get all connections; a single one joins it again at the end.
    pub(super) fn add_listener(&mut self, socket: OwnedFd, number: u8, single: bool) -> io::Result<()> {
        let index =
            u8::try_from(self.listeners.len()).map_err(|_| io::Error::other("at most 256 listeners"))?;
        self.listeners.push(Listener {
            socket: Some(socket),
            number,
            single,
            armed: false,
            pause: AcceptPause::default(),
        });
        self.operations.push_back(Operation::Accept(index));
        Ok(())
    }

    pub(super) fn stop_listeners(&mut self) {
        for index in 0..self.listeners.len() {
            self.operations.push_back(Operation::StopAccept(index as u8)); // `add_listener` bounds the index.
        }
    }

    pub(super) fn queue_accept(&mut self, index: u8) -> io::Result<()> {
        let listener = &mut self.listeners[usize::from(index)];
        let Some(socket) = listener.socket.as_ref().filter(|_| !listener.armed) else { return Ok(()) };
        let target = types::Fd(socket.as_raw_fd());
        // No peer address: a multishot would overwrite it with each accept. `addresses` asks when somebody wants it.
        let entry = match listener.single {
            false => opcode::AcceptMulti::new(target).flags(libc::SOCK_CLOEXEC).build(),
            true => opcode::Accept::new(target, std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build(),
        };
        // SAFETY: the entry names no memory.
        unsafe { self.kernel.push(&entry.user_data(Token::Accept(index).encode()))? };
        listener.armed = true;
        listener.pause.forget();
        self.in_kernel += 1;
        Ok(())
    }

    /// Cancel, then close, in one batch: an armed accept would keep the closed socket listening.
    pub(super) fn queue_stop_accept(&mut self, index: u8) -> io::Result<()> {
        let listener = &mut self.listeners[usize::from(index)];
        listener.pause.forget();
        let armed = listener.armed;
        let Some(socket) = listener.socket.take() else { return Ok(()) };
        if armed {
            let entry = opcode::AsyncCancel::new(Token::Accept(index).encode()).build();
            let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(Token::Ignored.encode());
            // SAFETY: the entry names no memory.
            unsafe { self.kernel.push(&entry)? };
        }
        let close = opcode::Close::new(types::Fd(socket.into_raw_fd())).build();
        // SAFETY: the entry names no memory; the descriptor was given up above and is the kernel's to close.
        unsafe { self.kernel.push(&close.user_data(Token::Ignored.encode())) }
    }

    pub(super) fn on_accept(&mut self, index: u8, result: i32, more: bool) {
        let listener = &mut self.listeners[usize::from(index)];
        listener.armed = more;
        let (number, stopped) = (listener.number, listener.socket.is_none());
        if result >= 0 {
            // SAFETY: a descriptor that the kernel has just made for this ring; nobody else knows it. Also when the
            // listener has been stopped since: then it is a late accept, and owning it here means that it gets closed.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            if let Some(conn) = self.add_connection(fd) {
                self.events.push(Event::Accepted { conn, listener: number });
            }
        }
        if more || stopped {
            return;
        }
        match -result {
            // Ended without an error (overflow, or a single accept), or for a reason that has passed.
            ..=0 | libc::ECANCELED | libc::ECONNABORTED | libc::EAGAIN | libc::EINTR => {
                self.operations.push_back(Operation::Accept(index));
            }
            // EMFILE, ENFILE, ENOMEM, ENOBUFS, or unknown: at once it would fail again.
            _ => {
                self.listeners[usize::from(index)].pause.begin();
                self.stats.accepts_paused += 1;
            }
        }
    }

    /// A slot for a connected socket; `None`, and the socket closed, when tokens have no number left for it.
    pub(super) fn add_connection(&mut self, fd: OwnedFd) -> Option<ConnId> {
        (self.conns.len() < MAX_SLOTS as usize).then(|| self.conns.insert(Conn::new(fd)))
    }

    pub(super) fn resume_listeners(&mut self) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if listener.pause.take_if_over() {
                self.operations.push_back(Operation::Accept(index as u8)); // `add_listener` bounds the index.
            }
        }
    }
}
