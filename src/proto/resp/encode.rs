//! Turns the outcome of a keyed request into its reply: the path that nearly all replies take.

use super::Writer;
use crate::proto::{Item, ItemValue, Outcome, ReplyBuf, Scratch, Span};

/// Appends the reply for `outcome`, whose spans and pins are in `scratch`. What GET and SET answer is written here, in the caller's loop.
#[inline(always)]
pub fn encode(outcome: &Outcome, scratch: &Scratch, resp3: bool, out: &mut ReplyBuf) {
    match outcome {
        Outcome::Value(span) => out.put_bulk(slice(scratch, *span)),
        Outcome::Ok => out.put_array(b"+OK\r\n"),
        _ => encode_into(outcome, scratch, &mut Writer::new(out, resp3)),
    }
}

/// The same for a writer that there is already.
#[inline(never)]
pub fn encode_into(outcome: &Outcome, scratch: &Scratch, writer: &mut Writer<'_>) {
    match outcome {
        Outcome::Value(span) => writer.bulk(slice(scratch, *span)),
        Outcome::Nil => writer.null(),
        Outcome::Ok => writer.ok(),
        Outcome::Int(value) => writer.int(*value),
        Outcome::Pinned(index) => writer.bulk_pinned(scratch.pins[*index as usize].clone()),
        Outcome::PinnedInArray(index) => {
            writer.array(1);
            writer.bulk_pinned(scratch.pins[*index as usize].clone());
        }
        Outcome::Encoded(span) => writer.raw(slice(scratch, *span)),
        Outcome::Refused(refusal) => writer.error(refusal.text()),
        Outcome::Error(text) => writer.error(text),
        Outcome::Pong => writer.simple("PONG"),
        Outcome::Item(index) => put_item(&scratch.items[*index as usize], scratch, writer),
        // A write whose condition was not met.
        Outcome::NotStored | Outcome::Exists => writer.null(),
        Outcome::NotANumber | Outcome::Pending => {
            debug_assert!(false, "no command of RESP answers {outcome:?}");
            writer.error("ERR internal error: unexpected outcome");
        }
    }
}

/// KV.GET's reply: the value, whose turn it is, and the CAS that goes with it.
fn put_item(item: &Item, scratch: &Scratch, writer: &mut Writer<'_>) {
    writer.map(5);
    writer.bulk(b"value");
    match item.value {
        _ if item.placeholder => writer.null(),
        ItemValue::Copied(span) => writer.bulk(slice(scratch, span)),
        ItemValue::Pinned(index) => writer.bulk_pinned(scratch.pins[index as usize].clone()),
        ItemValue::None => writer.null(),
    }
    writer.bulk(b"lease");
    writer.bulk(match item {
        Item { won: true, .. } => b"won",
        Item { taken: true, .. } => b"taken",
        _ => b"none",
    });
    writer.bulk(b"stale");
    writer.int(item.stale.into());
    writer.bulk(b"cas");
    // Of 52 bits unless a client has chosen it.
    writer.bulk(itoa::Buffer::new().format(item.cas).as_bytes());
    writer.bulk(b"expires-at-ms");
    writer.int(item.expire_at_ms.map_or(-1, |at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX)));
}

#[inline]
fn slice(scratch: &Scratch, span: Span) -> &[u8] {
    let start = span.start as usize;
    &scratch.bytes[start..start + span.len as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn each_outcome_has_its_reply() {
        let scratch = Scratch {
            bytes: b"..value*1\r\n_\r\n".to_vec(),
            pins: vec![Bytes::from_static(b"pin")],
            ..Scratch::default()
        };
        let reply = |outcome: Outcome, resp3| {
            let mut out = ReplyBuf::default();
            encode(&outcome, &scratch, resp3, &mut out);
            (String::from_utf8(out.bytes).unwrap(), out.pins)
        };
        for (outcome, expected) in [
            (Outcome::Value(Span { start: 2, len: 5 }), "$5\r\nvalue\r\n"),
            (Outcome::Value(Span { start: 2, len: 0 }), "$0\r\n\r\n"),
            (Outcome::Nil, "$-1\r\n"),
            (Outcome::Ok, "+OK\r\n"),
            (Outcome::Pong, "+PONG\r\n"),
            (Outcome::Int(-7), ":-7\r\n"),
            (Outcome::Encoded(Span { start: 7, len: 7 }), "*1\r\n_\r\n"),
            (Outcome::Error("ERR no".into()), "-ERR no\r\n"),
        ] {
            assert_eq!(reply(outcome, false), (expected.to_owned(), vec![]));
        }
        assert_eq!(reply(Outcome::Nil, true).0, "_\r\n");
        let (bytes, pins) = reply(Outcome::Pinned(0), true);
        assert_eq!((bytes.as_str(), pins), ("$3\r\n\r\n", vec![(4, Bytes::from_static(b"pin"))]));
    }
}
