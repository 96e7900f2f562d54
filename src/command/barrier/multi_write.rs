//! Writing several keys in one step: MSET, MSETNX, MSETEX, DEL, UNLINK.
//!
//! All or nothing, and nobody sees half of it: the partitions of all keys are held from the first write to the last. Where a write is
//! refused in the middle, those before it are undone before the locks go.

use super::locked::{Keys, LockedSet, keys, with_room};
use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer, refused};
use crate::proto::resp::Writer;
use crate::store::{Eviction, Expiry, Extra, Key, Store, Value, WriteError};
use bytes::Bytes;
use smallvec::SmallVec;

/// What an item takes beyond its key and value, rounded up: asked for when room must be made.
const ITEM_OVERHEAD: usize = 32;

/// What must be true of all keys for any to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    NoneExists,
    AllExist,
}

/// MSET key value...
pub fn mset(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let pairs = pairs(&args[1..], "mset")?;
        write_all(pairs, Condition::Always, Expiry::None, ctx)?;
        out.ok();
        Ok(())
    })
}

/// MSETNX key value...: 1 if none of the keys existed and all are written, otherwise 0.
pub fn msetnx(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let pairs = pairs(&args[1..], "msetnx")?;
        let written = write_all(pairs, Condition::NoneExists, Expiry::None, ctx)?;
        out.int(i64::from(written));
        Ok(())
    })
}

/// MSETEX numkeys key value... [NX|XX] [EX seconds|PX ms|EXAT second|PXAT ms|KEEPTTL]: 1 if written, 0 if the condition did not hold.
pub fn msetex(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let pairs = msetex_pairs(args)?;
        let (condition, expiry) = msetex_options(&args[2 + pairs.len()..], ctx.now_ms)?;
        let written = write_all(pairs, condition, expiry, ctx)?;
        out.int(i64::from(written));
        Ok(())
    })
}

/// DEL key..., UNLINK key...: how many there were. Memory is never given back while the caller waits, so the two are one.
pub fn del(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let keys = keys(ctx, &args[1..]);
    let now_ms = ctx.now_ms;
    let mut removed = 0;
    let cause = ctx.cause();
    let mut locked = ctx.lock(&keys);
    locked.set_cause(cause);
    locked.for_each(&keys, |partition, key| removed += i64::from(partition.remove(key, now_ms)));
    drop(locked);
    out.int(removed);
    Flow::Continue
}

fn pairs<'a, 'b>(args: &'b [&'a [u8]], command: &str) -> Result<&'b [&'a [u8]], ErrorText> {
    if args.len().is_multiple_of(2) {
        return Ok(args);
    }
    Err(format!("ERR wrong number of arguments for '{command}' command").into())
}

/// The keys and values of an MSETEX command line.
pub fn msetex_pairs<'a, 'b>(args: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], ErrorText> {
    let count = integer(args[1])
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| (1..=i32::MAX as usize).contains(count))
        .ok_or(ErrorText::Borrowed("ERR invalid numkeys value or out of range"))?;
    args[2..].get(..count * 2).ok_or(ErrorText::Borrowed(SYNTAX))
}

fn msetex_options(options: &[&[u8]], now_ms: u64) -> Result<(Condition, Expiry), ErrorText> {
    let (mut condition, mut expiry) = (Condition::Always, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let option = option.to_ascii_uppercase();
        // An option may be repeated (the last one counts), but not contradicted.
        let first = expiry.as_ref().is_none_or(|(given, _): &(Vec<u8>, &[u8])| *given == option);
        match &option[..] {
            b"NX" if condition != Condition::AllExist => condition = Condition::NoneExists,
            b"XX" if condition != Condition::NoneExists => condition = Condition::AllExist,
            b"KEEPTTL" if first => expiry = Some((option, &b""[..])),
            b"EX" | b"PX" | b"EXAT" | b"PXAT" if first => {
                let amount = options.next().ok_or(ErrorText::Borrowed(SYNTAX))?;
                expiry = Some((option, amount));
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    let expiry = match expiry {
        None => Expiry::None,
        Some((option, _)) if option == b"KEEPTTL" => Expiry::Keep,
        Some((unit, amount)) => Expiry::At(expiry_at(&unit, amount, now_ms)?),
    };
    Ok((condition, expiry))
}

/// When something expires, Unix milliseconds.
fn expiry_at(unit: &[u8], amount: &[u8], now_ms: u64) -> Result<u64, ErrorText> {
    let amount = integer(amount)?;
    let scale = if matches!(unit, b"EX" | b"EXAT") { 1000 } else { 1 };
    let base = if matches!(unit, b"EX" | b"PX") { i64::try_from(now_ms).unwrap_or(i64::MAX) } else { 0 };
    Some(amount)
        .filter(|amount| *amount > 0)
        .and_then(|amount| amount.checked_mul(scale)?.checked_add(base))
        .and_then(|at| u64::try_from(at).ok())
        .ok_or(ErrorText::Borrowed("ERR invalid expire time in 'msetex' command"))
}

/// Writes all pairs if the condition holds, and says whether it did.
fn write_all(
    pairs: &[&[u8]],
    condition: Condition,
    expiry: Expiry,
    ctx: &mut Context<'_>,
) -> Result<bool, ErrorText> {
    let (store, now_ms) = (ctx.store, ctx.now_ms);
    let keys = keys(ctx, pairs.iter().step_by(2));
    // Found out before anything is written: with eviction on, undoing forgets.
    if keys.iter().any(|key| key.bytes.len() > store.max_key_len()) {
        return Err(refused(WriteError::KeyTooLong).into());
    }
    let mut values: SmallVec<[Value<'_>; 16]> = SmallVec::new();
    for value in pairs.iter().skip(1).step_by(2) {
        values.push(prepare(value, ctx).map_err(refused)?);
    }
    let bytes = pairs.iter().map(|part| part.len()).sum::<usize>() + keys.len() * ITEM_OVERHEAD;
    let cause = ctx.cause();
    let written = with_room(ctx, &keys, bytes, |locked| {
        locked.set_cause(cause);
        let met = match condition {
            Condition::Always => {
                keys.chunks(32).for_each(|batch| locked.prefetch(batch));
                true
            }
            Condition::NoneExists => !exist(locked, &keys, now_ms).0,
            Condition::AllExist => exist(locked, &keys, now_ms).1,
        };
        if met {
            set_all(locked, &keys, &values, expiry, store.config().eviction, now_ms)?;
        }
        Ok(met)
    });
    written.map_err(|error| refused(error).into())
}

/// A value ready to be written: a large one is copied to its place now, while nothing is locked that need not be.
pub fn prepare<'a>(value: &'a [u8], ctx: &mut Context<'_>) -> Result<Value<'a>, WriteError> {
    if value.len() <= ctx.store.large_threshold() {
        return Ok(Value::Inline(value));
    }
    ctx.large_value(value).map(Value::Large)
}

/// A pinned value in the form in which it is written again.
pub fn as_value<'a>(pinned: &'a Bytes, store: &Store) -> Value<'a> {
    if pinned.len() <= store.large_threshold() { Value::Inline(pinned) } else { Value::Large(pinned.clone()) }
}

/// Whether any of the keys exists, and whether all do.
fn exist(locked: &mut LockedSet<'_>, keys: &Keys<'_>, now_ms: u64) -> (bool, bool) {
    let mut found = 0;
    locked.for_each(keys, |partition, key| found += usize::from(partition.peek(key, now_ms).is_some()));
    (found > 0, found == keys.len())
}

/// Writes all, or on an error none. A time of expiry that has passed removes the key, as nobody could read it any more.
fn set_all(
    locked: &mut LockedSet<'_>,
    keys: &Keys<'_>,
    values: &[Value<'_>],
    expiry: Expiry,
    eviction: Eviction,
    now_ms: u64,
) -> Result<(), WriteError> {
    let mut undo = Undo { written: SmallVec::new(), keep_old: eviction == Eviction::None };
    for (key, value) in keys.iter().zip(values) {
        if matches!(expiry, Expiry::At(at) if at <= now_ms) {
            locked.partition(key).remove(key, now_ms);
            continue;
        }
        undo.before(locked, key, now_ms);
        if let Err(error) = locked.partition(key).set(key, value.clone(), expiry, now_ms) {
            undo.written.pop();
            undo.run(locked, now_ms);
            return Err(error);
        }
    }
    Ok(())
}

/// What has been written so far, and what was there before.
///
/// With eviction on, what was overwritten is simply removed: the store had nothing left to evict, and a cache may always forget. With
/// eviction off nothing may be lost, so the old values are kept until all is written.
struct Undo<'k> {
    written: SmallVec<[Written<'k>; 16]>,
    keep_old: bool,
}

struct Written<'k> {
    key: Key<'k>,
    /// What to put back.
    old: Option<(Bytes, Expiry, Extra)>,
}

impl<'k> Undo<'k> {
    fn before(&mut self, locked: &mut LockedSet<'_>, key: &Key<'k>, now_ms: u64) {
        let old = if self.keep_old { locked.partition(key).peek(key, now_ms) } else { None };
        let old = old.map(|e| (e.pin(), e.expire_at_ms().map_or(Expiry::None, Expiry::At), e.extra()));
        self.written.push(Written { key: *key, old });
    }

    fn run(self, locked: &mut LockedSet<'_>, now_ms: u64) {
        let store = locked.store();
        for Written { key, old } in self.written.into_iter().rev() {
            // Removed first: its memory is what the old value goes back into.
            locked.partition(&key).remove(&key, now_ms);
            if let Some((value, expiry, extra)) = old {
                // Cannot be refused for lack of memory that was there a moment ago; if it is, the key is lost, as by eviction.
                let value = as_value(&value, store);
                let _ = locked.partition(&key).set_item(&key, value, expiry, &extra, now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Budget, StoreConfig};
    use std::sync::Arc;

    /// Overwrites `old` and adds `new`, then meets a key that the store refuses. Returns what `old` holds afterwards.
    fn refused_in_the_middle(eviction: Eviction) -> Option<(Vec<u8>, Option<u64>)> {
        let config = StoreConfig {
            partitions: 2,
            eviction,
            max_value_size: 1 << 20,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        let store = Store::new(config, Arc::new(Budget::new(16 << 20))).unwrap();
        let long = vec![b'k'; store.max_key_len() + 1];
        let keys: Keys<'_> =
            [&b"old"[..], b"new", b"old", &long].into_iter().map(|key| store.key(0, key)).collect();
        let mut locked = LockedSet::of(&store, &keys);
        locked.partition(&keys[0]).set(&keys[0], Value::Inline(b"before"), Expiry::At(9000), 1).unwrap();
        let values = [b"a", b"b", b"c", b"d"].map(|value| Value::Inline(value));
        let written = set_all(&mut locked, &keys, &values, Expiry::None, eviction, 1);
        assert_eq!(written, Err(WriteError::KeyTooLong));
        assert!(locked.partition(&keys[1]).peek(&keys[1], 1).is_none());
        locked.partition(&keys[0]).peek(&keys[0], 1).map(|entry| (entry.value.to_vec(), entry.expire_at_ms()))
    }

    #[test]
    fn what_was_overwritten_comes_back_where_nothing_may_be_lost() {
        assert_eq!(refused_in_the_middle(Eviction::None), Some((b"before".to_vec(), Some(9000))));
    }

    #[test]
    fn a_cache_that_evicts_forgets_what_it_could_not_finish() {
        assert_eq!(refused_in_the_middle(Eviction::Lru), None);
    }
}
