//! GET and SET in the form in which every client sends them, recognised by two comparisons.
//!
//! ```text
//!  0        8          14
//!  *2␍␊$3␍␊ GET␍␊$ 16␍␊ <key> ␍␊
//!  *3␍␊$3␍␊ SET␍␊$ 16␍␊ <key> ␍␊ $64␍␊ <value> ␍␊
//! ```
//!
//! Whatever differs in a single byte, or is not whole yet, is left to [`super::parse`], which accepts and answers the same: this is
//! a shortcut and no second grammar.

/// A request of the most common forms, at the start of a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common<'a> {
    pub key: &'a [u8],
    /// `None` for GET.
    pub value: Option<&'a [u8]>,
    /// Length of the request in bytes.
    pub consumed: usize,
}

/// Where the name stands in these forms.
pub const NAME: std::ops::Range<usize> = 8..11;
/// No key or value in these forms is longer, bytes: a length of at most four digits.
pub const LONGEST: usize = 9_999;

const GET_ARRAY: u64 = u64::from_le_bytes(*b"*2\r\n$3\r\n");
const SET_ARRAY: u64 = u64::from_le_bytes(*b"*3\r\n$3\r\n");
const GET: u64 = u64::from_le_bytes(*b"get\r\n$\0\0");
const SET: u64 = u64::from_le_bytes(*b"set\r\n$\0\0");
/// The bit that tells a small letter from its capital, in the three letters of a name.
const SMALL: u64 = 0x20_2020;
const SIX_BYTES: u64 = (1 << 48) - 1;
const LINE_END: u16 = u16::from_le_bytes(*b"\r\n");

/// Recognises one request. `None` says nothing but that it is for [`super::parse`]. Looks at no limit but [`LONGEST`], for clients that
/// are authenticated and may send as much.
#[inline]
pub fn common(buf: &[u8]) -> Option<Common<'_>> {
    // As many as the shortest has, but for one whose key is empty: that takes the long way unless more follows it.
    let head: &[u8; 20] = buf.first_chunk()?;
    let array = word(head, 0);
    let name = word(head, 8) & SIX_BYTES | SMALL;
    match (array, name) {
        (GET_ARRAY, GET) => {
            let (key, end) = bulk(buf, 14)?;
            Some(Common { key, value: None, consumed: end })
        }
        (SET_ARRAY, SET) => {
            let (key, end) = bulk(buf, 14)?;
            if *buf.get(end)? != b'$' {
                return None;
            }
            let (value, end) = bulk(buf, end + 1)?;
            Some(Common { key, value: Some(value), consumed: end })
        }
        _ => None,
    }
}

#[inline]
fn word(head: &[u8; 20], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The string whose length begins at `at`, and where what follows it begins.
#[inline]
fn bulk(buf: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let line = u32::from_le_bytes(*buf.get(at..)?.first_chunk()?);
    let (len, start) = if line >> 16 == u32::from(LINE_END) {
        let (tens, ones) = (digit(line)?, digit(line >> 8)?);
        if tens == 0 {
            return None;
        }
        (tens * 10 + ones, at + 4)
    } else if line >> 8 & 0xffff == u32::from(LINE_END) {
        (digit(line)?, at + 3)
    } else {
        long_length(buf, at)?
    };
    let (bytes, rest) = buf.get(start..)?.split_at_checked(len)?;
    if u16::from_le_bytes(*rest.first_chunk()?) != LINE_END {
        return None;
    }
    Some((bytes, start + len + 2))
}

/// A length of three or four digits, and where its line ends.
#[inline(never)]
fn long_length(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let line: &[u8; 6] = buf.get(at..)?.first_chunk()?;
    let digits = if line[3] == b'\r' { 3 } else { 4 };
    if line[0] == b'0' || line[digits..digits + 2] != *b"\r\n" {
        return None;
    }
    let mut len = 0;
    for byte in &line[..digits] {
        len = len * 10 + digit(u32::from(*byte))?;
    }
    Some((len, at + digits + 2))
}

/// The digit in the lowest byte.
#[inline]
fn digit(text: u32) -> Option<usize> {
    let digit = (text & 0xff).wrapping_sub(u32::from(b'0'));
    (digit < 10).then_some(digit as usize)
}
