//! The body of a request: by its length, or in chunks (RFC 9112 section 7.1).
//!
//! ```text
//!   5;name=value\r\nhello\r\n   6\r\n world\r\n   0\r\n   field: value\r\n   \r\n
//!   └ size, extensions   └ data                  └ end   └ trailer, ignored
//! ```
//!
//! Lines end with CR LF here and in no other way: a lone LF is what two readers take for two things.

use super::problem::{self, Problem};
use super::{Framing, Head, State};
use crate::limits::{HTTP_CHUNK_LINE, HTTP_HEAD};
use crate::proto::ParseLimits;

/// How far a body in chunks has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the next chunk begins, counted from the request's start.
    at: usize,
    /// Where the first one did.
    begin: usize,
    /// Bytes of data before it.
    data: usize,
    /// The trailer begins there.
    trailer: Option<usize>,
    /// All of it has arrived, up to here.
    end: Option<usize>,
    /// Bytes of data that are too many.
    most_data: usize,
}

/// A body that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Whole(&'a [u8]),
    /// In chunks: `len` bytes together.
    Pieces {
        pieces: Pieces<'a>,
        len: usize,
    },
}

/// What there is of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// It ends with the request, `consumed` bytes from its start.
    Whole { consumed: usize, body: Body<'a> },
    /// See [`crate::proto::Parsed::Incomplete`].
    Incomplete { need: usize },
    /// Framing is lost, or not worth keeping.
    Lost(Problem),
}

/// Reads the body behind `head`, of at most `most` bytes, in the same `rest` in which the head was found.
#[inline]
pub fn read<'a>(
    rest: &'a [u8],
    head: &Head<'a>,
    state: &mut State,
    limits: &ParseLimits,
    most: usize,
) -> Read<'a> {
    match head.framing {
        Framing::None => Read::Whole { consumed: head.len, body: Body::Whole(b"") },
        Framing::Length(len) => {
            if len > most {
                return Read::Lost(problem::TOO_LARGE);
            }
            let end = head.len + len;
            match rest.get(head.len..end) {
                Some(body) => Read::Whole { consumed: end, body: Body::Whole(body) },
                None => Read::Incomplete { need: end },
            }
        }
        Framing::Chunked => read_chunks(rest, head, state, limits, most),
    }
}

fn read_chunks<'a>(
    rest: &'a [u8],
    head: &Head<'a>,
    state: &mut State,
    limits: &ParseLimits,
    most: usize,
) -> Read<'a> {
    let begin =
        Progress { at: head.len, begin: head.len, data: 0, trailer: None, end: None, most_data: most };
    state.chunks.get_or_insert(begin);
    match advance(rest, state, limits.max_request) {
        Err(problem) => return Read::Lost(problem),
        Ok(Some(need)) => return Read::Incomplete { need },
        Ok(None) => {}
    }
    let progress = state.chunks.unwrap_or(begin);
    let (consumed, len) = (progress.end.unwrap_or(progress.at), progress.data);
    let mut pieces = Pieces(&rest[progress.begin..progress.at]);
    // A small body comes in one chunk: then it is where it should be.
    let body = match (pieces.next(), len) {
        (None, _) => Body::Whole(b""),
        (Some(first), len) if first.len() == len => Body::Whole(first),
        _ => Body::Pieces { pieces: Pieces(&rest[progress.begin..progress.at]), len },
    };
    Read::Whole { consumed, body }
}

/// Looks at the chunks that have arrived since. `Ok(Some)`: not all have; the total length worth another look, 0 if unknown.
pub(super) fn advance(rest: &[u8], state: &mut State, most: usize) -> Result<Option<usize>, Problem> {
    let Some(progress) = &mut state.chunks else { return Ok(None) };
    while progress.end.is_none() {
        let from = progress.trailer.unwrap_or(progress.at);
        // What is there so far is within the limits; what is asked for must be.
        if from > most {
            return Err(problem::TOO_LARGE);
        }
        let (longest, too_long) = match progress.trailer {
            None => (HTTP_CHUNK_LINE, problem::BAD_CHUNK),
            Some(_) => (HTTP_HEAD, problem::HEAD_TOO_LARGE),
        };
        let Some(line) = line(&rest[from..], longest)? else {
            return if rest.len() - from > longest { Err(too_long) } else { Ok(Some(0)) };
        };
        let behind = from + line.len() + 2;
        if let Some(trailer) = &mut progress.trailer {
            if line.is_empty() {
                progress.end = Some(behind);
            } else if behind - progress.at > HTTP_HEAD {
                return Err(problem::HEAD_TOO_LARGE);
            }
            *trailer = behind;
            continue;
        }
        let size = size_of(line)?;
        if size == 0 {
            // `at` stays: the data ends here.
            progress.trailer = Some(behind);
            continue;
        }
        if size > progress.most_data - progress.data {
            return Err(problem::TOO_LARGE);
        }
        let end = behind + size + 2;
        if end > most {
            return Err(problem::TOO_LARGE);
        }
        match rest.get(behind + size..end) {
            None => return Ok(Some(end)),
            Some(b"\r\n") => {}
            Some(_) => return Err(problem::BAD_CHUNK),
        }
        progress.data += size;
        progress.at = end;
    }
    Ok(None)
}

/// The line at the start, without its end; `None`: not there yet.
fn line(rest: &[u8], longest: usize) -> Result<Option<&[u8]>, Problem> {
    let window = &rest[..rest.len().min(longest + 2)];
    let Some(end) = memchr::memchr(b'\n', window) else { return Ok(None) };
    match window[..end].split_last() {
        Some((b'\r', line)) if memchr::memchr(b'\r', line).is_none() => Ok(Some(line)),
        _ => Err(problem::BAD_CHUNK),
    }
}

/// The size at the start of a chunk's first line.
fn size_of(line: &[u8]) -> Result<usize, Problem> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let ends = matches!(line.get(digits), None | Some(b';'));
    // Seven bytes hold more than any limit, and cannot overflow.
    if digits == 0 || digits > 14 || !ends {
        return Err(problem::BAD_CHUNK);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as usize;
    Ok(line[..digits].iter().fold(0, |size, byte| size << 4 | digit(byte)))
}

/// The data of chunks that have been looked at, piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = line(self.0, HTTP_CHUNK_LINE).ok()??;
        let size = size_of(line).ok()?;
        let (data, rest) = self.0.get(line.len() + 2..)?.split_at_checked(size)?;
        self.0 = rest.get(2..)?;
        Some(data)
    }
}
