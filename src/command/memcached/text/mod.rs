//! Plans the text protocol of memcached, meta commands included: each command becomes operations on keys, a reply that is known
//! already, or a barrier ([`asks`]).
//!
//! The forms of the classic commands are constants: a request of theirs takes nothing from the bump but what its operation needs.

mod asks;
mod items;
mod meta;
#[cfg(test)]
mod tests;

use super::super::{CommandStats, Op, Payload, PlanContext, Request, Step};
use crate::command::table::row;
use crate::proto::memcached::text::{self, Command, Common, Form as TextForm, Login, Parsed, State};
use crate::proto::{Form, Outcome, ParseLimits};
use crate::store::{Expiry, Key, Store};
use asks::Ask;
pub(super) use asks::flush_all;
use bumpalo::Bump;

/// What VERSION and the statistics tell. Clients read up to three numbers and two dots (libmemcached keeps each in a byte), or take it
/// whole; it must be one word. The numbers are those of the memcached whose protocol this is: clients choose features by them.
pub const VERSION: &str = concat!("1.6.45-kv-cache-", env!("CARGO_PKG_VERSION"));

static VERSION_REPLY: &[u8] =
    concat!("VERSION 1.6.45-kv-cache-", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes();

/// memcached's databases are one; here it is the first.
pub(super) const DB: u8 = 0;

/// An exptime up to here is relative, seconds: 30 days (protocol.txt, "Expiration times").
const LONGEST_RELATIVE_S: i64 = 60 * 60 * 24 * 30;

/// Parses what is at the start of `rest`, all that this connection has sent and that has not been consumed, and plans it.
pub fn next<'a>(
    rest: &'a [u8],
    state: &mut State,
    limits: &ParseLimits,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    if !ctx.session.authenticated {
        return login(rest, state, ctx, stats, requests);
    }
    let before = ctx.paused.map(|_| state.clone());
    match text::parse(rest, state, limits, ctx.bump) {
        Parsed::Command { command, consumed } => {
            let held = ctx.holds(writes(&command));
            if let Some(before) = before.filter(|_| held) {
                *state = before;
                return Step::Paused;
            }
            plan(command, consumed, ctx, stats, requests)
        }
        Parsed::Reply { reply, consumed } => {
            say(reply, ctx, stats, requests);
            Step::Planned { consumed }
        }
        Parsed::Refused { key, reply, consumed } => {
            if let Some(before) = before.filter(|_| ctx.holds(true)) {
                *state = before;
                return Step::Paused;
            }
            stats.errors += 1;
            let form = ctx.bump.alloc(TextForm::Fixed(reply));
            push(key, Op::Del, form, ctx, requests);
            Step::Planned { consumed }
        }
        Parsed::Skip { consumed } => Step::Planned { consumed },
        Parsed::Incomplete { need } => Step::Incomplete { need },
        Parsed::Fatal { reply } => Step::Fatal { reply: reply.to_vec() },
    }
}

/// Whether CLIENT PAUSE WRITE holds a command back.
fn writes(command: &Command<'_>) -> bool {
    match command {
        Command::Get { touch, .. } => touch.is_some(),
        Command::Meta(meta) => {
            meta.verb != text::MetaVerb::Get || meta.touch.is_some() || meta.vivify.is_some()
        }
        Command::Debug { .. } | Command::Version | Command::Stats(_) | Command::Quit => false,
        Command::MemoryLimit { .. } | Command::Shutdown => false,
        _ => true,
    }
}

/// Plans a command in its usual form of an authenticated client, and has its index bucket fetched. False: a value that needs the long way.
#[inline]
pub fn plan_common<'a>(
    common: &Common<'a>,
    store: &Store,
    bump: &'a Bump,
    now_ms: u64,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> bool {
    const GET: usize = row("get") as usize;
    const SET: usize = row("set") as usize;
    let key = store.key(DB, common.key);
    // One push for each operation, see `command::plan_common`.
    match &common.set {
        None => {
            stats.calls[GET] += 1;
            requests.push(request(key, Op::GetItem, &items::LAST_VALUE));
        }
        Some(set) if set.value.len() > store.large_threshold() => return false,
        Some(set) => {
            stats.calls[SET] += 1;
            let value = Payload::Inline(set.value);
            let expiry = expiry(i64::from(set.exptime), now_ms);
            let form = if set.noreply { &TextForm::Silent } else { &TextForm::Stored };
            if set.flags == 0 {
                requests.push(request(key, Op::Set { value, expiry }, form));
            } else {
                let op = items::set_with_flags(value, set.flags, expiry, bump);
                requests.push(request(key, op, form));
            }
        }
    }
    store.prefetch(key.hash);
    true
}

#[inline(always)]
fn request<'a>(key: Key<'a>, op: Op<'a>, form: &'a TextForm<'a>) -> Request<'a> {
    Request { key, op, form: Form::Text(form), outcome: Outcome::Pending }
}

/// Plans a command that is whole and may run now.
fn plan<'a>(
    command: Command<'a>,
    consumed: usize,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    let ask = match command {
        Command::Get { keys, cas, touch, last } => {
            items::get(keys, cas, touch, last, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Storage(storage) => {
            items::storage(&storage, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Count { key, delta, down, noreply } => {
            items::count(key, delta, down, noreply, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Delete { key, noreply } => {
            items::delete(key, noreply, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Touch { key, exptime, noreply } => {
            items::touch(key, exptime, noreply, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Meta(meta) => {
            meta::plan(&meta, ctx, stats, requests);
            return Step::Planned { consumed };
        }
        Command::Debug { key, written } => {
            let form = ctx.bump.alloc(TextForm::Debug { written, now_ms: ctx.now_ms });
            push(key, Op::Fetch(&items::DEBUG), form, ctx, requests);
            return Step::Planned { consumed };
        }
        Command::Version => {
            requests.push(Request::ready(&VERSION_REPLY));
            return Step::Planned { consumed };
        }
        Command::Quit => return Step::Last { consumed },
        Command::FlushAll { delay_s, noreply } => Ask::FlushAll { delay_s, noreply },
        Command::Stats(what) => Ask::Stats(what),
        Command::MemoryLimit { mebibytes, noreply } => Ask::MemoryLimit { mebibytes, noreply },
        Command::Shutdown => Ask::Shutdown,
    };
    ask.barrier(consumed, ctx)
}

/// What a client may do that has not authenticated: nothing else.
fn login<'a>(
    rest: &'a [u8],
    state: &mut State,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    match text::login(rest, state) {
        Login::Try { user, password, consumed } => Ask::Login { user, password }.barrier(consumed, ctx),
        Login::Reply { reply, consumed } => {
            say(reply, ctx, stats, requests);
            Step::Planned { consumed }
        }
        Login::Skip { consumed } => Step::Planned { consumed },
        Login::Incomplete { need } => Step::Incomplete { need },
        Login::Fatal => Step::Fatal { reply: Vec::new() },
    }
}

/// A reply that is known, in its place among the others.
fn say<'a>(
    reply: &'static [u8],
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) {
    if reply.is_empty() {
        return;
    }
    stats.errors += u64::from(!matches!(reply, b"MN\r\n" | b"OK\r\n"));
    requests.push(Request::ready(ctx.bump.alloc(reply)));
}

/// A request for the batch; its index bucket is fetched already.
#[inline(always)]
fn push<'a>(
    key: &'a [u8],
    op: Op<'a>,
    form: &'a TextForm<'a>,
    ctx: &PlanContext<'a, '_>,
    requests: &mut Vec<Request<'a>>,
) {
    let key = ctx.store.key(DB, key);
    requests.push(request(key, op, form));
    ctx.store.prefetch(key.hash);
}

/// When an item with this exptime expires.
#[inline]
pub(super) fn expiry(exptime: i64, now_ms: u64) -> Expiry {
    match exptime {
        0 => Expiry::None,
        // In the past, whatever the clock says.
        ..0 => Expiry::At(1),
        seconds @ 1..=LONGEST_RELATIVE_S => Expiry::At(now_ms.saturating_add(seconds.unsigned_abs() * 1000)),
        unix_s => Expiry::At(unix_s.unsigned_abs().saturating_mul(1000)),
    }
}
