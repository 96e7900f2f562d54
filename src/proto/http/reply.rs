//! Replies: a status line, the length, and what else a client needs to know. No Date (RFC 9110 lets a server without a clock
//! leave it out, and nothing here is cached by it), no Server.

use super::problem::{self, Problem, status_line};
use super::{Connection, Tags};
use crate::proto::{Item, ItemValue, Outcome, ReplyBuf, Scratch};

/// What an encoder must know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    pub kind: Kind<'a>,
    pub manner: Manner<'a>,
    /// Unix milliseconds.
    pub now_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// GET and HEAD. The conditions are looked at when the item is known.
    Read { if_match: Option<Tags<'a>>, if_none_match: Option<Tags<'a>> },
    /// PUT.
    Written,
    /// DELETE. `conditional`: that there is no such key fails a condition.
    Removed { conditional: bool },
}

/// What every reply to a request has in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner<'a> {
    pub connection: Connection,
    /// The site whose page may read the reply.
    pub origin: Option<&'a [u8]>,
    /// HEAD: the length of the body, and no body.
    pub head_only: bool,
}

impl Manner<'_> {
    /// Nothing that every reply to the request would have.
    #[inline]
    fn is_plain(&self) -> bool {
        self.connection == Connection::Keep && self.origin.is_none()
    }
}

/// Appends the reply to a request whose outcome's spans, pins and items are in `scratch`.
pub fn encode(form: &Form<'_>, _key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    let manner = &form.manner;
    let problem = match (outcome, &form.kind) {
        (Outcome::Item(index), Kind::Read { if_match, if_none_match }) => {
            let item = &scratch.items[*index as usize];
            if if_match.is_some_and(|tags| !tags.matches(item.cas, false)) {
                problem::CONDITION_FAILED
            } else if if_none_match.is_some_and(|tags| tags.matches(item.cas, true)) {
                return put_unmodified(item, form, out);
            } else {
                return put_value(item, form, scratch, out);
            }
        }
        (Outcome::Nil, Kind::Read { if_match: None, .. }) => problem::NO_SUCH_KEY,
        (Outcome::Nil | Outcome::Int(0), Kind::Removed { conditional: false }) => problem::NO_SUCH_KEY,
        (Outcome::Nil | Outcome::NotStored | Outcome::Exists | Outcome::Int(0), _) => {
            problem::CONDITION_FAILED
        }
        (Outcome::Item(index), Kind::Written) => {
            put_head(204, manner, out);
            put_etag(scratch.items[*index as usize].cas, out);
            return out.put(b"\r\n");
        }
        (Outcome::Ok | Outcome::Int(_), _) => return put_empty(204, "", manner, out),
        (Outcome::Refused(refusal), _) => problem::refused(*refusal),
        _ => {
            debug_assert!(false, "no request over HTTP answers {outcome:?}");
            problem::INTERNAL
        }
    };
    put_problem(&problem, manner, out);
}

/// What stands before the length of a value, and in front of it the status line.
const VALUE: &[u8] = b"Content-Type: application/octet-stream\r\nContent-Length: ";
const PLAIN_VALUE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ";

#[inline]
fn put_value(item: &Item, form: &Form<'_>, scratch: &Scratch, out: &mut ReplyBuf) {
    let (mut len, mut cas) = (itoa::Buffer::new(), itoa::Buffer::new());
    let len = len.format(item.value_len).as_bytes();
    if form.manner.is_plain() && item.cas != 0 && item.expire_at_ms.is_none() {
        // The reply that is wanted most, in one go.
        out.put_all([PLAIN_VALUE, len, b"\r\nETag: \"", cas.format(item.cas).as_bytes(), b"\"\r\n\r\n"]);
    } else {
        put_head(200, &form.manner, out);
        out.put_all([VALUE, len, b"\r\n"]);
        put_etag(item.cas, out);
        put_expiry(item, form.now_ms, out);
        out.put(b"\r\n");
    }
    match item.value {
        _ if form.manner.head_only => {}
        ItemValue::None => {}
        ItemValue::Copied(span) => out.put(&scratch.bytes[span.start as usize..][..span.len as usize]),
        ItemValue::Pinned(index) => out.put_pinned(scratch.pins[index as usize].clone()),
    }
}

fn put_unmodified(item: &Item, form: &Form<'_>, out: &mut ReplyBuf) {
    put_head(304, &form.manner, out);
    put_etag(item.cas, out);
    put_expiry(item, form.now_ms, out);
    out.put(b"\r\n");
}

/// Begins a reply: its status line and what all replies to this request have. Further fields may follow, then an empty line.
#[inline]
pub fn put_head(status: u16, manner: &Manner<'_>, out: &mut ReplyBuf) {
    out.put(status_line(status).as_bytes());
    match manner.connection {
        Connection::Keep => {}
        Connection::KeepSaid => out.put(b"Connection: keep-alive\r\n"),
        Connection::Close => out.put(b"Connection: close\r\n"),
    }
    if let Some(origin) = manner.origin {
        out.put(b"Access-Control-Allow-Origin: ");
        out.put(origin);
        out.put(b"\r\nAccess-Control-Expose-Headers: ETag, X-TTL-Ms\r\nVary: Origin\r\n");
    }
}

/// A whole reply without a body, with further lines of fields.
pub fn put_empty(status: u16, fields: &str, manner: &Manner<'_>, out: &mut ReplyBuf) {
    put_head(status, manner, out);
    out.put(fields.as_bytes());
    out.put(b"\r\n");
}

/// A whole reply that says what is wrong.
pub fn put_problem(problem: &Problem, manner: &Manner<'_>, out: &mut ReplyBuf) {
    // Nothing in codes and messages needs an escape; the tests look.
    let parts = [
        br#"{"error":{"code":""#,
        problem.code.as_bytes(),
        br#"","message":""#,
        problem.message.as_bytes(),
        br#""}}"#,
    ];
    put_head(problem.status, manner, out);
    out.put(problem.fields.as_bytes());
    out.put(b"Content-Type: application/json\r\nContent-Length: ");
    put_number(parts.iter().map(|part| part.len() as u64).sum(), out);
    out.put(b"\r\n\r\n");
    if !manner.head_only {
        parts.iter().for_each(|part| out.put(part));
    }
}

/// An item that was not asked for its CAS has no tag.
#[inline]
fn put_etag(cas: u64, out: &mut ReplyBuf) {
    if cas != 0 {
        out.put(b"ETag: \"");
        put_number(cas, out);
        out.put(b"\"\r\n");
    }
}

fn put_expiry(item: &Item, now_ms: u64, out: &mut ReplyBuf) {
    if let Some(at_ms) = item.expire_at_ms {
        let left_ms = at_ms.saturating_sub(now_ms);
        out.put(b"Cache-Control: max-age=");
        put_number(left_ms / 1000, out);
        out.put(b"\r\nX-TTL-Ms: ");
        put_number(left_ms, out);
        out.put(b"\r\n");
    }
}

#[inline]
fn put_number(number: u64, out: &mut ReplyBuf) {
    out.put(itoa::Buffer::new().format(number).as_bytes());
}
