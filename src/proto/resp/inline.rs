//! Inline commands: a line of words, for people with netcat and for probes.
//!
//! Words are split as Redis does it. Quotes may open in the middle of a word and must be followed by a blank
//! where they close:
//!
//! ```text
//! set "a b" 'it\'s'       →  [set] [a b] [it's]
//! set k "\x00\n\"\z"      →  [set] [k] [00 0a " z]
//! ```

use super::parse::fatal;
use crate::proto::{ParseLimits, Parsed};
use bumpalo::Bump;

/// Parses one line. `scanned` is how many bytes earlier calls have found to hold no LF, and 0 again when a
/// line was found.
pub(super) fn parse<'a>(
    buf: &'a [u8],
    limits: &ParseLimits,
    scanned: &mut usize,
    bump: &'a Bump,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    let from = std::mem::take(scanned).min(buf.len());
    let window = buf.len().min(limits.max_inline + 1);
    let Some(found) = buf.get(from..window).and_then(|rest| memchr::memchr(b'\n', rest)) else {
        if buf.len() > limits.max_inline {
            return fatal("too big inline request");
        }
        *scanned = buf.len();
        return Parsed::Incomplete { need: 0 };
    };
    let consumed = from + found + 1;
    let line = &buf[..consumed - 1];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if split(line, bump, args).is_err() {
        args.clear();
        return fatal("unbalanced quotes in request");
    }
    match args.first() {
        None => Parsed::Skip { consumed },
        Some(word) if is_http(word) => {
            args.clear();
            Parsed::Fatal { reply: Vec::new() }
        }
        Some(_) => Parsed::Request { consumed },
    }
}

/// A web page can make its visitor's browser send a request here, whose body would then be read as commands:
/// the method or the first header gives it away.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"POST") || word.eq_ignore_ascii_case(b"Host:")
}

struct Unbalanced;

fn split<'a>(line: &'a [u8], bump: &'a Bump, args: &mut Vec<&'a [u8]>) -> Result<(), Unbalanced> {
    // Room for what quoted words mean, taken when the first is met: a word never grows by being read, so the
    // rest of the line is enough.
    let mut room: &'a mut [u8] = &mut [];
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|&&byte| is_space(byte)).count();
        let rest = &line[at..];
        if rest.is_empty() {
            return Ok(());
        }
        let plain = rest.iter().take_while(|&&byte| !ends_word(byte) && !is_quote(byte)).count();
        if !rest.get(plain).is_some_and(|&byte| is_quote(byte)) {
            args.push(&rest[..plain]);
            at += plain;
            continue;
        }
        if room.is_empty() {
            room = bump.alloc_slice_copy(rest);
        }
        let (read, written) = unquote(rest, room)?;
        let (word, free) = room.split_at_mut(written);
        args.push(word);
        room = free;
        at += read;
    }
}

/// Reads one word that has quotes in it into `word`, which is at least as long as `rest`. Returns the bytes
/// read and written.
fn unquote(rest: &[u8], word: &mut [u8]) -> Result<(usize, usize), Unbalanced> {
    let mut written = 0;
    let mut put = |byte: u8| {
        word[written] = byte;
        written += 1;
    };
    let mut quote = None;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        let tail = &rest[at + 1..];
        at += 1;
        match (quote, byte, tail) {
            (Some(open), close, _) if open == close => {
                // Redis ends the word with its closing quote and takes no other byte than a blank behind it.
                if tail.first().is_some_and(|&next| !is_space(next)) {
                    return Err(Unbalanced);
                }
                return Ok((at, written));
            }
            (Some(b'"'), b'\\', &[b'x', high, low, ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                put(hex(high) << 4 | hex(low));
                at += 3;
            }
            (Some(b'"'), b'\\', &[escaped, ..]) => {
                put(unescape(escaped));
                at += 1;
            }
            (Some(b'\''), b'\\', &[b'\'', ..]) => {
                put(b'\'');
                at += 1;
            }
            (Some(_), other, _) => put(other),
            (None, b'"' | b'\'', _) => quote = Some(byte),
            (None, other, _) => put(other),
        }
    }
    // The caller saw a quote open in this word, and it did not close.
    Err(Unbalanced)
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// C's `isspace`, which skips blanks between words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What ends an unquoted word: not every blank does, but every one of these is a blank.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
