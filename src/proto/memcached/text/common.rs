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
    // One search for whatever ends the key: a space would mean a second one.
    let line = &buf[4..];
    let end = memchr::memchr2(b' ', b'\n', line)?;
    let key = line[..=end].strip_suffix(b"\r\n")?;
    if key.is_empty() || key.len() > MAX_KEY {
        return None;
    }
    Some(Common { key, set: None, consumed: 4 + end + 1 })
}

#[inline]
fn set(buf: &[u8]) -> Option<Common<'_>> {
    let key_end = 4 + memchr::memchr2(b' ', b'\n', &buf[4..])?;
    let key = &buf[4..key_end];
    if key.is_empty() || key.len() > MAX_KEY || buf[key_end] != b' ' {
        return None;
    }
    let (flags, at) = digits(buf, key_end + 1)?;
    let at = expect(buf, at, b" ")?;
    let (exptime, at) = digits(buf, at)?;
    let at = expect(buf, at, b" ")?;
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
