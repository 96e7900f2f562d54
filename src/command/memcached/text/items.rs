//! The classic commands on keys.

use super::super::super::ops::{Count, Fetch, RemoveItem, StoreItem, StoreMode};
use super::{Op, Payload, PlanContext, Request, expiry, push, say};
use crate::command::CommandStats;
use crate::command::plan::payload;
use crate::command::table::row;
use crate::proto::memcached::text::{self, Form, Storage, StorageVerb};
use crate::store::Expiry;
use bumpalo::Bump;

static GETS: Fetch = Fetch { value: true, cas: true, ..NOTHING };
/// me: all that is known, without being a use.
pub static DEBUG: Fetch = Fetch { cas: true, access: true, no_bump: true, ..NOTHING };

const NOTHING: Fetch = Fetch {
    value: false,
    cas: false,
    access: false,
    no_bump: false,
    bystander: true,
    filled: false,
    touch: None,
    vivify: None,
    waits: false,
    recache_below_ms: None,
    new_cas: None,
};

static VALUE: Form<'static> = Form::Value { cas: false, last: false };
pub static LAST_VALUE: Form<'static> = Form::Value { cas: false, last: true };
static VALUE_CAS: Form<'static> = Form::Value { cas: true, last: false };
static LAST_VALUE_CAS: Form<'static> = Form::Value { cas: true, last: true };

static REMOVE: RemoveItem =
    RemoveItem { compare: None, invalidate: false, touch: None, drop_value: false, new_cas: None };

/// get, gets, gat, gats: one request for each key, the last of which brings END.
pub fn get<'a>(
    keys: &'a [u8],
    cas: bool,
    touch: Option<i64>,
    last: bool,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    let op = match (touch, cas) {
        (None, false) => Op::GetItem,
        (None, true) => Op::Fetch(&GETS),
        (Some(exptime), cas) => {
            let touch = Some(expiry(exptime, ctx.now_ms));
            Op::Fetch(ctx.bump.alloc(Fetch { value: true, cas, touch, ..NOTHING }))
        }
    };
    let (form, last_form) = if cas { (&VALUE_CAS, &LAST_VALUE_CAS) } else { (&VALUE, &LAST_VALUE) };
    let mut keys = text::words(keys).peekable();
    while let Some(key) = keys.next() {
        stats.calls[row("get") as usize] += 1;
        if touch.is_some() {
            stats.calls[row("touch") as usize] += 1;
        }
        let form = if last && keys.peek().is_none() { last_form } else { form };
        push(key, op.clone(), form, ctx, requests);
    }
}

/// set, add, replace, append, prepend, cas.
pub fn storage<'a>(
    storage: &Storage<'a>,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    let Ok(value) = payload(storage.value, ctx) else {
        return say(if storage.noreply { b"" } else { text::NO_MEMORY_STORING }, ctx, stats, requests);
    };
    let expiry = expiry(storage.exptime, ctx.now_ms);
    let form = if storage.noreply { &Form::Silent } else { &Form::Stored };
    let mode = match storage.verb {
        StorageVerb::Set | StorageVerb::Cas => StoreMode::Set,
        StorageVerb::Add => StoreMode::Add,
        StorageVerb::Replace => StoreMode::Replace,
        StorageVerb::Append => StoreMode::Append,
        StorageVerb::Prepend => StoreMode::Prepend,
    };
    let adds = matches!(mode, StoreMode::Append | StoreMode::Prepend);
    stats.calls[if adds { row("append") } else { row("set") } as usize] += 1;
    let op = if storage.verb == StorageVerb::Set && storage.flags == 0 {
        Op::Set { value, expiry }
    } else {
        let (flags, compare) = (storage.flags, storage.compare);
        Op::Store { value, how: ctx.bump.alloc(StoreItem { flags, mode, compare, ..plain(expiry) }) }
    };
    push(storage.key, op, form, ctx, requests);
}

/// A set whose item has client flags.
pub fn set_with_flags<'a>(value: Payload<'a>, flags: u32, expiry: Expiry, bump: &'a Bump) -> Op<'a> {
    Op::Store { value, how: bump.alloc(StoreItem { flags, ..plain(expiry) }) }
}

/// A write without condition.
pub fn plain(expiry: Expiry) -> StoreItem {
    StoreItem {
        flags: 0,
        expiry,
        mode: StoreMode::Set,
        compare: None,
        invalidate: false,
        new_cas: None,
        cas: false,
        vivify: None,
    }
}

/// incr, decr.
pub fn count<'a>(
    key: &'a [u8],
    delta: u64,
    down: bool,
    noreply: bool,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    stats.calls[if down { row("decrby") } else { row("incrby") } as usize] += 1;
    let count = Count { delta, down, create: None, touch: None, compare: None, new_cas: None, cas: false };
    let form = if noreply { &Form::Silent } else { &Form::Number };
    push(key, Op::Count(ctx.bump.alloc(count)), form, ctx, requests);
}

pub fn delete<'a>(
    key: &'a [u8],
    noreply: bool,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    stats.calls[row("del") as usize] += 1;
    let form = if noreply { &Form::Silent } else { &Form::Deleted };
    push(key, Op::Remove(&REMOVE), form, ctx, requests);
}

pub fn touch<'a>(
    key: &'a [u8],
    exptime: i64,
    noreply: bool,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    stats.calls[row("touch") as usize] += 1;
    let touch = Some(expiry(exptime, ctx.now_ms));
    let form = if noreply { &Form::Silent } else { &Form::Touched };
    push(key, Op::Fetch(ctx.bump.alloc(Fetch { touch, ..NOTHING })), form, ctx, requests);
}
