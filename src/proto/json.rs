//! The JSON lines of the first SDK: one object in, one object out, nothing between them but white space that
//! may be left out.
//!
//! ```text
//!   {"key":"city","value":"Paris"}   →   {"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}
//!   {"key":"city"}                   →   {"status":"OK","message":"","key":"city","value":"Paris"}
//!   {"key":"town"}                   →   {"status":"OK","message":"Key not found.","key":null,"value":null}
//!   {"kye":"city"}                   →   {"status":"ERROR","message":"Invalid request format.","key":null,"value":null}
//! ```
//!
//! A request ends at the brace that closes its first one, wherever reads cut it. What stands between the
//! braces is serde's to judge: `key` is a string, `value` a string or null, nothing twice, other fields are
//! ignored. A line break inside a string, which JSON does not have, ends the request too, as a malformed one:
//! a person who forgot a quote can go on with the next line. Where no object starts, framing is lost and the
//! connection ends.

use super::{Outcome, ParseLimits, Parsed, ReplyBuf, Scratch};
use bumpalo::Bump;
use bytes::Bytes;
use serde::Deserialize;
use std::borrow::Cow;
use std::io;

const INVALID: &str = "Invalid request format.";
const TOO_LARGE: &str = "Request too large.";

/// How far the object at the start of a connection's bytes has been scanned. The default value is "not at
/// all"; parsing returns to it with every request that is found whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    scanned: usize,
    /// Braces open.
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    InString,
    /// Behind a backslash in a string.
    Escaped,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
}

/// A string, borrowed where it has no escapes. (A type of its own because serde borrows no `Cow` inside an `Option`.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Parses one request at the start of `buf`: all that this connection has sent and that has not been consumed.
///
/// On [`Parsed::Request`] `args` holds the command that does the same: `GET key` or `SET key value`, borrowed
/// from `buf`, or from `bump` where a string has escapes. `resume` belongs to the connection and must be
/// handed in unchanged, with the same bytes and more behind them, as long as the answer is
/// [`Parsed::Incomplete`].
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &ParseLimits,
    resume: &mut Resume,
    bump: &'a Bump,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    args.clear();
    let max_request = if limits.authenticated { limits.max_request } else { limits.max_inline };
    match buf.first() {
        None => return Parsed::Incomplete { need: 0 },
        Some(b'{') => {}
        Some(byte) if byte.is_ascii_whitespace() => {
            let blank = buf.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            return Parsed::Skip { consumed: blank };
        }
        Some(_) => return fatal(INVALID),
    }
    let window = &buf[..buf.len().min(max_request)];
    let Some((end, sound)) = scan(window, resume) else {
        return if buf.len() > max_request { fatal(TOO_LARGE) } else { Parsed::Incomplete { need: 0 } };
    };
    *resume = Resume::default();
    match serde_json::from_slice::<Request<'a>>(&buf[..end]) {
        Ok(request) if sound => {
            args.push(if request.value.is_some() { b"SET" } else { b"GET" });
            args.push(keep(request.key, bump));
            args.extend(request.value.map(|value| keep(value, bump)));
            Parsed::Request { consumed: end }
        }
        _ => Parsed::Malformed { consumed: end, error: INVALID },
    }
}

/// Finds the end of the object that starts `buf`, going on where an earlier call ran out of bytes. Returns it
/// with whether the object closed there.
fn scan(buf: &[u8], resume: &mut Resume) -> Option<(usize, bool)> {
    let Resume { scanned: mut at, mut depth, mut place } = *resume;
    loop {
        let rest = &buf[at..];
        let found = match place {
            Place::Outside => memchr::memchr3(b'"', b'{', b'}', rest),
            Place::InString => memchr::memchr3(b'"', b'\\', b'\n', rest),
            Place::Escaped => (!rest.is_empty()).then_some(0),
        };
        let Some(found) = found else {
            *resume = Resume { scanned: buf.len(), depth, place };
            return None;
        };
        at += found + 1;
        place = match (place, rest[found]) {
            (Place::InString | Place::Escaped, b'\n') => return Some((at, false)),
            (Place::Escaped, _) => Place::InString,
            (Place::InString, b'\\') => Place::Escaped,
            (Place::InString, _) => Place::Outside,
            (Place::Outside, b'"') => Place::InString,
            (Place::Outside, b'{') => {
                depth += 1;
                Place::Outside
            }
            (Place::Outside, _) => {
                depth -= 1;
                if depth == 0 {
                    return Some((at, true));
                }
                Place::Outside
            }
        };
    }
}

fn keep<'a>(text: Text<'a>, bump: &'a Bump) -> &'a [u8] {
    match text.0 {
        Cow::Borrowed(text) => text.as_bytes(),
        Cow::Owned(text) => bump.alloc_slice_copy(text.as_bytes()),
    }
}

#[cold]
fn fatal(message: &'static str) -> Parsed {
    let mut out = ReplyBuf::default();
    put_error(message, &mut out);
    Parsed::Fatal { reply: out.bytes }
}

/// Appends the reply to a request for `key`, whose outcome's spans and pins are in `scratch`. What was asked
/// shows in the outcome.
pub fn encode(key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    match outcome {
        Outcome::Value(span) => {
            let start = span.start as usize;
            put_value_head(key, out);
            put_string(&scratch.bytes[start..start + span.len as usize], out);
            out.put(b"}");
        }
        Outcome::Pinned(index) => {
            put_value_head(key, out);
            put_pinned_string(&scratch.pins[*index as usize], out);
            out.put(b"}");
        }
        Outcome::Ok => put_message("OK", "Key inserted/updated successfully.", out),
        Outcome::Nil => put_message("OK", "Key not found.", out),
        Outcome::Refused(refusal) => put_error(refusal.text(), out),
        Outcome::Error(message) => put_error(message, out),
        Outcome::Int(_)
        | Outcome::Item(_)
        | Outcome::NotStored
        | Outcome::Exists
        | Outcome::NotANumber
        | Outcome::Pong
        | Outcome::Encoded(_)
        | Outcome::PinnedInArray(_)
        | Outcome::Pending => {
            debug_assert!(false, "GET and SET do not answer {outcome:?}");
            put_error("Internal error: unexpected outcome.", out);
        }
    }
}

fn put_value_head(key: &[u8], out: &mut ReplyBuf) {
    out.put(br#"{"status":"OK","message":"","key":"#);
    put_string(key, out);
    out.put(br#","value":"#);
}

/// Appends the reply that says what is wrong.
pub fn put_error(message: &str, out: &mut ReplyBuf) {
    put_message("ERROR", message, out);
}

fn put_message(status: &str, message: &str, out: &mut ReplyBuf) {
    out.put(br#"{"status":""#);
    out.put(status.as_bytes());
    out.put(br#"","message":"#);
    put_string(message.as_bytes(), out);
    out.put(br#","key":null,"value":null}"#);
}

/// Appends a quoted string. Bytes that are no UTF-8 (RESP clients may write any) are shown as U+FFFD.
pub fn put_string(text: &[u8], out: &mut ReplyBuf) {
    // The only error that writing a string can meet is the reply's limit, which `out` remembers.
    let _ = serde_json::to_writer(Limited(out), &String::from_utf8_lossy(text));
}

/// Appends a large string without copying it, unless it needs escapes.
fn put_pinned_string(value: &Bytes, out: &mut ReplyBuf) {
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    if value.iter().all(plain) && std::str::from_utf8(value).is_ok() {
        out.put(b"\"");
        out.put_pinned(value.clone());
        out.put(b"\"");
    } else {
        put_string(value, out);
    }
}

/// Writes up to a reply's limit, and fails there: what is beyond it would be encoded for nothing.
struct Limited<'b>(&'b mut ReplyBuf);

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        if self.0.has_overflowed() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
