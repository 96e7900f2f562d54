//! Replies: from what became of a request to a packet.

use super::{Form, HEADER_LEN, Opcode, REPLY_MAGIC, Verb};
use crate::proto::{Item, ItemValue, Outcome, Refusal, ReplyBuf, Scratch};

/// Bytes of an item's flags, the extras of a hit.
const FLAGS_LEN: usize = 4;

/// A reply's status, with memcached's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    Ok = 0x00,
    NotFound = 0x01,
    Exists = 0x02,
    TooLarge = 0x03,
    InvalidArguments = 0x04,
    NotStored = 0x05,
    NotANumber = 0x06,
    AuthFailure = 0x20,
    AuthContinue = 0x21,
    UnknownCommand = 0x81,
    OutOfMemory = 0x82,
    Internal = 0x84,
}

impl Status {
    /// The body of an error, in memcached's words.
    pub fn text(self) -> &'static str {
        match self {
            Status::Ok | Status::AuthContinue => "",
            Status::NotFound => "Not found",
            Status::Exists => "Data exists for key.",
            Status::TooLarge => "Too large.",
            Status::InvalidArguments => "Invalid arguments",
            Status::NotStored => "Not stored.",
            Status::NotANumber => "Non-numeric server-side value for incr or decr",
            Status::AuthFailure => "Auth failure.",
            Status::UnknownCommand => "Unknown command",
            Status::OutOfMemory => "Out of memory",
            Status::Internal => "Internal error",
        }
    }
}

/// A header of a reply. `lens` are those of extras, key and value, in bytes; together they fit into 32 bits.
#[inline]
pub(super) fn header(
    opcode: Opcode,
    opaque: [u8; 4],
    status: Status,
    lens: [usize; 3],
    cas: u64,
) -> [u8; HEADER_LEN] {
    let [extras_len, key_len, value_len] = lens;
    let body_len = u32::try_from(extras_len + key_len + value_len).unwrap_or(u32::MAX).to_be_bytes();
    let key_len = u16::try_from(key_len).unwrap_or(u16::MAX).to_be_bytes();
    let status = (status as u16).to_be_bytes();
    let mut header = [0; HEADER_LEN];
    (header[0], header[1]) = (REPLY_MAGIC, opcode.0);
    header[2..4].copy_from_slice(&key_len);
    header[4] = u8::try_from(extras_len).unwrap_or(u8::MAX);
    header[6..8].copy_from_slice(&status);
    header[8..12].copy_from_slice(&body_len);
    header[12..16].copy_from_slice(&opaque);
    header[16..].copy_from_slice(&cas.to_be_bytes());
    header
}

/// Appends a whole packet without CAS.
pub fn put(
    out: &mut ReplyBuf,
    opcode: Opcode,
    opaque: [u8; 4],
    status: Status,
    extras: &[u8],
    key: &[u8],
    value: &[u8],
) {
    out.put(&header(opcode, opaque, status, [extras.len(), key.len(), value.len()], 0));
    for part in [extras, key, value] {
        out.put(part);
    }
}

fn opaque(form: &Form<'_>) -> [u8; 4] {
    let [_, _, _, _, _, _, _, _, _, _, _, _, o0, o1, o2, o3, ..] = *form.header;
    [o0, o1, o2, o3]
}

/// Appends an error with its text.
pub fn put_error(form: &Form<'_>, status: Status, out: &mut ReplyBuf) {
    put_with_value(form, status, status.text().as_bytes(), out);
}

/// Appends a reply that says no more than that all is well.
#[inline]
pub fn put_success(form: &Form<'_>, cas: u64, out: &mut ReplyBuf) {
    out.put(&header(form.opcode(), opaque(form), Status::Ok, [0; 3], cas));
}

/// Appends a reply with a value and nothing else in its body.
pub fn put_with_value(form: &Form<'_>, status: Status, value: &[u8], out: &mut ReplyBuf) {
    put(out, form.opcode(), opaque(form), status, &[], &[], value);
}

/// Appends one figure of STAT.
pub fn put_stat(form: &Form<'_>, name: &[u8], value: &[u8], out: &mut ReplyBuf) {
    put(out, form.opcode(), opaque(form), Status::Ok, &[], name, value);
}

/// Appends what a request for `key` is to be told, if anything.
pub fn put_outcome(form: &Form<'_>, key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    let verb = form.opcode().verb();
    match outcome {
        Outcome::Item(index) => match (verb, scratch.items.get(*index as usize)) {
            (Verb::Get { .. } | Verb::GetAndTouch { .. } | Verb::Touch, Some(item)) => {
                put_hit(form, key, item, scratch, out);
            }
            (Verb::Increment | Verb::Decrement, Some(item)) => put_number(form, item, scratch, out),
            (_, item) => put_done(form, item.map_or(0, |item| item.cas), out),
        },
        Outcome::Ok => put_done(form, 0, out),
        Outcome::Nil if matches!(verb, Verb::Get { .. } | Verb::GetAndTouch { .. }) => {
            put_miss(form, key, out);
        }
        other => put_error(form, status_of(verb, other), out),
    }
}

fn put_done(form: &Form<'_>, cas: u64, out: &mut ReplyBuf) {
    if !form.opcode().is_quiet() {
        put_success(form, cas, out);
    }
}

/// A get's miss: with GETK the key takes the place of the error's text.
fn put_miss(form: &Form<'_>, key: &[u8], out: &mut ReplyBuf) {
    let opcode = form.opcode();
    match opcode.is_quiet() {
        true => {}
        false if opcode.verb().answers_key() => {
            put(out, opcode, opaque(form), Status::NotFound, &[], key, &[]);
        }
        false => put_error(form, Status::NotFound, out),
    }
}

/// Flags, key if asked for, value but for TOUCH.
#[inline]
fn put_hit(form: &Form<'_>, key: &[u8], item: &Item, scratch: &Scratch, out: &mut ReplyBuf) {
    let opcode = form.opcode();
    let key = if opcode.verb().answers_key() { key } else { &[] };
    let value_len = if item.value == ItemValue::None { 0 } else { item.value_len };
    // A length that another protocol wrote and that this one cannot say.
    if u32::try_from(FLAGS_LEN + key.len() + value_len).is_err() {
        return put_error(form, Status::TooLarge, out);
    }
    let mut head = [0; HEADER_LEN + FLAGS_LEN];
    let lens = [FLAGS_LEN, key.len(), value_len];
    head[..HEADER_LEN].copy_from_slice(&header(opcode, opaque(form), Status::Ok, lens, item.cas));
    head[HEADER_LEN..].copy_from_slice(&item.flags.to_be_bytes());
    out.put(&head);
    out.put(key);
    match item.value {
        ItemValue::None => {}
        ItemValue::Copied(span) => out.put(&scratch.bytes[span.start as usize..][..span.len as usize]),
        ItemValue::Pinned(index) => out.put_pinned(scratch.pins[index as usize].clone()),
    }
}

/// A counter's new number, in 64 bits.
fn put_number(form: &Form<'_>, item: &Item, scratch: &Scratch, out: &mut ReplyBuf) {
    let opcode = form.opcode();
    if opcode.is_quiet() {
        return;
    }
    let digits = match item.value {
        ItemValue::Copied(span) => &scratch.bytes[span.start as usize..][..span.len as usize],
        ItemValue::None | ItemValue::Pinned(_) => &[],
    };
    let number = str::from_utf8(digits.trim_ascii()).ok().and_then(|digits| digits.parse::<u64>().ok());
    let Some(number) = number else { return put_error(form, Status::NotANumber, out) };
    let value = number.to_be_bytes();
    out.put(&header(opcode, opaque(form), Status::Ok, [0, 0, value.len()], item.cas));
    out.put(&value);
}

/// The status for what did not go well. memcached tells why ADD and REPLACE stored nothing, APPEND and PREPEND only that they did not.
fn status_of(verb: Verb, outcome: &Outcome) -> Status {
    let extends = matches!(verb, Verb::Append | Verb::Prepend);
    match (outcome, verb) {
        (Outcome::Exists, _) | (Outcome::NotStored, Verb::Add) => Status::Exists,
        (Outcome::Nil, _) if extends => Status::NotStored,
        (Outcome::Nil, _) | (Outcome::NotStored, Verb::Replace) => Status::NotFound,
        (Outcome::NotStored, _) => Status::NotStored,
        (Outcome::NotANumber, _) => Status::NotANumber,
        (Outcome::Refused(Refusal::TooLarge), _) if extends => Status::NotStored,
        (Outcome::Refused(Refusal::TooLarge), _) => Status::TooLarge,
        (Outcome::Refused(Refusal::OutOfMemory), _) => Status::OutOfMemory,
        (Outcome::Refused(Refusal::KeyTooLong), _) => Status::InvalidArguments,
        _ => Status::Internal,
    }
}
