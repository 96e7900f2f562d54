//! The provided buffer ring: the kernel picks a free buffer for each receive and names it in the completion.
//!
//! ```text
//!  descriptors (page-aligned, shared with the kernel)         bytes (ordinary memory)
//! +--------------------+--------------------+-----           +----------+----------+-----
//! | addr len bid |tail | addr len bid |  -  | ...    ──────► | buffer 0 | buffer 1 | ...
//! +--------------------+--------------------+-----           +----------+----------+-----
//!                ▲ shared tail, u16, published with Release once per turn
//! ```
//!
//! A buffer is the kernel's while it is in the ring, and ours from the completion that names it until `release`.
//! Whoever receives borrows it for one turn only, so a slow client can hold none.

#![allow(
    unsafe_code,
    reason = "memory shared with the kernel: the descriptors, and buffers lent to receives"
)]

use crate::ring::RecvRef;
use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue, squeue};
use memmap2::MmapMut;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group of a ring.
pub const GROUP: u16 = 0;
/// What a recycled buffer holds in debug builds: a reader of stale bytes fails loudly.
const POISON: u8 = 0xDB;

/// Receive buffers and the ring that lends them to the kernel.
///
/// Dropped only when the kernel has given it back (`Uring` drains before), when no receive ever named it, or not at all: leaked.
pub struct Buffers {
    descriptors: ManuallyDrop<MmapMut>,
    bytes: ManuallyDrop<MmapMut>,
    leaked: bool,
    count: u16,
    size: u32,
    /// Our copy of the tail; the kernel reads the shared one.
    tail: u16,
    /// Received length of each buffer that is ours; 0 while it is the kernel's.
    lent: Vec<u32>,
    /// The buffers that are ours, to be given back.
    ours: Vec<u16>,
}

impl Buffers {
    /// Maps the memory and registers it with the ring. `count` is a power of two up to 32,768.
    pub fn register(ring: &IoUring<squeue::Entry, cqueue::Entry>, count: u16, size: u32) -> io::Result<Self> {
        let mut buffers = Self {
            descriptors: ManuallyDrop::new(MmapMut::map_anon(
                usize::from(count) * size_of::<BufRingEntry>(),
            )?),
            bytes: ManuallyDrop::new(MmapMut::map_anon(usize::from(count) * size as usize)?),
            leaked: false,
            count,
            size,
            tail: 0,
            lent: vec![0; usize::from(count)],
            ours: (0..count).collect(),
        };
        let address = buffers.descriptors.as_mut_ptr() as u64;
        // SAFETY: the descriptors are page-aligned, hold `count` entries, and `Buffers` owns them until the ring is gone
        // or `unregister` succeeded (see `Uring`'s field order and drop).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)? };
        buffers.release();
        Ok(buffers)
    }

    /// Ends the kernel's use of the descriptors. Call when no receive is armed.
    pub fn unregister(&mut self, ring: &IoUring<squeue::Entry, cqueue::Entry>) -> io::Result<()> {
        ring.submitter().unregister_buf_ring(GROUP)
    }

    /// Never frees the memory: the kernel could not be made to give it up.
    pub fn leak(&mut self) {
        self.leaked = true;
    }

    /// A completion says that the kernel put `len` bytes into `buffer`: it is ours until `release`.
    pub fn take(&mut self, buffer: u16, len: u32) -> RecvRef {
        assert!(buffer < self.count && len <= self.size, "the kernel named a buffer that it was not given");
        self.lent[usize::from(buffer)] = len;
        self.ours.push(buffer);
        RecvRef { buffer: buffer.into(), offset: 0, len }
    }

    /// The received bytes. Panics when that buffer is not lent, or holds fewer bytes.
    pub fn bytes(&self, data: RecvRef) -> &[u8] {
        let lent = self.lent[data.buffer as usize];
        let end = data.offset.checked_add(data.len).expect("a RecvRef of ours ends inside its buffer");
        assert!(end <= lent, "received bytes of an earlier turn");
        let start = data.buffer as usize * self.size as usize + data.offset as usize;
        // SAFETY: `lent > 0` or `len == 0`: the buffer is ours, the kernel writes to it only after `release`, which
        // needs `&mut self`. The range lies inside the mapping, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(start), data.len as usize) }
    }

    /// Gives every buffer of ours back to the kernel; the tail is published once.
    pub fn release(&mut self) {
        if self.ours.is_empty() {
            return;
        }
        let mask = self.count - 1;
        let base = self.descriptors.as_mut_ptr().cast::<BufRingEntry>();
        let bytes = self.bytes.as_mut_ptr();
        for buffer in self.ours.drain(..) {
            let lent = std::mem::take(&mut self.lent[usize::from(buffer)]);
            // SAFETY: `buffer < count` (asserted in `take`), so the start lies inside the mapping.
            let start = unsafe { bytes.add(usize::from(buffer) * self.size as usize) };
            if cfg!(debug_assertions) {
                // SAFETY: still ours, not yet published to the kernel; `lent <= size`.
                unsafe { std::ptr::write_bytes(start, POISON, lent as usize) };
            }
            // SAFETY: the entry at `tail & mask` is not the kernel's: it owns head..tail, and there are as many entries
            // as buffers. The setters leave the first entry's `resv` alone, which is the shared tail.
            let entry = unsafe { &mut *base.add(usize::from(self.tail & mask)) };
            entry.set_addr(start as u64);
            entry.set_len(self.size);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the shared tail is the aligned `resv` field of the first descriptor, inside our mapping; the kernel
        // only reads it. Release orders the entries before it, for every processor.
        let shared = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        shared.store(self.tail, Ordering::Release);
    }

    /// Buffers that the kernel has, counted by us: completions not yet reaped may hold some of them.
    pub fn with_kernel(&self) -> usize {
        usize::from(self.count) - self.ours.len()
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: dropped once, here. No receive is armed: the ring was drained and this unregistered, or it was never
            // enabled; else `leak` was called.
            unsafe {
                ManuallyDrop::drop(&mut self.descriptors);
                ManuallyDrop::drop(&mut self.bytes);
            }
        }
    }
}
