//! Plans protobuf frames: what concerns one key goes to the batch, the rest runs alone ([`several`]).

mod several;
#[cfg(test)]
mod tests;

use super::ops::{Count, Fetch, RemoveItem, StoreItem, StoreMode};
use super::plan::expiry::latest;
use super::plan::refusal;
use super::table::row;
use super::{Barrier, CommandStats, Deferred, Op, Payload, PlanContext, Request, Step};
use crate::proto::protobuf::{
    Call, Condition, Delete, Form, Frame, Get, Incr, Invalid, One, Set, State, Status, frame, parse,
    put_plain,
};
use crate::proto::{self, Outcome, ParseLimits, Refusal, ReplyBuf};
use crate::store::{Buffer, Expiry, Key, Store};
use bumpalo::Bump;

const NOT_FRAMED: &str =
    "not a protobuf frame: the connection begins with FA 4B 56 01, and each message with its length";
const TOO_LONG: &str = "the request is longer than --max-request allows";
const TOO_LONG_YET: &str = "the request is longer than is allowed before authentication";
const NO_AUTH: &str = "the server has a password: authenticate first";

/// Parses what is at the start of `rest`, all that this connection has sent and that has not been consumed, and plans it.
pub fn next<'a>(
    rest: &'a [u8],
    state: &mut State,
    limits: &ParseLimits,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    let longest = if limits.authenticated { limits.max_request } else { limits.max_inline };
    let (body, consumed) = match frame(rest, state, longest) {
        Frame::Message { body, consumed } => (body, consumed),
        Frame::Magic { consumed } => return Step::Planned { consumed },
        Frame::Incomplete { need } => return Step::Incomplete { need },
        Frame::TooLong if limits.authenticated => return last_words(Status::TooLarge, TOO_LONG, stats),
        Frame::TooLong => return last_words(Status::TooLarge, TOO_LONG_YET, stats),
        Frame::Lost => return last_words(Status::Invalid, NOT_FRAMED, stats),
    };
    let request = match parse(body, limits.max_args) {
        Ok(request) => request,
        Err(Invalid { id, why }) => {
            requests.push(refused(id, Status::Invalid, why, ctx.bump, stats));
            return Step::Planned { consumed };
        }
    };
    let id = request.id;
    let open = ctx.session.authenticated || matches!(request.call, Call::Ping | Call::Auth(_));
    if !open {
        requests.push(refused(id, Status::Unauthenticated, NO_AUTH, ctx.bump, stats));
        return Step::Planned { consumed };
    }
    let writes = match &request.call {
        Call::One(one) => one.writes(),
        Call::Batch(batch) => batch.writes,
        Call::MultiGet(_) | Call::Ping | Call::Auth(_) => false,
    };
    if ctx.holds(writes) {
        return Step::Paused;
    }
    let deferred: &dyn Deferred = match request.call {
        Call::One(one) => {
            let form = Form { id, now_ms: ctx.now_ms, counts: matches!(one, One::Incr(_)) };
            called(&one, stats);
            let form = proto::Form::Protobuf(ctx.bump.alloc(form));
            requests.push(planned(&one, form, ctx.store, ctx.buffer, ctx.bump, ctx.now_ms, stats));
            return Step::Planned { consumed };
        }
        Call::Ping => {
            note(row("ping"), stats);
            let form = Form { id, now_ms: ctx.now_ms, counts: false };
            requests.push(Request::answered(Outcome::Pong, proto::Form::Protobuf(ctx.bump.alloc(form))));
            return Step::Planned { consumed };
        }
        Call::MultiGet(keys) => ctx.bump.alloc(several::MultiGet { id, keys }),
        Call::Batch(ops) => ctx.bump.alloc(several::Batch { id, ops }),
        Call::Auth(auth) => ctx.bump.alloc(several::Auth { id, auth }),
    };
    Step::Barrier { consumed, barrier: Barrier::Other(deferred) }
}

/// Counts a call of the command of the table that does the same.
#[inline]
fn note(row: u16, stats: &mut CommandStats) {
    stats.calls.count(row);
}

#[inline]
fn called(one: &One<'_>, stats: &mut CommandStats) {
    const ROWS: [u16; 4] = [row("get"), row("set"), row("del"), row("incrby")];
    let [get, set, del, incr] = ROWS;
    let row = match one {
        One::Get(_) => get,
        One::Set(_) => set,
        One::Delete(_) => del,
        One::Incr(_) => incr,
    };
    note(row, stats);
}

#[cold]
fn last_words<'a>(status: Status, why: &str, stats: &mut CommandStats) -> Step<'a> {
    stats.errors += 1;
    let mut out = ReplyBuf::default();
    put_plain(0, status, why, &mut out);
    Step::Fatal { reply: out.bytes }
}

/// A request that is not executed; its answer keeps its place.
#[cold]
fn refused<'a>(id: u64, status: Status, why: &str, bump: &'a Bump, stats: &mut CommandStats) -> Request<'a> {
    stats.errors += 1;
    let mut out = ReplyBuf::default();
    put_plain(id, status, why, &mut out);
    let reply: &'a [u8] = bump.alloc_slice_copy(&out.bytes);
    Request::ready(bump.alloc(reply))
}

/// The request for an operation on one key, whose index bucket is on its way; answered already if its value cannot be stored.
#[inline]
fn planned<'a>(
    one: &One<'a>,
    form: proto::Form<'a>,
    store: &Store,
    buffer: Option<&Buffer>,
    bump: &'a Bump,
    now_ms: u64,
    stats: &mut CommandStats,
) -> Request<'a> {
    let (key, op) = match one {
        One::Get(Get { key, want_cas: false }) => {
            (*key, Op::Fetch(&const { Fetch { value: true, cas: false, ..FETCH } }))
        }
        One::Get(Get { key, .. }) => (*key, Op::Fetch(&const { Fetch { value: true, cas: true, ..FETCH } })),
        One::Set(set) => match set_op(set, store, buffer, bump, now_ms) {
            Ok(op) => (set.key, op),
            Err(refusal) => {
                stats.errors += 1;
                return Request::answered(Outcome::Refused(refusal), form);
            }
        },
        One::Delete(Delete { key, cas }) => {
            let how = RemoveItem { compare: compare(*cas), ..RemoveItem::default() };
            (*key, Op::Remove(bump.alloc(how)))
        }
        One::Incr(incr) => (incr.key, Op::Count(bump.alloc(count(incr, now_ms)))),
    };
    let key: Key<'a> = store.key(0, key);
    store.prefetch(key.hash);
    Request { key, op, form, outcome: Outcome::Pending }
}

/// No protobuf client knows of leases.
const FETCH: Fetch = Fetch {
    value: false,
    cas: false,
    access: false,
    no_bump: false,
    touch: None,
    vivify: None,
    waits: false,
    recache_below_ms: None,
    new_cas: None,
    bystander: true,
    filled: true,
};

/// A plain set is the common one; what is rare lies in the bump.
#[inline]
fn set_op<'a>(
    set: &Set<'a>,
    store: &Store,
    buffer: Option<&Buffer>,
    bump: &'a Bump,
    now_ms: u64,
) -> Result<Op<'a>, Refusal> {
    let value = payload(set.value, store, buffer)?;
    let expiry = expiry(set.ttl_ms, now_ms);
    let plain = set.condition == Condition::Always && set.cas == 0 && set.flags == 0 && !set.want_cas;
    if plain {
        return Ok(Op::Set { value, expiry });
    }
    let mode = match set.condition {
        Condition::Always => StoreMode::Set,
        Condition::IfAbsent => StoreMode::Add,
        Condition::IfPresent => StoreMode::Replace,
    };
    let how = bump.alloc(StoreItem {
        flags: set.flags,
        expiry,
        mode,
        compare: compare(set.cas),
        invalidate: false,
        new_cas: None,
        cas: set.want_cas,
        vivify: None,
    });
    Ok(Op::Store { value, how })
}

/// As [`super::payload`], with the reason as the store gives it.
#[inline]
fn payload<'a>(value: &'a [u8], store: &Store, buffer: Option<&Buffer>) -> Result<Payload<'a>, Refusal> {
    if value.len() <= store.large_threshold() {
        return Ok(Payload::Inline(value));
    }
    store.large_value_in(value, buffer).map(|value| Payload::Large(Box::new(value))).map_err(refusal)
}

fn count(incr: &Incr<'_>, now_ms: u64) -> Count {
    Count {
        delta: incr.delta.unsigned_abs(),
        down: incr.delta < 0,
        create: incr.initial.map(|initial| (initial, expiry(incr.ttl_ms, now_ms))),
        touch: None,
        compare: compare(incr.cas),
        new_cas: None,
        cas: incr.want_cas,
    }
}

/// 0 stands for no comparison: no item has it.
fn compare(cas: u64) -> Option<u64> {
    (cas != 0).then_some(cas)
}

#[inline]
fn expiry(ttl_ms: u64, now_ms: u64) -> Expiry {
    if ttl_ms == 0 {
        return Expiry::None;
    }
    let at_ms = i64::try_from(now_ms.saturating_add(ttl_ms)).unwrap_or(i64::MAX);
    latest(at_ms).map_or(Expiry::None, Expiry::At)
}
