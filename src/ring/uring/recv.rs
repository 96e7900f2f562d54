//! Receiving: multishot, into the buffer ring. Every completion that ends a receive is decided in one `match`.
//!
//! ENOBUFS is normal: more completions in one turn than buffers. It ends the receive even on an idle socket, so arming
//! again at once would spin; the connection waits in a list and is armed, oldest first, after buffers were given back.
//! The bytes stay in its socket meanwhile.

#![allow(unsafe_code, reason = "submission queue entries carry addresses")]

use super::conn::Recv;
use super::token::Token;
use super::{Operation, Uring, buffers};
use crate::ring::{ConnId, End, Event};
use io_uring::{cqueue, opcode, squeue, types};
use std::io;
use std::os::fd::AsRawFd;

impl Uring {
    /// `start_recv` and `pause_recv`.
    pub(super) fn set_recv(&mut self, id: ConnId, wanted: bool) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return };
        conn.wants_recv = wanted;
        match (wanted, conn.recv) {
            (true, Recv::Off) if !conn.ended => self.operations.push_back(Operation::ArmRecv(id)),
            (false, Recv::Armed) => self.operations.push_back(Operation::StopRecv(id)),
            // Its place in the waiting list becomes void: only entries in this state are armed from there.
            (false, Recv::Waiting) => conn.recv = Recv::Off,
            // Stopping: the terminal completion looks at what is wanted then.
            _ => {}
        }
    }

    pub(super) fn queue_recv(&mut self, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.should_arm()) else { return Ok(()) };
        let target = types::Fd(conn.fd.as_raw_fd());
        let token = Token::Recv(id).encode();
        let entry = opcode::RecvMulti::new(target, buffers::GROUP).build().user_data(token);
        // SAFETY: the entry names no memory; the buffer it picks belongs to `buffers`, which outlives the ring.
        unsafe { self.kernel.push(&entry)? };
        conn.recv = Recv::Armed;
        conn.in_kernel += 1;
        self.in_kernel += 1;
        Ok(())
    }

    pub(super) fn queue_stop_recv(&mut self, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return Ok(()) };
        if conn.wants_recv || conn.recv != Recv::Armed {
            return Ok(()); // Started again in the meantime, or ended.
        }
        conn.recv = Recv::Stopping;
        let entry = opcode::AsyncCancel::new(Token::Recv(id).encode()).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(Token::Ignored.encode());
        // SAFETY: the entry names no memory.
        unsafe { self.kernel.push(&entry) }
    }

    /// After the buffers went back: as many of the waiting as there are buffers, oldest first.
    pub(super) fn rearm_waiting(&mut self) -> io::Result<()> {
        for _ in 0..self.waiting.len().min(self.buffers.with_kernel()) {
            let Some(id) = self.waiting.pop_front() else { break };
            if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.recv == Recv::Waiting) {
                conn.recv = Recv::Off;
                self.queue_recv(id)?;
            }
        }
        Ok(())
    }

    pub(super) fn on_recv(&mut self, id: ConnId, entry: &cqueue::Entry) {
        // The flag says whether a buffer is ours, never the result.
        let len = u32::try_from(entry.result()).unwrap_or(0);
        let data = cqueue::buffer_select(entry.flags()).map(|buffer| self.buffers.take(buffer, len));
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Some(data) = data.filter(|data| data.len > 0 && conn.is_open()) {
            self.stats.bytes_received += u64::from(len);
            self.events.push(Event::Received { conn: id, data });
        }
        if cqueue::more(entry.flags()) {
            return;
        }
        conn.in_kernel -= 1;
        conn.recv = Recv::Off;
        if !conn.is_open() {
            return self.free_if_done(id);
        }
        match -entry.result() {
            0 => self.end(id, End::Eof),
            libc::ENOBUFS => {
                self.stats.buffers_exhausted += 1;
                if conn.wants_recv {
                    conn.recv = Recv::Waiting;
                    self.waiting.push_back(id);
                }
            }
            // Bytes and yet the end: the completion queue overflowed, or the kernel yields. A cancel: paused, and perhaps
            // started again since.
            ..0 | libc::ECANCELED | libc::EAGAIN | libc::EINTR => {
                if conn.should_arm() {
                    self.operations.push_back(Operation::ArmRecv(id));
                }
            }
            errno => self.end(id, End::Error(errno)),
        }
    }

    fn end(&mut self, id: ConnId, end: End) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.ended = true;
            self.events.push(Event::Ended { conn: id, end });
        }
    }
}
