//! The responses of proto/kv.proto. Fields are in the order of their numbers, and those that are zero are left out, as every other
//! encoder does it; the value comes last, so that a large one is sent from where the store has it.

use super::wire::{VARINT_LEN, put_varint, varint_len};
use crate::proto::{ItemValue, Outcome, Refusal, ReplyBuf, Scratch};
use bytes::Bytes;

/// What the encoder must know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The request's own number.
    pub id: u64,
    /// Unix milliseconds, from which the time that an item has left is counted.
    pub now_ms: u64,
    /// An item's value is the number that was counted.
    pub counts: bool,
}

/// `Status` of proto/kv.proto.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Ok = 0,
    NotFound = 1,
    NotStored = 2,
    Exists = 3,
    NotANumber = 4,
    TooLarge = 5,
    OutOfMemory = 6,
    Invalid = 7,
    Unauthenticated = 8,
    Internal = 9,
}

/// A `Response` before it is written.
#[derive(Debug, Default)]
struct Response<'r> {
    id: u64,
    status: Status,
    cas: u64,
    flags: u32,
    ttl_ms: u64,
    number: u64,
    message: &'r str,
    value: Value<'r>,
}

#[derive(Debug, Default)]
enum Value<'r> {
    #[default]
    None,
    Copied(&'r [u8]),
    Pinned(&'r Bytes),
}

/// What stands in front of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its length.
    Frame,
    /// The tag of `results`, and its length.
    Result,
}

const fn tag(number: u8, kind: u8) -> u8 {
    number << 3 | kind
}

const VARINT: u8 = 0;
const BYTES: u8 = 2;
const RESULTS: u8 = tag(9, BYTES);

/// Appends the reply to a request.
#[inline]
pub fn encode(form: &Form, _key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    put(Place::Frame, &response(form, outcome, scratch), out);
}

/// Appends one of the results of a request on several keys, whose form has no number.
pub fn put_result(form: &Form, outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    put(Place::Result, &response(form, outcome, scratch), out);
}

/// Appends a response that says no more than how it went.
pub fn put_plain(id: u64, status: Status, message: &str, out: &mut ReplyBuf) {
    put(Place::Frame, &Response { id, status, message, ..Response::default() }, out);
}

/// Writes what stands in front of `len` bytes of results: the frame's length, and the number of the request. Returns it in `head` with
/// its length.
pub fn put_head(id: u64, len: usize) -> ([u8; 2 * VARINT_LEN + 1], usize) {
    let mut head = [0; 2 * VARINT_LEN + 1];
    let id_len = if id == 0 { 0 } else { 1 + varint_len(id) };
    let mut end = put_varint((id_len + len) as u64, &mut head);
    if id != 0 {
        head[end] = tag(1, VARINT);
        end += 1;
        end += put_varint(id, &mut head[end..]);
    }
    (head, end)
}

fn response<'r>(form: &Form, outcome: &Outcome, scratch: &'r Scratch) -> Response<'r> {
    let (status, message) = match outcome {
        Outcome::Item(index) => return item(form, *index, scratch),
        Outcome::Ok | Outcome::Pong => (Status::Ok, ""),
        Outcome::Nil => (Status::NotFound, ""),
        Outcome::NotStored => (Status::NotStored, ""),
        Outcome::Exists => (Status::Exists, ""),
        Outcome::NotANumber => (Status::NotANumber, "the value is no unsigned number of 64 bits"),
        Outcome::Refused(Refusal::TooLarge) => {
            (Status::TooLarge, "the value is larger than --max-value-size")
        }
        Outcome::Refused(Refusal::KeyTooLong) => {
            (Status::TooLarge, "the key is longer than 65535 bytes, or than a quarter of a segment")
        }
        Outcome::Refused(Refusal::OutOfMemory) => {
            (Status::OutOfMemory, "nothing is left to evict: --max-memory is too small")
        }
        Outcome::Int(_)
        | Outcome::Value(_)
        | Outcome::Pinned(_)
        | Outcome::PinnedInArray(_)
        | Outcome::Encoded(_)
        | Outcome::Error(_)
        | Outcome::Pending => {
            debug_assert!(false, "no request of this protocol answers {outcome:?}");
            (Status::Internal, "an answer that this protocol has no words for")
        }
    };
    Response { id: form.id, status, message, ..Response::default() }
}

fn item<'r>(form: &Form, index: u32, scratch: &'r Scratch) -> Response<'r> {
    let item = &scratch.items[index as usize];
    let mut response = Response {
        id: form.id,
        cas: item.cas,
        flags: item.flags,
        // What has a last moment left must not seem to have no end.
        ttl_ms: item.expire_at_ms.map_or(0, |at_ms| at_ms.saturating_sub(form.now_ms).max(1)),
        value: match item.value {
            ItemValue::None => Value::None,
            ItemValue::Copied(span) => {
                let start = span.start as usize;
                Value::Copied(&scratch.bytes[start..start + span.len as usize])
            }
            ItemValue::Pinned(index) => Value::Pinned(&scratch.pins[index as usize]),
        },
        ..Response::default()
    };
    if form.counts
        && let Value::Copied(digits) = std::mem::take(&mut response.value)
    {
        response.number = digits
            .iter()
            .filter(|digit| digit.is_ascii_digit())
            .fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    }
    response
}

/// Where the fields begin in a [`Head`]: behind a tag and the longest length.
const FIELDS: usize = 1 + VARINT_LEN;
/// Six numbers and two lengths, each with its tag.
const HEAD_LEN: usize = FIELDS + 8 * (1 + VARINT_LEN);

/// All of a response but its message's and its value's bytes.
struct Head {
    bytes: [u8; HEAD_LEN],
    end: usize,
}

impl Head {
    #[inline]
    fn varint(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.field(tag(number, VARINT), value);
        }
    }

    #[inline]
    fn field(&mut self, tag: u8, value: u64) {
        self.bytes[self.end] = tag;
        self.end += 1;
        self.end += put_varint(value, &mut self.bytes[self.end..]);
    }

    /// The head of a message that has `more` bytes behind it.
    #[inline]
    fn finish(&mut self, place: Place, more: usize) -> &[u8] {
        let len = (self.end - FIELDS + more) as u64;
        let mut start = FIELDS - varint_len(len);
        put_varint(len, &mut self.bytes[start..]);
        if place == Place::Result {
            start -= 1;
            self.bytes[start] = RESULTS;
        }
        &self.bytes[start..self.end]
    }
}

#[inline]
fn put(place: Place, response: &Response<'_>, out: &mut ReplyBuf) {
    let mut head = Head { bytes: [0; HEAD_LEN], end: FIELDS };
    head.varint(1, response.id);
    head.varint(2, response.status as u64);
    head.varint(3, response.cas);
    head.varint(4, response.flags.into());
    head.varint(5, response.ttl_ms);
    head.varint(6, response.number);
    let message = response.message.as_bytes();
    let value_len = match &response.value {
        Value::None => 0,
        Value::Copied(value) => value.len(),
        Value::Pinned(value) => value.len(),
    };
    // Never both: an error has no value.
    if !message.is_empty() {
        head.field(tag(7, BYTES), message.len() as u64);
        out.put(head.finish(place, message.len()));
        out.put(message);
        return;
    }
    if value_len > 0 {
        head.field(tag(8, BYTES), value_len as u64);
    }
    out.put(head.finish(place, value_len));
    match &response.value {
        Value::None => {}
        Value::Copied(value) => out.put(value),
        Value::Pinned(value) => out.put_pinned((*value).clone()),
    }
}
