//! Memory that is registered with the ring once, so that `WRITE_FIXED` need not map it for each write: a slot per
//! connection, and what does not fit waits outside.

#![allow(unsafe_code, reason = "lends memory to the kernel for the ring's life")]

use super::error::Error;
use super::frames::{Reply, Sink};
use super::replies::Replies;
use io_uring::{IoUring, cqueue, squeue};
use memmap2::MmapMut;
use std::ops::Range;

/// Bytes of a slot. All slots together are 8 MiB: what an ordinary user may lock is often just that.
const SLOT_BYTES: usize = 128 << 10;
/// Connections that a server with `send=writefixed` can have.
pub const SLOTS: u32 = 64;

pub struct Registered {
    bytes: MmapMut,
}

impl Registered {
    pub fn new(ring: &IoUring<squeue::Entry, cqueue::Entry>) -> Result<Registered, Error> {
        let len = SLOTS as usize * SLOT_BYTES;
        let mut bytes = MmapMut::map_anon(len).map_err(|e| Error::io("map the registered buffer", e))?;
        let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: len };
        // SAFETY: the mapping belongs to `Registered`, which the loop drops after the ring.
        unsafe { ring.submitter().register_buffers(&[vector]).map_err(Error::setup)? };
        Ok(Registered { bytes })
    }

    /// Whether there is memory for this connection.
    pub fn has(&self, slot: u32) -> bool {
        slot < SLOTS
    }

    fn range(slot: u32) -> Range<usize> {
        let start = slot as usize * SLOT_BYTES;
        start..start + SLOT_BYTES
    }

    /// Where the bytes of a slot begin.
    pub fn address(&self, slot: u32) -> *const u8 {
        self.bytes[Self::range(slot)].as_ptr()
    }

    /// Takes replies into the slot, which `len` bytes of are filled, and from there on into `out`. All of them go to `out`
    /// while the kernel reads the slot.
    pub fn sink<'a>(
        &'a mut self,
        slot: u32,
        len: &'a mut usize,
        busy: bool,
        out: &'a mut Vec<u8>,
        replies: &'a Replies,
    ) -> Filled<'a> {
        let bytes = if busy { &mut [][..] } else { &mut self.bytes[Self::range(slot)] };
        Filled { bytes, len, out, replies }
    }

    /// Moves what waited outside into the slot, which must be empty and not with the kernel.
    pub fn refill(&mut self, slot: u32, len: &mut usize, out: &mut Vec<u8>) {
        let count = out.len().min(SLOT_BYTES);
        self.bytes[Self::range(slot)][..count].copy_from_slice(&out[..count]);
        out.drain(..count);
        *len = count;
    }
}

/// See [`Registered::sink`].
pub struct Filled<'a> {
    bytes: &'a mut [u8],
    len: &'a mut usize,
    out: &'a mut Vec<u8>,
    replies: &'a Replies,
}

impl Sink for Filled<'_> {
    #[inline]
    fn push(&mut self, reply: Reply) {
        let bytes = self.replies.bytes(reply);
        let room = match self.out.is_empty() {
            true => self.bytes.len().saturating_sub(*self.len),
            false => 0, // Order: what waits outside goes first.
        };
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        if !now.is_empty() {
            self.bytes[*self.len..*self.len + now.len()].copy_from_slice(now);
            *self.len += now.len();
        }
        self.out.extend_from_slice(later);
    }
}
