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

use crate::proto::ParseLimits;

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

const GET_ARRAY: u64 = u64::from_le_bytes(*b"*2\r\n$3\r\n");
const SET_ARRAY: u64 = u64::from_le_bytes(*b"*3\r\n$3\r\n");
const GET: u64 = u64::from_le_bytes(*b"get\r\n$\0\0");
const SET: u64 = u64::from_le_bytes(*b"set\r\n$\0\0");
/// The bit that tells a small letter from its capital, in the three letters of a name.
const SMALL: u64 = 0x20_2020;
const SIX_BYTES: u64 = (1 << 48) - 1;

/// Recognises one request. `None` says nothing but that it is for [`super::parse`].
#[inline]
pub fn common<'a>(buf: &'a [u8], limits: &ParseLimits) -> Option<Common<'a>> {
    let head: &[u8; 16] = buf.first_chunk()?;
    let array = word(head, 0);
    let name = word(head, 8) & SIX_BYTES | SMALL;
    let key_len_at = 14;
    match (array, name) {
        (GET_ARRAY, GET) => {
            let (key, end) = bulk(buf, key_len_at, limits)?;
            Some(Common { key, value: None, consumed: end })
        }
        (SET_ARRAY, SET) => {
            let (key, end) = bulk(buf, key_len_at, limits)?;
            if *buf.get(end)? != b'$' {
                return None;
            }
            let (value, end) = bulk(buf, end + 1, limits)?;
            Some(Common { key, value: Some(value), consumed: end })
        }
        _ => None,
    }
}

#[inline]
fn word(head: &[u8; 16], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The string whose length begins at `at` (one to four digits), and where what follows it begins.
#[inline]
fn bulk<'a>(buf: &'a [u8], at: usize, limits: &ParseLimits) -> Option<(&'a [u8], usize)> {
    let (len, start) = match *buf.get(at..at + 4)? {
        [one @ b'0'..=b'9', b'\r', b'\n', _] => (digit(one), at + 3),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n'] => (digit(ten) * 10 + digit(one), at + 4),
        [hundred @ b'1'..=b'9', ten, one, b'\r'] if ten.is_ascii_digit() && one.is_ascii_digit() => {
            if *buf.get(at + 4)? != b'\n' {
                return None;
            }
            (digit(hundred) * 100 + digit(ten) * 10 + digit(one), at + 5)
        }
        _ => four_digits(buf, at)?,
    };
    // No overflow: both are small.
    let end = start + len;
    if len > limits.max_bulk || end + 2 > limits.max_request {
        return None;
    }
    let (bytes, rest) = buf.get(start..)?.split_at_checked(len)?;
    if rest.first_chunk()? != b"\r\n" {
        return None;
    }
    Some((bytes, end + 2))
}

#[inline(never)]
fn four_digits(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let &[a @ b'1'..=b'9', b, c, d, b'\r', b'\n'] = buf.get(at..)?.first_chunk()? else { return None };
    if !(b.is_ascii_digit() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    Some((digit(a) * 1000 + digit(b) * 100 + digit(c) * 10 + digit(d), at + 6))
}

#[inline]
fn digit(byte: u8) -> usize {
    usize::from(byte - b'0')
}
