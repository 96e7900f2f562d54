//! The turn's output arena: one run of bytes into which all replies are encoded, with places where a pinned
//! value belongs.

use bytes::Bytes;

/// Values of at least this many bytes are not copied into replies: they are pinned where the store has them
/// and sent from there. Measured in DESIGN.md section 2: an iovec into the store wins from 16 KiB on.
pub const PIN_THRESHOLD: usize = 16 << 10;

/// A position in a [`ReplyBuf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub bytes: usize,
    pub pins: usize,
}

/// Replies in the order in which they leave. `pins` are inserted at their position in `bytes`, in ascending order.
#[derive(Debug, Default)]
pub struct ReplyBuf {
    pub bytes: Vec<u8>,
    pub pins: Vec<(usize, Bytes)>,
}

impl ReplyBuf {
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Inserts a pinned value here.
    pub fn put_pinned(&mut self, value: Bytes) {
        self.pins.push((self.bytes.len(), value));
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
    }

    /// The present end, for [`ReplyBuf::truncate`] and [`ReplyBuf::len_since`].
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), pins: self.pins.len() }
    }

    /// Takes back what was put since the mark.
    pub fn truncate(&mut self, to: Mark) {
        self.bytes.truncate(to.bytes);
        self.pins.truncate(to.pins);
    }

    /// Bytes put since the mark, pinned values included.
    pub fn len_since(&self, mark: Mark) -> usize {
        self.bytes.len() - mark.bytes + self.pins[mark.pins..].iter().map(|(_, pin)| pin.len()).sum::<usize>()
    }

    /// Bytes of everything in here, pinned values included.
    pub fn total_len(&self) -> usize {
        self.bytes.len() + self.pins.iter().map(|(_, pin)| pin.len()).sum::<usize>()
    }
}
