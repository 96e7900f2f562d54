//! The kinds of send, and what each completion means. At most one send per connection is in the kernel.
//!
//! | send                 | flags                | its memory is free             | completion                             |
//! |----------------------|----------------------|--------------------------------|----------------------------------------|
//! | plain, arena or skip | `WAITALL | DONTWAIT` | when `enter` returns           | with `skip` only if short or refused   |
//! | plain, own buffer    | `WAITALL`            | at its completion              | whole, or the connection is broken     |
//! | linked, vectored     | `WAITALL`            | never changes                  | one for the chain or the message       |
//! | zero-copy            | `WAITALL`            | at the notification            | two                                    |
//! | write-fixed          | none exist           | at its completion              | may be short: the rest follows         |
//!
//! Without `WAITALL` a full socket cuts a reply silently; with it and without `DONTWAIT` the kernel waits for room and
//! reads the memory then.

#![allow(unsafe_code, reason = "sends carry addresses")]

use super::choices::SendBy;
use super::conn::Conn;
use super::ring::ENTRIES;
use super::uring::{Lean, token};
use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use std::io;

const AT_ONCE: i32 = libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
const HOWEVER_LONG: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// Replies of one chain: two entries each, and half of the queue stays for others.
const CHAIN: usize = ENTRIES as usize / 4;
/// Replies of one message: two stretches each, and a vector has at most 1,024.
const MESSAGE: usize = 512;

/// Vectors and headers of this turn's messages; the kernel copies them while they are submitted.
#[derive(Default)]
pub struct Vectors {
    stretches: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
}

impl Lean {
    /// Queues one send for each connection that has replies and none in the kernel.
    pub(super) fn queue_sends(&mut self) -> io::Result<()> {
        let mut dirty = std::mem::take(&mut self.answers.dirty);
        if self.choices.send == SendBy::Vectored {
            // Reserved before any address is taken: nothing moves while an entry points to it.
            let replies = dirty
                .iter()
                .map(|slot| self.answers.conns.get(*slot).kinds.len().min(MESSAGE))
                .sum::<usize>();
            self.vectors.stretches.clear();
            self.vectors.headers.clear();
            self.vectors.stretches.reserve(replies * 2);
            self.vectors.headers.reserve(dirty.len());
        }
        for slot in dirty.drain(..) {
            let conn = self.answers.conns.get(slot);
            conn.dirty = false;
            if !conn.open || conn.broken || conn.busy {
                continue; // A busy one comes back with its completion.
            }
            match self.choices.send {
                SendBy::Plain if self.choices.arena && conn.out.is_empty() => self.send_segment(slot)?,
                SendBy::Plain if !self.choices.arena && self.choices.skip && !conn.slow => {
                    self.send_own(slot)?
                }
                SendBy::Plain | SendBy::ZeroCopy => self.send_owned(slot)?,
                SendBy::Linked => self.send_linked(slot)?,
                SendBy::Vectored => self.send_vectored(slot)?,
                SendBy::WriteFixed => self.write_fixed(slot)?,
            }
        }
        self.answers.dirty = dirty;
        Ok(())
    }

    /// From the arena.
    fn send_segment(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        conn.flying = std::mem::take(&mut conn.segment);
        let bytes = &self.answers.arena[conn.flying.clone()];
        self.send_at_once(slot, bytes.as_ptr(), bytes.len())
    }

    /// From the connection's own buffer, without a completion.
    fn send_own(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        std::mem::swap(&mut conn.out, &mut conn.sending);
        conn.out.clear();
        conn.flying = 0..conn.sending.len();
        let (start, len) = (conn.sending.as_ptr(), conn.sending.len());
        self.send_at_once(slot, start, len)
    }

    fn send_at_once(&mut self, slot: u32, start: *const u8, len: usize) -> io::Result<()> {
        let fd = types::Fd(self.answers.conns.get(slot).fd as i32); // Was an i32 of the kernel.
        let send = opcode::Send::new(fd, start, clamp(len)).flags(AT_ONCE).build();
        let send = if self.choices.skip { send.flags(Flags::SKIP_SUCCESS) } else { send };
        let send = self.on_socket(send, token::SEND, slot);
        // SAFETY: MSG_DONTWAIT: the kernel reads only until `enter` returns, and nothing writes to arena or `sending` in
        // between: `queue_sends` is followed by an enter before anything is answered.
        unsafe { self.ring.push(&send) }
    }

    /// From `sending`, which is the kernel's until the completion.
    fn send_owned(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        if !conn.segment.is_empty() {
            // Replies of this turn, behind the rest of earlier ones.
            conn.out.extend_from_slice(&self.answers.arena[std::mem::take(&mut conn.segment)]);
        }
        std::mem::swap(&mut conn.out, &mut conn.sending);
        conn.out.clear();
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        let (start, len) = (conn.sending.as_ptr(), clamp(conn.sending.len()));
        let send = match self.choices.send {
            SendBy::ZeroCopy => opcode::SendZc::new(fd, start, len).flags(HOWEVER_LONG).build(),
            _ => opcode::Send::new(fd, start, len).flags(HOWEVER_LONG).build(),
        };
        self.push_busy(slot, &send)
    }

    fn send_vectored(&mut self, slot: u32) -> io::Result<()> {
        let conn = self.answers.conns.get(slot);
        let count = conn.kinds.len().min(MESSAGE);
        conn.flying_kinds = count;
        let first = self.vectors.stretches.len();
        for reply in &conn.kinds[..count] {
            let (header, value) = self.answers.replies.parts(*reply);
            for stretch in [header, value] {
                let iov_base: *mut libc::c_void = stretch.as_ptr().cast_mut().cast();
                self.vectors.stretches.push(libc::iovec { iov_base, iov_len: stretch.len() });
            }
        }
        let stretches = &self.vectors.stretches[first..];
        // SAFETY: all of a header's fields may be zero: no name, no vector, no control data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = stretches.as_ptr().cast_mut();
        header.msg_iovlen = stretches.len();
        self.vectors.headers.push(header);
        let header: *const libc::msghdr = &self.vectors.headers[self.vectors.headers.len() - 1];
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        let send = opcode::SendMsg::new(fd, header).flags(HOWEVER_LONG as u32).build(); // Three positive flags.
        self.push_busy(slot, &send)
    }

    /// Two entries per reply, each run by the kernel only when the one before it has sent all it had. One completion: the
    /// last entry's, or that of the one that failed (which silences those behind it).
    fn send_linked(&mut self, slot: u32) -> io::Result<()> {
        self.ring.reserve(2 * CHAIN)?;
        let conn = self.answers.conns.get(slot);
        let count = conn.kinds.len().min(CHAIN);
        conn.flying_kinds = count;
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        for index in 0..count {
            let reply = self.answers.conns.get(slot).kinds[index];
            let (header, value) = self.answers.replies.parts(reply);
            let stretches = [header, value].map(|stretch| (stretch.as_ptr(), stretch.len()));
            let used = if value.is_empty() { 1 } else { 2 };
            for (at, (start, len)) in stretches[..used].iter().enumerate() {
                let send = opcode::Send::new(fd, *start, clamp(*len));
                if (index + 1, at + 1) == (count, used) {
                    return self.push_busy(slot, &send.flags(HOWEVER_LONG).build());
                }
                let send = send.flags(HOWEVER_LONG | libc::MSG_MORE).build();
                let send =
                    self.on_socket(send.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS), token::SEND, slot);
                // SAFETY: the replies live as long as the ring and never change.
                unsafe { self.ring.push(&send)? };
            }
        }
        Ok(())
    }

    fn write_fixed(&mut self, slot: u32) -> io::Result<()> {
        let Some(registered) = &self.answers.registered else { return Ok(()) };
        let conn = self.answers.conns.get(slot);
        let fd = types::Fd(conn.fd as i32); // Was an i32 of the kernel.
        let start = registered.address(slot).wrapping_add(conn.slot_sent);
        let write = opcode::WriteFixed::new(fd, start, clamp(conn.slot_len - conn.slot_sent), 0).build();
        self.push_busy(slot, &write)
    }

    /// A send whose completion frees its memory.
    fn push_busy(&mut self, slot: u32, entry: &io_uring::squeue::Entry) -> io::Result<()> {
        let entry = self.on_socket(entry.clone(), token::SEND, slot);
        let conn = self.answers.conns.get(slot);
        conn.busy = true;
        conn.in_kernel += 1;
        self.in_kernel += 1;
        // SAFETY: `sending` and the registered slot are left alone while `busy`, replies never change, and a slot is freed
        // only when nothing of it is in the kernel; vectors and headers are left alone until `enter` returns.
        unsafe { self.ring.push(&entry) }
    }

    /// A send has ended, or was short.
    pub(super) fn on_send(&mut self, slot: u32, result: i32, flags: u32) {
        let conn = self.answers.conns.get(slot);
        if !conn.busy {
            return self.on_sent_at_once(slot, result);
        }
        if result < 0 && !cqueue::notif(flags) {
            conn.broken = true;
        }
        if self.choices.send == SendBy::ZeroCopy && !cqueue::notif(flags) {
            conn.broken |= usize::try_from(result) != Ok(conn.sending.len());
        }
        if cqueue::more(flags) {
            return; // Zero-copy: the notification is still to come.
        }
        conn.busy = false;
        conn.in_kernel -= 1;
        self.in_kernel -= 1;
        let sent = usize::try_from(result).unwrap_or(0);
        match self.choices.send {
            SendBy::Plain => conn.broken |= sent != conn.sending.len(),
            SendBy::ZeroCopy => {}
            SendBy::Linked | SendBy::Vectored => drop(conn.kinds.drain(..conn.flying_kinds)),
            SendBy::WriteFixed => self.on_written(slot, sent),
        }
        self.after_send(slot);
    }

    fn on_written(&mut self, slot: u32, sent: usize) {
        let Conn { slot_sent, slot_len, out, .. } = self.answers.conns.get(slot);
        *slot_sent += sent;
        if *slot_sent == *slot_len {
            (*slot_sent, *slot_len) = (0, 0);
            if let Some(registered) = &mut self.answers.registered {
                registered.refill(slot, slot_len, out);
            }
        }
    }

    /// Short or refused: the rest goes on as a send that may wait. (Without `skip`, whole ones come here too.)
    fn on_sent_at_once(&mut self, slot: u32, result: i32) {
        let conn = self.answers.conns.get(slot);
        let sent = match result {
            0.. => result as usize, // Not negative.
            _ if result == -libc::EAGAIN || result == -libc::EINTR => 0,
            _ => {
                conn.broken = true;
                return self.after_send(slot);
            }
        };
        if sent == conn.flying.len() {
            return;
        }
        let from = if self.choices.arena { &self.answers.arena } else { &conn.sending };
        let mut rest = from[conn.flying.start + sent..conn.flying.end].to_vec();
        rest.append(&mut conn.out);
        conn.out = rest;
        conn.slow = true;
        self.after_send(slot);
    }

    /// What is left goes out in the next turn; a connection that was only waiting for this closes.
    fn after_send(&mut self, slot: u32) {
        let conn = self.answers.conns.get(slot);
        if !conn.busy && self.choices.send == SendBy::Plain && conn.out.is_empty() {
            conn.slow = false;
        }
        if conn.broken {
            self.answers.abort(slot);
        } else {
            let ended = conn.ended;
            self.answers.mark(slot);
            if ended {
                self.answers.closing.push(slot);
            }
        }
        if !self.answers.conns.get(slot).open {
            self.answers.conns.free_if_done(slot);
        }
    }
}

/// A send takes at most 2 GiB; nothing here is longer.
fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
