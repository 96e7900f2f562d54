//! The short way: `get` of one key and `set`, whole and in the form in which every client sends them.

use super::MAX_KEY;

/// Longest data block taken the short way, bytes: below every limit that can be set.
pub const LONGEST: usize = 9_999;

/// A command in its usual form.
#[derive(Debug, PartialEq, Eq)]
pub struct Common<'a> {
    pub key: &'a [u8],
    /// Of a set.
    pub set: Option<CommonSet<'a>>,
    pub consumed: usize,
}

/// What a set brings.
#[derive(Debug, PartialEq, Eq)]
pub struct CommonSet<'a> {
    pub flags: u32,
    /// Never negative.
    pub exptime: u32,
    pub value: &'a [u8],
    pub noreply: bool,
}

/// Recognises one command. `None` says nothing but that it is for [`super::parse`].
#[inline]
pub fn common(buf: &[u8]) -> Option<Common<'_>> {
    match buf.first_chunk()? {
        b"get " => get(buf),
        b"set " => set(buf),
        _ => None,
    }
}

#[inline]
fn get(buf: &[u8]) -> Option<Common<'_>> {
    let (key, end) = key(buf)?;
    buf[end..].starts_with(b"\r\n").then_some(Common { key, set: None, consumed: end + 2 })
}

#[inline]
fn set(buf: &[u8]) -> Option<Common<'_>> {
    let (key, end) = key(buf)?;
    // What nearly all send; anything else takes the same steps one by one.
    let (flags, exptime, at) = if buf[end..].starts_with(b" 0 0 ") {
        (0, 0, end + 5)
    } else {
        let (flags, at) = digits(buf, expect(buf, end, b" ")?)?;
        let (exptime, at) = digits(buf, expect(buf, at, b" ")?)?;
        (flags, exptime, expect(buf, at, b" ")?)
    };
    let (len, at) = digits(buf, at)?;
    let (noreply, start) = match expect(buf, at, b"\r\n") {
        Some(start) => (false, start),
        None => (true, expect(buf, at, b" noreply\r\n")?),
    };
    let len = len as usize;
    if len > LONGEST {
        return None;
    }
    let (value, rest) = buf[start..].split_at_checked(len)?;
    if *rest.first_chunk()? != *b"\r\n" {
        return None;
    }
    let set = CommonSet { flags, exptime, value, noreply };
    Some(Common { key, set: Some(set), consumed: start + len + 2 })
}

/// The key behind a command's name, and where it ends: eight bytes at a time, up to the first that is no larger than a space.
#[inline]
fn key(buf: &[u8]) -> Option<(&[u8], usize)> {
    const ONES: u64 = u64::MAX / 255;
    const AT: usize = 4;
    let line = &buf[AT..];
    let (words, tail) = line.as_chunks();
    let ends = words.iter().enumerate().find_map(|(n, word)| {
        // A byte's upper bit is set in `low` if the byte is below 33: certain for the first, as a borrow only spreads upwards.
        let word = u64::from_le_bytes(*word);
        let low = word.wrapping_sub(ONES * 33) & !word & (ONES << 7);
        (low != 0).then(|| n * 8 + low.trailing_zeros() as usize / 8)
    });
    let len = match ends {
        Some(len) => len,
        None => line.len() - tail.len() + tail.iter().position(|byte| *byte <= b' ')?,
    };
    (len > 0 && len <= MAX_KEY).then(|| (&line[..len], AT + len))
}

/// Where what follows `text` begins, if `text` stands here.
#[inline]
fn expect(buf: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    buf.get(at..)?.starts_with(text).then_some(at + text.len())
}

/// One to nine digits, and where they end.
#[inline]
fn digits(buf: &[u8], at: usize) -> Option<(u32, usize)> {
    let (mut number, mut end) = (0_u32, at);
    while let Some(digit) = buf.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        if end - at == 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
        end += 1;
    }
    (end > at).then_some((number, end))
}
