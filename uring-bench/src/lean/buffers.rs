//! Receive buffers that are lent to the kernel: it picks one for each receive and names it in the completion.
//!
//! ```text
//!  entries (page-aligned, read by the kernel)        bytes
//! +------+------+------+------+---               +----------+----------+---
//! | 17   | 3    | 42   | ...  |        ──────►   | buffer 0 | buffer 1 | ...
//! +------+------+------+------+---               +----------+----------+---
//!    ▲ head: what the kernel takes next    ▲ tail: where we put back
//! ```
//!
//! The kernel takes entries in ring order. A bundle's completion names its first buffer; the next entries follow. An
//! incremental buffer is filled by several receives, and ours again when a completion comes without `F_BUF_MORE`.

#![allow(unsafe_code, reason = "memory shared with the kernel: the entries, and the buffers they lend")]

use super::choices::Choices;
use super::error::Error;
use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue, squeue};
use memmap2::MmapMut;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group.
pub const GROUP: u16 = 0;
/// `IOU_PBUF_RING_INC`, which the crate does not name.
const INCREMENTAL: u16 = 2;

pub struct Buffers {
    entries: MmapMut,
    bytes: MmapMut,
    count: u16,
    size: u32,
    incremental: bool,
    /// Which buffer each entry lends, by position: ours to read, where the kernel's copy is shared.
    order: Vec<u16>,
    head: u16,
    tail: u16,
    /// Bytes of each buffer that receives have filled (incremental).
    filled: Vec<u32>,
    /// Whole buffers that are ours until `recycle`.
    ours: Vec<u16>,
}

/// Some received bytes: `len` from `at` in the mapping.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    at: usize,
    len: usize,
}

impl Buffers {
    pub fn register(
        ring: &IoUring<squeue::Entry, cqueue::Entry>,
        choices: &Choices,
    ) -> Result<Buffers, Error> {
        let (count, size) = (choices.buffers, choices.buffer_size);
        let map = |len: usize| MmapMut::map_anon(len).map_err(|e| Error::io("map receive buffers", e));
        let mut buffers = Buffers {
            entries: map(usize::from(count) * size_of::<BufRingEntry>())?,
            bytes: map(usize::from(count) * size as usize)?,
            count,
            size,
            incremental: choices.incremental,
            order: vec![0; usize::from(count)],
            head: 0,
            tail: 0,
            filled: vec![0; usize::from(count)],
            ours: (0..count).collect(),
        };
        let address = buffers.entries.as_mut_ptr() as u64;
        let flags = if choices.incremental { INCREMENTAL } else { 0 };
        // SAFETY: page-aligned, `count` entries, owned by `Buffers`, which the loop drops after the ring.
        let registered =
            unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, flags) };
        registered.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) if choices.incremental => Error::lacks("incremental=yes", "6.12"),
            Some(libc::EINVAL) => Error::lacks("provided buffer rings", "5.19"),
            _ => Error::setup(error),
        })?;
        buffers.recycle();
        Ok(buffers)
    }

    /// The pieces behind a completion of `len` bytes that names `buffer`. They are ours until `recycle`.
    pub fn take(&mut self, buffer: u16, len: usize, more_in_buffer: bool, pieces: &mut Vec<Piece>) {
        assert!(buffer < self.count, "the kernel names a buffer of ours");
        if self.incremental {
            let filled = &mut self.filled[usize::from(buffer)];
            let at = usize::from(buffer) * self.size as usize + *filled as usize;
            *filled += len as u32; // At most the buffer's size, asserted below.
            assert!(*filled <= self.size, "receives stay inside their buffer");
            pieces.push(Piece { at, len });
            if !more_in_buffer {
                self.head = self.head.wrapping_add(1);
                self.ours.push(buffer);
            }
            return;
        }
        let (mut left, mut buffer) = (len, buffer);
        loop {
            let part = left.min(self.size as usize);
            pieces.push(Piece { at: usize::from(buffer) * self.size as usize, len: part });
            self.ours.push(buffer);
            left -= part;
            debug_assert_eq!(
                self.order[usize::from(self.head & (self.count - 1))],
                buffer,
                "taken in ring order"
            );
            self.head = self.head.wrapping_add(1);
            if left == 0 {
                return;
            }
            buffer = self.order[usize::from(self.head & (self.count - 1))];
        }
    }

    #[inline]
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        assert!(piece.at + piece.len <= self.bytes.len(), "pieces lie inside the mapping");
        // SAFETY: inside the mapping, which lives as long as `self`. The kernel wrote these bytes before it named them and
        // writes there again only after `recycle`, which needs `&mut self`; to the rest of an incremental buffer it may
        // be writing now, and no reference covers that.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(piece.at), piece.len) }
    }

    /// Buffers that the kernel can use: 0 means that arming a receive would fail.
    pub fn lent(&self) -> usize {
        usize::from(self.count) - self.ours.len()
    }

    /// Gives all whole buffers of ours back; the tail is published once.
    #[inline]
    pub fn recycle(&mut self) {
        if self.ours.is_empty() {
            return;
        }
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        let bytes = self.bytes.as_mut_ptr();
        for buffer in self.ours.drain(..) {
            let position = usize::from(self.tail & (self.count - 1));
            self.order[position] = buffer;
            self.filled[usize::from(buffer)] = 0;
            // SAFETY: the entry at the tail is ours: there are as many entries as buffers. The setters leave `resv` of the
            // first entry alone, which is the shared tail.
            let entry = unsafe { &mut *base.add(position) };
            // SAFETY: `buffer < count` (asserted in `take`): inside the mapping.
            entry.set_addr(unsafe { bytes.add(usize::from(buffer) * self.size as usize) } as u64);
            entry.set_len(self.size);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the aligned tail field of the first entry, inside our mapping; the kernel only reads it. Release puts
        // the entries before it.
        let shared = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        shared.store(self.tail, Ordering::Release);
    }
}
