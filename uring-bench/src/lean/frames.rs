//! Where each request ends, and which of four replies it gets. No store, and so no look at keys or values: but every length
//! is read and every frame's end is found and checked, as a server must.
//!
//! A request that is not whole yet is kept in the connection's `carry`. Only the bytes that complete it are added there;
//! those behind it are parsed where they were received.

/// Which reply a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The fixed value, to GET.
    Value,
    /// `+OK`, to SET.
    Ok,
    Pong,
    /// An error, to everything else: clients ask for much when they connect, and go on without it.
    Unknown,
}

/// Takes the replies of one connection, in order.
pub trait Sink {
    fn push(&mut self, reply: Reply);
}

impl Sink for Vec<Reply> {
    #[inline]
    fn push(&mut self, reply: Reply) {
        Vec::push(self, reply);
    }
}

/// Bytes that cannot be a request: nothing behind them can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What `next` finds at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A whole request, this long.
    Whole(Reply, usize),
    /// The beginning of one that is at least this long.
    Part(usize),
    Broken,
}

/// Longest announced length: Redis's own limit of a string.
const MAX_BULK: usize = 512 << 20;
/// Longest array of arguments.
const MAX_ARGUMENTS: usize = 1 << 20;
/// Longest line of an inline command, and of a header.
const MAX_LINE: usize = 64 << 10;

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$";
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$";

/// Answers every whole request of `carry` and `data`, and leaves in `carry` what is not whole.
#[inline]
pub fn answer(mut data: &[u8], carry: &mut Vec<u8>, sink: &mut impl Sink) -> Result<(), Broken> {
    while !carry.is_empty() {
        match next(carry) {
            Found::Whole(reply, len) => {
                debug_assert_eq!(len, carry.len(), "only what completes a request is carried");
                sink.push(reply);
                carry.clear();
            }
            Found::Part(_) if data.is_empty() => return Ok(()),
            Found::Part(need) => {
                let missing = (need - carry.len()).min(data.len());
                carry.extend_from_slice(&data[..missing]);
                data = &data[missing..];
            }
            Found::Broken => return Err(Broken),
        }
    }
    while !data.is_empty() {
        match next(data) {
            Found::Whole(reply, len) => {
                sink.push(reply);
                data = &data[len..];
            }
            Found::Part(_) => {
                carry.extend_from_slice(data);
                break;
            }
            Found::Broken => return Err(Broken),
        }
    }
    Ok(())
}

/// The first request of `input`, which is not empty. The two common commands are known by one comparison each.
#[inline]
fn next(input: &[u8]) -> Found {
    if input.starts_with(GET) {
        return match bulk_end(input, GET.len()) {
            Ok(end) => Found::Whole(Reply::Value, end),
            Err(found) => found,
        };
    }
    if input.starts_with(SET) {
        let value = bulk_end(input, SET.len()).and_then(|at| bulk(input, at));
        return match value {
            Ok(end) => Found::Whole(Reply::Ok, end),
            Err(found) => found,
        };
    }
    match input[0] {
        b'*' => any_array(input).unwrap_or_else(|found| found),
        _ => inline(input),
    }
}

/// The number at `at` and where the line behind it ends.
#[inline]
fn number(input: &[u8], mut at: usize, max: usize) -> Result<(usize, usize), Found> {
    let mut value = 0;
    let first = at;
    while let Some(&byte) = input.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return match input.get(at + 1) {
                _ if byte != b'\r' || at == first => Err(Found::Broken),
                None => Err(Found::Part(at + 2)),
                Some(b'\n') => Ok((value, at + 2)),
                Some(_) => Err(Found::Broken),
            };
        }
        value = value * 10 + usize::from(digit);
        if value > max {
            return Err(Found::Broken);
        }
        at += 1;
    }
    Err(Found::Part(at + 2))
}

/// The end of a bulk string whose length stands at `at` (behind its `$`).
#[inline]
fn bulk_end(input: &[u8], at: usize) -> Result<usize, Found> {
    let (len, start) = number(input, at, MAX_BULK)?;
    let end = start + len + 2;
    match input.get(start + len..end) {
        Some(b"\r\n") => Ok(end),
        Some(_) => Err(Found::Broken),
        None => Err(Found::Part(end)),
    }
}

/// The end of a bulk string whose `$` stands at `at`.
#[inline]
fn bulk(input: &[u8], at: usize) -> Result<usize, Found> {
    match input.get(at) {
        Some(b'$') => bulk_end(input, at + 1),
        Some(_) => Err(Found::Broken),
        None => Err(Found::Part(at + 4)),
    }
}

/// An array of any length and with any first word.
fn any_array(input: &[u8]) -> Result<Found, Found> {
    let (count, mut at) = number(input, 1, MAX_ARGUMENTS)?;
    if count == 0 {
        return Err(Found::Broken);
    }
    let command = at;
    for _ in 0..count {
        at = bulk(input, at)?;
    }
    let (len, start) = number(input, command + 1, MAX_BULK)?;
    let reply = match (&input[start..start + len], count) {
        (word, 2) if word.eq_ignore_ascii_case(b"GET") => Reply::Value,
        (word, 3..) if word.eq_ignore_ascii_case(b"SET") => Reply::Ok,
        (word, 1 | 2) if word.eq_ignore_ascii_case(b"PING") => Reply::Pong,
        _ => Reply::Unknown,
    };
    Ok(Found::Whole(reply, at))
}

/// A command typed by hand: a line.
fn inline(input: &[u8]) -> Found {
    let window = &input[..input.len().min(MAX_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return match window.len() == MAX_LINE {
            true => Found::Broken,
            false => Found::Part(input.len() + 1),
        };
    };
    let mut words = window[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (first, rest) = (words.next().unwrap_or_default(), words.count());
    let reply = match rest {
        1 if first.eq_ignore_ascii_case(b"GET") => Reply::Value,
        2.. if first.eq_ignore_ascii_case(b"SET") => Reply::Ok,
        0 if first.eq_ignore_ascii_case(b"PING") => Reply::Pong,
        _ => Reply::Unknown,
    };
    Found::Whole(reply, end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIPELINE: &[u8] = b"*2\r\n$3\r\nGET\r\n$4\r\nkey1\r\n*3\r\n$3\r\nSET\r\n$2\r\nk2\r\n$5\r\nva\r\nl\r\n*1\r\n$4\r\nPING\r\n\
        *2\r\n$3\r\nget\r\n$0\r\n\r\n*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$4\r\nsave\r\nPING\r\nGET a\r\n*2\r\n$3\r\nGET\r\n$11\r\nabcdefghijk\r\n";

    fn expected() -> Vec<Reply> {
        use Reply::{Ok, Pong, Unknown, Value};
        vec![Value, Ok, Pong, Value, Unknown, Pong, Value, Value]
    }

    fn play<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Vec<u8>) {
        let (mut replies, mut carry) = (Vec::new(), Vec::new());
        for piece in pieces {
            answer(piece, &mut carry, &mut replies).expect("sound requests");
        }
        (replies, carry)
    }

    #[test]
    fn a_pipeline_cut_anywhere_gives_the_same_replies() {
        for at in 0..=PIPELINE.len() {
            let (head, tail) = PIPELINE.split_at(at);
            assert_eq!(play([head, tail]), (expected(), Vec::new()), "cut at {at}");
        }
        assert_eq!(play(PIPELINE.chunks(1)), (expected(), Vec::new()), "byte by byte");
    }

    #[test]
    fn only_what_is_missing_is_carried() {
        let (mut replies, mut carry) = (Vec::new(), Vec::new());
        let set = [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000\r\n"[..], &[b'x'; 10_000], b"\r\n"].concat();
        let input = [&set[..], PIPELINE].concat();
        let (head, tail) = input.split_at(40);
        answer(head, &mut carry, &mut replies).unwrap();
        assert_eq!(carry.len(), 40);
        answer(tail, &mut carry, &mut replies).unwrap();
        assert_eq!(replies.len(), 1 + expected().len());
        assert!(
            carry.is_empty() && carry.capacity() < set.len() * 2,
            "the pipeline behind it was parsed in place"
        );
    }

    #[test]
    fn broken_framing_ends_the_connection() {
        for bytes in [
            &b"*0\r\n"[..],
            b"*-1\r\n",
            b"*x\r\n",
            b"*2\r\n$3\r\nGET\r\n$1\r\nkey\r\n",
            b"*2\r\n$3\r\nGET\r\n$9999999999\r\n",
            b"*2\r\n$3\r\nGET\r\n$3\rkey\r\n",
            b"*1\r\n+PING\r\n",
            b"*2\r\n$3\r\nGET\r\n$\r\n\r\n",
        ] {
            let (mut replies, mut carry) = (Vec::new(), Vec::new());
            assert_eq!(
                answer(bytes, &mut carry, &mut replies),
                Err(Broken),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    proptest! {
        /// Cut into any pieces, the requests and what is left over are the same.
        #[test]
        fn cuts_change_nothing(cuts in proptest::collection::vec(1usize..40, 1..60), repeat in 1usize..4) {
            let input = PIPELINE.repeat(repeat);
            let input = &input[..input.len() - 5];
            let (mut rest, mut pieces) = (input, Vec::new());
            for cut in cuts.iter().cycle() {
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(head);
                rest = tail;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(play(pieces), play([input]));
        }

        /// No input makes it panic or take more than it was given.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'*'), Just(b'$'), b'0'..=b'9'], 0..200)) {
            let (mut replies, mut carry) = (Vec::new(), Vec::new());
            let _ = answer(&bytes, &mut carry, &mut replies);
            prop_assert!(carry.len() <= bytes.len());
        }
    }
}
