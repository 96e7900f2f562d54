//! Finds the request at the start of the received bytes. Arguments are borrowed from where the kernel put them.
//!
//! The first look at a request walks its headers once, from left to right, and pushes its arguments as it
//! goes. Where the bytes end before the request does, [`Resume`] keeps how far the walk came: later looks go
//! on from there and push nothing, and when the end is found, one last walk over the headers pushes the
//! arguments. So a header is read twice (three times where a look ended), however many pieces a request
//! arrives in, and a waiting connection holds three words and no heap memory.
//!
//! What is accepted and what is answered follows Redis and Valkey, to the letter where a client can see it: `*0`
//! and `*-1` are no request and no error, a line break that is none loses the framing.

use super::inline;
use crate::proto::{ParseLimits, Parsed};
use bumpalo::Bump;

/// Before authentication: most arguments, and longest argument in bytes, as Redis has them.
const UNAUTHENTICATED_MAX_ARGS: usize = 10;
const UNAUTHENTICATED_MAX_BULK: usize = 16384;

/// Digits of a length that can be added up without a look at overflow.
const MAX_DIGITS: usize = 18;

/// A line break that is none, in Valkey's words.
const TORN: &str = "invalid CRLF in request";

/// How far a request has been understood that is not whole yet. All offsets count from the request's first
/// byte, so the bytes may move between calls. The default value is "not at all"; parsing returns to it with
/// every request that is found whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Array: offset of the first header that was not whole, or of the argument whose bytes are awaited.
    /// Inline: bytes known to hold no LF.
    next: usize,
    /// Array: arguments from `next` on.
    left: usize,
    /// Array: total length below which looking again is useless.
    need: usize,
}

impl Resume {
    /// Whether the next request has not been looked at yet.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.need == 0 && self.next == 0
    }
}

/// Parses one request at the start of `buf`: all that this connection has sent and that has not been consumed.
///
/// On [`Parsed::Request`] its arguments are in `args` (cleared first), at least one; they point into `buf`,
/// or into `bump` for an inline argument that was quoted. `resume` belongs to the connection and must be
/// handed in unchanged, with the same bytes and more behind them, as long as the answer is
/// [`Parsed::Incomplete`].
#[inline]
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &ParseLimits,
    resume: &mut Resume,
    bump: &'a Bump,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    args.clear();
    match buf.first() {
        Some(b'*') if resume.need == 0 => array(buf, limits, resume, args),
        Some(b'*') => resumed_array(buf, limits, resume, args),
        Some(_) => inline::parse(buf, limits, &mut resume.next, bump, args),
        None => Parsed::Incomplete { need: 0 },
    }
}

/// An error after which the stream's framing is lost.
#[cold]
pub(super) fn fatal(problem: &str) -> Parsed {
    Parsed::Fatal { reply: format!("-ERR Protocol error: {problem}\r\n").into_bytes() }
}

/// Where a walk over arguments ended.
enum Walk {
    /// Past the last one.
    Done {
        end: usize,
    },
    /// Out of bytes.
    Short(Resume),
    Bad(Parsed),
}

/// A length line: `*12 CRLF` or `$12 CRLF`.
enum Length {
    /// Its number, and where the line ends.
    Is(i64, usize),
    Short,
    TooLong,
    /// Not a number.
    Invalid,
    /// A CR without its LF.
    Torn,
}

#[inline]
fn array<'a>(buf: &'a [u8], limits: &ParseLimits, resume: &mut Resume, args: &mut Vec<&'a [u8]>) -> Parsed {
    let (count, at) = match length(buf, 0, limits.max_inline) {
        Length::Is(count, at) => match usize::try_from(count) {
            Ok(count) if count > 0 => (count, at),
            _ => return Parsed::Skip { consumed: at },
        },
        Length::Short => return Parsed::Incomplete { need: 0 },
        Length::TooLong => return fatal("too big mbulk count string"),
        Length::Invalid => return fatal("invalid multibulk length"),
        Length::Torn => return fatal(TORN),
    };
    if count > max_args(limits) {
        return if count > limits.max_args {
            fatal("invalid multibulk length")
        } else {
            fatal("unauthenticated multibulk length")
        };
    }
    match walk(buf, at, count, limits, |arg| args.push(arg)) {
        Walk::Done { end } => Parsed::Request { consumed: end },
        Walk::Short(stopped) => {
            args.clear();
            *resume = stopped;
            Parsed::Incomplete { need: stopped.need }
        }
        Walk::Bad(fatal) => fatal,
    }
}

/// Goes on where an earlier look stopped, and reads the arguments once the last byte is there.
fn resumed_array<'a>(
    buf: &'a [u8],
    limits: &ParseLimits,
    resume: &mut Resume,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    if buf.len() < resume.need {
        return Parsed::Incomplete { need: resume.need };
    }
    match walk(buf, resume.next, resume.left, limits, |_| ()) {
        Walk::Done { .. } => {
            *resume = Resume::default();
            array(buf, limits, resume, args)
        }
        Walk::Short(stopped) => {
            *resume = stopped;
            Parsed::Incomplete { need: stopped.need }
        }
        Walk::Bad(fatal) => fatal,
    }
}

/// Walks `left` arguments from offset `at`.
#[inline]
fn walk<'a>(
    buf: &'a [u8],
    mut at: usize,
    mut left: usize,
    limits: &ParseLimits,
    mut found: impl FnMut(&'a [u8]),
) -> Walk {
    let max_bulk = max_bulk(limits);
    while left > 0 {
        let (start, len) = match buf.get(at) {
            Some(b'$') => match length(buf, at, limits.max_inline) {
                Length::Is(len, start) => match usize::try_from(len) {
                    Ok(len) if len <= max_bulk => (start, len),
                    _ => return Walk::Bad(bad_bulk_length(len, limits)),
                },
                Length::Short => return Walk::Short(Resume { next: at, left, need: buf.len() + 1 }),
                Length::TooLong => return Walk::Bad(fatal("too big bulk count string")),
                Length::Invalid => return Walk::Bad(fatal("invalid bulk length")),
                Length::Torn => return Walk::Bad(fatal(TORN)),
            },
            Some(&other) => return Walk::Bad(not_a_bulk(other)),
            None => return Walk::Short(Resume { next: at, left, need: buf.len() + 1 }),
        };
        // No overflow: `len` is at most `max_bulk`, `start` within a buffer.
        let end = start + len + 2;
        if end > limits.max_request {
            return Walk::Bad(fatal("too big request"));
        }
        if buf.len() < end {
            return Walk::Short(Resume { next: at, left, need: end });
        }
        let (arg, line_end) = buf[start..end].split_at(len);
        if line_end != b"\r\n" {
            return Walk::Bad(fatal(TORN));
        }
        found(arg);
        at = end;
        left -= 1;
    }
    Walk::Done { end: at }
}

#[cold]
fn not_a_bulk(other: u8) -> Parsed {
    // The byte goes out as it came, except for a line break, which would end the reply.
    let shown = if matches!(other, b'\r' | b'\n') { b' ' } else { other };
    let mut reply = b"-ERR Protocol error: expected '$', got '".to_vec();
    reply.extend_from_slice(&[shown, b'\'', b'\r', b'\n']);
    Parsed::Fatal { reply }
}

#[cold]
fn bad_bulk_length(len: i64, limits: &ParseLimits) -> Parsed {
    match usize::try_from(len) {
        Ok(len) if len <= limits.max_bulk => fatal("unauthenticated bulk length"),
        _ => fatal("invalid bulk length"),
    }
}

#[inline]
fn max_args(limits: &ParseLimits) -> usize {
    if limits.authenticated { limits.max_args } else { limits.max_args.min(UNAUTHENTICATED_MAX_ARGS) }
}

#[inline]
fn max_bulk(limits: &ParseLimits) -> usize {
    if limits.authenticated { limits.max_bulk } else { limits.max_bulk.min(UNAUTHENTICATED_MAX_BULK) }
}

/// Reads the length line at `at`, whose first byte the caller knows. One and two digits, which most have, are
/// read here.
#[inline]
fn length(buf: &[u8], at: usize, max_line: usize) -> Length {
    // Within a whole request at least 5 bytes follow a header's first: its digit, CRLF, and the next header
    // or an argument's CRLF.
    match buf.get(at + 1..at + 5) {
        Some(&[one @ b'0'..=b'9', b'\r', b'\n', _]) => Length::Is(i64::from(one - b'0'), at + 4),
        Some(&[ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n']) => {
            Length::Is(i64::from(ten - b'0') * 10 + i64::from(one - b'0'), at + 5)
        }
        _ => long_length(buf, at, max_line),
    }
}

#[inline(never)]
fn long_length(buf: &[u8], at: usize, max_line: usize) -> Length {
    let line = &buf[at + 1..];
    let digits = line.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && line[0] != b'0' && line[digits..].starts_with(b"\r\n") {
        let value = line[..digits].iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
        return Length::Is(value, at + digits + 3);
    }
    odd_length(line, at, max_line)
}

/// A length line that is not whole, not a plain number, or absurd.
#[cold]
fn odd_length(line: &[u8], at: usize, max_line: usize) -> Length {
    let window = &line[..line.len().min(max_line)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return if line.len() > max_line { Length::TooLong } else { Length::Short };
    };
    if line.len() < end + 2 {
        return Length::Short;
    }
    match integer(&window[..end]) {
        _ if line[end + 1] != b'\n' => Length::Torn,
        Some(value) => Length::Is(value, at + 1 + end + 2),
        None => Length::Invalid,
    }
}

/// A number as Redis reads it: no plus sign, no leading zero, no space.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
