//! How an item lies in a segment.
//!
//! ```text
//!  byte  0        3       4         6
//!        ├────────┼───────┼─────────┼──────────┬──────────┬──────────┬──────┬─────────┬───────────┬─────────┐
//!        │ value  │ flags │ key     │ expiry   │ client   │ CAS …    │ db   │ key …   │ value …   │ padding │
//!        │ length │       │ length  │ 48 bit   │ flags, 4 │ 13 bytes │      │         │           │ to 4    │
//!        └────────┴───────┴─────────┴──────────┴──────────┴──────────┴──────┴─────────┴───────────┴─────────┘
//!                                    if TTL     if FLAGS   if META    if DB
//!  flags  bits 0-1 recency · 2 TTL · 3 DEAD · 4 LARGE · 5 DB · 6 FLAGS · 7 META
//! ```
//!
//! Numbers are little-endian. The expiry is in Unix milliseconds. For client flags and META see fields.rs. Database 0 has no db byte; the
//! byte of another holds its physical number (see `Partition::swap_databases`). The value of a LARGE item is four bytes: where the
//! partition's table of large values keeps it. A DEAD item only waits for its segment to be reused; its lengths still tell where the next
//! begins.

use super::arena::{Arena, GRAIN, Offset};
use super::fields::{Extra, FLAGS_LEN, META_LEN, Meta};

pub(super) const TTL: u8 = 1 << 2;
pub(super) const DEAD: u8 = 1 << 3;
pub(super) const LARGE: u8 = 1 << 4;
pub(super) const DB: u8 = 1 << 5;
pub(super) const FLAGS: u8 = 1 << 6;
pub(super) const META: u8 = 1 << 7;
/// Items of one key that agree in these have the same fields at the same places.
pub(super) const SHAPE: u8 = TTL | LARGE | FLAGS | META;
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

    /// Where the key begins, from the start of the item. The three upper flags choose one of eight sums: no branch, no memory.
    #[inline]
    pub fn key_at(self) -> usize {
        const SUMS: u64 = {
            let (db, flags, meta) = (1, FLAGS_LEN, META_LEN);
            let sums = [0, db, flags, flags + db, meta, meta + db, meta + flags, meta + flags + db];
            let (mut packed, mut n) = (0, 0);
            while n < 8 {
                packed |= ((HEAD + sums[n]) as u64) << (8 * n);
                n += 1;
            }
            packed
        };
        // Bits 5 to 7 of the flags, times eight.
        let shift = self.0 >> 26 & 0x38;
        (SUMS >> shift) as usize % 256 + usize::from(self.has(TTL)) * EXPIRY_LEN
    }

    /// Where client flags are, if there are any.
    fn flags_at(self) -> usize {
        HEAD + usize::from(self.has(TTL)) * EXPIRY_LEN
    }

    fn meta_at(self) -> usize {
        self.flags_at() + usize::from(self.has(FLAGS)) * FLAGS_LEN
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

    /// The client's flags; 0 if there are none.
    #[inline]
    pub fn client_flags(self, arena: &Arena, offset: Offset) -> u32 {
        if !self.has(FLAGS) {
            return 0;
        }
        let bytes = arena.bytes(offset.at() + self.flags_at(), FLAGS_LEN);
        u32::from_le_bytes(bytes.try_into().expect("four bytes were asked for"))
    }

    #[inline]
    pub fn meta(self, arena: &Arena, offset: Offset) -> Option<Meta> {
        if !self.has(META) {
            return None;
        }
        let bytes = arena.bytes(offset.at() + self.meta_at(), META_LEN);
        Some(Meta::from_bytes(bytes.try_into().expect("so many bytes were asked for")))
    }

    pub fn extra(self, arena: &Arena, offset: Offset) -> Extra {
        Extra { flags: self.client_flags(arena, offset), meta: self.meta(arena, offset) }
    }

    /// Made by a miss and not filled yet.
    #[inline]
    pub fn is_placeholder(self, arena: &Arena, offset: Offset) -> bool {
        self.has(META) && self.meta(arena, offset).is_some_and(|meta| meta.state.placeholder)
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

    /// Only for items of the same shape. Byte by byte, as all of a header: so it may go beside a pin.
    pub fn set_extra(self, arena: &mut Arena, offset: Offset, extra: &Extra) {
        debug_assert_eq!(self.flags() & (FLAGS | META), extra.item_flags());
        let mut write = |at: usize, bytes: &[u8]| {
            for (n, byte) in bytes.iter().enumerate() {
                arena.set_byte(offset.at() + at + n, *byte);
            }
        };
        if extra.flags != 0 {
            write(self.flags_at(), &extra.flags.to_le_bytes());
        }
        if let Some(meta) = extra.meta {
            write(self.meta_at(), &meta.to_bytes());
        }
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

impl Extra {
    fn item_flags(&self) -> u8 {
        (if self.flags != 0 { FLAGS } else { 0 }) | (if self.meta.is_some() { META } else { 0 })
    }
}

/// The optional fields of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub expire_at_ms: Option<u64>,
    pub extra: Option<&'a Extra>,
}

/// An item about to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub key: &'a [u8],
    /// Physical.
    pub db: u8,
    pub fields: Fields<'a>,
    pub recency: u8,
    pub large: bool,
    /// Bytes of the value as it lies in the segment.
    pub value_len: usize,
}

impl Draft<'_> {
    #[inline(always)]
    pub fn header(&self) -> Header {
        debug_assert!(self.key.len() <= 0xffff && self.value_len <= 0xff_ffff);
        let mut flags = self.recency & RECENCY;
        for (flag, set) in
            [(TTL, self.fields.expire_at_ms.is_some()), (LARGE, self.large), (DB, self.db != 0)]
        {
            if set {
                flags |= flag;
            }
        }
        if let Some(extra) = self.fields.extra {
            flags |= extra.item_flags();
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
        if let Some(at) = self.fields.expire_at_ms {
            head[HEAD..HEAD + EXPIRY_LEN].copy_from_slice(&at.min(MAX_EXPIRY_MS).to_le_bytes()[..EXPIRY_LEN]);
        }
        if self.db != 0 {
            head[header.key_at() - 1] = self.db;
        }
        key.copy_from_slice(self.key);
        if let Some(extra) = self.fields.extra {
            header.set_extra(arena, offset, extra);
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fields::State;

    fn size(expire_at_ms: Option<u64>, db: u8, extra: Extra) -> usize {
        let fields = Fields { expire_at_ms, extra: Some(&extra) };
        let draft = Draft { key: &[b'k'; 16], db, fields, recency: 0, large: false, value_len: 64 };
        draft.header().value_at() + draft.value_len
    }

    /// What each field costs an item of 64 bytes under a key of 16, padding to four left out.
    #[test]
    fn only_what_is_used_takes_memory() {
        let meta = Some(Meta { cas: 1, state: State::default(), access_s: 0 });
        let plain = size(None, 0, Extra::default());
        assert_eq!(plain, 6 + 16 + 64);
        assert_eq!(size(None, 0, Extra { flags: 1, meta: None }), plain + 4);
        assert_eq!(size(None, 0, Extra { flags: 0, meta }), plain + 13);
        assert_eq!(size(None, 0, Extra { flags: 1, meta }), plain + 17);
        assert_eq!(size(Some(1), 0, Extra::default()), plain + 6);
        assert_eq!(size(Some(1), 3, Extra { flags: 1, meta }), plain + 6 + 17 + 1);
    }
}
