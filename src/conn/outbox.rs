//! Replies that the socket would not take yet: owned, in order, until the peer reads.
//!
//! Most replies leave in the turn that made them and never come here. What does come is copied once into
//! pieces of moderate size (a pinned value stays where it is) and leaves by owned sends, one at a time:
//!
//! ```text
//!   in flight            pieces, oldest first                       tail, being filled
//!   [copied][pinned]  ◄─ [copied][pinned value][copied] … ◄──────── [copied…]
//! ```

use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of copied replies that are gathered into one piece.
const PIECE: usize = 64 << 10;

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// The store's memory rather than ours.
    pinned: bool,
}

#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    tail: Vec<u8>,
    /// All that waits or is in flight, bytes.
    len: usize,
    /// The part of `len` that is our own memory.
    copied: usize,
    in_flight: usize,
    /// The part of `in_flight` that is our own memory.
    in_flight_copied: usize,
}

impl Outbox {
    /// Bytes that the peer has not taken, those in flight included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Own memory held, bytes, in flight included; pinned values are the store's account.
    #[inline]
    pub fn memory(&self) -> usize {
        self.copied - self.tail.len() + self.tail.capacity()
    }

    #[inline]
    pub fn is_sending(&self) -> bool {
        self.in_flight > 0
    }

    /// Copies a stretch of replies.
    pub fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.copied += bytes.len();
        // In pieces, so that the memory of a long reply comes back as it leaves.
        for part in bytes.chunks(PIECE) {
            if self.tail.len() + part.len() > PIECE {
                self.end_piece();
            }
            self.tail.extend_from_slice(part);
        }
    }

    /// Queues a value that stays where it is, or what is left of one.
    pub fn push_pinned(&mut self, value: Bytes) {
        if value.is_empty() {
            return;
        }
        self.end_piece();
        self.len += value.len();
        self.pieces.push_back(Piece { bytes: value, pinned: true });
    }

    /// The next pieces to send, at most so many pieces and bytes; empty when nothing waits. They count until
    /// [`Outbox::sent`]; nothing may be taken before that.
    pub fn take(&mut self, max_pieces: usize, max_bytes: usize) -> Vec<Bytes> {
        assert!(!self.is_sending(), "one send at a time");
        if self.pieces.len() < max_pieces {
            self.end_piece();
        }
        let mut taken = Vec::with_capacity(self.pieces.len().min(max_pieces));
        while taken.len() < max_pieces && self.in_flight < max_bytes {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            let room = max_bytes - self.in_flight;
            let (bytes, pinned) = (piece.bytes.split_to(room.min(piece.bytes.len())), piece.pinned);
            if !piece.bytes.is_empty() {
                self.pieces.push_front(piece);
            }
            self.in_flight += bytes.len();
            self.in_flight_copied += if pinned { 0 } else { bytes.len() };
            taken.push(bytes);
        }
        taken
    }

    /// What was taken has been sent whole. (If it was not, the connection is lost and this outbox with it.)
    pub fn sent(&mut self) {
        self.len -= std::mem::take(&mut self.in_flight);
        self.copied -= std::mem::take(&mut self.in_flight_copied);
        if self.len == 0 {
            *self = Outbox::default();
        }
    }

    fn end_piece(&mut self) {
        if !self.tail.is_empty() {
            // Without its spare room, so that `memory` is true.
            let bytes = Bytes::from(std::mem::take(&mut self.tail).into_boxed_slice());
            self.pieces.push_back(Piece { bytes, pinned: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_in_flight_counts_until_it_is_sent() {
        let mut outbox = Outbox::default();
        outbox.push(&[b'a'; 101]);
        assert_eq!(outbox.take(16, 1 << 20).concat().len(), 101);
        outbox.push_pinned(Bytes::from(vec![b'p'; 100]));
        outbox.push_pinned(Bytes::new());
        assert_eq!((outbox.len(), outbox.memory(), outbox.is_sending()), (201, 101, true));
        outbox.sent();
        assert_eq!((outbox.len(), outbox.memory(), outbox.is_sending()), (100, 0, false));
        assert_eq!(outbox.take(16, 99)[0].len(), 99);
        outbox.sent();
        assert_eq!(outbox.take(16, 99)[0].len(), 1);
        outbox.sent();
        assert_eq!((outbox.is_empty(), outbox.is_sending()), (true, false));
    }

    #[test]
    fn small_replies_share_a_piece_and_large_ones_are_cut() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.push(b"+OK\r\n");
        }
        outbox.push_pinned(Bytes::from(vec![b'p'; 3 << 20]));
        outbox.push(b"\r\n");
        let mut sizes = Vec::new();
        while !outbox.is_empty() {
            sizes.push(outbox.take(64, 1 << 20).iter().map(Bytes::len).collect::<Vec<_>>());
            outbox.sent();
        }
        let mib = 1 << 20;
        assert_eq!(sizes, [vec![5000, mib - 5000], vec![mib], vec![mib], vec![5000, 2]]);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order(
            steps in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..100)), 0..80),
            max_pieces in 1..5usize,
            max_bytes in 1..200usize,
        ) {
            let (mut outbox, mut expected, mut sent) = (Outbox::default(), Vec::new(), Vec::new());
            let mut send = |outbox: &mut Outbox| {
                let pieces = outbox.take(max_pieces, max_bytes);
                assert!(pieces.len() <= max_pieces && pieces.iter().map(Bytes::len).sum::<usize>() <= max_bytes);
                sent.extend(pieces.concat());
                outbox.sent();
            };
            for (kind, bytes) in steps {
                match kind {
                    0 => send(&mut outbox),
                    1 => outbox.push_pinned(Bytes::from(bytes.clone())),
                    _ => outbox.push(&bytes),
                }
                if kind > 0 {
                    expected.extend(bytes);
                }
            }
            while !outbox.is_empty() {
                send(&mut outbox);
            }
            prop_assert_eq!(outbox.memory(), 0);
            prop_assert_eq!(sent, expected);
        }
    }
}
