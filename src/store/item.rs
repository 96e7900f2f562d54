//! How an item lies in a segment.
//!
//! ```text
//!  byte  0        3       4         6
//!        ├────────┼───────┼─────────┼──────────┬──────┬─────────┬───────────┬─────────┐
//!        │ value  │ flags │ key     │ expiry   │ db   │ key …   │ value …   │ padding │
//!        │ length │       │ length  │ 48 bit   │      │         │           │ to 4    │
//!        └────────┴───────┴─────────┴──────────┴──────┴─────────┴───────────┴─────────┘
//!                                    if TTL     if DB
//!  flags  bits 0-1 recency · 2 TTL · 3 DEAD · 4 LARGE · 5 DB · 6, 7 free for further optional fields
//! ```
//!
//! Numbers are little-endian. The expiry is in Unix milliseconds. Database 0 has no db byte; the byte of another holds its
//! physical number (see `Partition::swap_databases`). The value of a LARGE item is four bytes: where the partition's table
//! of large values keeps it. A DEAD item only waits for its segment to be reused; its lengths still tell where the next begins.

use super::arena::{Arena, GRAIN, Offset};

pub(super) const TTL: u8 = 1 << 2;
pub(super) const DEAD: u8 = 1 << 3;
pub(super) const LARGE: u8 = 1 << 4;
pub(super) const DB: u8 = 1 << 5;
const RECENCY: u8 = 0b11;

const HEAD: usize = 6;
const FLAGS_AT: usize = 3;
const EXPIRY_LEN: usize = 6;
/// The latest expiry that 48 bits hold (in the year 10889).
pub(super) const MAX_EXPIRY_MS: u64 = (1 << 48) - 1;
/// Bytes of a large item's value: an index into the table of large values.
pub(super) const LARGE_REF: usize = 4;

/// The first six bytes of an item, read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    #[inline]
    pub fn read(arena: &Arena, offset: Offset) -> Header {
        Header(arena.word(offset))
    }

    #[inline]
    pub fn value_len(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }

    #[inline]
    pub fn flags(self) -> u8 {
        (self.0 >> 24) as u8
    }

    #[inline]
    pub fn key_len(self) -> usize {
        (self.0 >> 32) as usize & 0xffff
    }

    #[inline]
    pub fn has(self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    #[inline]
    pub fn recency(self) -> u8 {
        self.flags() & RECENCY
    }

    /// Where the key begins, from the start of the item.
    #[inline]
    pub fn key_at(self) -> usize {
        HEAD + usize::from(self.has(TTL)) * EXPIRY_LEN + usize::from(self.has(DB))
    }

    #[inline]
    pub fn value_at(self) -> usize {
        self.key_at() + self.key_len()
    }

    /// Bytes of the whole item, padding included.
    #[inline]
    pub fn size(self) -> usize {
        (self.value_at() + self.value_len()).next_multiple_of(GRAIN)
    }

    #[inline]
    pub fn key(self, arena: &Arena, offset: Offset) -> &[u8] {
        arena.bytes(offset.at() + self.key_at(), self.key_len())
    }

    #[inline]
    pub fn value(self, arena: &Arena, offset: Offset) -> &[u8] {
        arena.bytes(offset.at() + self.value_at(), self.value_len())
    }

    #[inline]
    pub fn expiry_ms(self, arena: &Arena, offset: Offset) -> Option<u64> {
        if !self.has(TTL) {
            return None;
        }
        let mut bytes = [0; 8];
        bytes[..EXPIRY_LEN].copy_from_slice(arena.bytes(offset.at() + HEAD, EXPIRY_LEN));
        Some(u64::from_le_bytes(bytes))
    }

    /// The physical database.
    #[inline]
    pub fn db(self, arena: &Arena, offset: Offset) -> u8 {
        if self.has(DB) { arena.bytes(offset.at() + self.key_at() - 1, 1)[0] } else { 0 }
    }

    /// Whether this is the item of a key in a physical database.
    #[inline]
    pub fn is_of(self, arena: &Arena, offset: Offset, key: &[u8], db: u8) -> bool {
        const COMPARED: u64 = 0xffff << 32 | (DB as u64) << 24;
        let flags = if db == 0 { 0 } else { DB };
        self.0 & COMPARED == (key.len() as u64) << 32 | u64::from(flags) << 24
            && same(arena.bytes(offset.at() + self.key_at(), key.len()), key)
            && (db == 0 || self.db(arena, offset) == db)
    }

    /// The slot in the table of large values. Only for LARGE items.
    pub fn large_ref(self, arena: &Arena, offset: Offset) -> usize {
        let bytes = self.value(arena, offset).try_into().expect("a large item's value has four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    #[inline]
    pub fn set_recency(self, arena: &mut Arena, offset: Offset, recency: u8) {
        arena.set_byte(offset.at() + FLAGS_AT, self.flags() & !RECENCY | recency.min(3));
    }

    pub fn set_dead(self, arena: &mut Arena, offset: Offset) {
        arena.set_byte(offset.at() + FLAGS_AT, self.flags() | DEAD);
    }

    /// Only for items with TTL, in unpinned segments.
    pub fn set_expiry_ms(self, arena: &mut Arena, offset: Offset, expire_at_ms: u64) {
        debug_assert!(self.has(TTL));
        let bytes = expire_at_ms.min(MAX_EXPIRY_MS).to_le_bytes();
        arena.bytes_mut(offset.at() + HEAD, EXPIRY_LEN).copy_from_slice(&bytes[..EXPIRY_LEN]);
    }

    /// Another length whose item has the same size, in unpinned segments; a use.
    #[inline]
    pub fn set_value_len(self, arena: &mut Arena, offset: Offset, len: usize) {
        let recency = (self.recency() + 1).min(3);
        let kept = self.0 & !(u64::from(RECENCY) << 24 | 0xff_ffff);
        let header = Header(kept | u64::from(recency) << 24 | len as u64);
        debug_assert_eq!(header.size(), self.size());
        const CHANGED: usize = FLAGS_AT + 1;
        arena.bytes_mut(offset.at(), CHANGED).copy_from_slice(&header.0.to_le_bytes()[..CHANGED]);
    }
}

/// Whether two keys of one length are equal. Most are short: two loads each, which may overlap, spare them a call.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        8..=16 => ends(a).map(u64::from_ne_bytes) == ends(b).map(u64::from_ne_bytes),
        17..=32 => ends(a).map(u128::from_ne_bytes) == ends(b).map(u128::from_ne_bytes),
        _ => a == b,
    }
}

/// The first and the last `N` bytes.
#[inline]
fn ends<const N: usize>(key: &[u8]) -> [[u8; N]; 2] {
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => [*first, *last],
        _ => unreachable!("callers have looked at the length"),
    }
}

/// An item about to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub key: &'a [u8],
    /// Physical.
    pub db: u8,
    pub expire_at_ms: Option<u64>,
    pub recency: u8,
    pub large: bool,
    /// Bytes of the value as it lies in the segment.
    pub value_len: usize,
}

impl Draft<'_> {
    pub fn header(&self) -> Header {
        debug_assert!(self.key.len() <= 0xffff && self.value_len <= 0xff_ffff);
        let mut flags = self.recency & RECENCY;
        for (flag, set) in [(TTL, self.expire_at_ms.is_some()), (LARGE, self.large), (DB, self.db != 0)] {
            if set {
                flags |= flag;
            }
        }
        Header(self.value_len as u64 | u64::from(flags) << 24 | (self.key.len() as u64) << 32)
    }

    /// Writes all but the value at `offset`. The value follows at `header().value_at()`.
    #[inline]
    pub fn write(&self, arena: &mut Arena, offset: Offset) -> Header {
        let header = self.header();
        let bytes = arena.bytes_mut(offset.at(), header.value_at());
        let (head, key) = bytes.split_at_mut(header.key_at());
        head[..HEAD].copy_from_slice(&header.0.to_le_bytes()[..HEAD]);
        if let Some(at) = self.expire_at_ms {
            head[HEAD..HEAD + EXPIRY_LEN].copy_from_slice(&at.min(MAX_EXPIRY_MS).to_le_bytes()[..EXPIRY_LEN]);
        }
        if self.db != 0 {
            head[header.key_at() - 1] = self.db;
        }
        key.copy_from_slice(self.key);
        header
    }
}
