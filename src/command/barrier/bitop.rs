//! BITOP: the bits of several values combined into another.
//!
//! Small values are combined under the locks. Large ones are pinned under the locks and combined outside of them; the result is then
//! written only if the sources are still what they were, as if all had happened at that moment. If not, once more.

use super::locked::{Keys, LockedSet, keys, with_room};
use super::multi_write::{as_value, prepare};
use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, refused};
use crate::proto::resp::Writer;
use crate::store::{Expiry, Happening, Value, WriteError};
use bytes::Bytes;

/// Source bytes that are combined while the partitions are held: a few microseconds.
const SMALL: usize = 32 << 10;

/// Bytes of a moved source that are compared while the partitions are held.
const QUICKLY_COMPARED: usize = 1 << 20;

/// How often large values are combined before giving up on sources that keep changing.
const ATTEMPTS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

/// What one look at the sources led to.
enum Step {
    /// The destination is written; the length of the result.
    Done(usize),
    /// Too much to combine while others wait.
    Combine(Vec<Bytes>),
}

/// BITOP AND|OR|XOR|NOT destination key...: the length of the result, which is that of the longest source.
pub fn bitop(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let operation = match &args[1].to_ascii_uppercase()[..] {
            b"AND" => Operation::And,
            b"OR" => Operation::Or,
            b"XOR" => Operation::Xor,
            b"NOT" => Operation::Not,
            _ => return Err(SYNTAX.into()),
        };
        if operation == Operation::Not && args.len() != 4 {
            return Err("ERR BITOP NOT must be called with a single source key.".into());
        }
        let keys = keys(ctx, &args[2..]);
        out.int(store_combined(operation, &keys, ctx)? as i64);
        Ok(())
    })
}

/// `keys` are the destination and the sources.
fn store_combined(operation: Operation, keys: &Keys<'_>, ctx: &mut Context<'_>) -> Result<usize, ErrorText> {
    let (store, now_ms, cause) = (ctx.store, ctx.now_ms, ctx.cause());
    // What was combined outside of the locks: its sources, and the result.
    let mut ready: Option<(Vec<Bytes>, Bytes)> = None;
    for _ in 0..ATTEMPTS {
        let room = ready.as_ref().map_or(SMALL, |(_, result)| result.len());
        let step = with_room(ctx, keys, room, |locked| {
            locked.set_cause(cause);
            let sources = pin_sources(locked, keys, now_ms);
            if let Some((_, result)) = ready.as_ref().filter(|(old, _)| same(old, &sources)) {
                write(locked, keys, as_value(result, store), result.len(), now_ms)?;
                return Ok(Step::Done(result.len()));
            }
            if sources.iter().map(Bytes::len).sum::<usize>() > SMALL {
                return Ok(Step::Combine(sources));
            }
            let result = combine(operation, &sources);
            write(locked, keys, Value::Inline(&result), result.len(), now_ms)?;
            Ok(Step::Done(result.len()))
        });
        match step.map_err(refused)? {
            Step::Done(len) => return Ok(len),
            Step::Combine(sources) => {
                let result = combine(operation, &sources);
                let placed = match prepare(&result, ctx).map_err(refused)? {
                    Value::Large(placed) => placed,
                    Value::Inline(_) => Bytes::from(result),
                };
                ready = Some((sources, placed));
            }
        }
    }
    Err("TRYAGAIN the sources kept changing while they were combined".into())
}

fn pin_sources(locked: &mut LockedSet<'_>, keys: &Keys<'_>, now_ms: u64) -> Vec<Bytes> {
    let mut sources = Vec::with_capacity(keys.len() - 1);
    locked.for_each(&keys[1..], |partition, key| {
        let found = partition.get(key, now_ms).map(|entry| entry.pin());
        if found.is_none() {
            partition.note(Happening::Miss, key);
        }
        sources.push(found.unwrap_or_default());
    });
    sources
}

/// Whether the sources are what they were. A pinned value is neither changed nor its memory used again, so the same place is proof; what
/// compaction has moved is compared while that is quick.
fn same(before: &[Bytes], now: &[Bytes]) -> bool {
    before.iter().zip(now).all(|(a, b)| {
        a.len() == b.len() && (a.as_ptr() == b.as_ptr() || (a.len() <= QUICKLY_COMPARED && a == b))
    })
}

/// Writes the result, or removes the destination if it is empty.
fn write(
    locked: &mut LockedSet<'_>,
    keys: &Keys<'_>,
    value: Value<'_>,
    len: usize,
    now_ms: u64,
) -> Result<(), WriteError> {
    let destination = &keys[0];
    if len == 0 {
        locked.partition(destination).remove(destination, now_ms);
        return Ok(());
    }
    locked.partition(destination).set(destination, value, Expiry::None, now_ms)
}

/// Sources shorter than the longest are as if zeros followed.
fn combine(operation: Operation, sources: &[Bytes]) -> Vec<u8> {
    let longest = sources.iter().map(Bytes::len).max().unwrap_or(0);
    let (first, others) =
        sources.split_first().map_or((&[][..], &[][..]), |(first, rest)| (&first[..], rest));
    let mut result = first.to_vec();
    result.resize(longest, 0);
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for other in others {
        let (common, beyond) = result.split_at_mut(other.len());
        let pairs = common.iter_mut().zip(&other[..]);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, with)| *byte &= with);
                beyond.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, with)| *byte |= with),
            Operation::Xor => pairs.for_each(|(byte, with)| *byte ^= with),
            Operation::Not => {}
        }
    }
    result
}
