//! A `send_owned` under way: large values, and what a slow reader did not take at once.
//!
//! ```text
//!  pieces   |■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■|
//!           0        sent                        total
//!                     └─chunk─LINK─chunk─LINK─chunk┘  one chain: at most 8 chunks of at most 1 MiB
//! ```
//!
//! Each chunk is a `sendmsg` with `MSG_WAITALL`: without it a short count counts as success and the chain goes on past the
//! gap. The kernel runs links one after the other, so the bytes of a chain keep their order. Every chunk gives one
//! completion; when the last has come, the rest follows as another chain, or the send is over.

#![allow(unsafe_code, reason = "message headers point into owned pieces")]

use super::kernel::Kernel;
use bytes::Bytes;
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::RawFd;

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 1 << 20;
/// The kernel's `UIO_MAXIOV`.
pub const MAX_IOVECS: usize = 1024;
/// Chunks of one chain; the submission queue has at least this many entries.
const MAX_CHUNKS: usize = 8;

#[derive(Debug)]
pub struct Owned {
    pieces: Vec<Bytes>,
    total: usize,
    /// Bytes that the kernel has taken for certain.
    sent: usize,
    chunks_left: u32,
    /// The first error of the chain that is not a consequence of an earlier one.
    error: Option<i32>,
    /// What the chain points to; untouched until its last completion.
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
}

/// What to do after a chunk's completion.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Chunks of the chain are still in the kernel.
    UnderWay,
    /// The chain is over and bytes are left: submit again.
    Continue,
    /// All sent, or failed with an errno.
    Finished(Result<usize, i32>),
}

impl Owned {
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let total = pieces.iter().map(Bytes::len).sum();
        Self { pieces, total, sent: 0, chunks_left: 0, error: None, iovecs: Vec::new(), headers: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// Whether completions are to come.
    pub fn in_kernel(&self) -> bool {
        self.chunks_left > 0
    }

    /// Queues the next chain; returns how many completions it will give.
    ///
    /// # Safety
    ///
    /// `self` must stay where it is and be dropped only after `complete` has said that the chain is over.
    pub unsafe fn submit(&mut self, kernel: &mut Kernel, fd: RawFd, user_data: u64) -> io::Result<u32> {
        assert!(!self.in_kernel() && self.sent < self.total);
        self.lay_out();
        kernel.reserve(self.headers.len())?;
        let last = self.headers.len() - 1;
        for (index, header) in self.headers.iter().enumerate() {
            let flags = if index < last { squeue::Flags::IO_LINK } else { squeue::Flags::empty() };
            let entry = opcode::SendMsg::new(types::Fd(fd), header)
                .flags((libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32)
                .build()
                .flags(flags)
                .user_data(user_data);
            // SAFETY: headers, iovecs and pieces are owned by `self`, which the caller keeps until the chain is over.
            unsafe { kernel.push(&entry)? };
        }
        self.chunks_left = self.headers.len() as u32; // At most MAX_CHUNKS.
        Ok(self.chunks_left)
    }

    /// Takes one chunk's result.
    pub fn complete(&mut self, result: i32) -> Progress {
        assert!(self.in_kernel(), "one completion per chunk");
        self.chunks_left -= 1;
        match result {
            0.. => self.sent += result as usize, // Not negative.
            // A broken chain cancels its rest; a cancel of ours ends with the connection. Neither is the cause.
            _ if result == -libc::ECANCELED => {}
            _ => self.error = self.error.or(Some(-result)),
        }
        if self.in_kernel() {
            return Progress::UnderWay;
        }
        match self.error {
            Some(errno) if errno != libc::EINTR && errno != libc::EAGAIN => Progress::Finished(Err(errno)),
            _ if self.sent == self.total => Progress::Finished(Ok(self.sent)),
            _ => {
                self.error = None;
                Progress::Continue
            }
        }
    }

    /// Fills `iovecs` and `headers` with the chunks that follow `sent`.
    fn lay_out(&mut self) {
        self.iovecs.clear();
        self.headers.clear();
        let mut chunks = Vec::with_capacity(MAX_CHUNKS);
        let (mut first, mut bytes) = (0, 0);
        let mut skip = self.sent;
        'pieces: for piece in &self.pieces {
            let mut rest = &piece[skip.min(piece.len())..];
            skip = skip.saturating_sub(piece.len());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.len().min(CHUNK_BYTES - bytes));
                let base = part.as_ptr().cast_mut().cast();
                self.iovecs.push(libc::iovec { iov_base: base, iov_len: part.len() });
                bytes += part.len();
                rest = after;
                if bytes == CHUNK_BYTES || self.iovecs.len() - first == MAX_IOVECS {
                    chunks.push(first..self.iovecs.len());
                    (first, bytes) = (self.iovecs.len(), 0);
                    if chunks.len() == MAX_CHUNKS {
                        break 'pieces;
                    }
                }
            }
        }
        if first < self.iovecs.len() {
            chunks.push(first..self.iovecs.len());
        }
        for chunk in chunks {
            self.headers.push(header(&self.iovecs[chunk]));
        }
    }
}

/// A message header over these iovecs, which must outlive its use.
pub fn header(iovecs: &[libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeros is a valid msghdr: null pointers and empty lengths.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = iovecs.as_ptr().cast_mut();
    header.msg_iovlen = iovecs.len() as _; // At most MAX_IOVECS; its type differs between C libraries.
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(owned: &Owned) -> Vec<usize> {
        let of = |header: &libc::msghdr| {
            // SAFETY: the header was built over `owned.iovecs`, which is borrowed here.
            let iovecs = unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen as _) };
            iovecs.iter().map(|iovec| iovec.iov_len).sum()
        };
        owned.headers.iter().map(of).collect()
    }

    #[test]
    fn chunks_are_bounded_in_bytes_iovecs_and_number() {
        let mut owned = Owned::new(vec![Bytes::from(vec![0; 20 << 20])]);
        owned.lay_out();
        assert_eq!(lengths(&owned), vec![1 << 20; 8]);
        owned.sent = (20 << 20) - 5;
        owned.lay_out();
        assert_eq!(lengths(&owned), vec![5]);

        let mut small = Owned::new(vec![Bytes::from_static(b"x"); 2 * MAX_IOVECS + 3]);
        small.lay_out();
        assert_eq!(lengths(&small), vec![MAX_IOVECS, MAX_IOVECS, 3]);
    }

    #[test]
    fn an_offset_inside_a_piece_is_kept() {
        let mut owned =
            Owned::new(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")]);
        owned.sent = 4;
        owned.lay_out();
        assert_eq!(lengths(&owned), vec![3]);
        owned.sent = 1;
        owned.lay_out();
        assert_eq!(lengths(&owned), vec![6]);
    }

    #[test]
    fn a_broken_chain_is_continued_from_where_it_broke_and_an_error_ends_it() {
        let mut owned = Owned::new(vec![Bytes::from(vec![0; 3 << 20])]);
        owned.chunks_left = 3;
        assert_eq!(owned.complete(1 << 20), Progress::UnderWay);
        assert_eq!(owned.complete(7), Progress::UnderWay);
        assert_eq!(owned.complete(-libc::ECANCELED), Progress::Continue);
        assert_eq!(owned.sent, (1 << 20) + 7);
        owned.chunks_left = 2;
        assert_eq!(owned.complete(-libc::EPIPE), Progress::UnderWay);
        assert_eq!(owned.complete(-libc::ECANCELED), Progress::Finished(Err(libc::EPIPE)));
    }
}
