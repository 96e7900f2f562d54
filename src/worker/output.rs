//! From encoded replies to sends, and what becomes of a send that the peer was too slow to take.
//!
//! Each connection with output gets one send in the turn's [`Outgoing`], unless an earlier one is still waiting: then its replies
//! join its outbox. What the kernel did not take at once moves to the outbox too, and goes on as an owned send.

use super::connections::{Conn, Connections};
use super::rounds::{Output, Source};
use crate::limits::OUTPUT_HIGH;
use crate::proto::ReplyBuf;
use crate::ring::{Driver, Outgoing, Piece, Send};
use crate::store::LONGEST_INLINE;
use bytes::Bytes;
use std::ops::Range;

/// A pinned value of up to this many bytes is copied when its reader turns out to be slow, since it may lie in a segment of
/// the store: sixteen kilobytes would keep two megabytes from being reused for as long as the reader likes. Longer ones
/// have memory of their own.
const MOST_COPIED: usize = LONGEST_INLINE;
/// As long as its reader has not left more than this, bytes: where receiving stops by default. Beyond is the rest of one long
/// reply, of which copies could push keys out.
const COPIED_IN_ALL: usize = OUTPUT_HIGH;
/// Most pieces and bytes of one owned send.
const OWNED_PIECES: usize = 64;
const OWNED_BYTES: usize = 4 << 20;

/// Moves the turn's replies into `outgoing`, one send per connection, or into outboxes. Empties `replies` and `outputs`.
pub fn queue(
    outgoing: &mut Outgoing,
    conns: &mut Connections,
    sources: &[Source],
    outputs: &mut Vec<Output>,
    replies: &mut ReplyBuf,
    turn: u64,
) {
    debug_assert!(outgoing.sends.is_empty() && outgoing.bytes.is_empty());
    // Rounds interleave connections; a stable sort brings each one's stretches together in order.
    if !outputs.is_sorted_by_key(|output| output.source) {
        outputs.sort_by_key(|output| output.source);
    }
    let mut rest = &outputs[..];
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|output| output.source == first.source).count();
        let (own, others) = rest.split_at(count);
        rest = others;
        if let Some(conn) = conns.get(sources[first.source as usize].conn) {
            conn.answered_in_turn = turn;
            if !conn.outbox.is_empty() {
                own.iter().for_each(|output| to_outbox(conn, output, replies));
            } else {
                queue_send(outgoing, conn, own, replies);
            }
        }
    }
    outputs.clear();
    std::mem::swap(&mut outgoing.bytes, &mut replies.bytes);
    outgoing.pins.extend(replies.pins.drain(..).map(|(_, pin)| pin));
    replies.clear();
}

fn queue_send(outgoing: &mut Outgoing, conn: &Conn, outputs: &[Output], replies: &ReplyBuf) {
    let start = outgoing.pieces.len();
    for output in outputs {
        for_each_stretch(output, replies, |stretch| match stretch {
            Stretch::Bytes(range) => push_bytes(&mut outgoing.pieces, start, range),
            Stretch::Pin(pin) => outgoing.pieces.push(Piece::Pin(to_u32(pin))),
        });
    }
    if outgoing.pieces.len() > start {
        let pieces = to_u32(start)..to_u32(outgoing.pieces.len());
        outgoing.sends.push(Send { conn: conn.id, pieces });
    }
}

/// Appends a byte range, joined to the one before it where they touch.
fn push_bytes(pieces: &mut Vec<Piece>, start: usize, range: Range<usize>) {
    let range = to_u32(range.start)..to_u32(range.end);
    if pieces.len() > start
        && let Some(Piece::Bytes(last)) = pieces.last_mut()
        && last.end == range.start
    {
        last.end = range.end;
        return;
    }
    pieces.push(Piece::Bytes(range));
}

fn to_outbox(conn: &mut Conn, output: &Output, replies: &ReplyBuf) {
    for_each_stretch(output, replies, |stretch| match stretch {
        Stretch::Bytes(range) => conn.outbox.push(&replies.bytes[range]),
        Stretch::Pin(pin) => push_value(conn, replies.pins[pin].1.clone()),
    });
}

fn push_value(conn: &mut Conn, value: Bytes) {
    if value.len() <= MOST_COPIED && conn.outbox.len() < COPIED_IN_ALL {
        conn.outbox.push(&value);
    } else {
        conn.outbox.push_pinned(value);
    }
}

enum Stretch {
    Bytes(Range<usize>),
    Pin(usize),
}

/// An output's bytes and pins in the order in which they leave.
fn for_each_stretch(output: &Output, replies: &ReplyBuf, mut each: impl FnMut(Stretch)) {
    let mut at = output.bytes.start;
    for pin in output.pins.clone() {
        let position = replies.pins[pin].0;
        if position > at {
            each(Stretch::Bytes(at..position));
        }
        each(Stretch::Pin(pin));
        at = position;
    }
    if output.bytes.end > at {
        each(Stretch::Bytes(at..output.bytes.end));
    }
}

/// Offsets in a turn's output fit 32 bits: `ReplyBuf` takes no more.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("ReplyBuf holds less than 4 GiB")
}

/// Moves what the kernel did not take of a send to its connection's outbox.
pub fn keep_rest(conn: &mut Conn, outgoing: &Outgoing, pieces: Range<u32>, mut sent: usize) {
    for piece in &outgoing.pieces[pieces.start as usize..pieces.end as usize] {
        match piece {
            Piece::Bytes(range) => {
                let bytes = &outgoing.bytes[range.start as usize..range.end as usize];
                let skip = sent.min(bytes.len());
                sent -= skip;
                conn.outbox.push(&bytes[skip..]);
            }
            Piece::Pin(pin) => {
                let bytes: &Bytes = &outgoing.pins[*pin as usize];
                let skip = sent.min(bytes.len());
                sent -= skip;
                push_value(conn, bytes.slice(skip..));
            }
        }
    }
}

/// Starts the next owned send of a connection that has none in flight.
pub fn send_more<D: Driver>(driver: &mut D, conn: &mut Conn) {
    if !conn.outbox.is_empty() && !conn.outbox.is_sending() {
        driver.send_owned(conn.id, conn.outbox.take(OWNED_PIECES, OWNED_BYTES));
    }
}
