//! The turn's sends: one submission per connection, memory borrowed only for the call.
//!
//! `MSG_WAITALL | MSG_DONTWAIT` with `CQE_SKIP_SUCCESS` is the one combination that allows an arena. Without flags or with
//! DONTWAIT alone a slow reader's reply is silently cut; with WAITALL alone the kernel reads the arena later. With both, a
//! send completes while it is submitted: whole and silent, or with a completion that holds the short count or EAGAIN.
//!
//! The last reply of a closing connection is linked with its close: a short count fails the link, so the close does not
//! run and the rest can follow. That one send does not skip its completion: the kernel would skip those of its links too.

#![allow(unsafe_code, reason = "sends point into the turn's output")]

use super::Uring;
use super::conn::Closing;
use super::owned::{MAX_IOVECS, header};
use super::token::Token;
use crate::ring::{Outgoing, Piece, Send};
use io_uring::squeue::Flags;
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

const SEND_FLAGS: libc::c_int = libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Scratch for message headers, kept for its memory. Filled for one turn's sends, read by the kernel until `enter` returns.
#[derive(Default)]
pub struct Headers {
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
}

impl Uring {
    /// Queues the turn's sends (and the closes linked to them). When the queue fills up, a round is submitted at once.
    pub(super) fn queue_sends(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        // Reserved before any address is taken: no header moves while an entry points to it.
        self.headers.iovecs.clear();
        self.headers.headers.clear();
        self.headers.iovecs.reserve(outgoing.pieces.len());
        self.headers.headers.reserve(outgoing.sends.len());
        for (index, send) in outgoing.sends.iter().enumerate() {
            let Some(conn) = self.conns.get(send.conn) else { continue };
            let fd = conn.fd.as_raw_fd();
            let token = Token::Outgoing(index as u32).encode(); // `pieces` and `unfinished` count in u32 as well.
            match conn.closing {
                Closing::No | Closing::Requested { after_sends: false } => {
                    let (entry, whole) = self.headers.entry(outgoing, send, fd);
                    let flags = if whole { Flags::SKIP_SUCCESS } else { Flags::empty() };
                    // SAFETY: the kernel reads `outgoing` and `headers` only until `enter` returns (MSG_DONTWAIT);
                    // `turn` borrows the one and owns the other until then.
                    unsafe { self.kernel.push(&entry.flags(flags).user_data(token))? };
                }
                Closing::Requested { after_sends: true } if conn.owned.is_none() => {
                    let (entry, whole) = self.headers.entry(outgoing, send, fd);
                    if !whole {
                        // Success would run the close before the rest.
                        self.adopt_rest(send.conn, outgoing.rest(send, 0));
                        continue;
                    }
                    self.queue_last_send(send, entry.user_data(token))?;
                }
                _ => continue,
            }
            self.stats.bytes_sent += total(outgoing, send) as u64;
        }
        Ok(())
    }

    /// `cancel receive`, then `send → close` as a chain.
    fn queue_last_send(&mut self, send: &Send, entry: squeue::Entry) -> io::Result<()> {
        self.kernel.reserve(3)?;
        self.queue_cancel_all(send.conn)?;
        // SAFETY: as in `queue_sends`; the reservation keeps the chain together.
        unsafe { self.kernel.push(&entry.flags(Flags::IO_LINK))? };
        self.queue_close_entry(send.conn, Closing::Linked)
    }

    /// Takes the completion of a send: short, refused, or (when it did not skip success) whole.
    pub(super) fn on_outgoing(&mut self, index: u32, result: i32, outgoing: &mut Outgoing) {
        let send = &outgoing.sends[index as usize];
        let total = total(outgoing, send);
        let result = match result {
            0.. => Ok(result as usize), // Not negative.
            _ if result == -libc::EAGAIN || result == -libc::EINTR => Ok(0),
            _ => Err(-result),
        };
        let sent = result.unwrap_or(0);
        self.stats.bytes_sent -= (total - sent) as u64;
        if result == Ok(total) {
            return;
        }
        self.stats.short_sends += 1;
        let conn = send.conn;
        match self.conns.get(conn).map(|conn| conn.closing) {
            Some(Closing::No) => {
                outgoing.unfinished.push(crate::ring::Unfinished { send: index, result });
            }
            // The close that was linked to it has been cancelled: finish the reply, then close.
            Some(Closing::Linked) if result.is_ok() => {
                let rest = outgoing.rest(send, sent);
                self.adopt_rest(conn, rest);
            }
            _ => {}
        }
    }
}

impl Headers {
    /// The entry of one send, and whether it covers all of it.
    fn entry(&mut self, outgoing: &Outgoing, send: &Send, fd: RawFd) -> (squeue::Entry, bool) {
        let first = self.iovecs.len();
        let mut whole = true;
        for piece in outgoing.pieces_of(send) {
            let bytes = outgoing.piece(piece);
            if bytes.is_empty() {
                continue;
            }
            let base: *mut libc::c_void = bytes.as_ptr().cast_mut().cast();
            // Neighbours in the arena are one stretch.
            if let (Piece::Bytes(_), Some(last)) = (piece, self.iovecs[first..].last_mut())
                && std::ptr::eq(last.iov_base.wrapping_byte_add(last.iov_len), base)
            {
                last.iov_len += bytes.len();
                continue;
            }
            if self.iovecs.len() - first == MAX_IOVECS {
                whole = false; // The rest is reported as unfinished.
                break;
            }
            self.iovecs.push(libc::iovec { iov_base: base, iov_len: bytes.len() });
        }
        let target = types::Fd(fd);
        let entry = match &self.iovecs[first..] {
            [one] if u32::try_from(one.iov_len).is_ok() => {
                let len = one.iov_len as u32; // Checked in the guard.
                opcode::Send::new(target, one.iov_base.cast(), len).flags(SEND_FLAGS).build()
            }
            iovecs => {
                self.headers.push(header(iovecs));
                let header: *const libc::msghdr = &self.headers[self.headers.len() - 1];
                opcode::SendMsg::new(target, header).flags(SEND_FLAGS as u32).build()
            }
        };
        (entry, whole)
    }
}

fn total(outgoing: &Outgoing, send: &Send) -> usize {
    outgoing.pieces_of(send).iter().map(|piece| outgoing.piece(piece).len()).sum()
}
