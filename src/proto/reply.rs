//! The turn's output arena: one run of bytes into which all replies are encoded, with places where a pinned
//! value belongs.

use bytes::Bytes;

/// Values of at least this many bytes are not copied into replies: they are pinned where the store has them
/// and sent from there. Measured in DESIGN.md section 2: an iovec into the store wins from 16 KiB on.
pub const PIN_THRESHOLD: usize = 16 << 10;

/// What stands before a string of RESP by its length: `$64 CRLF`.
static BULK_HEADS: [Head; 256] = heads(b"$");
/// What stands between a key and its value without flags in memcached's text: ` 0 64 CRLF`.
static TEXT_HEADS: [Head; 256] = heads(b" 0 ");

/// Up to eight bytes, and how many of them count. All eight are written, which is one move; what follows overwrites those that are too
/// many.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; 8],
    len: u8,
}

/// The prefix, the length in digits and the end of the line, for the lengths from 0 to 255.
const fn heads(prefix: &[u8]) -> [Head; 256] {
    let mut heads = [Head { bytes: [0; 8], len: 0 }; 256];
    let mut len = 0;
    while len < heads.len() {
        let digits = if len < 10 {
            1
        } else if len < 100 {
            2
        } else {
            3
        };
        let bytes = &mut heads[len].bytes;
        let (mut left, mut at) = (len, prefix.len() + digits);
        (bytes[at], bytes[at + 1]) = (b'\r', b'\n');
        heads[len].len = at as u8 + 2;
        let bytes = &mut heads[len].bytes;
        while at > prefix.len() {
            at -= 1;
            bytes[at] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        while at > 0 {
            at -= 1;
            bytes[at] = prefix[at];
        }
        len += 1;
    }
    heads
}

/// A position in a [`ReplyBuf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub bytes: usize,
    pub pins: usize,
}

/// What a pinned value costs beside its bytes, which are the store's: its place in `pins` and what keeps it pinned.
const PIN_COST: usize = 96;

/// Most bytes of one turn: its offsets are 32-bit numbers.
const MOST: usize = u32::MAX as usize;

/// Replies in the order in which they leave. `pins` are inserted at their position in `bytes`, in ascending order.
///
/// What is put beyond the limit is dropped and remembered as an overflow: who sets a limit looks for that and takes the whole reply back.
#[derive(Debug)]
pub struct ReplyBuf {
    pub bytes: Vec<u8>,
    pub pins: Vec<(usize, Bytes)>,
    limit: usize,
    overflowed: bool,
}

impl Default for ReplyBuf {
    fn default() -> ReplyBuf {
        ReplyBuf { bytes: Vec::new(), pins: Vec::new(), limit: MOST, overflowed: false }
    }
}

impl ReplyBuf {
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.limit {
            self.overflowed = true;
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The same for a text whose length the compiler knows. Such are written as arrays on the way that most replies take: as a slice of
    /// a few bytes it may become two calls, to `extend_from_slice` and from there to `memcpy`.
    #[inline(always)]
    pub fn put_array<const LEN: usize>(&mut self, bytes: &[u8; LEN]) {
        if self.bytes.len() + LEN > self.limit {
            self.overflowed = true;
            return;
        }
        self.bytes.extend(*bytes);
    }

    /// Puts all parts of a reply, or none where they pass the limit.
    #[inline(always)]
    pub fn put_all<const PARTS: usize>(&mut self, parts: [&[u8]; PARTS]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + len > self.limit {
            self.overflowed = true;
            return;
        }
        self.bytes.reserve(len);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// A string with its frame: `$len CRLF value CRLF`.
    #[inline(always)]
    pub fn put_bulk(&mut self, value: &[u8]) {
        match BULK_HEADS.get(value.len()) {
            Some(head) if self.bytes.len() + value.len() + 16 <= self.limit => {
                self.put_head(head);
                self.bytes.extend_from_slice(value);
                self.bytes.extend(*b"\r\n");
            }
            _ => self.put_bulk_in_parts(value),
        }
    }

    /// An item without flags as memcached's text has it: `VALUE key 0 len CRLF value`, and what ends it.
    #[inline(always)]
    pub fn put_text_value<const END: usize>(&mut self, key: &[u8], value: &[u8], end: &[u8; END]) {
        const START: &[u8; 6] = b"VALUE ";
        match TEXT_HEADS.get(value.len()) {
            Some(head) if self.bytes.len() + key.len() + value.len() + 32 <= self.limit => {
                self.bytes.extend(*START);
                self.bytes.extend_from_slice(key);
                self.put_head(head);
                self.bytes.extend_from_slice(value);
                self.bytes.extend(*end);
            }
            _ => {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(value.len()).as_bytes();
                self.put_all([START, key, b" 0 ", digits, b"\r\n", value, end]);
            }
        }
    }

    #[inline(always)]
    fn put_head(&mut self, head: &Head) {
        let end = self.bytes.len() + usize::from(head.len);
        self.bytes.extend(head.bytes);
        self.bytes.truncate(end);
    }

    fn put_bulk_in_parts(&mut self, value: &[u8]) {
        self.put(b"$");
        self.put(itoa::Buffer::new().format(value.len()).as_bytes());
        self.put(b"\r\n");
        self.put(value);
        self.put(b"\r\n");
    }

    /// Inserts a pinned value here.
    pub fn put_pinned(&mut self, value: Bytes) {
        if self.bytes.len() + self.pins.len() * PIN_COST > self.limit {
            self.overflowed = true;
            return;
        }
        self.pins.push((self.bytes.len(), value));
    }

    /// Allows `more` bytes of our own memory beyond what is there.
    pub fn limit(&mut self, more: usize) {
        let used = self.bytes.len() + self.pins.len() * PIN_COST;
        self.limit = used.saturating_add(more).min(MOST);
    }

    /// Ends the limit; returns whether anything was dropped because of it.
    pub fn unlimit(&mut self) -> bool {
        self.limit = MOST;
        std::mem::take(&mut self.overflowed)
    }

    /// Whether something was dropped since [`ReplyBuf::limit`].
    #[inline]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
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

    /// Puts bytes in front of all that was put since the mark.
    pub fn insert(&mut self, at: Mark, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.limit {
            self.overflowed = true;
            return;
        }
        self.bytes.splice(at.bytes..at.bytes, bytes.iter().copied());
        for (place, _) in &mut self.pins[at.pins..] {
            *place += bytes.len();
        }
    }

    /// Bytes put since the mark, pinned values included.
    pub fn len_since(&self, mark: Mark) -> usize {
        self.bytes.len() - mark.bytes + self.pins[mark.pins..].iter().map(|(_, pin)| pin.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_its_frame_whatever_its_length() {
        let value = vec![b'v'; 1200];
        for len in 0..value.len() {
            let mut out = ReplyBuf::default();
            out.put(b"+");
            out.put_bulk(&value[..len]);
            let expected = [format!("+${len}\r\n").as_bytes(), &value[..len], b"\r\n"].concat();
            assert_eq!(out.bytes, expected, "{len}");
            assert!(!out.has_overflowed());
        }
    }

    #[test]
    fn an_item_in_text_has_its_frame_whatever_its_length() {
        let value = vec![b'v'; 1200];
        for len in 0..value.len() {
            let mut out = ReplyBuf::default();
            out.put_text_value(b"key", &value[..len], b"\r\nEND\r\n");
            let expected =
                [format!("VALUE key 0 {len}\r\n").as_bytes(), &value[..len], b"\r\nEND\r\n"].concat();
            assert_eq!(out.bytes, expected, "{len}");
            assert!(!out.has_overflowed());
            out.clear();
            out.limit(expected.len());
            out.put_text_value(b"key", &value[..len], b"\r\nEND\r\n");
            assert!(out.bytes == expected && !out.unlimit(), "{len}");
            out.clear();
            out.limit(expected.len() - 1);
            out.put_text_value(b"key", &value[..len], b"\r\nEND\r\n");
            assert!(out.bytes.is_empty() && out.unlimit(), "{len}");
        }
    }

    #[test]
    fn what_is_inserted_moves_what_follows() {
        let mut out = ReplyBuf::default();
        out.put(b"before");
        out.put_pinned(Bytes::from_static(b"P"));
        let mark = out.mark();
        out.put(b"x");
        out.put_pinned(Bytes::from_static(b"Q"));
        out.put(b"y");
        assert_eq!(out.len_since(mark), 3);
        out.insert(mark, b"head");
        assert_eq!(out.bytes, b"beforeheadxy");
        assert_eq!(out.pins, [(6, Bytes::from_static(b"P")), (11, Bytes::from_static(b"Q"))]);
        let (mut out, start) = (ReplyBuf::default(), ReplyBuf::default().mark());
        out.limit(3);
        out.insert(start, b"four");
        assert!(out.bytes.is_empty() && out.unlimit());
    }

    #[test]
    fn a_string_beyond_the_limit_is_noticed() {
        let mut out = ReplyBuf::default();
        out.limit(9);
        out.put_bulk(b"val");
        assert_eq!(out.bytes, b"$3\r\nval\r\n");
        assert!(!out.unlimit());
        out.limit(8);
        out.put_bulk(b"val");
        assert!(out.unlimit());
    }
}
