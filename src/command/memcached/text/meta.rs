//! The meta commands on keys.

use super::items::plain;
use super::{Op, PlanContext, Request, expiry, push, say};
use crate::command::CommandStats;
use crate::command::ops::{Count, Fetch, RemoveItem, StoreItem, StoreMode};
use crate::command::plan::payload;
use crate::command::table::row;
use crate::proto::memcached::text::{self, Form, Meta, MetaForm, MetaVerb};
use crate::store::Expiry;

/// mg, ms, md, ma.
pub fn plan<'a>(
    meta: &Meta<'a>,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    let op = match meta.verb {
        MetaVerb::Get => get(meta, ctx),
        MetaVerb::Delete => delete(meta, ctx),
        MetaVerb::Count => count(meta, ctx),
        MetaVerb::Set => match set(meta, ctx) {
            Some(op) => op,
            None => return say(text::NO_MEMORY_STORING, ctx, stats, requests),
        },
    };
    stats.calls[counted_as(meta)] += 1;
    let form = Form::Meta(MetaForm {
        verb: meta.verb,
        flags: meta.flags,
        written: meta.written,
        binary: meta.binary,
        quiet: meta.quiet,
        known: meta.compare.filter(|_| meta.verb == MetaVerb::Get),
        sent: meta.data.len(),
        now_ms: ctx.now_ms,
    });
    push(meta.key, op, ctx.bump.alloc(form), ctx, requests);
}

/// The row of the command table that counts such a command.
fn counted_as(meta: &Meta<'_>) -> usize {
    let row = match (meta.verb, meta.mode) {
        (MetaVerb::Get, _) if meta.touch.is_some() => row("touch"),
        (MetaVerb::Get, _) => row("get"),
        (MetaVerb::Set, Some(b'A' | b'P')) => row("append"),
        (MetaVerb::Set, _) => row("set"),
        (MetaVerb::Delete, _) => row("del"),
        (MetaVerb::Count, Some(b'D' | b'-')) => row("decrby"),
        (MetaVerb::Count, _) => row("incrby"),
    };
    usize::from(row)
}

fn when(exptime: Option<i64>, ctx: &PlanContext<'_, '_>) -> Option<Expiry> {
    exptime.map(|exptime| expiry(exptime, ctx.now_ms))
}

fn get<'a>(meta: &Meta<'a>, ctx: &PlanContext<'a, '_>) -> Op<'a> {
    // A time in the past is below no item's, and never (0) neither. What is left is compared in seconds rounded up, as `t` shows it.
    let recache_below_ms = match when(meta.recache, ctx) {
        Some(Expiry::At(at_ms)) => Some(at_ms.saturating_sub(ctx.now_ms).saturating_sub(999)),
        _ => None,
    };
    Op::Fetch(ctx.bump.alloc(Fetch {
        value: meta.value,
        cas: meta.cas || meta.compare.is_some(),
        access: meta.access,
        no_bump: meta.no_bump,
        bystander: false,
        filled: false,
        touch: when(meta.touch, ctx),
        vivify: when(meta.vivify, ctx),
        waits: false,
        recache_below_ms,
        new_cas: meta.new_cas,
    }))
}

/// `None`: there is no memory for the value.
fn set<'a>(meta: &Meta<'a>, ctx: &PlanContext<'a, '_>) -> Option<Op<'a>> {
    let value = payload(meta.data, ctx).ok()?;
    let mode = match meta.mode {
        Some(b'E') => StoreMode::Add,
        Some(b'A') => StoreMode::Append,
        Some(b'P') => StoreMode::Prepend,
        Some(b'R') => StoreMode::Replace,
        _ => StoreMode::Set,
    };
    let adds = matches!(mode, StoreMode::Append | StoreMode::Prepend);
    let item = StoreItem {
        flags: meta.client_flags,
        mode,
        // To APPEND and PREPEND 0 is none.
        compare: meta.compare.filter(|cas| !(adds && *cas == 0)),
        // No CAS is older than that of an item, 0 least of all.
        invalidate: meta.invalidate && meta.compare != Some(0),
        new_cas: meta.new_cas,
        cas: meta.cas || meta.size,
        vivify: when(meta.vivify, ctx).filter(|_| adds),
        ..plain(when(meta.touch, ctx).unwrap_or(Expiry::None))
    };
    let usual = item.flags == 0 && mode == StoreMode::Set && item.compare.is_none();
    if usual && item.new_cas.is_none() && !item.cas {
        return Some(Op::Set { value, expiry: item.expiry });
    }
    Some(Op::Store { value, how: ctx.bump.alloc(item) })
}

fn delete<'a>(meta: &Meta<'a>, ctx: &PlanContext<'a, '_>) -> Op<'a> {
    Op::Remove(ctx.bump.alloc(RemoveItem {
        compare: meta.compare,
        invalidate: meta.invalidate,
        touch: when(meta.touch, ctx),
        drop_value: meta.drop_value,
        new_cas: meta.new_cas,
    }))
}

fn count<'a>(meta: &Meta<'a>, ctx: &PlanContext<'a, '_>) -> Op<'a> {
    Op::Count(ctx.bump.alloc(Count {
        delta: meta.delta,
        down: matches!(meta.mode, Some(b'D' | b'-')),
        create: when(meta.vivify, ctx).map(|expiry| (meta.initial, expiry)),
        touch: when(meta.touch, ctx),
        // 0 is none here.
        compare: meta.compare.filter(|cas| *cas != 0),
        new_cas: meta.new_cas,
        cas: meta.cas,
    }))
}
