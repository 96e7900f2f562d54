//! Closing a connection, and the whole ring.
//!
//! `close(2)` with a receive armed closes nothing: the request holds the file, the peer sees no FIN, and the ring keeps
//! receiving. So everything of the descriptor is cancelled first, and the close follows in the same batch; the slot is
//! freed when every terminal completion has come.

#![allow(
    unsafe_code,
    reason = "submission queue entries carry addresses; buffers are leaked rather than freed early"
)]

use super::conn::{Closing, Recv};
use super::token::Token;
use super::{Operation, Uring};
use crate::ring::{ConnId, Event, Outgoing};
use io_uring::types::CancelBuilder;
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::{Duration, Instant};

/// How long dropping waits for the kernel to give everything back.
const DROP_DEADLINE: Duration = Duration::from_secs(5);
/// Completions that it waits for at once: the kernel runs about as much deferred work per call as is waited for.
const SHUT_DOWN_BATCH: u32 = 1024;

impl Uring {
    pub(super) fn request_close(&mut self, id: ConnId, after_sends: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.closing {
            Closing::No => {
                conn.closing = Closing::Requested { after_sends };
                self.operations.push_back(Operation::Close(id));
            }
            // Waiting for a slow reader, and the worker's patience is over.
            Closing::Requested { after_sends: true } if !after_sends => {
                conn.closing = Closing::Requested { after_sends };
                self.operations.push_back(Operation::Close(id));
            }
            _ => {}
        }
    }

    pub(super) fn queue_close(&mut self, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        let Closing::Requested { after_sends } = conn.closing else { return Ok(()) };
        if let Some(owned) = &conn.owned {
            if after_sends {
                return Ok(()); // `finish_owned` comes back here.
            }
            if !owned.in_kernel() {
                conn.owned = None;
            }
        }
        self.queue_cancel_all(id)?;
        self.queue_close_entry(id, Closing::Submitted)
    }

    /// Cancels whatever the kernel holds of this connection: executed while it is submitted, before what follows. By token, which the
    /// kernel finds by its hash: by descriptor it would search every armed receive of the ring, and 9,000 closes took 7 s.
    pub(super) fn queue_cancel_all(&mut self, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.conns.get(id) else { return Ok(()) };
        let receives = matches!(conn.recv, Recv::Armed | Recv::Stopping);
        let sends = conn.owned.as_ref().is_some_and(|owned| owned.in_kernel());
        for (under_way, token) in [(receives, Token::Recv(id)), (sends, Token::Chunk(id))] {
            if under_way {
                // All: the chunks of a chain share their token.
                let what = CancelBuilder::user_data(token.encode()).all();
                let entry = opcode::AsyncCancel2::new(what).build().flags(squeue::Flags::SKIP_SUCCESS);
                // SAFETY: the entry names no memory.
                unsafe { self.kernel.push(&entry.user_data(Token::Ignored.encode()))? };
            }
        }
        Ok(())
    }

    pub(super) fn queue_close_entry(&mut self, id: ConnId, state: Closing) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        let entry = opcode::Close::new(types::Fd(conn.fd.as_raw_fd())).build();
        // SAFETY: the entry names no memory; the descriptor stays in the slot until `on_close`, which gives it up.
        unsafe { self.kernel.push(&entry.user_data(Token::Close(id).encode()))? };
        conn.closing = state;
        conn.in_kernel += 1;
        self.in_kernel += 1;
        Ok(())
    }

    pub(super) fn on_close(&mut self, id: ConnId, result: i32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.in_kernel -= 1;
        if result == -libc::ECANCELED && conn.closing == Closing::Linked {
            // The last reply was short, its rest is owned by now (or failed): close when that is over.
            conn.closing = Closing::Requested { after_sends: true };
            self.operations.push_back(Operation::Close(id));
            return;
        }
        conn.closing = Closing::Done;
        self.free_if_done(id);
    }

    pub(super) fn free_if_done(&mut self, id: ConnId) {
        let done = |conn: &&super::Conn| conn.closing == Closing::Done && conn.in_kernel == 0;
        if self.conns.get(id).filter(done).is_none() {
            return;
        }
        if let Some(conn) = self.conns.remove(id) {
            // The kernel has closed it; the number may be another connection's by now.
            let _ = conn.fd.into_raw_fd();
            self.events.push(Event::Closed { conn: id });
            self.listeners.iter_mut().for_each(|listener| listener.pause.cut_short());
        }
    }

    /// Ends what connections have under way at their sockets. Cancelling would do it too, but the kernel looks for each request
    /// to cancel from the start of its table: for ten thousand receives that takes seconds.
    fn shut_down_connections(&self) {
        for id in self.conns.ids() {
            let open = |conn: &&super::Conn| matches!(conn.closing, Closing::No | Closing::Requested { .. });
            if let Some(conn) = self.conns.get(id).filter(open) {
                // SAFETY: no memory is passed, and the descriptor is the connection's own until its close is submitted.
                unsafe { libc::shutdown(conn.fd.as_raw_fd(), libc::SHUT_RDWR) };
            }
        }
    }

    /// Ends everything and takes completions until the kernel holds nothing of ours.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DROP_DEADLINE;
        let mut nothing = Outgoing::default();
        self.shut_down_connections();
        let mut held = usize::MAX;
        while self.in_kernel < held {
            held = self.in_kernel;
            let batch = u32::try_from(held).unwrap_or(u32::MAX).min(SHUT_DOWN_BATCH);
            self.kernel.enter(batch, Some(Duration::from_millis(1)))?;
            self.handle_completions(&mut nothing);
            self.operations.clear();
        }
        while self.in_kernel > 0 && Instant::now() < deadline {
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            // SAFETY: the entry names no memory.
            unsafe { self.kernel.push(&entry.user_data(Token::Ignored.encode()))? };
            self.kernel.enter(1, Some(Duration::from_millis(100)))?;
            self.handle_completions(&mut nothing);
            self.operations.clear(); // Nothing is armed again.
        }
        Ok(())
    }
}

/// Cancel all, reap until nothing is in flight, unregister, and only then let the fields drop: the ring first.
/// Closing a ring alone would free its requests later, while they still write to our buffers.
impl Drop for Uring {
    fn drop(&mut self) {
        let drained = self.drain().is_ok() && self.in_kernel == 0;
        let released = drained && self.buffers.unregister(&self.kernel.ring).is_ok();
        for id in self.conns.ids() {
            let Some(conn) = self.conns.remove(id) else { continue };
            if conn.closing == Closing::Done {
                let _ = conn.fd.into_raw_fd();
            } else if !released {
                std::mem::forget(conn); // The kernel may still read its pieces.
            }
        }
        if !released {
            self.buffers.leak();
            std::mem::forget(std::mem::take(&mut self.doorbell_count));
        }
        debug_assert!(
            released || self.kernel.is_lost(),
            "the kernel still holds {} operations",
            self.in_kernel
        );
    }
}
