//! Outcomes to memcached's replies.

use super::tokens::words;
use super::{ERROR, Form, MetaForm, MetaVerb, NO_MEMORY, NO_MEMORY_STORING, NOT_A_NUMBER, TOO_LARGE};
use crate::proto::{Item, ItemValue, Outcome, Refusal, ReplyBuf, Scratch};

const NOT_FOUND: &[u8] = b"NOT_FOUND\r\n";

/// Appends the reply to a request for `key`.
#[inline]
pub fn encode(form: &Form<'_>, key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    match form {
        Form::Value { cas, last } => {
            let end: &[u8] = if *last { b"\r\nEND\r\n" } else { b"\r\n" };
            match outcome {
                Outcome::Value(span) => {
                    let value = &scratch.bytes[span.start as usize..][..span.len as usize];
                    if *last {
                        out.put_text_value(key, value, b"\r\nEND\r\n");
                    } else {
                        out.put_text_value(key, value, b"\r\n");
                    }
                }
                Outcome::Item(index) => value(key, &scratch.items[*index as usize], *cas, end, scratch, out),
                Outcome::Pinned(index) => {
                    let pinned = ItemValue::Pinned(*index);
                    let value_len = scratch.pins[*index as usize].len();
                    let item = Item { value: pinned, value_len, ..Item::default() };
                    value(key, &item, *cas, end, scratch, out);
                }
                _ if *last => out.put_array(b"END\r\n"),
                _ => {}
            }
        }
        Form::Stored if matches!(outcome, Outcome::Ok) => out.put_array(b"STORED\r\n"),
        Form::Stored => out.put(stored(outcome)),
        _ => encode_rare(form, key, outcome, scratch, out),
    }
}

/// `VALUE <key> <flags> <bytes> [<cas>]`, the value, and what ends it.
fn value(key: &[u8], item: &Item, cas: bool, end: &[u8], scratch: &Scratch, out: &mut ReplyBuf) {
    let (mut flags, mut len) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (flags, len) = (flags.format(item.flags).as_bytes(), len.format(item.value_len).as_bytes());
    out.put_all([b"VALUE ", key, b" ", flags, b" ", len]);
    if cas {
        with(b" ", item.cas, out);
    }
    out.put(b"\r\n");
    bytes(item.value, scratch, out);
    out.put(end);
}

/// A value and the end of its line.
fn block(value: ItemValue, scratch: &Scratch, out: &mut ReplyBuf) {
    bytes(value, scratch, out);
    out.put(b"\r\n");
}

fn bytes(value: ItemValue, scratch: &Scratch, out: &mut ReplyBuf) {
    match value {
        ItemValue::Copied(span) => out.put(&scratch.bytes[span.start as usize..][..span.len as usize]),
        ItemValue::Pinned(index) => out.put_pinned(scratch.pins[index as usize].clone()),
        ItemValue::None => {}
    }
}

#[inline]
fn number(number: u64, out: &mut ReplyBuf) {
    out.put(itoa::Buffer::new().format(number).as_bytes());
}

#[inline]
fn stored(outcome: &Outcome) -> &'static [u8] {
    match outcome {
        Outcome::Ok | Outcome::Item(_) => b"STORED\r\n",
        Outcome::NotStored => b"NOT_STORED\r\n",
        Outcome::Exists => b"EXISTS\r\n",
        Outcome::Nil => NOT_FOUND,
        outcome => refused(outcome, NO_MEMORY_STORING),
    }
}

/// What the store would not do. `no_memory`: as it is worded where this can happen.
fn refused(outcome: &Outcome, no_memory: &'static [u8]) -> &'static [u8] {
    match outcome {
        Outcome::Refused(Refusal::OutOfMemory) => no_memory,
        Outcome::Refused(Refusal::TooLarge | Refusal::KeyTooLong) => TOO_LARGE,
        Outcome::NotANumber => NOT_A_NUMBER,
        _ => ERROR,
    }
}

#[inline(never)]
fn encode_rare(form: &Form<'_>, key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    let item = match outcome {
        Outcome::Item(index) => Some(&scratch.items[*index as usize]),
        _ => None,
    };
    match form {
        Form::Value { .. } | Form::Stored | Form::Silent => {}
        Form::Deleted => out.put(if *outcome == Outcome::Ok { b"DELETED\r\n" } else { NOT_FOUND }),
        Form::Touched => out.put(if item.is_some() { b"TOUCHED\r\n" } else { NOT_FOUND }),
        Form::Number => match (item, outcome) {
            (Some(item), _) => block(item.value, scratch, out),
            (None, Outcome::Nil) => out.put(NOT_FOUND),
            (None, outcome) => out.put(refused(outcome, NO_MEMORY)),
        },
        Form::Fixed(reply) => out.put(reply),
        Form::Meta(form) => meta(form, outcome, item, scratch, out),
        Form::Debug { written, now_ms } => match item {
            Some(item) => debug(written, key, item, *now_ms, out),
            None => out.put(b"EN\r\n"),
        },
    }
}

/// The reply to mg, ms, md or ma. Only what is usual can be kept quiet.
fn meta(form: &MetaForm<'_>, outcome: &Outcome, item: Option<&Item>, scratch: &Scratch, out: &mut ReplyBuf) {
    let (code, usual): (&[u8], bool) = match (form.verb, outcome) {
        (MetaVerb::Get, Outcome::Item(_)) => (b"HD", false),
        (MetaVerb::Get, Outcome::Nil) => (b"EN", true),
        (_, Outcome::Ok | Outcome::Item(_)) => (b"HD", true),
        (_, Outcome::Nil) => (b"NF", false),
        (_, Outcome::NotStored) => (b"NS", false),
        (_, Outcome::Exists) => (b"EX", false),
        (MetaVerb::Set, outcome) => return out.put(refused(outcome, NO_MEMORY_STORING)),
        (_, outcome) => return out.put(refused(outcome, NO_MEMORY)),
    };
    if usual && form.quiet {
        return;
    }
    let known = |item: &Item| form.known.is_some_and(|cas| cas == item.cas);
    let value = item.filter(|item| has_flag(form.flags, b'v') && form.verb != MetaVerb::Set && !known(item));
    match value {
        Some(item) => {
            out.put(b"VA ");
            number(item.value_len as u64, out);
        }
        None => out.put(code),
    }
    // A time that was to be set is shown by what stands behind it: flags take effect in their order.
    let mut touched = false;
    for flag in words(form.flags) {
        touched |= matches!(flag[0], b'T' | b'N');
        answer_flag(form, flag, touched, item, out);
    }
    if let Some(item) = item.filter(|_| form.verb == MetaVerb::Get) {
        for (holds, mark) in [(item.taken, b" Z"), (item.stale, b" X"), (item.won, b" W")] {
            if holds {
                out.put(mark);
            }
        }
    }
    out.put(b"\r\n");
    if let Some(item) = value {
        block(item.value, scratch, out);
    }
}

fn has_flag(flags: &[u8], letter: u8) -> bool {
    words(flags).any(|flag| flag[0] == letter)
}

/// What one flag asks to be told. Opaque and key come with every reply, the rest with an item.
fn answer_flag(form: &MetaForm<'_>, flag: &[u8], touched: bool, item: Option<&Item>, out: &mut ReplyBuf) {
    match (flag[0], form.verb, item) {
        (b'O', ..) => {
            out.put(b" ");
            out.put(flag);
        }
        (b'k', ..) => {
            out.put(b" k");
            out.put(form.written);
            if form.binary {
                out.put(b" b");
            }
        }
        (b'c', MetaVerb::Set, item) => with(b" c", item.map_or(0, |item| item.cas), out),
        (b's', MetaVerb::Set, item) => {
            with(b" s", item.map_or(form.sent, |item| item.value_len) as u64, out);
        }
        (b'c', MetaVerb::Get | MetaVerb::Count, Some(item)) => with(b" c", item.cas, out),
        (b't', MetaVerb::Get | MetaVerb::Count, Some(item)) => {
            let at_ms = if touched { item.expire_at_ms } else { item.expire_at_ms_before };
            match left_s(at_ms, form.now_ms) {
                Some(seconds) => with(b" t", seconds, out),
                None => out.put(b" t-1"),
            }
        }
        (b's', MetaVerb::Get, Some(item)) => with(b" s", item.value_len as u64, out),
        (b'f', MetaVerb::Get, Some(item)) => with(b" f", u64::from(item.flags), out),
        (b'l', MetaVerb::Get, Some(item)) => with(b" l", u64::from(item.idle_s), out),
        (b'h', MetaVerb::Get, Some(item)) => with(b" h", u64::from(item.hit_before), out),
        _ => {}
    }
}

fn with(letter: &[u8], value: u64, out: &mut ReplyBuf) {
    out.put(letter);
    number(value, out);
}

/// Whole seconds until an item expires, rounded up: what was set with T30 has 30 for its first second. `None`: never.
fn left_s(at_ms: Option<u64>, now_ms: u64) -> Option<u64> {
    Some(at_ms?.saturating_sub(now_ms).div_ceil(1000))
}

/// me: there are no slab classes, so every item is in the first; the size is that of key and value.
fn debug(written: &[u8], key: &[u8], item: &Item, now_ms: u64, out: &mut ReplyBuf) {
    out.put(b"ME ");
    out.put(written);
    match left_s(item.expire_at_ms, now_ms) {
        Some(seconds) => with(b" exp=", seconds, out),
        None => out.put(b" exp=-1"),
    }
    with(b" la=", u64::from(item.idle_s), out);
    with(b" cas=", item.cas, out);
    out.put(if item.hit_before { b" fetch=yes" } else { b" fetch=no" });
    with(b" cls=1 size=", (key.len() + item.value_len) as u64, out);
    out.put(b"\r\n");
}
