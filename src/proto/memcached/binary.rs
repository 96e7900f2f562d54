//! The binary protocol of memcached: its wiki's BinaryProtocolRevamped, and memcached 1.6 where that is silent.
//!
//! ```text
//!   byte  0     1       2  3    4       5     6  7    8 … 11   12 … 15  16 … 23
//!        ┌─────┬───────┬───────┬───────┬─────┬───────┬────────┬────────┬────────┐ ┌────────┬─────┬───────┐
//!        │magic│opcode │key len│extras │ 0   │vbucket│body len│ opaque │  CAS   │ │ extras │ key │ value │
//!        │ 80  │       │       │  len  │     │/status│        │        │        │ │        │     │       │
//!        └─────┴───────┴───────┴───────┴─────┴───────┴────────┴────────┴────────┘ └──────── body ────────┘
//! ```
//!
//! Numbers are big-endian. A reply has the magic 81 and the request's opcode and opaque. A quiet command answers nothing when all is well
//! (gets: when nothing is found), so that a NOOP behind it tells where the answers end.
//!
//! A request whose parts have the wrong lengths for its opcode is answered and ends the connection, as in memcached: whoever sent it does
//! not know where the next one begins.

mod opcode;
mod reply;
#[cfg(test)]
mod tests;

pub use opcode::{Opcode, Verb};
pub use reply::{Status, put_error, put_stat, put_success, put_with_value};

use super::super::{Outcome, ParseLimits, ReplyBuf, Scratch};
use crate::limits::{MEMCACHED_KEY_LEN, SASL_LEN};

/// Bytes of a header.
pub const HEADER_LEN: usize = 24;
/// The first byte of a request, and of a reply.
pub const REQUEST_MAGIC: u8 = 0x80;
pub const REPLY_MAGIC: u8 = 0x81;

/// What a connection's codec remembers between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Bytes of a refused body that are still to come, and that nobody wants.
    pub skip: u64,
    /// A SASL exchange has begun that expects a second message.
    pub sasl_begun: bool,
}

impl State {
    /// Takes what belongs to a refused body; returns how many bytes of `rest` that is.
    pub fn skipped(&mut self, rest: &[u8]) -> usize {
        let count = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
        self.skip -= count as u64;
        count
    }
}

/// What the encoder must know of a request: its header, where it was received.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    pub header: &'a [u8; HEADER_LEN],
}

impl Form<'_> {
    #[inline]
    pub fn opcode(&self) -> Opcode {
        Opcode(self.header[1])
    }
}

/// A request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub magic: u8,
    pub opcode: Opcode,
    pub key_len: usize,
    pub extras_len: usize,
    /// Extras, key and value together.
    pub body_len: usize,
    /// Returned as it came.
    pub opaque: [u8; 4],
    /// In a request: the CAS that the item must have; 0: any.
    pub cas: u64,
}

impl Header {
    #[inline]
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Header {
        let [magic, opcode, k0, k1, extras_len, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, cas @ ..] = *bytes;
        Header {
            magic,
            opcode: Opcode(opcode),
            key_len: usize::from(u16::from_be_bytes([k0, k1])),
            extras_len: usize::from(extras_len),
            body_len: u32::from_be_bytes([b0, b1, b2, b3]) as usize,
            opaque: [o0, o1, o2, o3],
            cas: u64::from_be_bytes(cas),
        }
    }

    /// Bytes of the value; `None` if extras and key are longer than the body.
    fn value_len(&self) -> Option<usize> {
        self.body_len.checked_sub(self.extras_len + self.key_len)
    }
}

/// A whole request.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub form: Form<'a>,
    pub verb: Verb,
    pub cas: u64,
    pub extras: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// What is at the start of a connection's bytes.
#[derive(Debug)]
pub enum Found<'a> {
    /// In the first `consumed` bytes.
    Packet { packet: Packet<'a>, consumed: usize },
    /// A request to be refused with this status. `packet` is without its value, of which `skip` bytes follow the first `consumed` bytes.
    Refused { packet: Packet<'a>, status: Status, consumed: usize, skip: u64 },
    /// This total length is worth parsing again.
    Incomplete { need: usize },
    /// Answer this, which may be empty, then close.
    Fatal { reply: Vec<u8> },
}

/// Parses what is at the start of `rest`, which is no part of a refused body.
#[inline]
pub fn parse<'a>(rest: &'a [u8], limits: &ParseLimits) -> Found<'a> {
    let Some(header_bytes) = rest.first_chunk::<HEADER_LEN>() else {
        return if rest.first().is_some_and(|magic| *magic != REQUEST_MAGIC) {
            Found::Fatal { reply: Vec::new() }
        } else {
            Found::Incomplete { need: HEADER_LEN }
        };
    };
    let form = Form { header: header_bytes };
    let header = Header::read(header_bytes);
    let verb = header.opcode.verb();
    if let Some(reply) = fatal(&header, verb, limits) {
        return Found::Fatal { reply };
    }
    let head_len = HEADER_LEN + header.extras_len + header.key_len;
    let whole_len = HEADER_LEN + header.body_len;
    let refused = match verb {
        Verb::Unknown => Some(Status::UnknownCommand),
        _ if head_len + limits.max_bulk < whole_len || whole_len > limits.max_request => {
            Some(Status::TooLarge)
        }
        _ => None,
    };
    let need = if refused.is_some() { head_len } else { whole_len };
    if rest.len() < need {
        return Found::Incomplete { need };
    }
    let (extras, after) = rest[HEADER_LEN..need].split_at(header.extras_len);
    let (key, value) = after.split_at(header.key_len);
    let packet = Packet { form, verb, cas: header.cas, extras, key, value };
    match refused {
        None => Found::Packet { packet, consumed: whole_len },
        Some(status) => {
            Found::Refused { packet, status, consumed: head_len, skip: (whole_len - head_len) as u64 }
        }
    }
}

/// The last words to a client whose header is beyond answering in its place.
fn fatal(header: &Header, verb: Verb, limits: &ParseLimits) -> Option<Vec<u8>> {
    if header.magic != REQUEST_MAGIC {
        return Some(Vec::new());
    }
    let Some(value_len) = header.value_len() else {
        return Some(last_words(header, Status::UnknownCommand));
    };
    if !limits.authenticated && !verb.needs_no_password() {
        return Some(last_words(header, Status::AuthFailure));
    }
    if header.key_len > MEMCACHED_KEY_LEN || !verb.fits(header.extras_len, header.key_len, value_len) {
        return Some(last_words(header, Status::InvalidArguments));
    }
    // Before the password is known nobody sends more than a name and a password.
    if verb.is_sasl() && value_len > SASL_LEN {
        return Some(last_words(header, Status::AuthFailure));
    }
    None
}

#[cold]
fn last_words(header: &Header, status: Status) -> Vec<u8> {
    let mut out = ReplyBuf::default();
    reply::put(&mut out, header.opcode, header.opaque, status, &[], &[], status.text().as_bytes());
    out.bytes
}

/// Appends the reply to a request for `key`.
pub fn encode(form: &Form<'_>, key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    reply::put_outcome(form, key, outcome, scratch, out);
}
