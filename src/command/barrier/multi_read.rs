//! Reading several keys in one step: MGET, EXISTS, TOUCH.

use super::locked::keys;
use crate::command::{Context, Flow};
use crate::proto::reply::PIN_THRESHOLD;
use crate::proto::resp::Writer;
use crate::store::Happening;

/// After so many copied bytes in one reply, values of `PIN_LATER` bytes are pinned too: naming a key again and again must not multiply
/// memory.
const COPY_AT_MOST: usize = 4 << 20;
const PIN_LATER: usize = 1 << 10;

/// MGET key...: the values in the order of the keys, null where there is none.
pub fn mget(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let keys = keys(ctx, &args[1..]);
    let (now_ms, no_touch) = (ctx.now_ms, ctx.session.no_touch);
    let (mut hits, mut copied) = (0, 0);
    out.array(keys.len());
    ctx.lock(&keys).for_each(&keys, |partition, key| {
        let entry = if no_touch { partition.peek(key, now_ms) } else { partition.get(key, now_ms) };
        match entry {
            Some(entry) => {
                hits += 1;
                let pin_from = if copied < COPY_AT_MOST { PIN_THRESHOLD } else { PIN_LATER };
                if entry.value.len() >= pin_from {
                    out.bulk_pinned(entry.pin());
                } else {
                    copied += entry.value.len();
                    out.bulk(entry.value);
                }
            }
            None => {
                partition.note(Happening::Miss, key);
                out.null();
            }
        }
    });
    ctx.stats.hits += hits;
    ctx.stats.misses += keys.len() as u64 - hits;
    Flow::Continue
}

/// EXISTS key...: how many there are; a key named twice counts twice.
pub fn exists(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    count(args, ctx, out, false)
}

/// TOUCH key...: as EXISTS, but it counts as use (even with CLIENT NO-TOUCH: it was asked for).
pub fn touch(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    count(args, ctx, out, true)
}

fn count(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>, touch: bool) -> Flow {
    let keys = keys(ctx, &args[1..]);
    let now_ms = ctx.now_ms;
    let mut hits = 0;
    ctx.lock(&keys).for_each(&keys, |partition, key| {
        let entry = if touch { partition.get(key, now_ms) } else { partition.peek(key, now_ms) };
        if entry.is_some() {
            hits += 1;
        } else {
            partition.note(Happening::Miss, key);
        }
    });
    ctx.stats.hits += hits;
    ctx.stats.misses += keys.len() as u64 - hits;
    out.int(hits as i64);
    Flow::Continue
}
