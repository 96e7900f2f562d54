//! One connection of the ring server, and the table of them.
//!
//! What the kernel may touch stays here until its completion: a slot is free again only when nothing of it is in the kernel.

use super::frames::Reply;
use std::ops::Range;

/// Replies that a client has not read. Beyond it the connection is closed: bytes, or replies where none are copied.
const MAX_UNSENT_BYTES: usize = 256 << 20;
const MAX_UNSENT_REPLIES: usize = 4 << 20;

#[derive(Debug, Default)]
pub struct Conn {
    /// A descriptor of the process, or an index of the ring's own table.
    pub fd: u32,
    pub open: bool,
    /// The client will send no more, or is listened to no more; the replies still go out.
    pub ended: bool,
    /// Nothing more is sent: the socket failed, or was given up.
    pub broken: bool,
    /// Operations whose last completion has not come.
    pub in_kernel: u32,
    /// The beginning of a request whose rest has not arrived.
    pub carry: Vec<u8>,
    /// Single receives: where the kernel writes, while one is armed.
    pub input: Box<[u8]>,
    /// Replies not yet with the kernel.
    pub out: Vec<u8>,
    /// Replies that the kernel reads while `busy`.
    pub sending: Vec<u8>,
    /// The same two where replies are not copied; the kernel reads the replies themselves.
    pub kinds: Vec<Reply>,
    pub flying_kinds: usize,
    /// This turn's replies in the arena, and those that the last submission sent from there.
    pub segment: Range<usize>,
    pub flying: Range<usize>,
    /// Bytes in the registered slot, and how many of them are sent.
    pub slot_len: usize,
    pub slot_sent: usize,
    /// A send is in the kernel until its completion.
    pub busy: bool,
    /// The socket was full: the next send may wait inside the kernel.
    pub slow: bool,
    /// Its receive found no buffer and waits for one.
    pub starved: bool,
    /// In the list of those with something to send.
    pub dirty: bool,
}

impl Conn {
    /// Whether everything that was answered is with the socket, or will never be.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        if self.broken {
            return true;
        }
        let nothing_left = self.out.is_empty() && self.kinds.is_empty() && self.segment.is_empty();
        nothing_left && self.slot_len == 0 && !self.busy
    }

    /// Whether the client reads far slower than it asks.
    #[inline]
    pub fn is_beyond_limits(&self) -> bool {
        self.out.len() > MAX_UNSENT_BYTES || self.kinds.len() > MAX_UNSENT_REPLIES
    }
}

/// Connections by slot. Freed slots are used again only in a later turn: this turn's completions may still name them.
#[derive(Debug, Default)]
pub struct Conns {
    slots: Vec<Conn>,
    free: Vec<u32>,
    freed: Vec<u32>,
}

impl Conns {
    pub fn insert(&mut self, fd: u32, input: usize) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Conn::default());
            (self.slots.len() - 1) as u32 // Bounded by descriptors.
        });
        let conn = &mut self.slots[slot as usize];
        *conn = Conn { fd, open: true, ..Conn::default() };
        conn.input = vec![0; input].into();
        slot
    }

    #[inline]
    pub fn get(&mut self, slot: u32) -> &mut Conn {
        &mut self.slots[slot as usize]
    }

    /// Frees the slot if it is closed and nothing of it is in the kernel.
    pub fn free_if_done(&mut self, slot: u32) {
        let conn = self.get(slot);
        if !conn.open && conn.in_kernel == 0 && conn.fd != u32::MAX {
            *conn = Conn { fd: u32::MAX, ..Conn::default() };
            self.freed.push(slot);
        }
    }

    pub fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }

    pub fn slots(&self) -> Range<u32> {
        0..self.slots.len() as u32 // Bounded by descriptors.
    }
}
